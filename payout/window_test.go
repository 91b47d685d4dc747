package payout_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/payout"
	"cordee/pool"
)

// history is closed slots with their records.
type history [][]payout.Record

func (h history) records(slot uint32) ([]payout.Record, error) { return h[slot-1], nil }

// sums returns a slot's sums as a manifest has them.
func (h history) sums(slot uint32) (list []payout.Sum) {
	for _, r := range h[slot-1] {
		i := slices.IndexFunc(list, func(s payout.Sum) bool { return s.Member == r.Member && s.WorkBits == r.WorkBits })
		if i < 0 {
			i, list = len(list), append(list, payout.Sum{Member: r.Member, WorkBits: r.WorkBits})
		}
		list[i].Difficulty += r.Difficulty
	}
	slices.SortFunc(list, func(a, b payout.Sum) int {
		return (int(a.Member)-int(b.Member))<<33 + int(a.WorkBits) - int(b.WorkBits)
	})
	return list
}

func unitRules() *payout.Rules {
	return &payout.Rules{Version: payout.RuleUnitPPLNS, XMilli: 4000, Scale: 1}
}

func newWindow(t interface{ Fatal(...any) }, r *payout.Rules, h history, first uint32) *payout.Window {
	w, err := payout.NewWindow(r)
	if err != nil {
		t.Fatal(err)
	}
	for n := first; int(n) <= len(h); n++ {
		if err := w.AddSlot(n, h.sums(n)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// text returns all of w, for comparison.
func text(w *payout.Weights) string {
	edge := payout.Edge{}
	if w.Edge != nil {
		edge = *w.Edge
	}
	return fmt.Sprint(w.Cut, w.First, w.Capacity, w.Total, w.Members, edge)
}

func drawHistory(t *rapid.T) history {
	h := make(history, rapid.IntRange(1, 200).Draw(t, "slots"))
	bits := rapid.SliceOfN(rapid.SampledFrom([]uint32{0x1d00ffff, 0x1c7fff80, 0x1c3fffc0, 0x1d00c0de}), 1, 3).Draw(t, "bits")
	for i := range h {
		for range rapid.IntRange(0, 4).Draw(t, "shares") {
			h[i] = append(h[i], payout.Record{
				Member:     rapid.SampledFrom([]uint16{0, 1, 2, 90}).Draw(t, "member"),
				WorkBits:   bits[i*len(bits)/len(h)],
				Difficulty: rapid.Uint64Range(1, 3).Draw(t, "difficulty"),
			})
		}
	}
	return h
}

// A window that forgot what it may forget, or was started late, gives every cut
// it still covers as the whole one does, and refuses every other.
func TestTrimmedWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		rules := unitRules()
		rules.XMilli = rapid.Uint64Range(1, 60_000).Draw(t, "window")
		whole := newWindow(t, rules, h, 1)
		keep := rapid.Uint32Range(0, uint32(len(h)+2)).Draw(t, "keep")
		first := rapid.Uint32Range(1, uint32(len(h))).Draw(t, "first")
		trimmed, late := newWindow(t, rules, h, 1), newWindow(t, rules, h, first)
		trimmed.Trim(keep)
		for cut := uint32(0); int(cut) <= len(h)+1; cut++ {
			want, err := whole.Weights(cut, h.records)
			if (err != nil) != (int(cut) > len(h)) {
				t.Fatalf("cut %d: %v", cut, err)
			}
			for name, w := range map[string]*payout.Window{"trimmed": trimmed, "late": late} {
				got, err := w.Weights(cut, h.records)
				switch {
				case err != nil && !errors.Is(err, payout.ErrWindow):
					t.Fatalf("%s: cut %d: %v", name, cut, err)
				case err != nil && name == "trimmed" && cut >= keep && want != nil:
					t.Fatalf("trimmed for cuts from %d: cut %d: %v", keep, cut, err)
				case err == nil && text(got) != text(want):
					t.Fatalf("%s: cut %d: %s, want %s", name, cut, text(got), text(want))
				}
			}
		}
		if trimmed.Newest() != uint32(len(h)) || late.Newest() != uint32(len(h)) {
			t.Fatalf("newest %d, %d of %d", trimmed.Newest(), late.Newest(), len(h))
		}
	})
}

