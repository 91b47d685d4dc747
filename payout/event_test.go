package payout_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/payout"
)

// events are those of the golden file, in its order.
func events() ([]string, []*payout.Event) {
	account := func(a string) payout.Owner { return payout.Owner{Account: a} }
	member := func(m uint16) payout.Owner { return payout.Owner{Member: m} }
	block, batch := chainhash.Hash(run32(20)), run32(30)
	names := []string{
		"found, three members", "found, treasury only", "orphaned", "restored", "matured", "reserved",
		"reserved for members", "paid", "unpaid", "cancelled", "halted", "lifted",
	}
	return names, []*payout.Event{
		{Kind: payout.BlockFound, Block: run32(10), Receipt: examples()["three members, a fee, carry drained"]},
		{Kind: payout.BlockFound, Block: block, Receipt: examples()["treasury only, block 840000"]},
		{Kind: payout.BlockOrphaned, Block: block, Turn: 1},
		{Kind: payout.BlockRestored, Block: block, Turn: 2},
		{Kind: payout.BlockMatured, Block: block},
		{Kind: payout.BatchReserved, Batch: batch, Lines: []payout.Line{{Owner: account("unallocated"), Sats: 13_000_000}, {Owner: account("zz"), Sats: 1}}},
		{Kind: payout.BatchReserved, Batch: run32(31), Lines: []payout.Line{
			{Owner: member(0), Sats: 12345}, {Owner: member(515), Sats: 1}, {Owner: account("node"), Sats: 500_000},
		}},
		{Kind: payout.BatchPaid, Batch: batch, Turn: 1, Height: 900_200, TxID: run32(40), Fee: 1410},
		{Kind: payout.BatchUnpaid, Batch: batch, Turn: 2},
		{Kind: payout.BatchCanceled, Batch: batch},
		{Kind: payout.Halted, Name: "I2", Text: "coinbase differs from its receipt"},
		{Kind: payout.Lifted, Name: "I2", Text: "vérifié à la main"},
	}
}

// The golden file was written by another program from the text of the ADR.
func TestEventGolden(t *testing.T) {
	files := golden(t, "ledger.txt")
	names, all := events()
	if len(files) != len(all) {
		t.Fatalf("%d events in the file", len(files))
	}
	var head [32]byte
	for i, e := range all {
		want := files[names[i]]
		b, err := e.Encode()
		if err != nil {
			t.Fatalf("%s: %v", names[i], err)
		}
		if head = payout.LedgerHead(head, b); !bytes.Equal(b, want["event"]) || !bytes.Equal(head[:], want["head"]) {
			t.Errorf("%s: %x, head %x; want %x, head %x", names[i], b, head, want["event"], want["head"])
		}
		if again, err := payout.DecodeEvent(want["event"]); err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%s: decoded to %+v, %v", names[i], again, err)
		}
		for n := range b {
			if _, err := payout.DecodeEvent(b[:n]); !errors.Is(err, payout.ErrEvent) {
				t.Fatalf("%s: %d of %d bytes: %v", names[i], n, len(b), err)
			}
		}
		if _, err := payout.DecodeEvent(append(b, 0)); !errors.Is(err, payout.ErrEvent) {
			t.Errorf("%s: a byte more: %v", names[i], err)
		}
	}
}

func TestEventRefusals(t *testing.T) {
	names, _ := events()
	at := func(name string) int {
		for i := range names {
			if names[i] == name {
				return i
			}
		}
		t.Fatalf("no event %q", name)
		return 0
	}
	for what, c := range map[string]struct {
		of    string
		spoil func(*payout.Event)
	}{
		"kind 0":                   {"matured", func(e *payout.Event) { e.Kind = 0 }},
		"kind 11":                  {"matured", func(e *payout.Event) { e.Kind = 11 }},
		"no receipt":               {"found, treasury only", func(e *payout.Event) { e.Receipt = nil }},
		"a bad receipt":            {"found, treasury only", func(e *payout.Event) { e.Receipt.Reward++ }},
		"an even orphan":           {"orphaned", func(e *payout.Event) { e.Turn = 2 }},
		"turn 0":                   {"orphaned", func(e *payout.Event) { e.Turn = 0 }},
		"an odd restoration":       {"restored", func(e *payout.Event) { e.Turn = 1 }},
		"a restoration of turn 0":  {"restored", func(e *payout.Event) { e.Turn = 0 }},
		"an empty batch":           {"reserved", func(e *payout.Event) { e.Lines = nil }},
		"lines out of order":       {"reserved", func(e *payout.Event) { e.Lines[0], e.Lines[1] = e.Lines[1], e.Lines[0] }},
		"an owner twice":           {"reserved", func(e *payout.Event) { e.Lines[0] = e.Lines[1] }},
		"members behind accounts":  {"reserved for members", func(e *payout.Event) { e.Lines[0], e.Lines[2] = e.Lines[2], e.Lines[0] }},
		"a zero line":              {"reserved", func(e *payout.Event) { e.Lines[0].Sats = 0 }},
		"a negative line":          {"reserved", func(e *payout.Event) { e.Lines[0].Sats = -1 }},
		"more than all money":      {"reserved", func(e *payout.Event) { e.Lines[0].Sats = 21e14 }},
		"an account with a member": {"reserved", func(e *payout.Event) { e.Lines[0].Owner.Member = 1 }},
		"a long account":           {"reserved", func(e *payout.Event) { e.Lines[1].Owner.Account = strings.Repeat("z", 256) }},
		"an even payment":          {"paid", func(e *payout.Event) { e.Turn = 2 }},
		"paid at height 0":         {"paid", func(e *payout.Event) { e.Height = 0 }},
		"a negative fee":           {"paid", func(e *payout.Event) { e.Fee = -1 }},
		"an odd unpaid":            {"unpaid", func(e *payout.Event) { e.Turn = 3 }},
		"a nameless halt":          {"halted", func(e *payout.Event) { e.Name = "" }},
		"a long name":              {"halted", func(e *payout.Event) { e.Name = strings.Repeat("x", 256) }},
		"a long text":              {"lifted", func(e *payout.Event) { e.Text = strings.Repeat("x", 65536) }},
	} {
		_, all := events()
		e := all[at(c.of)]
		c.spoil(e)
		if b, err := e.Encode(); !errors.Is(err, payout.ErrEvent) || b != nil {
			t.Errorf("%s: encoded to %d bytes, %v", what, len(b), err)
		}
	}
	_, all := events()
	b, err := all[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 4, 5} {
		bad := bytes.Clone(b)
		bad[i] |= 0x80
		if _, err := payout.DecodeEvent(bad); !errors.Is(err, payout.ErrEvent) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	_, all := events()
	for _, e := range all {
		b, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := payout.DecodeEvent(b)
		if err != nil {
			if !errors.Is(err, payout.ErrEvent) {
				t.Fatalf("error without a name: %v", err)
			}
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes to %x, %v", b, again, err)
		}
		if err := payout.NewLedger().Apply(e); err != nil && !errors.Is(err, payout.ErrLedger) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}
