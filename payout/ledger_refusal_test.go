package payout_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"cordee/payout"
)

func TestLedgerRefusals(t *testing.T) {
	reward := func(sats int64) *payout.Receipt {
		return &payout.Receipt{Height: 7, Reward: sats, Class: 1, Settlement: []payout.Payment{{Kind: payout.ToTreasury, Sats: sats, Script: treasuryScript}}}
	}
	odd := &payout.Receipt{
		Rule: payout.RuleUnitPPLNS, Height: 7, Reward: 100, Fees: []payout.Fee{{Account: "a", Sats: 0}, {Account: "b", Sats: 100}},
		Settlement: []payout.Payment{{Kind: payout.ToFee, Sats: 99, Script: script(1)}, {Kind: payout.ToTreasury, Sats: 1, Script: treasuryScript}},
	}
	l := payout.NewLedger()
	a, b, c := prevHash(1), prevHash(2), prevHash(3)
	who := payout.Owner{Account: payout.UnallocatedAccount}
	lines := func(sats int64) []payout.Line { return []payout.Line{{Owner: who, Sats: sats}} }
	for i, s := range []struct {
		e    payout.Event
		fail bool
	}{
		{payout.Event{Kind: payout.BlockMatured, Block: a}, true}, // not found yet
		{payout.Event{Kind: payout.BlockFound, Block: a, Receipt: reward(5000)}, false},
		{payout.Event{Kind: payout.BlockFound, Block: a, Receipt: reward(5000)}, false},
		{payout.Event{Kind: payout.BlockFound, Block: a, Receipt: reward(5001)}, true}, // another receipt
		{payout.Event{Kind: payout.BlockFound, Block: c, Receipt: odd}, true},          // pays a fee nobody earned
		{payout.Event{Kind: payout.BlockOrphaned, Block: a, Turn: 3}, true},            // turns 1 and 2 are missing
		{payout.Event{Kind: payout.BatchReserved, Batch: b, Lines: lines(1)}, true},    // immature
		{payout.Event{Kind: payout.BlockOrphaned, Block: a, Turn: 1}, false},
		{payout.Event{Kind: payout.BlockMatured, Block: a}, true}, // orphaned
		{payout.Event{Kind: payout.BlockRestored, Block: a, Turn: 2}, false},
		{payout.Event{Kind: payout.BlockOrphaned, Block: a, Turn: 1}, false}, // has been: ignored
		{payout.Event{Kind: payout.BlockRestored, Block: a, Turn: 2}, false},
		{payout.Event{Kind: payout.BlockMatured, Block: a}, false},
		{payout.Event{Kind: payout.BlockMatured, Block: a}, false},
		{payout.Event{Kind: payout.BlockOrphaned, Block: a, Turn: 3}, true}, // was mature
		{payout.Event{Kind: payout.BatchPaid, Batch: b, Turn: 1, Height: 9}, true},
		{payout.Event{Kind: payout.BatchReserved, Batch: b, Lines: lines(5001)}, true},
		{payout.Event{Kind: payout.BatchReserved, Batch: b, Lines: lines(4000)}, false},
		{payout.Event{Kind: payout.BatchReserved, Batch: b, Lines: lines(3999)}, true}, // other lines
		{payout.Event{Kind: payout.BatchReserved, Batch: c, Lines: lines(1001)}, true}, // 1000 are left
		{payout.Event{Kind: payout.BatchUnpaid, Batch: b, Turn: 2}, true},              // not paid
		{payout.Event{Kind: payout.BatchPaid, Batch: b, Turn: 1, Height: 9, Fee: 4001}, true},
		{payout.Event{Kind: payout.BatchPaid, Batch: b, Turn: 1, Height: 9, Fee: 4000}, false},
		{payout.Event{Kind: payout.BatchCanceled, Batch: b}, true}, // paid
		{payout.Event{Kind: payout.BatchUnpaid, Batch: b, Turn: 2}, false},
		{payout.Event{Kind: payout.BatchCanceled, Batch: b}, false},
		{payout.Event{Kind: payout.BatchCanceled, Batch: b}, false},
		{payout.Event{Kind: payout.BatchPaid, Batch: b, Turn: 3, Height: 9}, true}, // canceled
		{payout.Event{Kind: payout.Halted, Name: "I2", Text: "x"}, false},
		{payout.Event{Kind: payout.Halted, Name: "I2", Text: "y"}, false},
		{payout.Event{Kind: 99}, true},
	} {
		head := l.Head()
		err := l.Apply(&s.e)
		if (err != nil) != s.fail || err != nil && !errors.Is(err, payout.ErrLedger) && !errors.Is(err, payout.ErrEvent) {
			t.Errorf("step %d, %+v: %v", i+1, s.e, err)
		}
		if err != nil && l.Head() != head {
			t.Errorf("step %d changed the ledger although it failed", i+1)
		}
		if err := l.Check(); err != nil {
			t.Errorf("step %d: %v", i+1, err)
		}
	}
	if got := l.Balance(who); got.Mature != 5000 || got.Reserved != 0 || l.Treasury() != 5000 {
		t.Errorf("%+v, treasury %d", got, l.Treasury())
	}
	if !slices.Equal(l.Halts(), []string{"I2"}) {
		t.Errorf("halts %v", l.Halts())
	}
	if err := l.Apply(&payout.Event{Kind: payout.Lifted, Name: "I2", Text: "seen"}); err != nil || len(l.Halts()) != 0 {
		t.Errorf("halts %v, %v", l.Halts(), err)
	}
}

