package keeper

import (
	"fmt"
	"testing"
	"time"

	"cordee/payout"
)

// month makes kt's window 30 days of minutes with 200 members.
func month(tb testing.TB) *kit { return window(tb, 200, 30*24*60) }

// window makes kt's window so many slots with so many members.
func window(tb testing.TB, members int, slots uint32) *kit {
	tb.Helper()
	kt := newKit(tb, members, nil)
	rules := testRules
	rules.XMilli = 1 << 40
	kt.k.cfg.Rules = rules
	w, err := payout.NewWindow(&rules)
	if err != nil {
		tb.Fatal(err)
	}
	sums := make([]payout.Sum, members)
	for n := range slots {
		for m := range sums {
			sums[m] = payout.Sum{Member: uint16(m + 1), WorkBits: testBits, Difficulty: uint64(n%7) + uint64(m) + 1}
		}
		if err := w.AddSlot(n+1, sums); err != nil {
			tb.Fatal(err)
		}
	}
	weights, err := w.Weights(slots, nil)
	if err != nil {
		tb.Fatal(err)
	}
	kt.k.cut.Store(&cut{slot: slots, head: [32]byte{1}, weights: weights})
	return kt
}

// BenchmarkPayout is a new template to its receipt, at most 5 ms at 200 members
// and a window of 30 days.
func BenchmarkPayout(b *testing.B) {
	kt := month(b)
	kt.chain.foreign(kt.chain.tip, 2)
	tpl := kt.template(kt.chain.tip, 50e8)
	for b.Loop() {
		fresh := *tpl // a split is kept for its template
		if _, _, err := kt.k.Payout(&fresh, largeClass); err != nil {
			b.Fatal(err)
		}
	}
	if took := b.Elapsed() / time.Duration(b.N); took > 5*time.Millisecond {
		b.Errorf("%v, 5 ms are allowed", took)
	}
}

// BenchmarkPayoutByMembers is the same by how many they are. The window's length
// does not matter to it: its sums are kept.
func BenchmarkPayoutByMembers(b *testing.B) {
	for _, members := range []int{10, 50, 200, 1000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			kt := window(b, members, 100)
			kt.chain.foreign(kt.chain.tip, 2)
			tpl := kt.template(kt.chain.tip, 50e8)
			for b.Loop() {
				fresh := *tpl // a split is kept for its template
				if _, _, err := kt.k.Payout(&fresh, largeClass); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCredit is a block of ours in the chain to its credits on disk, at
// most 100 ms at 200 members.
func BenchmarkCredit(b *testing.B) {
	kt := month(b)
	kt.chain.foreign(kt.chain.tip, 2)
	for b.Loop() {
		b.StopTimer()
		kt.block(50e8, largeClass)
		b.StartTimer()
		if err := kt.k.Follow(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if n := len(kt.k.ledger.Blocks()); n < b.N {
		b.Fatalf("%d of %d blocks are credited", n, b.N)
	}
}
