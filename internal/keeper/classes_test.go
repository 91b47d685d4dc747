package keeper

import (
	"testing"

	"cordee/payout"
	"cordee/pool"
)

// direct counts the members that a receipt pays.
func direct(r *payout.Receipt) int {
	n := 0
	for _, p := range r.Settlement {
		if p.Kind == payout.ToMember {
			n++
		}
	}
	return n
}

// Of two jobs on one template, a class that pays all and one that carries most,
// the ledger takes what the mined coinbase says: in either order, whether the
// candidate brought its receipt or it has to be found by the commitment, in
// memory or in the journal. And what one class carried the other pays.
func TestSettlementIsOfTheMinedClass(t *testing.T) {
	for _, keep := range []bool{true, false} {
		for _, restarts := range []bool{false, true} {
			kt := newKit(t, 30, nil)
			kt.keepRec = keep
			kt.chain.foreign(kt.chain.tip, 2)
			for m := range uint16(30) {
				kt.work(3, m+1)
			}
			kt.close()
			for round, class := range []pool.Class{pool.DefaultClass, pool.LargeClass, pool.TinyClass, pool.HugeClass} {
				kt.cover()
				tpl := kt.template(kt.chain.tip, 50e8)
				jobs, receipts := map[uint8]*pool.Job{}, map[uint8]*payout.Receipt{}
				for _, c := range pool.Classes {
					jobs[c.ID], receipts[c.ID] = kt.jobOn(tpl, c)
				}
				if d, l := direct(receipts[pool.DefaultClass.ID]), direct(receipts[pool.LargeClass.ID]); d == 0 || d > 9 || l < 2*d || round == 0 && l != 29 {
					t.Fatalf("class default pays %d members, class large %d", d, l)
				}
				before := map[uint16]payout.Balance{}
				for m := range uint16(30) {
					before[m+1] = kt.k.ledger.Balance(payout.Owner{Member: m + 1})
				}
				r := receipts[class.ID]
				hash := kt.mine(jobs[class.ID], r)
				if restarts {
					kt.restart()
				}
				kt.cover()
				b, known := kt.k.ledger.Block(hash)
				if !known || b.Receipt.Class != class.ID || len(kt.k.Halts()) != 0 {
					t.Fatalf("round %d: known %v, halts %v", round, known, kt.k.Halts())
				}
				credited, paid := map[uint16]int64{}, map[uint16]int64{}
				for _, c := range r.Credits {
					credited[c.Member] += c.Sats
				}
				for _, p := range r.Settlement {
					paid[p.Member] += p.Sats
				}
				for m := range uint16(30) {
					got, was := kt.k.ledger.Balance(payout.Owner{Member: m + 1}), before[m+1]
					if got.Immature+got.Mature-was.Immature-was.Mature != credited[m+1]-paid[m+1] || got.Paid-was.Paid != paid[m+1] {
						t.Fatalf("class %s, member %d: %+v, then %+v; credited %d, paid %d", class.Name, m+1, was, got, credited[m+1], paid[m+1])
					}
				}
				if class == pool.TinyClass && len(r.Settlement) > 0 {
					for _, p := range r.Settlement {
						if p.Kind == payout.ToFee {
							t.Error("a fee is paid in the tiny class")
						}
					}
				}
			}
		}
	}
}

// A split is computed once for all classes, and again for another cut or another
// template of the same parent: a receipt never cites a slot that it is not of.
func TestSplitIsOfItsCutAndTemplate(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.work(3, 1, 2)
	kt.close()
	tpl := kt.template(kt.chain.tip, 50e8)
	_, first := kt.jobOn(tpl, pool.DefaultClass)
	_, other := kt.jobOn(tpl, pool.LargeClass)
	if first.CreditsRoot() != other.CreditsRoot() {
		t.Error("credits of two classes differ")
	}
	kt.work(3, 3, 3, 3)
	kt.close()
	_, next := kt.jobOn(tpl, pool.DefaultClass)
	if next.Slot != 2 || len(first.Credits) != 2 || len(next.Credits) != 3 {
		t.Errorf("slot %d credits %d members, then slot %d credits %d", first.Slot, len(first.Credits), next.Slot, len(next.Credits))
	}
	_, less := kt.jobOn(kt.template(kt.chain.tip, 25e8), pool.DefaultClass)
	if less.Reward != 25e8 || len(less.Credits) != 3 || less.Credits[0].Sats*2 > next.Credits[0].Sats+2 {
		t.Errorf("of another value: %+v", less.Credits)
	}
}

// What pages call expected is of the largest class of the newest template,
// whichever came last, and follows a newer template and a newer cut.
func TestExpectedIsOfTheLargestClass(t *testing.T) {
	kt := newKit(t, 30, nil)
	for m := range uint16(30) {
		kt.work(3, m+1)
	}
	kt.close()
	paid := func() (n int) {
		for _, m := range kt.k.Status().Members {
			if m.Direct > 0 {
				n++
			}
		}
		return n
	}
	look := func(when, class string, most int) {
		t.Helper()
		s := kt.k.Status()
		if n := paid(); s.Class != class || n > most || n < most-4 {
			t.Errorf("%s: class %q, %d members paid directly", when, s.Class, n)
		}
		if s.Members[0].Expected == 0 {
			t.Errorf("%s: nothing is expected", when)
		}
	}
	tpl := kt.template(kt.chain.tip, 50e8)
	for _, c := range []pool.Class{pool.DefaultClass, pool.LargeClass, pool.TinyClass} {
		kt.jobOn(tpl, c)
	}
	look("large in use", "large", 29)
	kt.jobOn(tpl, pool.DefaultClass)
	look("the next issue, up to now", "large", 29)
	kt.work(3, 1)
	kt.close()
	kt.jobOn(tpl, pool.DefaultClass)
	look("a new cut, large is gone", "default", 9)
	kt.jobOn(kt.template(kt.chain.tip, 50e8), pool.TinyClass)
	look("a new template", "tiny", 1)
}
