package audit

import (
	"context"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cordee/internal/journal"
	"cordee/pool"
)

// TestJournalThatBeginsLater: with its oldest segments gone, the blocks whose
// window is still there are recomputed as before, the others are named as no
// longer covered, all satoshis still agree, and one that was moved is told.
func TestJournalThatBeginsLater(t *testing.T) {
	dir := t.TempDir()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		dir, err = os.MkdirTemp("/dev/shm", "audit") //nolint:usetesting // thousands of fsyncs of a slow disk prove nothing here
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}()
	}
	n, covered, uncovered := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		p := newFakePool(t, filepath.Join(dir, fmt.Sprint(n)))
		p.segment, p.told = 8192, true
		p.play()
		whole, err := Run(context.Background(), &p.cfg)
		p.check(err)
		gone := p.forget()
		r, err := Run(context.Background(), &p.cfg)
		if len(gone) > 0 && err != nil && strings.Contains(err.Error(), "holds shares that the journal does not") {
			return // no share is left: an empty folder and a wrong one look the same
		}
		p.check(err)
		if !r.OK || len(r.Blocks) != len(whole.Blocks) || r.Slots != whole.Slots || !reflect.DeepEqual(r.Members, whole.Members) {
			t.Fatalf("%d of %d blocks, %d of %d slots, %v", len(r.Blocks), len(whole.Blocks), r.Slots, whole.Slots, r.Mismatches)
		}
		missing := 0
		for i, b := range r.Blocks {
			before := whole.Blocks[i]
			if !slices.Equal(b.Credits, before.Credits) || !slices.Equal(b.Expected, before.Expected) {
				t.Fatalf("block %d: %+v, with the whole journal %+v", b.Height, b, before)
			}
			if want := p.reaches(b.Slot, gone); b.Covered != want {
				t.Fatalf("block %d by slot %d: covered %t, want %t", b.Height, b.Slot, b.Covered, want)
			}
			if !b.Covered {
				missing++
			}
		}
		if missing != r.Uncovered {
			t.Fatalf("%d blocks are not covered, it says %d", missing, r.Uncovered)
		}
		covered += len(r.Blocks) - missing
		uncovered += missing
		i := slices.IndexFunc(r.Blocks, func(b Block) bool { return !b.Covered && len(b.Outputs) > 1 })
		if i < 0 {
			return
		}
		for _, block := range p.blocks {
			if block.BlockHash().String() == r.Blocks[i].Hash {
				block.Transactions[0].TxOut[0].Value++
			}
		}
		r, err = Run(context.Background(), &p.cfg)
		p.check(err)
		if r.OK || r.Blocks[i].Agree {
			t.Fatal("a satoshi more in a block that is not covered was not told")
		}
	})
	if covered == 0 || uncovered == 0 {
		t.Errorf("%d blocks were covered, %d were not: the test tests too little", covered, uncovered)
	}
}

// forget deletes some of the oldest segments and returns the shares, by slot,
// of the slots that lost any.
func (p *fakePool) forget() (gone map[uint32]bool) {
	names, err := filepath.Glob(filepath.Join(p.cfg.Journal, "seg-*.cj"))
	p.check(err)
	for _, name := range names[:rapid.IntRange(0, len(names)-1).Draw(p.t, "segments gone")] {
		p.check(os.Remove(name))
	}
	have := map[[2]uint64]bool{}
	p.check(journal.Read(p.cfg.Journal, func(info journal.RecordInfo, _ journal.Record) error {
		if info.Kind == journal.KindShare {
			have[[2]uint64{uint64(info.Epoch), info.Seq}] = true
		}
		return nil
	}))
	manifests, err := readSlots(&p.cfg)
	p.check(err)
	gone = map[uint32]bool{}
	for _, m := range manifests {
		for _, r := range m.Ranges {
			for seq := r.First; seq <= r.Last; seq++ {
				if !have[[2]uint64{uint64(r.Epoch), seq}] {
					gone[m.Number] = true
				}
			}
		}
	}
	return gone
}

// reaches says whether the window of a cut at slot n ends before it comes to a
// slot of gone.
func (p *fakePool) reaches(n uint32, gone map[uint32]bool) bool {
	left := p.cfg.Rules.Capacity()
	for ; n > 0 && left.Sign() > 0; n-- {
		if gone[n] {
			return false
		}
		for _, r := range p.slots[n-1] {
			target, err := pool.TargetFromBits(r.WorkBits)
			p.check(err)
			work := new(big.Int).SetUint64(r.Difficulty)
			left.Sub(left, work.Mul(work, target.Big()))
		}
	}
	return true
}
