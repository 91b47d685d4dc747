package bitcoind_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/rs/zerolog"

	"cordee/internal/bitcoind"
	"cordee/internal/harness"
	"cordee/pool"
)

// TestNamedConditions scripts each trouble of a node, at start and at run time:
// Check names it, Run survives it, says its name, and goes on when it is over.
func TestNamedConditions(t *testing.T) {
	for _, c := range []struct {
		name, method string
		fault        harness.Fault
		want         error
		state        string
	}{
		{"401", "getblockchaininfo", harness.Fault{Status: 401}, bitcoind.ErrUnauthorized, "unauthorized"},
		{"403", "getblockchaininfo", harness.Fault{Status: 403}, bitcoind.ErrForbidden, "forbidden"},
		{"503", "getblockchaininfo", harness.Fault{Status: 503}, bitcoind.ErrBusy, "busy"},
		{"work queue", "getblockchaininfo", harness.Fault{Status: 500, Body: "Work queue depth exceeded"}, bitcoind.ErrBusy, "busy"},
		{"warm-up", "getblockchaininfo", harness.Fault{Code: -28, Message: "Loading block index..."}, bitcoind.ErrWarmup, "warmup"},
		{"404", "getblockchaininfo", harness.Fault{Status: 404, Body: "page"}, bitcoind.ErrHTTP, "error"},
		{"reset", "getblockchaininfo", harness.Fault{Drop: true}, bitcoind.ErrUnreachable, "unreachable"},
		{"garbage", "getblockchaininfo", harness.Fault{Body: "<html>"}, bitcoind.ErrGarbage, "garbage"},
		{"cut JSON", "getblockchaininfo", harness.Fault{Body: `{"result":{"chain":"regte`}, bitcoind.ErrGarbage, "garbage"},
		{"other JSON", "getblockchaininfo", harness.Fault{Result: []byte(`[1,2]`)}, bitcoind.ErrGarbage, "garbage"},
		{"huge", "getblockchaininfo", harness.Fault{Huge: 2 << 20}, bitcoind.ErrTooLarge, "answer-too-large"},
		{"wrong genesis", "getblockhash", harness.Fault{Result: []byte(`"000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"`)}, bitcoind.ErrWrongChain, "wrong-chain"},
		{"wrong chain", "getblockchaininfo", harness.Fault{Result: []byte(`{"chain":"main"}`)}, bitcoind.ErrWrongChain, "wrong-chain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
			book := new(logBook)
			cfg := configFor(t, f)
			cfg.Log = zerolog.New(book)

			f.Fail(c.method, c.fault)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			go func() { // who waits for the node has asked a few times by then
				f.Wait(ctx, func() bool { return f.Calls(c.method) >= 3 })
				cancel()
			}()
			err := newCluster(t, cfg).Check(ctx)
			if !errors.Is(err, c.want) {
				t.Errorf("Check: %v, want %v", err, c.want)
			}

			f.Clear("")
			r := run(t, cfg)
			r.onTip(f.Tip())
			f.Fail(c.method, c.fault)
			f.Fail("getbestblockhash", harness.Fault{Times: 2, Drop: true}) // an outage, with the idle-connection retry, then a check
			s := r.state(0, c.state)
			if s.Healthy || s.LastError == "" {
				t.Errorf("%+v", s)
			}
			f.Clear("")
			r.state(0, "ok")
			r.onTip(f.Mine())

			all := book.String() + s.LastError
			if err != nil {
				all += err.Error()
			}
			if strings.Contains(all, f.Password()) {
				t.Error("the secret is in a log or an error")
			}
		})
	}
}

// TestBadTemplates offers templates that must not be mined on: the last good
// one stands, and the state has a name.
func TestBadTemplates(t *testing.T) {
	set := func(key string, v any) func(map[string]any) { return func(m map[string]any) { m[key] = v } }
	tx := map[string]any{"data": strings.Repeat("00", 60), "txid": strings.Repeat("11", 32), "hash": strings.Repeat("22", 32), "weight": 240}
	for name, c := range map[string]struct {
		change func(map[string]any)
		state  string
	}{
		"unknown rule":   {set("rules", []string{"csv", "!quantum"}), "unknown-rule"},
		"no prevhash":    {func(m map[string]any) { delete(m, "previousblockhash") }, "bad-template"},
		"short prevhash": {set("previousblockhash", "00ff"), "bad-template"},
		"no value":       {func(m map[string]any) { delete(m, "coinbasevalue") }, "bad-template"},
		"negative value": {set("coinbasevalue", -1), "bad-template"},
		"text value":     {set("coinbasevalue", "5000000000"), "garbage"},
		"bad bits":       {set("bits", "207fffgg"), "bad-template"},
		"zero bits":      {set("bits", "00000000"), "bad-template"},
		"other target":   {set("target", strings.Repeat("0", 63)+"1"), "bad-template"},
		"height":         {set("height", 0), "bad-template"},
		"height 2^40":    {set("height", 1<<40), "bad-template"},
		"no mintime":     {func(m map[string]any) { delete(m, "mintime") }, "bad-template"},
		"curtime":        {set("curtime", 1), "bad-template"},
		"commitment":     {set("default_witness_commitment", "6a24aa21a9ed"+strings.Repeat("00", 32)), "bad-template"},
		"cut tx":         {set("transactions", []any{map[string]any{"data": "0"}}), "bad-template"},
		"tx commitment":  {set("transactions", []any{tx}), "bad-template"},
		"rolled bits":    {set("vbrequired", 1<<13), "bad-template"},
		"version":        {set("version", "x"), "garbage"},
		"longpollid":     {set("longpollid", strings.Repeat("x", 300)), "bad-template"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
			r := run(t, configFor(t, f))
			r.onTip(f.Tip())
			f.Mutate(c.change)
			bad := f.Mine()
			s := r.state(0, c.state)
			if s.Healthy || s.LastError == "" {
				t.Errorf("%+v", s)
			}
			f.Mutate(nil)
			u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == bad.Hash && !u.Template.Empty })
			if u.Signal.IsZero() && u.Tip != 2 {
				t.Errorf("%+v", u)
			}
			r.state(0, "ok")
		})
	}
}

