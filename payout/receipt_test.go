package payout_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/payout"
	"cordee/pool"
)

// golden reads sections of "key hex" lines under [names].
func golden(t testing.TB, file string) map[string]map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/golden/" + file)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string][]byte)
	var section map[string][]byte
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = make(map[string][]byte)
			all[strings.Trim(line, "[]")] = section
		default:
			key, value, _ := strings.Cut(line, " ")
			if section[key], err = hex.DecodeString(value); err != nil {
				t.Fatalf("%s: %s: %v", file, key, err)
			}
		}
	}
	return all
}

// run32 returns 32 bytes counting up from n.
func run32(n byte) (b [32]byte) {
	for i := range b {
		b[i] = n + byte(i)
	}
	return b
}

func script(n byte) []byte { return append([]byte{0x00, 0x14}, bytes.Repeat([]byte{n}, 20)...) }

// examples are the receipts of the golden file.
func examples() map[string]*payout.Receipt {
	return map[string]*payout.Receipt{
		"treasury only, block 840000": {
			Height: 840000, PrevHash: run32(0), WorkBits: 0x17034219, Reward: 313_000_000, Class: 1,
			Settlement: []payout.Payment{{Kind: payout.ToTreasury, Sats: 313_000_000, Script: script(0xaa)}},
		},
		"treasury only, a reward of nothing": {
			Height: 4950, PrevHash: run32(1), WorkBits: 0x207fffff, Class: 1,
			Settlement: []payout.Payment{{Kind: payout.ToTreasury, Script: script(0xaa)}},
		},
		"three members, a fee, carry drained": {
			Rule: payout.RuleUnitPPLNS, Slot: 77, SlotHead: run32(2), LedgerHead: run32(3), Drain: true,
			Height: 900001, PrevHash: run32(4), WorkBits: 0x17053894, Reward: 312_512_345, Class: 3,
			Credits: []payout.Credit{{Member: 0, Sats: 12345}, {Member: 1, Sats: 200_000_000}, {Member: 515, Sats: 110_000_000}},
			Fees:    []payout.Fee{{Account: "pool", Sats: 2_000_000}, {Account: "node", Sats: 500_000}},
			Settlement: []payout.Payment{
				{Kind: payout.ToMember, Member: 1, Sats: 200_000_000, Script: script(1)},
				{Kind: payout.ToMember, Member: 515, Sats: 110_000_000, Script: append([]byte{0x51, 0x20}, bytes.Repeat([]byte{2}, 32)...)},
				{Kind: payout.ToFee, Sats: 2_000_000, Script: script(3)},
				{Kind: payout.ToTreasury, Sats: 512_345, Script: script(0xaa)},
			},
		},
		"nothing credited yet, credit only": {
			Rule: payout.RuleUnitPPLNS, Height: 1, PrevHash: run32(5), WorkBits: 0x207fffff, Reward: 5_000_000_000, Class: 1,
			Settlement: []payout.Payment{{Kind: payout.ToTreasury, Sats: 5_000_000_000, Script: script(0xaa)}},
		},
	}
}

// The golden file was written by another program from the text of the ADR.
func TestReceiptGolden(t *testing.T) {
	files := golden(t, "receipt.txt")
	if len(files) != len(examples()) {
		t.Fatalf("%d receipts in the file", len(files))
	}
	for name, r := range examples() {
		want := files[name]
		b, err := r.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		id, commitment := r.ID(), r.Commitment()
		credits, settlement := r.CreditsRoot(), r.SettlementRoot()
		for key, got := range map[string][]byte{
			"receipt": b, "credits_root": credits[:], "settlement_root": settlement[:], "commitment": commitment[:], "id": id[:],
		} {
			if !bytes.Equal(got, want[key]) {
				t.Errorf("%s: %s is %x, want %x", name, key, got, want[key])
			}
		}
		if again, err := payout.DecodeReceipt(want["receipt"]); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%s: decoded to %+v, %v", name, again, err)
		}
		if payout.ReceiptID(want["receipt"]) != r.ID() {
			t.Errorf("%s: ReceiptID differs from ID", name)
		}
	}
}

