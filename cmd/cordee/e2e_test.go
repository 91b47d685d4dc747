package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cordee/internal/sandbox"
)

// TestMain lets the test binary be `cordee` itself, in PATH: what the tests
// start is the program, as a process of its own.
func TestMain(m *testing.M) {
	// Most of their time these tests wait for blocks, slots and stores, not for a processor.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)+1)); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"cordee": main})
}

// patience is what real processes get for one step, beside others of their kind,
// on a slow machine and under the race detector. It is no promise of the pool's.
const patience = time.Minute

// findPatience is what rigs get to find shares or blocks in: they come by chance, and
// several times later than in the mean now and then.
const findPatience = 4 * time.Minute

// eventually polls try until it returns nil, and fails the test with its last
// error at the limit. It polls real processes: nothing here can be waited on.
func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			if err = try(); err == nil { // the look before may be as old as the limit
				return
			}
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}

// holds polls check for as long as d, and fails the test where it once returns
// an error: for what must not happen.
func holds(t *testing.T, d time.Duration, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		}
	}
}

// realNode starts the node that CORDEE_BITCOIND names, else btcd, on a fresh
// regtest with one block: it ends with the test.
func realNode(t *testing.T, change ...func(*sandbox.NodeOptions)) *sandbox.Node {
	t.Helper()
	o := sandbox.NodeOptions{Dir: filepath.Join(t.TempDir(), "node"), ZMQ: true, MiningAddress: demoTreasury}
	for _, f := range change {
		f(&o)
	}
	// The node outlives the test's context, which ends before the cleanups.
	n, err := sandbox.StartNode(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s at %s, end of its log:\n%s", n.Kind, n.URL, n.Tail())
		}
		if err := n.Kill(); err != nil {
			t.Errorf("kill %s: %v", n.Kind, err)
		}
	})
	if n.Chain == "regtest" {
		generate(t, n, 1) // a node without a recent block believes it is downloading
	}
	return n
}

// payingElsewhere gives a node's own blocks another address. Without it two
// nodes may well generate the very same block within a second.
func payingElsewhere(o *sandbox.NodeOptions) {
	o.MiningAddress = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
}

// generate mines blocks with the node itself and returns their hashes, oldest
// first.
func generate(t *testing.T, n *sandbox.Node, blocks int) []string {
	t.Helper()
	hashes, err := n.Generate(t.Context(), blocks, "")
	if err != nil {
		t.Fatalf("generate on %s: %v", n.Kind, err)
	}
	return hashes
}

// tipOf returns hash and height of the node's best block.
func tipOf(t *testing.T, n *sandbox.Node) (string, int32) {
	t.Helper()
	hash, height, err := n.Tip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return hash, int32(height)
}

// rpc asks the node and decodes the answer into out, which may be nil.
func rpc(ctx context.Context, n *sandbox.Node, out any, method string, params ...any) error {
	raw, err := n.Call(ctx, method, params...)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// hashAt returns the block hash at height on n's active chain.
func hashAt(ctx context.Context, n *sandbox.Node, height int32) (string, error) {
	var hash string
	err := rpc(ctx, n, &hash, "getblockhash", height)
	return hash, err
}

// freeAddrs returns loopback addresses that nobody else is given, so that a pool
// finds its ports free at its start and after a restart.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	addrs, err := sandbox.FreeAddresses(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// cordee runs the program and returns what it wrote and its exit code.
func cordee(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "cordee", args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// lastLine returns the last line of s that is not empty.
func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// testTreasury is demoTreasury's key on a test network.
const testTreasury = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
