package payout_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/payout"
)

// drawWeights draws a window's content without a window.
func drawWeights(t *rapid.T, n int) *payout.Weights {
	w := &payout.Weights{Cut: 9, Capacity: new(big.Int), Total: new(big.Int)}
	same := rapid.Bool().Draw(t, "equal weights")
	shift := rapid.UintRange(0, 300).Draw(t, "shift")
	for i := range n {
		v := uint64(3)
		if !same {
			v = rapid.Uint64Min(1).Draw(t, "weight")
		}
		units := new(big.Int).Lsh(new(big.Int).SetUint64(v), shift)
		w.Members = append(w.Members, payout.Weight{Member: uint16(i + 1), Units: units})
		w.Total.Add(w.Total, units)
	}
	w.Capacity.Add(w.Total, new(big.Int).Lsh(new(big.Int).SetUint64(rapid.Uint64().Draw(t, "missing")), shift))
	return w
}

// The law of largest remainders: exact sum, nobody a whole sat from the exact
// share, whoever gets the odd sat has a remainder at least as large as whoever
// does not, ties by hash.
func TestSplitLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWeights(t, rapid.IntRange(1, 40).Draw(t, "members"))
		rules := unitRules()
		rules.Underfill = payout.Underfill(rapid.IntRange(0, 1).Draw(t, "underfill"))
		rules.Fees = []payout.FeeRule{{Account: "pool", BP: rapid.IntRange(0, 5000).Draw(t, "bp")}, {Account: "node", BP: rapid.IntRange(0, 5000).Draw(t, "bp")}}
		reward := rapid.OneOf(rapid.Int64Range(0, 50), rapid.Int64Range(0, 21e14)).Draw(t, "reward")
		prev := chainhash.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "prev"))
		s, err := rules.Split(reward, prev, w, name)
		if err != nil {
			t.Fatal(err)
		}
		sum, total := s.Reserve+s.Unallocated, new(big.Int).Set(w.Total)
		if rules.Underfill == payout.ReserveMissed {
			total.Set(w.Capacity)
		}
		for i, f := range s.Fees {
			sum += f.Sats
			exact := new(big.Int).Mul(big.NewInt(reward), big.NewInt(int64(rules.Fees[i].BP)))
			if exact.Div(exact, big.NewInt(10000)).Int64() != f.Sats {
				t.Fatalf("fee %+v of %d", f, reward)
			}
		}
		type odd struct {
			rest *big.Int
			key  [32]byte
			won  bool
		}
		var odds []odd
		for i, c := range s.Credits {
			sum += c.Sats
			q, r := new(big.Int).DivMod(new(big.Int).Mul(big.NewInt(s.Distributable), w.Members[i].Units), total, new(big.Int))
			extra := c.Sats - q.Int64()
			if extra < 0 || extra > 1 || extra == 1 && r.Sign() == 0 {
				t.Fatalf("member %d gets %d, exact is %s and %s / %s", c.Member, c.Sats, q, r, total)
			}
			odds = append(odds, odd{r, sha256.Sum256([]byte(prev.String() + ":" + name(c.Member))), extra == 1})
		}
		if sum != reward {
			t.Fatalf("%d of %d", sum, reward)
		}
		for _, a := range odds {
			for _, b := range odds {
				if c := a.rest.Cmp(b.rest); a.won && !b.won && (c < 0 || c == 0 && bytes.Compare(a.key[:], b.key[:]) > 0) {
					t.Fatalf("the odd sat went to a remainder of %s before %s", a.rest, b.rest)
				}
			}
		}
	})
}

