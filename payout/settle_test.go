package payout_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/payout"
	"cordee/pool"
)

func member(i int) payout.Member {
	id := fmt.Sprint("m", i)
	h := sha256.Sum256([]byte(id))
	return payout.Member{ID: id, Legs: []payout.Leg{{Address: id, Script: append([]byte{0x00, 0x14}, h[:20]...), BP: 10_000}}}
}

func prevHash(n int) chainhash.Hash { return sha256.Sum256(fmt.Append(nil, "prev", n)) }

var treasuryScript = append([]byte{0x00, 0x20}, make([]byte, 32)...)

// zipf is a window in which member i (from 1) has a share like 1/i.
func zipf(n int) *payout.Weights {
	w := &payout.Weights{Cut: 1, First: 1, Total: new(big.Int)}
	for i := 1; i <= n; i++ {
		units := big.NewInt(1_000_000_000_000 / int64(i))
		w.Members = append(w.Members, payout.Weight{Member: uint16(i), Units: units})
		w.Total.Add(w.Total, units)
	}
	w.Capacity = w.Total
	return w
}

// What the selection rule was chosen for (spec: carry of 4.3 rewards and 98.6 %
// paid directly with 17 outputs, 1.1 and 99.6 % with 47; the longest waiting
// alone would leave 63 rewards and 79 %).
func TestSelectionKeepsTheTreasurySmall(t *testing.T) {
	const blocks, reward = 300, 312_500_000
	members := make(map[uint16]payout.Member)
	for i := 1; i <= 200; i++ {
		members[uint16(i)] = member(i)
	}
	w := zipf(200)
	for _, c := range []struct {
		outputs        int
		carry, direct  int64 // in thousandths: of a reward, of what was earned
		slack, slackPM int64
	}{
		{17, 4300, 986, 400, 3},
		{47, 1100, 996, 200, 3},
	} {
		rules := &payout.Rules{Version: payout.RuleUnitPPLNS, XMilli: 4000, Scale: 1024, MinPayout: 20_000, MaxOutputs: c.outputs}
		ledger := payout.NewLedger()
		var paid int64
		for n := range blocks {
			prev := prevHash(n)
			split, err := rules.Split(reward, prev, w, name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := rules.Receipt(&payout.Order{
				Template: &pool.Template{Height: int32(900_000 + n), PrevHash: prev, Value: reward},
				Class:    pool.Class{ID: 2, MaxCoinbase: 6500}, ScriptSig: pool.MaxScriptSig, Split: split, Slot: 1, Drain: true,
				LedgerHead: ledger.Head(), Carry: ledger.Carry(), Members: members, Treasury: treasuryScript,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := ledger.Apply(&payout.Event{Kind: payout.BlockFound, Block: prevHash(n + 1), Receipt: r}); err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Settlement {
				if p.Kind == payout.ToMember {
					paid += p.Sats
				}
			}
		}
		if err := ledger.Check(); err != nil {
			t.Fatal(err)
		}
		carry, direct := ledger.Treasury()*1000/reward, paid*1000/(blocks*reward)
		t.Logf("%d outputs: carry %d thousandths of a reward, %d thousandths paid directly", c.outputs, carry, direct)
		if carry > c.carry+c.slack || carry < c.carry-c.slack || direct < c.direct-c.slackPM {
			t.Errorf("%d outputs: carry %d, direct %d", c.outputs, carry, direct)
		}
	}
}

// drawOrder draws an order over a random register, carry, class and template.
func drawOrder(t *rapid.T) (*payout.Rules, *payout.Order) {
	rules := &payout.Rules{
		Version: payout.RuleUnitPPLNS, XMilli: 4000, Scale: 1024,
		MinPayout: rapid.Int64Range(0, 2_000_000).Draw(t, "min"), MaxOutputs: rapid.IntRange(0, 30).Draw(t, "max outputs"),
		Underfill: payout.Underfill(rapid.IntRange(0, 1).Draw(t, "underfill")),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "fees") {
		f := payout.FeeRule{Account: fmt.Sprint("fee", i), BP: rapid.IntRange(0, 500).Draw(t, "bp")}
		if i == 0 && rapid.Bool().Draw(t, "fee address") {
			f.Script = script(200)
		}
		rules.Fees = append(rules.Fees, f)
	}
	w := drawWeights(t, rapid.IntRange(0, 40).Draw(t, "members"))
	prev := prevHash(rapid.IntRange(0, 99).Draw(t, "prev"))
	reward := rapid.OneOf(rapid.Int64Range(0, 2000), rapid.Int64Range(0, 500_000_000)).Draw(t, "reward")
	split, err := rules.Split(reward, prev, w, name)
	if err != nil {
		t.Fatal(err)
	}
	o := &payout.Order{
		Template:  &pool.Template{Height: 900_000, PrevHash: prev, Value: reward},
		Class:     pool.Class{ID: 1, MaxCoinbase: rapid.IntRange(300, 3000).Draw(t, "class")},
		ScriptSig: rapid.IntRange(64, pool.MaxScriptSig).Draw(t, "scriptSig"), Split: split, Slot: 9,
		Drain: rapid.Bool().Draw(t, "drain"), KeepFees: rapid.Bool().Draw(t, "keep fees"),
		Carry: make(map[uint16]payout.Carry), Members: make(map[uint16]payout.Member), Treasury: treasuryScript,
	}
	if rapid.Bool().Draw(t, "full template") {
		room := rapid.Int64Range(2000, 9000).Draw(t, "room")
		o.Template.Txs = []pool.Tx{{Weight: pool.MaxBlockWeight - room}}
	}
	for i := range 45 {
		m := member(i)
		switch rapid.IntRange(0, 5).Draw(t, "legs") {
		case 0:
			m.Legs = nil
		case 1:
			second := payout.Leg{Address: "second", Script: append([]byte{0x51, 0x20}, make([]byte, 32)...), BP: 2500}
			second.Script[2] = byte(i)
			m.Legs[0].BP = 7500
			m.Legs = append(m.Legs, second)
		}
		o.Members[uint16(i)] = m
		if i > 0 && rapid.Bool().Draw(t, "carries") {
			o.Carry[uint16(i)] = payout.Carry{Sats: rapid.Int64Range(1, 30_000_000).Draw(t, "carry"), Since: rapid.Int32Range(899_000, 899_999).Draw(t, "since")}
		}
	}
	return rules, o
}

// Whatever the order: the coinbase pays exactly the template's value, fits its
// class and block, pays nobody more than he is owed (than this block's credit
// where carry is not drained), nothing below the minimum, and the carry that
// remains is what the treasury gets.
func TestReceiptLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, o := drawOrder(t)
		before := maps.Clone(o.Carry)
		r, err := rules.Receipt(o)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(before, o.Carry) {
			t.Fatal("the order's carry was changed")
		}
		p := r.Payout()
		if sum, err := p.Sum(); err != nil || sum != o.Template.Value {
			t.Fatalf("outputs of %d, %v; the value is %d", sum, err, o.Template.Value)
		}
		if again, err := r.Encode(); err != nil || len(again) == 0 {
			t.Fatal(err)
		}
		size := 4 + 1 + 36 + 1 + o.ScriptSig + 4 + 1 + 47 + 4
		credits, paid := make(map[uint16]int64), make(map[uint16]int64)
		for _, c := range r.Credits {
			credits[c.Member] = c.Sats
		}
		last := payout.Payment{Kind: payout.ToMember}
		for _, y := range r.Settlement {
			size += 8 + 1 + len(y.Script)
			if y.Kind < last.Kind || y.Kind == last.Kind && y.Member < last.Member {
				t.Fatalf("%+v behind %+v", y, last)
			}
			if last = y; y.Kind == payout.ToMember {
				paid[y.Member] += y.Sats
			}
			if y.Kind == payout.ToFee && o.KeepFees {
				t.Fatalf("a fee is paid: %+v", y)
			}
		}
		if size > o.Class.MaxCoinbase || int64(4*size)+36+332+o.Template.Weight() > pool.MaxBlockWeight {
			t.Fatalf("coinbase of %d bytes, class %d, template %d", size, o.Class.MaxCoinbase, o.Template.Weight())
		}
		if rules.MaxOutputs > 0 && len(paid) > rules.MaxOutputs {
			t.Fatalf("%d members are paid", len(paid))
		}
		for m, sats := range paid {
			owed := credits[m]
			if o.Drain {
				owed += o.Carry[m].Sats
			}
			if sats > owed || sats < rules.MinPayout || sats < 294 {
				t.Fatalf("member %d gets %d, is owed %d, at least %d", m, sats, owed, rules.MinPayout)
			}
		}
		ledger := payout.NewLedger()
		posts, err := ledger.Postings(&payout.Event{Kind: payout.BlockFound, Receipt: r})
		if err != nil {
			t.Fatal(err)
		}
		sums := make(map[payout.Purse]int64)
		for _, x := range posts {
			sums[x.Purse] += x.Sats
		}
		if sums[payout.PurseImmature] != sums[payout.PurseTreasury] || sums[payout.PurseImmature]+sums[payout.PursePaid] != r.Reward {
			t.Fatalf("claims and treasury differ: %v", sums)
		}
	})
}

