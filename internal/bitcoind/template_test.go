package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool"
)

func chain(t testing.TB, name string) *pool.Network {
	t.Helper()
	n, err := pool.NetworkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// FuzzTemplate: whatever the node's bytes, decoding ends in a template that
// keeps its promises, or in an error that has a name.
func FuzzTemplate(f *testing.F) {
	seeds, err := filepath.Glob("testdata/templates/*.json")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range seeds {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"result":null,"error":null}`))
	f.Add([]byte(`{"result":{"transactions":[{}]}}`))
	f.Add([]byte(`{"result":{"version":-1,"height":1e3,"bits":"-1","rules":["!"]}}`))
	cfgs := []*Config{{Network: chain(f, "regtest")}, {Network: chain(f, "signet")}, {Network: chain(f, "regtest"), WorkBits: 0x1f00ffff}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, cfg := range cfgs {
			g := new(gbt)
			if err := decodeAnswer(http.StatusOK, body, g); err != nil {
				if _, ok := errors.AsType[*RPCError](err); !ok && stateName(err) == "error" {
					t.Fatalf("error without a name: %v", err)
				}
				return
			}
			tm, err := g.template(cfg, "n")
			if err != nil {
				continue
			}
			target, err := pool.TargetFromBits(tm.WorkBits)
			switch {
			case err != nil, target != tm.BlockTarget:
				t.Fatalf("work bits %08x: %v", tm.WorkBits, err)
			case cfg.WorkBits != 0 && tm.WorkBits != cfg.WorkBits:
				t.Fatalf("work bits %08x", tm.WorkBits)
			case tm.Version&pool.VersionRollingMask != 0:
				t.Fatalf("version %08x", tm.Version)
			case tm.Height <= 0, tm.Value < 0, tm.MinTime == 0, tm.CurTime < tm.MinTime:
				t.Fatalf("%+v", tm)
			case len(tm.Txs) != len(g.Txs), tm.Weight() > pool.MaxBlockWeight, len(tm.Commitment) != 38:
				t.Fatalf("%d transactions of weight %d", len(tm.Txs), tm.Weight())
			case g.Commitment != nil && string(g.Commitment) != string(tm.Commitment):
				t.Fatal("another witness commitment than the node's")
			}
		}
	})
}

// TestSeedTemplates: what real nodes said decodes, with their numbers.
func TestSeedTemplates(t *testing.T) {
	for _, c := range []struct {
		file, network string
		height        int32
		txs           int
		value         int64
		longpoll      bool
	}{
		{"core-regtest-txs.json", "regtest", 148, 5, 5_000_050_000, true},
		{"core-signet.json", "signet", 1, 0, 5_000_000_000, true},
	} {
		b, err := os.ReadFile(filepath.Join("testdata/templates", c.file))
		if err != nil {
			t.Fatal(err)
		}
		g := new(gbt)
		if err := decodeAnswer(http.StatusOK, b, g); err != nil {
			t.Fatal(err)
		}
		tm, err := g.template(&Config{Network: chain(t, c.network)}, "n")
		if err != nil {
			t.Fatal(err)
		}
		if tm.Height != c.height || len(tm.Txs) != c.txs || tm.Value != c.value || (tm.LongPoll != "") != c.longpoll {
			t.Errorf("%s: height %d, %d transactions, value %d, longpollid %q", c.file, tm.Height, len(tm.Txs), tm.Value, tm.LongPoll)
		}
		for i := range tm.Txs { // the reversed order of RPC hex, against the bytes themselves
			if got := chainhash.DoubleHashH(tm.Txs[i].Raw); got != tm.Txs[i].WTxID {
				t.Errorf("%s: transaction %d hashes to %v, not %v", c.file, i, got, tm.Txs[i].WTxID)
			}
		}
	}
}

func TestEmptyTemplateExceptions(t *testing.T) {
	regtest := &Config{Network: chain(t, "regtest")}
	tipHash, parent := chainhash.Hash{2}, chainhash.Hash{1}
	good := header{
		Hash: hashHex{tipHash, true}, PrevHash: hashHex{parent, true},
		Confirmations: 1, Height: 100, MedianTime: 1_700_000_000,
	}
	last := pool.Template{Node: "n", Height: 100, PrevHash: parent, Version: 0x20000004, Bits: 0x207fffff, CurTime: 1_700_000_100}
	e := emptyTemplate(regtest, &good, &last, 7*time.Second)
	if e == nil {
		t.Fatal("no empty template on an ordinary block")
	}
	if e.Height != 101 || e.PrevHash != tipHash || e.MinTime != 1_700_000_001 || e.CurTime != 1_700_000_107 ||
		e.Version != 0x20000004 || e.Bits != last.Bits || !e.Empty || len(e.Txs) != 0 || e.Value != 50e8 || e.Node != "n" {
		t.Errorf("%+v", e)
	}
	for name, change := range map[string]func(h *header, l *pool.Template){
		"a later block is here": func(h *header, l *pool.Template) { h.Confirmations = 2 },
		"off the active chain":  func(h *header, l *pool.Template) { h.Confirmations = -1 },
		"reorganisation":        func(h *header, l *pool.Template) { h.PrevHash.Hash[0] = 9 },
		"no parent":             func(h *header, l *pool.Template) { h.PrevHash.set = false },
		"another height":        func(h *header, l *pool.Template) { l.Height = 99 },
		"retarget":              func(h *header, l *pool.Template) { h.Height, l.Height = 2015, 2015 },
		"later retarget":        func(h *header, l *pool.Template) { h.Height, l.Height = 2016*50-1, 2016*50-1 },
		"no median time":        func(h *header, l *pool.Template) { h.MedianTime = 0 },
	} {
		h, l := good, last
		change(&h, &l)
		if emptyTemplate(regtest, &h, &l, 0) != nil {
			t.Errorf("%s: an empty template all the same", name)
		}
	}
	h, l := good, last
	h.Height, l.Height = 2016, 2016
	if emptyTemplate(regtest, &h, &l, 0) == nil {
		t.Error("none in the block after a retarget")
	}
}

// TestFirstNeedsTheRightChain: min-difficulty chains other than regtest get no
// empty template, and no header is asked for.
func TestFirstNeedsTheRightChain(t *testing.T) {
	cfg := &Config{Network: chain(t, "testnet4")}
	f := &fetcher{node: &node{cfg: cfg}}
	if f.first(context.Background(), signal{hash: chainhash.Hash{1}}, &pool.Template{}, time.Now()) != nil {
		t.Error("an empty template on testnet4")
	}
}

func TestSubsidy(t *testing.T) {
	main, regtest := chain(t, "main").Params, chain(t, "regtest").Params
	for _, c := range []struct {
		got, want int64
	}{
		{subsidy(main, 1), 50e8},
		{subsidy(main, 209_999), 50e8},
		{subsidy(main, 210_000), 25e8},
		{subsidy(main, 840_000), 312_500_000},
		{subsidy(main, 6_929_999), 1},
		{subsidy(main, 6_930_000), 0},
		{subsidy(main, 210_000*64), 0},
		{subsidy(regtest, 149), 50e8},
		{subsidy(regtest, 150), 25e8},
		{subsidy(regtest, 150*33), 0},
	} {
		if c.got != c.want {
			t.Errorf("subsidy %d, want %d", c.got, c.want)
		}
	}
}

func TestCompareTips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) tip {
			v := tip{Tip: pool.Tip{Height: rapid.Int32Range(0, 5).Draw(t, name+" height")}}
			if rapid.Bool().Draw(t, name+" tells work") {
				v.work = big.NewInt(rapid.Int64Range(0, 5).Draw(t, name+" work"))
			}
			return v
		}
		a, b := draw("a"), draw("b")
		if (a.compare(b) > 0) != (b.compare(a) < 0) || a.compare(a) != 0 {
			t.Fatal("not antisymmetric")
		}
		if a.work != nil && b.work != nil && (a.compare(b) > 0) != (a.work.Cmp(b.work) > 0) {
			t.Fatal("height overrules work")
		}
	})
}

func TestVerdict(t *testing.T) {
	for in, want := range map[string]string{
		"null":           "",
		`"duplicate"`:    "duplicate",
		`"inconclusive"`: "inconclusive",
		`"rejected: already have block ` + strings.Repeat("0", 64) + `"`: "duplicate",
		`"rejected: already have block (orphan) 00"`:                     "rejected: already have block (orphan) 00",
	} {
		if got, err := verdict(json.RawMessage(in)); got != want || err != nil {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", `""`, "true", "{}", "0", "[null]"} {
		if got, err := verdict(json.RawMessage(in)); err == nil {
			t.Errorf("%s passes as %q", in, got)
		}
	}
}

// TestStateNames: every named error has a name of its own.
func TestStateNames(t *testing.T) {
	seen := make(map[string]error)
	for _, err := range []error{
		ErrUnauthorized, ErrNoCookie, ErrForbidden, ErrBusy, ErrWarmup, ErrSyncing, ErrNoPeers, ErrUnreachable, ErrTimeout, ErrTooLarge, ErrGarbage,
		ErrWrongChain, ErrSignetChallenge, ErrBehind, ErrTemplateLate, ErrUnknownRule, ErrMinDifficulty, ErrTemplate,
	} {
		name := stateName(fmt.Errorf("somewhere: %w", err))
		if name == "error" || name == "ok" || seen[name] != nil {
			t.Errorf("%v is called %q, as is %v", err, name, seen[name])
		}
		seen[name] = err
	}
	for code, err := range map[int]error{-28: ErrWarmup, -10: ErrSyncing, -9: ErrNoPeers} {
		if rpc := fmt.Errorf("x: %w", &RPCError{Code: code}); !errors.Is(rpc, err) || stateName(rpc) != stateName(err) {
			t.Errorf("code %d is not %v", code, err)
		}
	}
}
