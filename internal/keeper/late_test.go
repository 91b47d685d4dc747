package keeper

import (
	"slices"
	"testing"

	"cordee/payout"
)

// TestLateBlock: a block that the chain has and the ledger has not is credited
// however deep it is by then: found in the last second of a pool that was away
// for days, or held back by a halt for as long. Its coinbase paid carry, which a
// ledger without it would pay again.
func TestLateBlock(t *testing.T) {
	for _, halted := range []bool{false, true} {
		kt := newKit(t, 3, nil)
		kt.chain.foreign(kt.chain.tip, 2)
		kt.work(10, 1, 2, 3)
		kt.close()
		_, other := kt.job(kt.chain.tip, 40e8, largeClass)
		job, r := kt.job(kt.chain.tip, 50e8, largeClass)
		if halted {
			r = other
		}
		hash := kt.mineWith(job, r)
		if halted {
			kt.cover()
			if !slices.Equal(kt.k.Halts(), []string{"block.mismatch"}) {
				t.Fatalf("halts %v", kt.k.Halts())
			}
		}
		kt.chain.foreign(kt.chain.tip, watchMature+50)
		if halted { // as many rounds as there were blocks
			kt.cover()
			if err := kt.k.Lift("block.mismatch", "candidate file restored"); err != nil {
				t.Fatal(err)
			}
		} else {
			kt.restart()
		}
		kt.cover() // a template came before the first look
		kt.cover()
		b, known := kt.k.ledger.Block(hash)
		if !known || b.State != payout.Mature || len(kt.k.Halts()) != 0 {
			t.Errorf("halted %t: in the ledger %t, state %d, halts %v", halted, known, b.State, kt.k.Halts())
		}
		if n := len(kt.k.candidates); n != 0 {
			t.Errorf("halted %t: %d candidates are still followed", halted, n)
		}
	}
}

// TestLostCandidates: a candidate that is nowhere in the chain is not asked
// about for ever.
func TestLostCandidates(t *testing.T) {
	kt := newKit(t, 3, nil)
	base := kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2, 3)
	kt.close()
	job, r := kt.job(base, 50e8, largeClass)
	kt.chain.foreign(base, 2)
	kt.mine(job, r)
	kt.cover()
	if n := len(kt.k.candidates); n != 1 {
		t.Fatalf("%d candidates, a reorganisation could bring it back", n)
	}
	kt.chain.foreign(kt.chain.tip, watchMature+50)
	kt.chain.err = errUnknown
	kt.job(kt.chain.tip, 50e8, largeClass)
	if err := kt.k.Follow(t.Context()); err == nil || len(kt.k.candidates) != 1 {
		t.Fatalf("nobody answered: %v, %d candidates", err, len(kt.k.candidates))
	}
	kt.chain.err = nil
	kt.cover()
	if n := len(kt.k.candidates); n != 0 || len(kt.k.ledger.Blocks()) != 0 {
		t.Errorf("%d candidates, blocks %v", n, kt.k.ledger.Blocks())
	}
}