// The same split, register and carry in another order give the same receipt.
func TestReceiptIsAFunction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, o := drawOrder(t)
		a, err := rules.Receipt(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			b, err := rules.Receipt(o) // maps are walked in another order each time
			if err != nil || a.ID() != b.ID() {
				t.Fatalf("another receipt: %v", err)
			}
		}
	})
}

func TestReceiptOrderRefusals(t *testing.T) {
	order := func() *payout.Order {
		split, err := unitRules().Split(1_000_000, prevHash(1), zipf(3), name)
		if err != nil {
			t.Fatal(err)
		}
		return &payout.Order{
			Template: &pool.Template{Height: 9, PrevHash: prevHash(1), Value: 1_000_000}, Class: pool.DefaultClass, ScriptSig: 80, Split: split,
			Members: map[uint16]payout.Member{1: member(1), 2: member(2), 3: member(3)}, Treasury: treasuryScript,
		}
	}
	if _, err := unitRules().Receipt(order()); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		want  error
		spoil func(*payout.Order)
	}{
		"no treasury":               {payout.ErrTreasury, func(o *payout.Order) { o.Treasury = nil }},
		"a split of another value":  {payout.ErrSplit, func(o *payout.Order) { o.Template.Value++ }},
		"a script above the limit":  {payout.ErrBudget, func(o *payout.Order) { o.ScriptSig = 87 }},
		"a class without room":      {payout.ErrBudget, func(o *payout.Order) { o.Class.MaxCoinbase = 200 }},
		"a template without room":   {payout.ErrBudget, func(o *payout.Order) { o.Template.Txs = []pool.Tx{{Weight: pool.MaxBlockWeight - 1000}} }},
		"a member not registered":   {payout.ErrRules, func(o *payout.Order) { delete(o.Members, 2) }},
		"destinations of 9999":      {payout.ErrRules, func(o *payout.Order) { o.Members[3].Legs[0].BP = 9999 }},
		"a destination of no bytes": {payout.ErrRules, func(o *payout.Order) { o.Members[3].Legs[0].Script = nil }},
		"height 0":                  {payout.ErrReceipt, func(o *payout.Order) { o.Template.Height = 0 }},
	} {
		o := order()
		c.spoil(o)
		if r, err := unitRules().Receipt(o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", what, r, err)
		}
	}
}

