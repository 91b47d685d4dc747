package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

// output collects what a child says while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startMinerd runs the minerd (cpuminer) that CORDEE_MINERD names on the pool
// with one thread until stop, which returns all that it said. before is put
// before it: "nice" lets it give way to what else runs.
func startMinerd(t *testing.T, p *testPool, user string, before ...string) (out *output, stop func() string) {
	t.Helper()
	out = new(output)
	args := append(before, os.Getenv("CORDEE_MINERD"),
		"--algo=sha256d", "--url=stratum+tcp://"+p.stratum, "--userpass="+user+":x", "--threads=1", "--retry-pause=1", "--debug", "--protocol-dump")
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed, and says so
		close(ended)
	}()
	stop = func() string {
		_ = cmd.Process.Kill()
		<-ended
		return out.String()
	}
	t.Cleanup(func() {
		said := stop()
		if t.Failed() {
			t.Logf("the end of what minerd said:\n%s", said[max(0, len(said)-4000):])
		}
	})
	return out, stop
}

func needMinerd(t *testing.T) {
	t.Helper()
	if os.Getenv("CORDEE_MINERD") == "" {
		t.Skip("CORDEE_MINERD names no minerd of cpuminer: nothing to mine with")
	}
}

// TestMinerd: a miner that nobody here wrote finds blocks on regtest, and its
// member is paid for them.
func TestMinerd(t *testing.T) {
	needMinerd(t)
	n := realNode(t)
	// Some 2 to 5 million hashes a second: a block takes seconds.
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 8e6, hashesPerShare: 1e6})
	minerdMines(t, n, p, true)
}

// TestMinerdOnSignet: the same on a signet of one's own, whose blocks carry
// BIP325's rule and a real difficulty.
func TestMinerdOnSignet(t *testing.T) {
	needMinerd(t)
	if os.Getenv("CORDEE_BITCOIND") == "" {
		t.Skip("CORDEE_BITCOIND names no Bitcoin Core: btcd cannot run a signet of one's own")
	}
	n := realNode(t, func(o *sandbox.NodeOptions) {
		o.Chain, o.SignetChallenge, o.MiningAddress = "signet", "51", "" // OP_TRUE: everybody may sign
	})
	p := startPool(t, poolOptions{
		nodes: []*sandbox.Node{n}, network: "signet", top: `signet_challenge = "51"`,
		hashesPerShare: 1 << 22, // the smallest difficulty there is; a block has 4.8 million hashes
	})
	minerdMines(t, n, p, false)
}

// minerdMines runs minerd until three blocks are on n's chain and checks what
// both sides say; where paid is set, until two of them pay members too, and what
// they pay once they are mature. Elsewhere the first slot takes a minute.
func minerdMines(t *testing.T, n *sandbox.Node, p *testPool, paid bool) {
	t.Helper()
	const want = 3
	_, stop := startMinerd(t, p, "jura.dole.cpu")
	eventually(t, findPatience, "minerd's blocks", func() error {
		_, height, err := n.Tip(t.Context())
		active := 0
		for _, b := range p.blocks() {
			if b.State == pool.BlockActive {
				active++
			}
		}
		if err == nil && active < want {
			err = fmt.Errorf("%d of our blocks on the chain, its height is %d", active, height)
		}
		return err
	})
	if paid {
		p.paying(2, false)
	}
	rigs := p.status()
	said := stop()
	for _, b := range p.blocks() {
		if b.State != pool.BlockActive {
			continue
		}
		if at, err := hashAt(t.Context(), n, b.Height); err != nil || at != b.Hash {
			t.Errorf("height %d is %s (%v), ours is %s", b.Height, at, err, b.Hash)
		}
		checkOurBlock(t, n, &b)
	}
	for name, count := range rigs.Shares {
		if count > 0 && name != pool.Accepted.Name() && name != "uncredited" && name != pool.Stale.Name() {
			t.Errorf("the pool answered %s %d times", name, count)
		}
	}
	heard, err := minerdTalk(said)
	if err != nil {
		t.Error(err)
	}
	for _, answer := range heard.refused {
		if !strings.Contains(answer, fmt.Sprintf("[%d,", pool.Stale.Code())) {
			t.Errorf("a submit of minerd was answered %s", answer)
		}
	}
	if heard.accepted < want {
		t.Errorf("minerd heard %d times true, and found %d blocks", heard.accepted, want)
	}
	t.Logf("%s on %s: minerd heard %d times true; the pool counted %v", n.Kind, n.Chain, heard.accepted, rigs.Shares)
	if paid {
		minerdIsPaid(t, n, p)
	}
	p.stop()
	p.verify()
}

// minerdIsPaid lets the blocks mature and compares what jura was credited and
// paid: by the pool, by the recomputation from the journal, and by the outputs of
// the node's own blocks to jura's address. Nobody else has mined.
func minerdIsPaid(t *testing.T, n *sandbox.Node, p *testPool) {
	t.Helper()
	generate(t, n, confirmations)
	var a web.Accounts
	eventually(t, patience, "every block of ours is mature", func() error {
		for _, b := range p.blocks() {
			if b.Split == nil && b.State == pool.BlockOrphaned {
				continue // it never was in the chain: a second one of its height
			}
			if b.Split == nil || b.Split.State != web.SplitMature && b.Split.State != web.SplitOrphaned {
				return fmt.Errorf("block %d: %+v", b.Height, b.Split)
			}
		}
		return p.ask("/accounts", &a)
	})
	network, err := pool.NetworkByName(n.Chain)
	if err != nil {
		t.Fatal(err)
	}
	script, err := network.Script(demoAddress("jura"))
	if err != nil {
		t.Fatal(err)
	}
	var onChain int64
	_, tip := tipOf(t, n)
	for height := int32(1); height <= tip; height++ {
		hash, err := hashAt(t.Context(), n, height)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range rawBlock(t, n, hash).Transactions[0].TxOut {
			if bytes.Equal(out.PkScript, script) {
				onChain += out.Value
			}
		}
	}
	report := p.audit(p.config)
	if !report.OK || report.Mature != len(report.Blocks) || len(report.Members) != 1 || report.Members[0].Member != "jura" {
		t.Fatalf("audit: ok %t, %d of %d blocks mature, members %+v, %v", report.OK, report.Mature, len(report.Blocks), report.Members, report.Mismatches)
	}
	jura := report.Members[0]
	if jura.Paid == 0 || jura.Paid != onChain || jura.Credited != jura.Paid+jura.Carried {
		t.Errorf("jura's address holds %d sats on the chain, recomputed is %+v", onChain, jura)
	}
	i := slices.IndexFunc(a.Members, func(m web.Account) bool { return m.Member == "jura" })
	if i < 0 || a.Members[i].Paid != jura.Paid || a.Members[i].Carried != jura.Carried || a.Members[i].Maturing != 0 || a.Members[i].Outputs != 0 {
		t.Errorf("the pool says %+v, recomputed is %+v", a.Members, jura)
	}
	out, errOut, code := cordee(t, "payouts", "--json", "-c", p.config, "jura")
	var payouts web.Payouts
	if err := json.Unmarshal([]byte(lastLine(out)), &payouts); err != nil || code != 0 {
		t.Fatalf("cordee payouts: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	var listed int64
	for _, x := range payouts.Payouts {
		if x.State == web.SplitMature {
			listed += x.Sats
		}
	}
	if listed != onChain {
		t.Errorf("cordee payouts lists %d sats, the chain has %d", listed, onChain)
	}
	t.Logf("%s: jura is credited %d sats, paid %d by the chain, carried %d", n.Kind, jura.Credited, onChain, jura.Carried)
}
