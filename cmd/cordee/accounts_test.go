package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"cordee/internal/config"
	"cordee/internal/register"
	"cordee/payout"
	"cordee/pool"
)

// A missing slot key is made on regtest only, once; elsewhere it is refused with
// what to do.
func TestSlotKey(t *testing.T) {
	cfg := func(network string) *config.Config {
		n, err := pool.NetworkByName(network)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		return &config.Config{Network: n, DataDir: dir, SlotKeyPath: filepath.Join(dir, "slot.key")}
	}
	var log bytes.Buffer
	c := cfg("regtest")
	first, err := slotKey(c, zerolog.New(&log))
	if err != nil || !strings.Contains(log.String(), "slot.key_made") {
		t.Fatal(err, log.String())
	}
	if again, err := slotKey(c, zerolog.Nop()); err != nil || !again.Equal(first) {
		t.Error("another key at the next start", err)
	}
	if info, err := os.Stat(c.SlotKeyPath); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	for _, network := range []string{"main", "testnet4", "signet"} {
		c := cfg(network)
		if _, err := slotKey(c, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "cordee init") {
			t.Errorf("%s: %v", network, err)
		}
		if _, err := os.Stat(c.SlotKeyPath); err == nil {
			t.Errorf("%s: a key was made", network)
		}
	}
	for _, network := range []string{"regtest", "main"} { // no slot would hold by another one
		c := cfg(network)
		slots := filepath.Join(c.DataDir, "slots")
		if err := errors.Join(os.Mkdir(slots, 0o700), os.WriteFile(filepath.Join(slots, "0000000001.slot"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := slotKey(c, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "restore it from a backup") || strings.Contains(err.Error(), "cordee init") {
			t.Errorf("%s: %v", network, err)
		}
		if _, err := os.Stat(c.SlotKeyPath); err == nil {
			t.Errorf("%s: a key was made", network)
		}
	}
}

// The incarnation is drawn once, and a damaged one is not replaced.
func TestIncarnation(t *testing.T) {
	dir := t.TempDir()
	first, err := readIncarnation(dir)
	if err != nil || first == [16]byte{} {
		t.Fatal(err)
	}
	if again, err := readIncarnation(dir); err != nil || again != first {
		t.Error("another incarnation at the next start", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "incarnation"), []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readIncarnation(dir); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Error(err)
	}
	// Nor is one that is gone from beside accounts.
	name := filepath.Join(dir, "incarnation")
	if err := errors.Join(os.Remove(name), os.MkdirAll(filepath.Join(dir, "slots"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "slots", "0000000001.slot"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readIncarnation(dir); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Error(err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("another incarnation was made")
	}
}

// The keeper's members: parked work at 0, legs as the file says, none for who is
// paid by batch only.
func TestRoster(t *testing.T) {
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	f, err := register.Parse("members.toml", []byte(`
[[member]]
id = "alpes"
index = 1
destinations = [{ address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", bp = 10000 }]
[[member]]
id = "jura"
index = 7
destinations = [{ address = "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r", bp = 10000 }]
`), n)
	if err != nil {
		t.Fatal(err)
	}
	m := newRoster(register.New(f)).Members()
	if len(m) != 3 || m[0].ID != parkedID || len(m[0].Legs) != 0 || m[1].ID != "alpes" || len(m[1].Legs) != 1 || m[1].Legs[0].BP != 10000 {
		t.Errorf("%+v", m)
	}
	if m[7].ID != "jura" || len(m[7].Legs) != 0 {
		t.Errorf("a P2PKH member is paid by coinbase: %+v", m[7])
	}
}

// Fees with an address come first, in their order: receipts name them so.
func TestRulesOf(t *testing.T) {
	n, err := pool.NetworkByName("signet")
	if err != nil {
		t.Fatal(err)
	}
	r := rulesOf(&config.Config{Network: n, Payout: config.Payout{
		WindowBlocks: 4, MinPayout: 20_000,
		Fees: []config.Fee{{Account: "a", BP: 1}, {Account: "b", BP: 2, Script: []byte{0x51}}, {Account: "c", BP: 3}, {Account: "d", BP: 4, Script: []byte{0x52}}},
	}})
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range r.Fees {
		order = append(order, f.Account)
	}
	if !slices.Equal(order, []string{"b", "d", "a", "c"}) || r.XMilli != 4000 || r.Scale != pool.MainScale || r.Version != payout.RuleUnitPPLNS {
		t.Errorf("%v, %+v", order, r)
	}
}

// The receipt of a full open register is one record of the journal, for every
// class and kind of address.
func TestReceiptOfAFullRegister(t *testing.T) {
	rules := payout.Rules{Version: payout.RuleUnitPPLNS, XMilli: 1 << 40, Scale: pool.RegtestScale} // all of it counts
	for i := range 8 {
		rules.Fees = append(rules.Fees, payout.FeeRule{Account: strings.Repeat("f", 31) + strconv.Itoa(i), BP: 1})
	}
	tpl, err := pool.NewTemplate(&pool.Template{Height: 101, Bits: 0x207fffff, WorkBits: 0x207fffff, MinTime: 1, CurTime: 1, Value: 50e8}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string][]byte{"segwit": append([]byte{0, 20}, make([]byte, 20)...), "taproot": append([]byte{0x51, 32}, make([]byte, 32)...)} {
		members := map[uint16]payout.Member{}
		window, err := payout.NewWindow(&rules)
		if err != nil {
			t.Fatal(err)
		}
		var sums []payout.Sum
		for m := range uint16(register.MaxAddresses) {
			own := slices.Clone(script)
			own[2], own[3] = byte(m), byte(m>>8)
			members[m+1] = payout.Member{ID: strconv.Itoa(int(m)), Legs: []payout.Leg{{Script: own, BP: 10_000}}}
			sums = append(sums, payout.Sum{Member: m + 1, WorkBits: tpl.WorkBits, Difficulty: 1000})
		}
		if err := window.AddSlot(1, sums); err != nil {
			t.Fatal(err)
		}
		weights, err := window.Weights(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		split, err := rules.Split(tpl.Value, tpl.PrevHash, weights, func(m uint16) string { return members[m].ID })
		if err != nil {
			t.Fatal(err)
		}
		for _, class := range pool.Classes {
			r, err := rules.Receipt(&payout.Order{
				Template: tpl, Class: class, ScriptSig: pool.MaxScriptSig, Split: split, Slot: 1, SlotHead: [32]byte{1},
				Members: members, Treasury: script,
			})
			if err != nil {
				t.Fatal(err)
			}
			b, err := r.Encode()
			if err != nil || len(b) > math.MaxUint16 || len(r.Credits) != register.MaxAddresses {
				t.Errorf("%s, %s: %d credits and %d payments in %d bytes, %v", name, class.Name, len(r.Credits), len(r.Settlement), len(b), err)
			}
		}
	}
}