// A child of a block of ours that the ledger has not seen pays nobody twice.
func TestCreditOnlyNeverDrains(t *testing.T) {
	rules := unitRules()
	rules.MinPayout = 20_000
	split, err := rules.Split(1_000_000, prevHash(1), zipf(2), name)
	if err != nil {
		t.Fatal(err)
	}
	o := &payout.Order{
		Template: &pool.Template{Height: 9, PrevHash: prevHash(1), Value: 1_000_000}, Class: pool.DefaultClass, ScriptSig: 80, Split: split,
		Carry:   map[uint16]payout.Carry{1: {Sats: 500, Since: 3}, 7: {Sats: 400_000, Since: 2}},
		Members: map[uint16]payout.Member{1: member(1), 2: member(2), 7: member(7)}, Treasury: treasuryScript,
	}
	only, err := rules.Receipt(o)
	if err != nil {
		t.Fatal(err)
	}
	o.Drain = true
	drained, err := rules.Receipt(o)
	if err != nil {
		t.Fatal(err)
	}
	amounts := func(r *payout.Receipt) (list []int64) {
		for _, p := range r.Settlement {
			list = append(list, p.Sats)
		}
		return list
	}
	// 666667 and 333333 were earned. Drained, the 400000 that wait are paid too,
	// and the largest bears what is missing.
	if got := amounts(only); !slices.Equal(got, []int64{666_667, 333_333}) || only.Drain {
		t.Errorf("credit only: %v", got)
	}
	if got := amounts(drained); !slices.Equal(got, []int64{266_667, 333_333, 400_000}) || !drained.Drain {
		t.Errorf("drained: %v", got)
	}
}