// drawReceipt draws a valid receipt of either rule.
func drawReceipt(t *rapid.T) *payout.Receipt {
	r := &payout.Receipt{
		Height:   rapid.Int32Range(1, 1<<31-1).Draw(t, "height"),
		PrevHash: chainhash.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "prevhash")),
		WorkBits: rapid.Uint32().Draw(t, "bits"),
		Class:    rapid.Uint8().Draw(t, "class"),
	}
	sats := rapid.Int64Range(0, 1e12)
	pay := func(kind payout.Kind, member uint16, v int64) {
		b := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "script")
		r.Settlement = append(r.Settlement, payout.Payment{Kind: kind, Member: member, Sats: v, Script: b})
		r.Reward += v
	}
	if rapid.Bool().Draw(t, "treasury only") {
		pay(payout.ToTreasury, 0, sats.Draw(t, "reward"))
		return r
	}
	r.Rule = payout.RuleUnitPPLNS
	r.Slot = rapid.Uint32().Draw(t, "slot")
	r.SlotHead = run32(rapid.Byte().Draw(t, "slot head"))
	r.LedgerHead = run32(rapid.Byte().Draw(t, "ledger head"))
	r.Drain = rapid.Bool().Draw(t, "drain")
	for range rapid.IntRange(0, 6).Draw(t, "payments") {
		kind := payout.Kind(rapid.IntRange(1, 3).Draw(t, "kind"))
		member := uint16(0)
		if kind == payout.ToMember {
			member = rapid.Uint16().Draw(t, "member")
		}
		pay(kind, member, sats.Draw(t, "sats"))
	}
	if rapid.Bool().Draw(t, "credited") {
		left, member := r.Reward, uint16(0)
		for range rapid.IntRange(0, 5).Draw(t, "credits") {
			v := left / 3
			if member += 1 + uint16(rapid.IntRange(0, 9).Draw(t, "gap")); v > 0 {
				r.Credits = append(r.Credits, payout.Credit{Member: member, Sats: v})
				left -= v
			}
		}
		r.Fees = append(r.Fees, payout.Fee{Account: rapid.StringMatching(`[a-z]{1,10}`).Draw(t, "account"), Sats: left})
	}
	return r
}

func TestReceiptRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawReceipt(t)
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := payout.DecodeReceipt(b)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v, %v; want %+v", again, err, r)
		}
		// What Decode returned owns its scripts.
		for i := range b {
			b[i] ^= 0xff
		}
		if !reflect.DeepEqual(again, r) {
			t.Fatal("the receipt changed with the bytes it was read from")
		}
		for i := range b {
			b[i] ^= 0xff
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := payout.DecodeReceipt(b[:cut]); !errors.Is(err, payout.ErrReceipt) {
			t.Fatalf("%d of %d bytes: %v", cut, len(b), err)
		}
		if _, err := payout.DecodeReceipt(append(b, 0)); !errors.Is(err, payout.ErrReceipt) {
			t.Fatalf("a byte more: %v", err)
		}
		// No byte is without meaning: another one is another receipt or none.
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if other, err := payout.DecodeReceipt(b); err == nil && other.ID() == r.ID() {
			t.Fatalf("byte %d means nothing", at)
		}
	})
}

func TestReceiptRefusals(t *testing.T) {
	const treasury, members = "treasury only, block 840000", "three members, a fee, carry drained"
	for what, c := range map[string]struct {
		of    string
		spoil func(*payout.Receipt)
	}{
		"an unknown rule":               {members, func(r *payout.Receipt) { r.Rule = 2 }},
		"height 0":                      {members, func(r *payout.Receipt) { r.Height = 0 }},
		"a negative height":             {members, func(r *payout.Receipt) { r.Height = -1 }},
		"a negative reward":             {treasury, func(r *payout.Receipt) { r.Reward, r.Settlement[0].Sats = -1, -1 }},
		"more than all money":           {treasury, func(r *payout.Receipt) { r.Reward, r.Settlement[0].Sats = 21e14+1, 21e14+1 }},
		"a settlement short of a sat":   {members, func(r *payout.Receipt) { r.Settlement[3].Sats-- }},
		"a settlement over by a sat":    {members, func(r *payout.Receipt) { r.Settlement[0].Sats++ }},
		"credits short of a sat":        {members, func(r *payout.Receipt) { r.Credits[0].Sats-- }},
		"fees over by a sat":            {members, func(r *payout.Receipt) { r.Fees[1].Sats++ }},
		"negative sats that cancel out": {members, func(r *payout.Receipt) { r.Settlement[2].Sats, r.Settlement[3].Sats = -1, 2_512_346 }},
		"negative fees that cancel out": {members, func(r *payout.Receipt) { r.Fees[0].Sats, r.Fees[1].Sats = -1, 2_500_001 }},
		"a zero credit":                 {members, func(r *payout.Receipt) { r.Credits[1].Sats += r.Credits[0].Sats; r.Credits[0].Sats = 0 }},
		"members out of order":          {members, func(r *payout.Receipt) { r.Credits[0], r.Credits[1] = r.Credits[1], r.Credits[0] }},
		"a member twice":                {members, func(r *payout.Receipt) { r.Credits[1].Member = 0 }},
		"an account without name":       {members, func(r *payout.Receipt) { r.Fees[0].Account = "" }},
		"an account of 256 bytes":       {members, func(r *payout.Receipt) { r.Fees[0].Account = strings.Repeat("x", 256) }},
		"kind 0":                        {members, func(r *payout.Receipt) { r.Settlement[0].Kind = 0 }},
		"kind 4":                        {members, func(r *payout.Receipt) { r.Settlement[0].Kind = 4 }},
		"a member on a fee":             {members, func(r *payout.Receipt) { r.Settlement[2].Member = 1 }},
		"an empty script":               {members, func(r *payout.Receipt) { r.Settlement[0].Script = nil }},
		"a script of 65536 bytes":       {members, func(r *payout.Receipt) { r.Settlement[0].Script = make([]byte, 65536) }},
		"65536 payments": {members, func(r *payout.Receipt) {
			for len(r.Settlement) < 65536 {
				r.Settlement = append(r.Settlement, payout.Payment{Kind: payout.ToTreasury, Script: []byte{1}})
			}
		}},
		"rule 0 with a slot":        {treasury, func(r *payout.Receipt) { r.Slot = 1 }},
		"rule 0 with a slot head":   {treasury, func(r *payout.Receipt) { r.SlotHead[31] = 1 }},
		"rule 0 with a ledger head": {treasury, func(r *payout.Receipt) { r.LedgerHead[0] = 1 }},
		"rule 0 that drains":        {treasury, func(r *payout.Receipt) { r.Drain = true }},
		"rule 0 with credits":       {treasury, func(r *payout.Receipt) { r.Credits = []payout.Credit{{Member: 1, Sats: r.Reward}} }},
		"rule 0 with fees":          {treasury, func(r *payout.Receipt) { r.Fees = []payout.Fee{{Account: "a", Sats: r.Reward}} }},
		"rule 0 to a member":        {treasury, func(r *payout.Receipt) { r.Settlement[0].Kind = payout.ToMember }},
		"rule 0 with two payments": {treasury, func(r *payout.Receipt) {
			r.Settlement = append(r.Settlement, payout.Payment{Kind: 3, Script: []byte{1}})
		}},
		"rule 0 with no payment":     {"treasury only, a reward of nothing", func(r *payout.Receipt) { r.Settlement = nil }},
		"members paid by treasury's": {members, func(r *payout.Receipt) { r.Rule = payout.RuleTreasury }},
	} {
		r := examples()[c.of]
		c.spoil(r)
		if b, err := r.Encode(); !errors.Is(err, payout.ErrReceipt) || b != nil {
			t.Errorf("%s: encoded to %d bytes, %v", what, len(b), err)
		}
	}
	good, err := examples()[members].Encode()
	if err != nil {
		t.Fatal(err)
	}
	for what, at := range map[string]int{"magic": 0, "version": 4, "rule": 6, "drain": 75, "height": 76} {
		bad := bytes.Clone(good)
		bad[at] = 0x80 | bad[at]
		if _, err := payout.DecodeReceipt(bad); !errors.Is(err, payout.ErrReceipt) {
			t.Errorf("another %s: %v", what, err)
		}
	}
}