// A window in steady use keeps about a window of slots.
func TestTrimForgets(t *testing.T) {
	h := make(history, 5000)
	for i := range h {
		h[i] = []payout.Record{{Member: uint16(i % 7), WorkBits: 0x1d00ffff, Difficulty: 1}}
	}
	rules := unitRules()
	rules.XMilli = 100_000 // 100 slots
	w, err := payout.NewWindow(rules)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint32(len(h)) {
		if err := w.AddSlot(n+1, h.sums(n+1)); err != nil {
			t.Fatal(err)
		}
		w.Trim(n + 1)
	}
	if _, err := w.Weights(4700, h.records); !errors.Is(err, payout.ErrWindow) {
		t.Errorf("a cut 300 slots ago: %v", err)
	}
	got, err := w.Weights(5000, h.records)
	if err != nil || got.First != 4901 || got.Total.Cmp(got.Capacity) != 0 || got.Edge != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWindowRefusals(t *testing.T) {
	h := history{
		{{Member: 1, WorkBits: 0x1d00ffff, Difficulty: 9}, {Member: 2, WorkBits: 0x1d00ffff, Difficulty: 9}},
		{{Member: 1, WorkBits: 0x1d00ffff, Difficulty: 1}},
	}
	w := newWindow(t, unitRules(), h, 1)
	good, err := w.Weights(2, h.records)
	if err != nil || good.Edge == nil || good.Edge.Slot != 1 || good.Edge.Record != 1 {
		t.Fatalf("%+v, %v", good, err)
	}
	one := func(member uint16, bits uint32, d uint64) payout.Sum {
		return payout.Sum{Member: member, WorkBits: bits, Difficulty: d}
	}
	for what, c := range map[string]struct {
		number uint32
		work   []payout.Sum
	}{
		"slot 0":               {0, nil},
		"a slot again":         {2, nil},
		"a slot left out":      {4, nil},
		"a zero sum":           {3, []payout.Sum{one(1, 0x1d00ffff, 0)}},
		"members out of order": {3, []payout.Sum{one(2, 0x1d00ffff, 1), one(1, 0x1d00ffff, 1)}},
		"a sum twice":          {3, []payout.Sum{one(1, 0x1d00ffff, 1), one(1, 0x1d00ffff, 1)}},
		"bits out of order":    {3, []payout.Sum{one(1, 0x1d00ffff, 1), one(1, 0x1c7fff80, 1)}},
		"negative nBits":       {3, []payout.Sum{one(1, 0x1d80ffff, 1)}},
	} {
		if err := w.AddSlot(c.number, c.work); !errors.Is(err, payout.ErrWindow) {
			t.Errorf("%s: %v", what, err)
		}
	}
	stop := errors.New("disk")
	for what, list := range map[string][]payout.Record{
		"no records":         nil,
		"a record too few":   h[0][:1],
		"a record too many":  append(slices.Clip(h[0]), h[0][0]),
		"another member":     {{Member: 1, WorkBits: 0x1d00ffff, Difficulty: 9}, {Member: 3, WorkBits: 0x1d00ffff, Difficulty: 9}},
		"another target":     {h[0][0], {Member: 2, WorkBits: 0x1c7fff80, Difficulty: 9}},
		"work moved over":    {{Member: 1, WorkBits: 0x1d00ffff, Difficulty: 8}, {Member: 2, WorkBits: 0x1d00ffff, Difficulty: 10}},
		"a record of 0":      append(slices.Clip(h[0]), payout.Record{Member: 1, WorkBits: 0x1d00ffff}),
		"an unreadable file": {{Member: 9}},
	} {
		_, err := w.Weights(2, func(uint32) ([]payout.Record, error) {
			if what == "an unreadable file" {
				return nil, stop
			}
			return list, nil
		})
		if what == "an unreadable file" && errors.Is(err, stop) {
			continue
		}
		if !errors.Is(err, payout.ErrWindow) {
			t.Errorf("%s: %v", what, err)
		}
	}
	again, err := w.Weights(2, h.records)
	if err != nil || text(again) != text(good) {
		t.Errorf("after refusals: %+v, %v", again, err)
	}
}

// Difficulties near 2^64 in one epoch sum past 64 bits, weights past 2^320.
func TestHugeWork(t *testing.T) {
	var h history
	for range 40 {
		h = append(h, []payout.Record{{Member: 1, WorkBits: 0x2100ffff, Difficulty: math.MaxUint64}, {Member: math.MaxUint16, WorkBits: 0x207fffff, Difficulty: math.MaxUint64}})
	}
	// One record of each member fits a manifest's 64 bits; 40 slots do not.
	rules := unitRules()
	rules.XMilli, rules.Scale = math.MaxUint64, pool.Scale(math.MaxUint64)
	w := newWindow(t, rules, h, 1)
	got, err := w.Weights(40, h.records)
	if err != nil {
		t.Fatal(err)
	}
	for i, bits := range []uint32{0x2100ffff, 0x207fffff} {
		target, err := pool.TargetFromBits(bits)
		if err != nil {
			t.Fatal(err)
		}
		want := new(big.Int).Mul(target.Big(), new(big.Int).Mul(big.NewInt(40), new(big.Int).SetUint64(math.MaxUint64)))
		if got.Members[i].Units.Cmp(want) != 0 {
			t.Errorf("member %d: %s, want %s", got.Members[i].Member, got.Members[i].Units, want)
		}
	}
	if got.Total.BitLen() < 320 {
		t.Errorf("only %d bits", got.Total.BitLen())
	}
	split, err := rules.Split(21e14, chainhash.Hash{1}, got, name)
	if err != nil || split.Credits[0].Sats+split.Credits[1].Sats != 21e14 {
		t.Errorf("%+v, %v", split, err)
	}
}

func name(m uint16) string { return fmt.Sprint("m", m) }

// thirtyDays is 200 members over 30 days of slots of a minute, and the 200 000
// records of the slot in which the window ends.
func thirtyDays(b *testing.B) (*payout.Rules, *payout.Window, payout.Records) {
	const slots, members = 43_200 + 120, 200
	epochs := []uint32{0x17022c8e, 0x17021fc5, 0x17020a10}
	r := rand.New(rand.NewPCG(1, 2))
	records := make([]payout.Record, 200_000)
	for i := range records {
		records[i] = payout.Record{Member: uint16(1 + i%members), WorkBits: epochs[0], Difficulty: 1 << (20 + r.IntN(4))}
	}
	first := history{records}
	rules := &payout.Rules{Version: payout.RuleUnitPPLNS, XMilli: 1, Scale: 1} // a thousandth of a block is less than a slot
	work := make([]payout.Sum, members)
	// What slots 60 to the last weigh is the size that ends in slot 60.
	total := new(big.Int)
	sumsOf := func(n uint32) []payout.Sum {
		if n == 60 {
			return first.sums(1)
		}
		for m := range work {
			work[m] = payout.Sum{Member: uint16(m + 1), WorkBits: epochs[int(n)*len(epochs)/(slots+1)], Difficulty: 1<<32 + uint64(m)<<20 + uint64(n)}
		}
		return work
	}
	for n := uint32(60); n <= slots; n++ {
		for _, s := range sumsOf(n) {
			target, err := pool.TargetFromBits(s.WorkBits)
			if err != nil {
				b.Fatal(err)
			}
			v := new(big.Int).Mul(new(big.Int).SetUint64(s.Difficulty), target.Big())
			if n == 60 {
				v.Rsh(v, 1) // half of it is inside
			}
			total.Add(total, v)
		}
	}
	one := rules.Capacity()
	rules.XMilli = total.Div(total, one).Uint64()
	w, err := payout.NewWindow(rules)
	if err != nil {
		b.Fatal(err)
	}
	for n := uint32(1); n <= slots; n++ {
		if err := w.AddSlot(n, sumsOf(n)); err != nil {
			b.Fatal(err)
		}
	}
	return rules, w, func(slot uint32) ([]payout.Record, error) {
		if slot != 60 {
			b.Fatalf("the window ends in slot %d", slot)
		}
		return records, nil
	}
}

func BenchmarkSplit200Members30Days(b *testing.B) {
	rules, w, records := thirtyDays(b)
	for b.Loop() {
		weights, err := w.Weights(w.Newest(), records)
		if err != nil {
			b.Fatal(err)
		}
		split, err := rules.Split(312_500_000, chainhash.Hash{7}, weights, name)
		if err != nil || len(split.Credits) != 200 {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddSlot200Members(b *testing.B) {
	_, w, _ := thirtyDays(b)
	work := make([]payout.Sum, 200)
	for m := range work {
		work[m] = payout.Sum{Member: uint16(m + 1), WorkBits: 0x17020a10, Difficulty: 1 << 33}
	}
	for b.Loop() {
		if err := w.AddSlot(w.Newest()+1, work); err != nil {
			b.Fatal(err)
		}
	}
}