func TestHugeTemplate(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	f.Mutate(func(m map[string]any) { delete(m, "longpollid") }) // one asked for before the fault would be answered behind the block
	r := run(t, configFor(t, f))
	r.onTip(f.Tip())
	f.Fail("getblocktemplate", harness.Fault{Huge: 17 << 20})
	f.Mine()
	r.state(0, "answer-too-large")
	f.Clear("")
	r.onTip(f.Tip())
}

func TestPeersAndSync(t *testing.T) {
	custom := []byte{0x51}
	for _, c := range []struct {
		network   string
		challenge []byte
		peers     int
		ibd       bool
		want      error
	}{
		{"main", nil, 8, false, nil},
		{"main", nil, 0, false, bitcoind.ErrNoPeers},
		{"main", nil, 8, true, bitcoind.ErrSyncing},
		{"testnet4", nil, 0, false, bitcoind.ErrNoPeers},
		{"signet", chaincfg.DefaultSignetChallenge, 0, false, bitcoind.ErrNoPeers},
		{"signet", chaincfg.DefaultSignetChallenge, 8, true, bitcoind.ErrSyncing},
		{"signet", custom, 0, true, nil},
		{"regtest", nil, 0, true, nil},
	} {
		f := harness.StartFakeCore(t, harness.FakeCoreConfig{Network: network(t, c.network), Challenge: c.challenge, IBD: c.ibd, Height: 20})
		f.SetPeers(c.peers)
		cfg := configFor(t, f)
		cfg.Network = network(t, c.network)
		if err := newCluster(t, cfg).Check(t.Context()); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s, challenge %x, %d peers, ibd %v: %v, want %v", c.network, c.challenge, c.peers, c.ibd, err, c.want)
		}
	}
}

func TestSignetChallenge(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Network: network(t, "signet"), Challenge: []byte{0x51}, Height: 20})
	cfg := configFor(t, f)
	cfg.Network = network(t, "signet")
	cfg.SignetChallenge = []byte{0x52}
	if err := newCluster(t, cfg).Check(t.Context()); !errors.Is(err, bitcoind.ErrSignetChallenge) {
		t.Errorf("%v", err)
	}
	// Core before 28 tells it in templates only.
	f.Fail("getblockchaininfo", harness.Fault{Times: 1, Result: []byte(`{"chain":"signet"}`)})
	if err := newCluster(t, cfg).Check(t.Context()); !errors.Is(err, bitcoind.ErrSignetChallenge) {
		t.Errorf("old Core: %v", err)
	}
	cfg.SignetChallenge = []byte{0x51}
	r := run(t, cfg)
	if u := r.onTip(f.Tip()); hex.EncodeToString(u.Template.Challenge) != "51" {
		t.Errorf("challenge %x", u.Template.Challenge)
	}
}

func TestMinDifficultyIsNotServed(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Network: network(t, "testnet4"), ZMQ: true, Height: 20})
	cfg := withZMQ(configFor(t, f), f)
	cfg.Network = network(t, "testnet4")
	r := run(t, cfg)
	r.onTip(f.Tip())
	f.Subscribers(t.Context(), 1)
	f.Mutate(func(m map[string]any) {
		m["bits"] = "1d00ffff"
		delete(m, "target")
	})
	tip := f.Mine()
	r.state(0, "min-difficulty")
	f.Mutate(nil)
	u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash })
	if u.Template.Empty {
		t.Error("empty template on a min-difficulty chain")
	}
}

func TestWorkBits(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 20})
	cfg := withZMQ(configFor(t, f), f)
	cfg.WorkBits = 0x1f00ffff
	r := run(t, cfg)
	check := func(u bitcoind.Update) {
		t.Helper()
		want, _ := pool.TargetFromBits(cfg.WorkBits)
		if tm := u.Template; tm.WorkBits != cfg.WorkBits || tm.Bits != 0x207fffff || tm.BlockTarget != want {
			t.Errorf("bits %08x, work bits %08x, target %v", tm.Bits, tm.WorkBits, tm.BlockTarget)
		}
	}
	check(r.onTip(f.Tip()))
	f.Subscribers(t.Context(), 1)
	tip := f.Mine()
	check(r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash }))
	check(r.onTip(tip))
}