func TestSplitOfNothing(t *testing.T) {
	rules := unitRules()
	rules.Underfill = payout.ReserveMissed
	rules.Fees = []payout.FeeRule{{Account: "pool", BP: 100}}
	empty := &payout.Weights{Capacity: big.NewInt(5), Total: new(big.Int)}
	s, err := rules.Split(10_001, chainhash.Hash{}, empty, name)
	if err != nil || s.Unallocated != 9901 || s.Reserve != 0 || s.Fees[0].Sats != 100 || len(s.Credits) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSplitRefusals(t *testing.T) {
	two := func() *payout.Weights {
		return &payout.Weights{Capacity: big.NewInt(9), Total: big.NewInt(9), Members: []payout.Weight{{Member: 0, Units: big.NewInt(4)}, {Member: 2, Units: big.NewInt(5)}}}
	}
	nameless := func(uint16) string { return "" }
	same := func(uint16) string { return "ferme" }
	parked := func(m uint16) string { return map[uint16]string{2: "ferme"}[m] }
	negative := two()
	negative.Members[0].Units.SetInt64(-4)
	for what, c := range map[string]struct {
		reward int64
		w      *payout.Weights
		id     func(uint16) string
	}{
		"a negative reward":    {-1, two(), name},
		"more than all money":  {21e14 + 1, two(), name},
		"a member not named":   {9, two(), nameless},
		"two of one name":      {9, two(), same},
		"a negative weight":    {9, negative, name},
		"weights without work": {9, &payout.Weights{Capacity: big.NewInt(9), Total: new(big.Int), Members: []payout.Weight{{Member: 2, Units: new(big.Int)}}}, name},
	} {
		if s, err := unitRules().Split(c.reward, chainhash.Hash{}, c.w, c.id); !errors.Is(err, payout.ErrSplit) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	if s, err := unitRules().Split(9, chainhash.Hash{}, two(), parked); err != nil || s.Credits[0].Sats != 4 {
		t.Errorf("parked work: %+v, %v", s, err)
	}
}

func TestRulesRefusals(t *testing.T) {
	good := func() *payout.Rules {
		return &payout.Rules{
			Version: 1, XMilli: 4000, Scale: 1024, MinPayout: 20_000,
			Fees: []payout.FeeRule{{Account: "pool", BP: 9000, Script: script(1)}, {Account: "node", BP: 1000}},
		}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*payout.Rules){
		"version 0":               func(r *payout.Rules) { r.Version = 0 },
		"version 2":               func(r *payout.Rules) { r.Version = 2 },
		"no window":               func(r *payout.Rules) { r.XMilli = 0 },
		"no scale":                func(r *payout.Rules) { r.Scale = 0 },
		"an underfill":            func(r *payout.Rules) { r.Underfill = 2 },
		"a negative minimum":      func(r *payout.Rules) { r.MinPayout = -1 },
		"negative outputs":        func(r *payout.Rules) { r.MaxOutputs = -1 },
		"fees above all":          func(r *payout.Rules) { r.Fees[0].BP++ },
		"a negative fee":          func(r *payout.Rules) { r.Fees[0].BP = -1 },
		"a nameless fee":          func(r *payout.Rules) { r.Fees[1].Account = "" },
		"a fee twice":             func(r *payout.Rules) { r.Fees[1].Account = "pool" },
		"a fee named reserve":     func(r *payout.Rules) { r.Fees[1].Account = "reserve" },
		"a fee named unallocated": func(r *payout.Rules) { r.Fees[1].Account = "unallocated" },
		"addresses behind none":   func(r *payout.Rules) { slices.Reverse(r.Fees) },
	} {
		r := good()
		spoil(r)
		if err := r.Check(); !errors.Is(err, payout.ErrRules) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := payout.NewWindow(r); !errors.Is(err, payout.ErrRules) {
			t.Errorf("%s: a window of it: %v", what, err)
		}
	}
}

// Legs sum to what is divided, none is below its dust beside the largest.
func TestDestinations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var legs []payout.Leg
		left := 10_000
		n := rapid.IntRange(1, 5).Draw(t, "legs")
		for i := range n {
			bp := left
			if i < n-1 {
				bp = rapid.IntRange(0, left).Draw(t, "bp")
			}
			left -= bp
			legs = append(legs, payout.Leg{Address: fmt.Sprint("a", i), Script: script(byte(i)), BP: bp})
		}
		sats := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, 21e14)).Draw(t, "sats")
		got, err := payout.Destinations(sats, chainhash.Hash{3}, legs)
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for i, v := range got {
			sum += v
			if v != 0 && v < payout.Dust(legs[i].Script) && v != sats {
				t.Fatalf("leg %d of %v is dust", i, got)
			}
		}
		if sum != sats {
			t.Fatalf("%v of %d", got, sats)
		}
		legs[0].BP++
		if _, err := payout.Destinations(sats, chainhash.Hash{3}, legs); !errors.Is(err, payout.ErrRules) {
			t.Fatalf("10001 basis points: %v", err)
		}
	})
	twice := []payout.Leg{{Address: "a", Script: script(1), BP: 5000}, {Address: "b", Script: script(1), BP: 5000}}
	if _, err := payout.Destinations(9, chainhash.Hash{}, twice); !errors.Is(err, payout.ErrRules) {
		t.Errorf("one script twice: %v", err)
	}
}