func FuzzDecodeReceipt(f *testing.F) {
	for _, r := range examples() {
		b, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(b, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := payout.DecodeReceipt(b)
		if err != nil {
			if !errors.Is(err, payout.ErrReceipt) {
				t.Fatalf("error without a name: %v", err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes to %x, %v", b, again, err)
		}
	})
}

func TestTreasury(t *testing.T) {
	for _, value := range []int64{0, 1, 5_000_000_000} {
		tpl, err := pool.NewTemplate(&pool.Template{
			Height: 4950, Bits: 0x207fffff, WorkBits: 0x1f7fffff, PrevHash: run32(1), MinTime: 1, CurTime: 1, Value: value,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		own := script(0xaa)
		p, b, err := payout.Treasury{Script: own}.Payout(tpl, pool.DefaultClass)
		if err != nil {
			t.Fatal(err)
		}
		own[0] = 0xff // the payout must not follow
		want := pool.Payout{Outputs: []pool.Output{{Sats: value, Script: script(0xaa)}}}
		r, err := payout.DecodeReceipt(b)
		if err != nil {
			t.Fatal(err)
		}
		want.Commitment = r.Commitment()
		if !reflect.DeepEqual(p, want) || !reflect.DeepEqual(r.Payout(), p) {
			t.Errorf("value %d: payout %+v", value, p)
		}
		if r.Rule != 0 || r.Height != 4950 || r.PrevHash != tpl.PrevHash || r.WorkBits != 0x1f7fffff || r.Reward != value || r.Class != 1 {
			t.Errorf("value %d: receipt %+v", value, r)
		}
		if _, err := pool.NewJob(tpl, p, pool.DefaultClass, "/cordee/", 1, 1); err != nil {
			t.Errorf("value %d: %v", value, err)
		}
		for _, bad := range [][]byte{nil, make([]byte, 65536)} {
			if _, _, err := (payout.Treasury{Script: bad}).Payout(tpl, pool.DefaultClass); !errors.Is(err, payout.ErrTreasury) {
				t.Errorf("script of %d bytes: %v", len(bad), err)
			}
		}
	}
}

// Amounts that are each in range, and whose sum wraps around 64 bits to just
// the reward.
func TestReceiptSumDoesNotWrap(t *testing.T) {
	const most = 21e14
	r := examples()["nothing credited yet, credit only"]
	left := uint64(r.Reward) - most*8784 // modulo 2^64
	if left > most {
		t.Fatalf("%d sats are left", left)
	}
	r.Settlement[0].Sats = int64(left)
	for range 8784 {
		r.Settlement = append(r.Settlement, payout.Payment{Kind: payout.ToTreasury, Sats: most, Script: []byte{1}})
	}
	if _, err := r.Encode(); !errors.Is(err, payout.ErrReceipt) {
		t.Errorf("a settlement of %d payments: %v", len(r.Settlement), err)
	}
}