func TestCheckWaitsForWarmUp(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{})
	f.Fail("getblockchaininfo", harness.Fault{Times: 5, Code: -28, Message: "Verifying blocks..."})
	if err := newCluster(t, configFor(t, f)).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOneNodeOfTwoIsEnoughAtStart(t *testing.T) {
	a, b := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20}), harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	cfg := configFor(t, a, b)
	a.Down()
	if err := newCluster(t, cfg).Check(t.Context()); err != nil {
		t.Error(err)
	}
	r := run(t, cfg)
	r.onTip(b.Tip())
	b.Down()
	if err := newCluster(t, cfg).Check(t.Context()); !errors.Is(err, bitcoind.ErrNoNode) || !errors.Is(err, bitcoind.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

func TestCredentials(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{})
	file := filepath.Join(t.TempDir(), "password")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := configFor(t, f)
	cfg.Nodes[0].Cookie, cfg.Nodes[0].User, cfg.Nodes[0].PasswordFile = "", "pool", file
	c := newCluster(t, cfg)
	if _, err := c.Call(t.Context(), "getbestblockhash"); !errors.Is(err, bitcoind.ErrUnauthorized) || !strings.Contains(err.Error(), file) {
		t.Errorf("missing file: %v", err)
	}
	write(f.Password() + "\n")
	if _, err := c.Call(t.Context(), "getbestblockhash"); err != nil {
		t.Errorf("password file: %v", err)
	}
	f.Rotate()
	if _, err := c.Call(t.Context(), "getbestblockhash"); !errors.Is(err, bitcoind.ErrUnauthorized) {
		t.Errorf("old password: %v", err)
	}
	cfg.Nodes[0].User, cfg.Nodes[0].PasswordFile, cfg.Nodes[0].Cookie = "", "", file
	write("no colon but a secret")
	_, err := newCluster(t, cfg).Call(t.Context(), "getbestblockhash")
	if !errors.Is(err, bitcoind.ErrUnauthorized) || strings.Contains(err.Error(), "secret") {
		t.Errorf("bad cookie: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := bitcoind.NodeConfig{URL: "http://127.0.0.1:8332", Cookie: "c"}
	for want, change := range map[string]func(*bitcoind.Config){
		"network is missing":     func(c *bitcoind.Config) { c.Network = nil },
		"no [[node]]":            func(c *bitcoind.Config) { c.Nodes = nil },
		"regtest only":           func(c *bitcoind.Config) { c.WorkBits = 0x1f00ffff },
		"signet only":            func(c *bitcoind.Config) { c.SignetChallenge = []byte{0x51} },
		"used twice":             func(c *bitcoind.Config) { c.Nodes = append(c.Nodes, c.Nodes[0]) },
		"url holds credentials":  func(c *bitcoind.Config) { c.Nodes[0].URL = "http://u:hunter2@h:1" },
		"url is malformed":       func(c *bitcoind.Config) { c.Nodes[0].URL = "http://u:hunter2@h:\x01" },
		"write http://host:port": func(c *bitcoind.Config) { c.Nodes[0].URL = "127.0.0.1" },
		"needs cookie":           func(c *bitcoind.Config) { c.Nodes[0].Cookie = "" },
		"keep one":               func(c *bitcoind.Config) { c.Nodes[0].User = "u" },
		"tcp://host:port":        func(c *bitcoind.Config) { c.Nodes[0].ZMQ = "127.0.0.1:1" },
	} {
		cfg := bitcoind.Config{Network: network(t, "main"), Nodes: []bitcoind.NodeConfig{good}}
		change(&cfg)
		_, err := bitcoind.New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestNodeAwayAtStart: Core removes its cookie when it stops. That is a node
// that is away, not one with wrong credentials, and must not keep a pool from
// starting on its other node.
func TestNodeAwayAtStart(t *testing.T) {
	cfg := configFor(t, harness.StartFakeCore(t, harness.FakeCoreConfig{}), harness.StartFakeCore(t, harness.FakeCoreConfig{}))
	cfg.Nodes[0].User, cfg.Nodes[0].PasswordFile = "", ""
	cfg.Nodes[0].Cookie = filepath.Join(t.TempDir(), ".cookie")
	if err := newCluster(t, cfg).Check(t.Context()); err != nil {
		t.Errorf("one of two nodes is away: %v", err)
	}
	cfg.Nodes = cfg.Nodes[:1]
	err := newCluster(t, cfg).Check(t.Context())
	if !errors.Is(err, bitcoind.ErrNoCookie) || !strings.Contains(err.Error(), cfg.Nodes[0].Cookie) || strings.Contains(err.Error(), "HTTP 401") {
		t.Errorf("the only node is away: %v", err)
	}
}
