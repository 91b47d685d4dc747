package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// payTo is the P2WPKH address of BIP 173's example key, on regtest.
const payTo = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"

// kinds runs test on btcd, and on the bitcoind that CORDEE_BITCOIND names.
func kinds(t *testing.T, test func(t *testing.T, o NodeOptions)) {
	t.Run(Btcd, func(t *testing.T) {
		test(t, NodeOptions{Binary: builtBtcd(t), MiningAddress: payTo})
	})
	if core := os.Getenv("CORDEE_BITCOIND"); core != "" {
		t.Run(Core, func(t *testing.T) {
			test(t, NodeOptions{Binary: core, MiningAddress: payTo})
		})
	}
}

func builtBtcd(t *testing.T) string {
	t.Helper()
	path, err := BuildBtcd(t.Context(), "../../tools/btcd", "")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a node in a directory of its own and ends it before that is
// removed.
func start(t *testing.T, o NodeOptions) *Node {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	life, end := context.WithCancel(context.Background())
	n, err := StartNode(life, o)
	if err != nil {
		end()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Kill()
		end()
		if t.Failed() {
			t.Logf("%s, last words:\n%s", n.URL, n.Tail())
		}
	})
	return n
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

type template struct {
	Height            int
	PreviousBlockHash string
	LongPollID        string
	CoinbaseValue     int64
}

func (n *Node) template(ctx context.Context, longpoll string) (template, error) {
	request := map[string]any{"rules": []string{"segwit"}}
	if longpoll != "" {
		request["longpollid"] = longpoll
	}
	var out template
	err := n.ask(ctx, &out, "getblocktemplate", request)
	return out, err
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestFreshNodeGivesTemplatesAndBlocks(t *testing.T) {
	kinds(t, func(t *testing.T, o NodeOptions) {
		ctx := within(t, time.Minute)
		n := start(t, o)
		if n.Version == "" || n.Kind == "" || (n.Cookie == "") == (n.PasswordFile == "") {
			t.Errorf("the node does not say what it is: %+v", n)
		}
		first := must[template](t)(n.template(ctx, ""))
		if first.Height != 1 || first.CoinbaseValue != 50e8 {
			t.Errorf("template on a fresh chain: %+v", first)
		}
		hashes := must[[]string](t)(n.Generate(ctx, 3, ""))
		if len(hashes) != 3 {
			t.Fatalf("generated %d blocks, not 3", len(hashes))
		}
		next := must[template](t)(n.template(ctx, ""))
		if next.Height != 4 || next.PreviousBlockHash != hashes[2] {
			t.Errorf("template after block %s: %+v", hashes[2], next)
		}
		if hash, height, err := n.Tip(ctx); err != nil || hash != hashes[2] || height != 3 {
			t.Errorf("tip %s %d %v", hash, height, err)
		}
	})
}

func TestLongpollWakesOnABlock(t *testing.T) {
	kinds(t, func(t *testing.T, o NodeOptions) {
		ctx := within(t, time.Minute)
		n := start(t, o)
		must[[]string](t)(n.Generate(ctx, 1, ""))
		now := must[template](t)(n.template(ctx, ""))
		woken := make(chan error, 1)
		var next template
		go func() {
			var err error
			next, err = n.template(ctx, now.LongPollID)
			woken <- err
		}()
		// Whether the longpoll is asked before or after the block, it must answer
		// with the block's child.
		hashes := must[[]string](t)(n.Generate(ctx, 1, ""))
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		if next.PreviousBlockHash != hashes[0] {
			t.Errorf("longpoll answered a template on %s, not on %s", next.PreviousBlockHash, hashes[0])
		}
	})
}

func TestConnectedNodesAgree(t *testing.T) {
	kinds(t, func(t *testing.T, o NodeOptions) {
		ctx := within(t, time.Minute)
		a, b := start(t, o), start(t, o)
		// b comes with a shorter branch of its own and must leave it.
		must[[]string](t)(b.Generate(ctx, 1, ""))
		ours := must[[]string](t)(a.Generate(ctx, 3, ""))
		if err := a.ConnectTo(ctx, b); err != nil {
			t.Fatal(err)
		}
		if err := b.WaitTip(ctx, ours[2]); err != nil {
			t.Fatal(err)
		}
		back := must[[]string](t)(b.Generate(ctx, 1, ""))
		if err := a.WaitTip(ctx, back[0]); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPeersOfOptionsComeBack(t *testing.T) {
	kinds(t, func(t *testing.T, o NodeOptions) {
		ctx := within(t, time.Minute)
		a := start(t, o)
		must[[]string](t)(a.Generate(ctx, 2, ""))
		o.Connect = []string{a.P2P}
		b := start(t, o)
		if err := b.Kill(); err != nil {
			t.Fatal(err)
		}
		more := must[[]string](t)(a.Generate(ctx, 1, ""))
		if err := b.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.WaitTip(ctx, more[0]); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKillAndRestartKeepTheChain(t *testing.T) {
	kinds(t, func(t *testing.T, o NodeOptions) {
		ctx := within(t, time.Minute)
		n := start(t, o)
		hashes := must[[]string](t)(n.Generate(ctx, 5, ""))
		if err := n.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		url, pid := n.URL, n.Pid()
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Call(ctx, "getblockcount"); err == nil {
			t.Fatal("a killed node answers")
		}
		if err := n.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if n.URL != url || n.Pid() == pid {
			t.Errorf("restarted on %s as %d, was %s as %d", n.URL, n.Pid(), url, pid)
		}
		if hash, height, err := n.Tip(ctx); err != nil || hash != hashes[4] || height != 5 {
			t.Errorf("after kill and restart the tip is %s %d %v, not %s 5", hash, height, err, hashes[4])
		}
		// Restart of a living node is a clean stop and a start.
		if err := n.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := n.Stop(ctx); err != nil {
			t.Errorf("second stop: %v", err)
		}
	})
}

func TestContextEndsTheNode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n, err := StartNode(ctx, NodeOptions{Dir: t.TempDir(), Binary: builtBtcd(t)})
	if err != nil {
		t.Fatal(err)
	}
	done := n.Done()
	cancel()
	select {
	case <-done:
	case <-within(t, time.Minute).Done():
		t.Fatal("the node lives on after its context")
	}
	if err := n.Restart(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("restart after the context's end: %v", err)
	}
}

func TestCoreSpeaksZMQAndSignet(t *testing.T) {
	core := os.Getenv("CORDEE_BITCOIND")
	if core == "" {
		t.Skip("CORDEE_BITCOIND names no bitcoind")
	}
	ctx := within(t, time.Minute)
	n := start(t, NodeOptions{Binary: core, Chain: "signet", SignetChallenge: "51", ZMQ: true})
	var zmq []struct{ Type, Address string }
	if err := n.ask(ctx, &zmq, "getzmqnotifications"); err != nil {
		t.Fatal(err)
	}
	if len(zmq) != 1 || zmq[0].Type != "pubhashblock" || zmq[0].Address != n.ZMQ {
		t.Errorf("zmq is %v, not hashblock on %s", zmq, n.ZMQ)
	}
	var out struct {
		Height    int
		Challenge string `json:"signet_challenge"`
	}
	raw := must[json.RawMessage](t)(n.Call(ctx, "getblocktemplate", map[string]any{"rules": []string{"segwit", "signet"}}))
	if err := json.Unmarshal(raw, &out); err != nil || out.Challenge != "51" || out.Height != 1 {
		t.Errorf("template of our own signet: %+v %v", out, err)
	}
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	notANode := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(notANode, []byte("#!/bin/sh\necho Hello node 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    NodeOptions
		want string
	}{
		"no directory":    {NodeOptions{}, "Dir is empty"},
		"unknown chain":   {NodeOptions{Dir: t.TempDir(), Chain: "main"}, `chain "main": use regtest or signet`},
		"challenge alone": {NodeOptions{Dir: t.TempDir(), SignetChallenge: "51"}, "Chain is not signet"},
		"not a node":      {NodeOptions{Dir: t.TempDir(), Binary: notANode}, "neither bitcoind nor btcd"},
		"btcd on signet":  {NodeOptions{Dir: t.TempDir(), Binary: builtBtcd(t), Chain: "signet"}, "needs Bitcoin Core"},
		"bad flag": {
			NodeOptions{Dir: t.TempDir(), Binary: builtBtcd(t), ExtraArgs: []string{"--no-such-flag"}},
			"no-such-flag",
		}, // the child's own words
	} {
		_, err := StartNode(within(t, time.Minute), c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not contain %q", name, err, c.want)
		}
	}
	t.Setenv("CORDEE_BITCOIND", filepath.Join(t.TempDir(), "gone"))
	if _, err := StartNode(t.Context(), NodeOptions{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "CORDEE_BITCOIND") {
		t.Errorf("a wrong CORDEE_BITCOIND gives %v", err)
	}
}

// TestVersionLeavesTheHomeAlone: Core makes ~/.bitcoin/settings.json even for
// --version.
func TestVersionLeavesTheHomeAlone(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	script := filepath.Join(t.TempDir(), "bitcoind")
	text := "#!/bin/sh\ntouch \"$HOME/settings.json\"\necho Bitcoin Core daemon version v1\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	if kind, version, err := identify(t.Context(), script, dir); kind != Core || version != "v1" || err != nil {
		t.Errorf("%q %q %v", kind, version, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "settings.json")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) != 0 {
		t.Errorf("home holds %v, %v", left, err)
	}
}

func TestChoiceOfNode(t *testing.T) {
	dir := t.TempDir()
	inPath, named := filepath.Join(dir, "bitcoind"), filepath.Join(dir, "named")
	for _, file := range []string{inPath, named} {
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	btcd := builtBtcd(t)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, c := range []struct {
		o    NodeOptions
		env  string
		want string
	}{
		{NodeOptions{Binary: "given", AllowPath: true}, named, "given"},
		{NodeOptions{AllowPath: true}, named, named},
		{NodeOptions{AllowPath: true}, "", inPath},
		{NodeOptions{}, "", btcd}, // PATH is for the demo: a test must know what it runs on
	} {
		t.Setenv("CORDEE_BITCOIND", c.env)
		if got, err := c.o.choose(t.Context()); got != c.want || err != nil {
			t.Errorf("%+v with CORDEE_BITCOIND=%q: %q %v, not %q", c.o, c.env, got, err, c.want)
		}
	}
}

func TestRefusalIsTheNodesOwn(t *testing.T) {
	kinds(t, func(t *testing.T, o NodeOptions) {
		n := start(t, o)
		_, err := n.Call(within(t, time.Minute), "nosuchmethod")
		if refusal, ok := errors.AsType[*RPCError](err); !ok || refusal.Code != -32601 {
			t.Errorf("unknown method: %v", err)
		}
	})
}

func TestGenerateSaysWhatItNeeds(t *testing.T) {
	n := &Node{Kind: Btcd}
	if _, err := n.Generate(t.Context(), 1, payTo); err == nil || !strings.Contains(err.Error(), "MiningAddress") {
		t.Errorf("generate without an address: %v", err)
	}
	n.options.MiningAddress = payTo
	if _, err := n.Generate(t.Context(), 1, "another"); err == nil || !strings.Contains(err.Error(), "btcd pays only") {
		t.Errorf("generate to another address: %v", err)
	}
}
