package keeper

import (
	"errors"
	"maps"
	"math/big"
	"os"
	"strings"
	"testing"

	"cordee/internal/journal"
	"cordee/payout"
)

// TestOlderJournal: the journal was restored from a copy that is older than the
// slots. A new epoch of it has a number whose shares are counted already, and
// must not be taken for them: what rigs were answered for now would be lost.
func TestOlderJournal(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.work(10, 1)
	kt.close()
	copied := kt.cfg.Dir + "-copy"
	t.Cleanup(func() { _ = os.RemoveAll(copied) })
	if err := os.CopyFS(copied, os.DirFS(kt.cfg.Journal)); err != nil {
		t.Fatal(err)
	}
	kt.restart()
	kt.work(10, 1, 1, 1)
	kt.close()
	if err := kt.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(kt.cfg.Journal); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copied, kt.cfg.Journal); err != nil {
		t.Fatal(err)
	}
	tries := 0
	for kt.k = nil; kt.k == nil; tries++ {
		j, rec, err := journal.Open(journal.Config{Dir: kt.cfg.Journal, Edge: 1, Prefix: 1, SegmentSize: kt.segment})
		if err != nil {
			t.Fatal(err)
		}
		kt.journal, kt.cfg.Log, kt.cfg.Recovery = j, j, rec
		if kt.k, err = New(kt.cfg); err == nil {
			break
		}
		if !errors.Is(err, ErrOlderJournal) || !strings.Contains(err.Error(), "slot 2 counts shares of epoch 2 up to 3, and this journal begins epoch 2") {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if tries != 1 {
		t.Fatalf("refused %d times: this epoch is counted, the next is not", tries)
	}
	kt.work(10, 2, 2)
	if kt.close() != 1 {
		t.Fatal("new shares are in no slot")
	}
	units := map[uint16]int64{}
	for _, w := range kt.k.cut.Load().weights.Members {
		units[w.Member] = new(big.Int).Div(w.Units, unitOf(t, 10)).Int64()
	}
	if !maps.Equal(units, map[uint16]int64{1: 4, 2: 2}) {
		t.Errorf("shares of 10 in the window: %v", units)
	}
}

// unitOf is the weight of one share of that difficulty.
func unitOf(t *testing.T, d uint64) *big.Int {
	t.Helper()
	w := new(big.Int)
	if err := addWeight(w, []payout.Sum{{Member: 1, WorkBits: testBits, Difficulty: d}}); err != nil {
		t.Fatal(err)
	}
	return w
}
