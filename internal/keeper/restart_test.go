package keeper

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cordee/internal/journal"
	"cordee/pool"
)

// restartMiB is how large a journal TestRestartReadsTheEnd makes: enough to
// have segments and epochs, unless CORDEE_JOURNAL_MIB asks for more. From 1024
// on the time of the start is held against its goal.
const (
	restartMiB  = 8
	restartGoal = 5 * time.Second
)

// TestRestartReadsTheEnd: a pool that was killed with a long journal starts from
// the end of it, with the same cut and place as before, and pays by it at once.
func TestRestartReadsTheEnd(t *testing.T) {
	mib, dir, segment := restartMiB, scratch(t), int64(1<<20)
	if text := os.Getenv("CORDEE_JOURNAL_MIB"); text != "" {
		var err error
		if mib, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		dir, segment = t.TempDir(), journal.DefaultSegmentSize // on TMPDIR's disk
	}
	dir, err := os.MkdirTemp(dir, "restart") //nolint:usetesting // see scratch
	if err != nil {
		t.Fatal(err)
	}
	const members, rigs, slotShares, workBits = 200, 2000, 100_000, 0x1d00ffff // a slot is 60 s of 10 000 rigs
	kt := newKitIn(t, dir, segment, members, nil)
	shares := mib << 20 / 100
	perSlot := min(slotShares, shares/20)

	// The window holds four fifths of it, so that it ends within a slot.
	target, err := pool.TargetFromBits(workBits)
	if err != nil {
		t.Fatal(err)
	}
	d := new(big.Int).Div(kt.cfg.Rules.Capacity(), target.Big())
	d.Div(d, big.NewInt(int64(shares)*4/5))
	batch := make([]journal.Share, 500)
	counter, done := uint32(0), 0
	for epoch := range 4 {
		if epoch > 0 {
			kt.restart()
		}
		numbers := make([]uint32, rigs)
		for i := range numbers {
			n, err := kt.journal.RigNumber(uint16(1+i%members), fmt.Sprintf("member-%03d.hall-%d.s19jpro-%04d", i%members, i%7, i))
			if err != nil {
				t.Fatal(err)
			}
			numbers[i] = n
		}
		for done < shares*(epoch+1)/4 {
			for range 3 { // classes
				counter++
				if _, err := kt.journal.Append(journal.Receipt{Bytes: make([]byte, 9000)}, journal.Job{Counter: counter, Coinb2: make([]byte, 6000)}); err != nil {
					t.Fatal(err)
				}
			}
			var last journal.Ticket
			for range perSlot / len(batch) {
				for i := range batch {
					rig := (done + i) * 7919 % rigs
					batch[i] = journal.Share{
						Rig: numbers[rig], Member: uint16(1 + rig%members), WorkBits: workBits, Difficulty: pool.Difficulty(d.Uint64()),
						Counter: counter, Nonce: uint32(done + i), When: int64(done),
					}
				}
				if last, err = kt.journal.AppendShares(batch); err != nil {
					t.Fatal(err)
				}
				done += len(batch)
			}
			if err := last.Wait(); err != nil {
				t.Fatal(err)
			}
			if done < shares*(epoch+1)/4 || epoch < 3 {
				kt.close() // the last minute is in no slot
			}
		}
	}
	cfg := kt.cfg
	cfg.Journal = killedCopy(t, kt.cfg.Journal, filepath.Join(dir, "killed"))
	before := kt.k.cut.Load()
	if mib != restartMiB {
		evict(t, kt.cfg.Journal, cfg.Journal, filepath.Join(cfg.Dir, "slots"))
	}

	start := time.Now()
	j, rec, err := journal.Open(journal.Config{Dir: cfg.Journal, Edge: 1, Prefix: 1, SegmentSize: segment, RecoverBytes: min(int64(mib)<<18, 256<<20)})
	if err != nil {
		t.Fatal(err)
	}
	opened := time.Since(start)
	cfg.Log, cfg.Recovery = j, rec
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ready := time.Since(start)
	tpl := kt.template(kt.chain.tip, 50e8)
	if _, _, err := k.Payout(tpl, largeClass); err != nil {
		t.Fatal(err)
	}
	first := time.Since(start)
	if _, err := k.CloseSlots(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB, %d shares, %d slots: journal open %v, keeper ready %v, first split %v, the open slot closed %v",
		mib, done, before.slot, opened, ready, first, time.Since(start))
	if mib >= 1024 && first > restartGoal {
		t.Errorf("the first split took %v, the goal is %v", first, restartGoal)
	}
	if rec.Sealed || rec.LastCounter != counter || rec.Unread == 0 {
		t.Errorf("last counter %d, want %d; sealed %t; %d segments unread", rec.LastCounter, counter, rec.Sealed, rec.Unread)
	}
	if c := k.cut.Load(); k.slots.last != before.slot+1 || c.slot != before.slot+1 || k.epoch != 4 {
		t.Errorf("slot %d closed as epoch %d's, want %d", k.slots.last, k.epoch, before.slot+1)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// killedCopy is the journal in dir as a killed process would leave it: older
// files are the same ones, the newest is a copy.
func killedCopy(t *testing.T, dir, to string) string {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".cj") {
			newest = e.Name()
		}
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".cj") && name != newest {
			if err := os.Link(filepath.Join(dir, name), filepath.Join(to, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	in, err := os.Open(filepath.Join(dir, newest))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(to, newest))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, in.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return to
}