// What an immature coinbase paid out of mature sats is not free for a batch,
// even where another immature block owes as much again.
func TestReservableExceptsDrains(t *testing.T) {
	l := payout.NewLedger()
	who := payout.Owner{Member: 1}
	block := func(n int, credit, paid int64) {
		r := &payout.Receipt{Rule: payout.RuleUnitPPLNS, Height: int32(n), Reward: max(credit, paid)}
		if credit > 0 {
			r.Credits = append(r.Credits, payout.Credit{Member: 1, Sats: credit})
		}
		if paid > 0 {
			r.Settlement = append(r.Settlement, payout.Payment{Kind: payout.ToMember, Member: 1, Sats: paid, Script: script(1)})
		}
		if rest := r.Reward - paid; rest > 0 {
			r.Settlement = append(r.Settlement, payout.Payment{Kind: payout.ToTreasury, Sats: rest, Script: treasuryScript})
		}
		if rest := r.Reward - credit; rest > 0 {
			r.Fees = []payout.Fee{{Account: "pool", Sats: rest}}
		}
		if err := l.Apply(&payout.Event{Kind: payout.BlockFound, Block: prevHash(n), Receipt: r}); err != nil {
			t.Fatal(err)
		}
	}
	free := func(want int64) {
		t.Helper()
		if got := l.Reservable(who); got != want {
			t.Errorf("%d are free of %+v, want %d", got, l.Balance(who), want)
		}
	}
	block(1, 1000, 0)
	free(0)
	if err := l.Apply(&payout.Event{Kind: payout.BlockMatured, Block: prevHash(1)}); err != nil {
		t.Fatal(err)
	}
	free(1000)
	block(2, 0, 700)
	free(300)
	block(3, 5000, 0)
	free(300)
	if err := l.Apply(&payout.Event{Kind: payout.BatchReserved, Batch: prevHash(9), Lines: []payout.Line{{Owner: who, Sats: 301}}}); !errors.Is(err, payout.ErrLedger) {
		t.Errorf("301 of 300: %v", err)
	}
}

// Batches over the same balances give the same whatever their order, and so do
// blocks: events only add.
func TestOrderOfBatchesDoesNotMatter(t *testing.T) {
	who := []payout.Owner{{Member: 1}, {Member: 2}}
	receipt := &payout.Receipt{
		Rule: payout.RuleUnitPPLNS, Height: 5, Reward: 100, Credits: []payout.Credit{{Member: 1, Sats: 60}, {Member: 2, Sats: 40}},
		Settlement: []payout.Payment{{Kind: payout.ToTreasury, Sats: 100, Script: treasuryScript}},
	}
	blocks := []*payout.Event{
		{Kind: payout.BlockFound, Block: prevHash(1), Receipt: receipt},
		{Kind: payout.BlockFound, Block: prevHash(2), Receipt: receipt},
		{Kind: payout.BlockMatured, Block: prevHash(1)},
		{Kind: payout.BlockMatured, Block: prevHash(2)},
	}
	batch := func(n int, a, b int64) []*payout.Event {
		return []*payout.Event{
			{Kind: payout.BatchReserved, Batch: prevHash(n), Lines: []payout.Line{{Owner: who[0], Sats: a}, {Owner: who[1], Sats: b}}},
			{Kind: payout.BatchPaid, Batch: prevHash(n), Turn: 1, Height: 200, Fee: 3},
		}
	}
	run := func(order ...*payout.Event) map[payout.Owner]payout.Balance {
		l := payout.NewLedger()
		for _, e := range order {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
		state := (&world{ledger: l}).state()
		delete(state, payout.Owner{Account: "head"})
		return state
	}
	x, y := batch(10, 50, 7), batch(11, 20, 70)
	want := run(slices.Concat(blocks, x, y)...)
	for i, order := range [][]*payout.Event{
		slices.Concat(blocks, y, x),
		{blocks[1], blocks[3], blocks[0], blocks[2], y[0], x[0], x[1], y[1]},
		{blocks[0], blocks[1], blocks[3], blocks[2], x[0], y[0], y[1], x[1]},
	} {
		if got := run(order...); !maps.Equal(got, want) {
			t.Errorf("order %d: %v, want %v", i, got, want)
		}
	}
}
