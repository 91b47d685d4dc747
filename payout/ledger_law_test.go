package payout

import (
	"errors"
	"testing"
)

// Check sees every law broken by a single sat.
func TestLedgerCheckCanFail(t *testing.T) {
	build := func() *Ledger {
		l := NewLedger()
		for _, e := range []*Event{
			{Kind: BlockFound, Block: [32]byte{1}, Receipt: &Receipt{
				Rule: RuleUnitPPLNS, Height: 5, Reward: 100, Credits: []Credit{{Member: 1, Sats: 60}, {Member: 2, Sats: 40}},
				Settlement: []Payment{{Kind: ToMember, Member: 1, Sats: 50, Script: []byte{1}}, {Kind: ToTreasury, Sats: 50, Script: []byte{2}}},
			}},
			{Kind: BlockMatured, Block: [32]byte{1}},
			{Kind: BatchReserved, Batch: [32]byte{2}, Lines: []Line{{Owner{Member: 2}, 30}}},
		} {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	if err := build().Check(); err != nil {
		t.Fatal(err)
	}
	one, two := Owner{Member: 1}, Owner{Member: 2}
	for what, spoil := range map[string]func(*Ledger){
		"a sat of maturity too many": func(l *Ledger) { l.balances[one].Mature++ },
		"a sat moved to another":     func(l *Ledger) { l.balances[one].Mature--; l.balances[two].Mature++ },
		"a reservation lost":         func(l *Ledger) { l.balances[two].Reserved-- },
		"a sat paid that was not":    func(l *Ledger) { l.balances[one].Paid++; l.balances[one].Mature-- },
		"an owner lost":              func(l *Ledger) { delete(l.balances, two) },
		"an owner invented":          func(l *Ledger) { l.balances[Owner{Member: 3}] = &Balance{Mature: 1} },
		"a treasury short of a sat":  func(l *Ledger) { l.totals[PurseTreasury]--; l.totals[PurseOutside]++ },
		"coins from nowhere":         func(l *Ledger) { l.totals[PurseOutside]++ },
		"claims from nowhere":        func(l *Ledger) { l.totals[PurseMined]++ },
		"another waiting time":       func(l *Ledger) { l.balances[one].Since++ },
		"a block forgotten":          func(l *Ledger) { delete(l.blocks, [32]byte{1}) },
		"a member overpaid": func(l *Ledger) {
			l.blocks[[32]byte{1}].moves[0].paid += 20
			l.balances[one].Paid += 20
			l.balances[one].Mature -= 20
		},
	} {
		l := build()
		spoil(l)
		if err := l.Check(); !errors.Is(err, ErrLedger) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := checkPostings([]Posting{{PurseMined, Owner{}, -5}, {PurseImmature, one, 4}}); !errors.Is(err, ErrLedger) {
		t.Errorf("an event that loses a sat: %v", err)
	}
}