func TestChoose(t *testing.T) {
	claims := []payout.Claim{
		{Member: 1, ID: "a", Owed: 900, Since: 9, Least: 100},
		{Member: 2, ID: "b", Owed: 800, Since: 9, Least: 100},
		{Member: 3, ID: "c", Owed: 700, Since: 9, Least: 100},
		{Member: 4, ID: "d", Owed: 600, Since: 9, Least: 100},
		{Member: 5, ID: "e", Owed: 150, Since: 5, Least: 100},
		{Member: 6, ID: "f", Owed: 120, Since: 6, Least: 100},
		{Member: 7, ID: "g", Owed: 99, Since: 1, Least: 100}, // never worth an output
		{Member: 8, ID: "h", Owed: 0, Since: 1},
	}
	c := payout.NewCandidates(chainhash.Hash{}, claims)
	if c.Len() != 6 {
		t.Errorf("%d are worth an output", c.Len())
	}
	for m, want := range map[int][]uint16{
		-1: nil, 0: nil, 1: {1}, 3: {3, 2, 1}, 4: {5, 3, 2, 1}, 5: {5, 4, 3, 2, 1}, 6: {6, 5, 4, 3, 2, 1}, 99: {6, 5, 4, 3, 2, 1},
	} {
		var got []uint16
		for _, x := range c.Choose(m) {
			got = append(got, x.Member)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d outputs: %v, want %v", m, got, want)
		}
	}
	paid, rest := payout.Pay(c.Choose(4), 1700)
	if !slices.Equal(paid, []payout.Paid{{Member: 5, Sats: 150}, {Member: 3, Sats: 700}, {Member: 2, Sats: 800}}) || rest != 50 {
		t.Errorf("%v, rest %d: a payment of 50 is below the least", paid, rest)
	}
}

func TestDust(t *testing.T) {
	run := func(head []byte, n int, tail ...byte) []byte {
		return append(append(head, make([]byte, n)...), tail...)
	}
	for want, scripts := range map[int64][][]byte{
		294: {run([]byte{0x00, 20}, 20)},
		330: {run([]byte{0x00, 32}, 32), run([]byte{0x51, 32}, 32)},
		540: {run([]byte{0xa9, 20}, 20, 0x87)},
		546: {run([]byte{0x76, 0xa9, 20}, 20, 0x88, 0xac), {0x51}, nil, run([]byte{0x52, 32}, 32)},
	} {
		for _, s := range scripts {
			if got := payout.Dust(s); got != want {
				t.Errorf("%x: %d, want %d", s, got, want)
			}
		}
	}
}
