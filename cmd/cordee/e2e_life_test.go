package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cordee/internal/sandbox"
)

func (p *testPool) journalDir() string { return filepath.Join(p.dataDir(), "journal") }

// candidates returns the hashes of the candidate files.
func (p *testPool) candidates() []string {
	p.t.Helper()
	names, err := filepath.Glob(filepath.Join(p.journalDir(), "candidates", "*.cand"))
	if err != nil {
		p.t.Fatal(err)
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(filepath.Base(name), ".cand")
	}
	return names
}

// TestKilledWhileMining: kill -9 at moments that rigs choose, between a submit
// and its answer more often than not. Whatever a rig heard is kept, and every
// candidate that was written reaches the node.
func TestKilledWhileMining(t *testing.T) {
	t.Parallel()
	const kills = 5
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 200_000, hashesPerShare: 2_000})
	heard := newPromises()
	_, stop := p.mine(12, 40_000, heard.on)
	for range kills {
		heard.more(t, 10)
		var left atomic.Int64
		left.Store(1 + rand.Int64N(30))
		pid := p.cmd.Process.Pid
		shoot := func() {
			if left.Add(-1) == 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // the test sees it below
			}
		}
		heard.onSubmit.Store(&shoot)
		if code := p.wait(patience); code != -1 {
			t.Fatalf("exit code %d, want a kill", code)
		}
		heard.onSubmit.Store(nil)
		p.start()
	}
	eventually(t, patience, "blocks found", func() error {
		if found := len(p.candidates()); found < 3 {
			return fmt.Errorf("%d", found)
		}
		return nil
	})
	stop()
	eventually(t, patience, "every candidate at the node", func() error {
		for _, hash := range p.candidates() {
			err := rpc(t.Context(), n, nil, "getblockheader", hash)
			// What btcd says of a block that it has on a side branch.
			if err != nil && !strings.Contains(err.Error(), "is not in the main chain") {
				return fmt.Errorf("%s: %w", hash, err)
			}
		}
		return nil
	})
	p.stop()
	p.verify()
	if epochs := heard.audit(t, p.journalDir()); epochs != kills+1 {
		t.Errorf("%d epochs after %d starts", epochs, kills+1)
	}
}

// TestCandidateOutlivesPoolAndNode: a block is found while the node is away,
// then the pool dies too. When both are back the block is on the chain.
func TestCandidateOutlivesPoolAndNode(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	const work = 20_000
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: work})
	for _, away := range []struct {
		how        string
		goes, back func() error
	}{
		{"dead", func() error { return errors.Join(n.Flush(t.Context()), n.Kill()) }, func() error { return n.Restart(t.Context()) }},
		// A frozen node takes the bytes of submitblock, answers nothing, and
		// finds them when it thaws: then the pool's second submit is a duplicate.
		{"frozen", func() error { return syscall.Kill(n.Pid(), syscall.SIGSTOP) }, func() error { return syscall.Kill(n.Pid(), syscall.SIGCONT) }},
	} {
		tip, height := tipOf(t, n)
		r := p.dialRig("alpes.annecy.hand")
		j := r.jobOn(tip)
		if err := away.goes(); err != nil {
			t.Fatal(err)
		}
		share := r.solve(&j, blockTarget(t, work))
		if a := r.submit(&share); !a.OK {
			t.Fatalf("%s node: the block's share was answered %d %s", away.how, a.Code, a.Text)
		}
		eventually(t, patience, "candidate file", func() error {
			if _, err := os.Stat(filepath.Join(p.journalDir(), "candidates", share.Hash.String()+".cand")); err != nil {
				return err
			}
			return nil
		})
		p.kill()
		if err := away.back(); err != nil {
			t.Fatal(err)
		}
		p.start()
		eventually(t, patience, away.how+" node: the block on the active chain", func() error {
			at, err := hashAt(t.Context(), n, height+1)
			if err == nil && at != share.Hash.String() {
				err = fmt.Errorf("%s stands there, not %s", at, share.Hash)
			}
			return err
		})
		eventually(t, patience, away.how+" node: the pool's word for it", func() error {
			b, ok := p.block(share.Hash.String())
			if !ok || b.State.String() != "active" {
				return fmt.Errorf("known %t, %s, %v", ok, b.State, b.Answers)
			}
			return nil
		})
	}
	p.stop()
	p.verify()
	// What is settled is listed, and not submitted again.
	before := len(p.logged("block.resubmit"))
	if before < 2 {
		t.Errorf("%d candidates were submitted again, want 2", before)
	}
	p.start()
	if list := p.blocks(); len(list) != 2 {
		t.Errorf("after a clean stop %d blocks are listed, want the two: %+v", len(list), list)
	}
	p.stop()
	if after := len(p.logged("block.resubmit")); after != before {
		t.Errorf("after a clean stop %d settled blocks are submitted again", after-before)
	}
}

// TestTermUnderLoad: SIGTERM while rigs submit. It ends in time with exit code
// 0, the epoch is sealed, and nothing that a rig heard is missing.
func TestTermUnderLoad(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 300_000, hashesPerShare: 2_000})
	heard := newPromises()
	_, stop := p.mine(6, 50_000, heard.on)
	silent := p.dialRig("alpes.annecy.silent") // does not heed client.reconnect
	heard.more(t, 30)

	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(30 * time.Second); code != 0 { // ten and a busy machine
		t.Fatalf("exit code %d", code)
	}
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	stop()
	report := p.verify()
	if e := report.Epochs[len(report.Epochs)-1]; e.End != "sealed" {
		t.Errorf("the epoch's end is %s, want sealed", e.End)
	}
	heard.audit(t, p.journalDir())
	if rejected, _ := heard.complaints(); len(rejected) > 0 && !allContain(rejected, "draining", "Stale", "stale") {
		t.Errorf("rejects during the stop: %q", rejected)
	}
	closes := map[string]string{} // reason by name
	for _, l := range p.logLines() {
		if l["event"] == "conn.close" {
			closes[fmt.Sprint(l["name"])] = fmt.Sprint(l["reason"])
		}
	}
	if len(closes) != 7 {
		t.Errorf("%d of 7 rigs have a close in the log: %v", len(closes), closes)
	}
	if closes[silent.user] != "draining" {
		t.Errorf("the rig that stays to the end has reason %q, want draining", closes[silent.user])
	}
	for name, reason := range closes {
		if reason != "hangup" && reason != "draining" { // a good rig leaves by itself
			t.Errorf("%s was closed with reason %s", name, reason)
		}
	}
}

func allContain(texts []string, words ...string) bool {
	for _, text := range texts {
		found := false
		for _, w := range words {
			found = found || strings.Contains(text, w)
		}
		if !found {
			return false
		}
	}
	return true
}

// TestReloadWhileMining: SIGHUP lets a new member in and drops nobody; a file
// with a mistake changes nothing.
func TestReloadWhileMining(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 10_000})
	heard := newPromises()
	_, stop := p.mine(3, 30_000, heard.on)
	heard.more(t, 3)

	members := filepath.Join(p.dir, "members.toml")
	good, err := os.ReadFile(members)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, event string) map[string]any {
		t.Helper()
		before := len(p.logged(event))
		if err := os.WriteFile(members, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGHUP)
		return p.awaitLogged(event, before+1)[before]
	}
	fourth := fmt.Sprintf("%s[[member]]\nid = \"cerdagne\"\nindex = 4\ndestinations = [{ address = %q, bp = 10000 }]\n  [[member.site]]\n  id = \"font\"\n", good, demoTreasury)

	r := p.dialRig("alpes.annecy.hand")
	if a := r.call("mining.authorize", "cerdagne.font.rig-1", "x"); a.OK || a.Code != 24 {
		t.Errorf("an unknown member was answered %t, code %d", a.OK, a.Code)
	}
	reload(fourth, "config.reload")
	p.dialRig("cerdagne.font.rig-1")
	for _, bad := range []struct{ text, says string }{
		{fourth + "\n[[member]\n", "members.toml:"},
		{strings.Replace(fourth, "index = 4", "index = 5", 1), "index"},
		{string(good), "cerdagne"}, // a member cannot be forgotten
	} {
		l := reload(bad.text, "config.refused")
		if text := fmt.Sprint(l["error"]); !strings.Contains(text, bad.says) {
			t.Errorf("the log says %q, want %q in it", text, bad.says)
		}
		p.dialRig("cerdagne.font.rig-2")
	}
	// What an operator sees meanwhile.
	for _, look := range []struct{ args, says, not string }{
		{"status", "network", "ALARM"},
		{"rigs", "cerdagne.font.rig-1", "no rig"},
		{"rigs cerdagne", "cerdagne.font.rig-2", "alpes.annecy"},
		{"rigs nobody", "no rig of member nobody is connected", "cerdagne"},
		{"blocks", "no block yet", "confirmations"},
		{"status --closes", "no connection was closed", "reason"},
	} {
		out, errOut, code := cordee(t, slices.Insert(strings.Fields(look.args), 1, "-c", p.config)...)
		if code != 0 || !strings.Contains(out, look.says) || strings.Contains(out, look.not) {
			t.Errorf("cordee %s: exit %d, want %q and no %q in it:\n%s%s", look.args, code, look.says, look.not, out, errOut)
		}
	}
	heard.more(t, 1)
	if rejected, ended := heard.complaints(); len(rejected)+len(ended) > 0 {
		t.Errorf("rigs were disturbed: rejects %q, ends %q", rejected, ended)
	}
	stop()
	p.stop()
}

// TestOneDataDirOnePool: a second pool on the same directory is refused, by
// name, and the first does not notice.
func TestOneDataDirOnePool(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12})
	twin := newPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12})
	b, err := os.ReadFile(twin.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), twin.dataDir(), p.dataDir())
	if err := os.WriteFile(twin.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := cordee(t, "serve", "--json", "-c", twin.config)
	if code != 1 || !strings.Contains(errOut, fmt.Sprintf("held by process %d", p.cmd.Process.Pid)) {
		t.Errorf("exit %d, %q", code, errOut)
	}
	if !strings.Contains(out, `{"ok":false,"problem":"journal: `) {
		t.Errorf("--json printed %q", out)
	}
	if s := p.status(); s.Epoch != 1 || s.Height == 0 {
		t.Errorf("the first pool: %+v", s)
	}
	p.stop()
	p.verify()
}

// TestDamagedJournal: a damaged journal stops a start, with the place and what
// to do; --tolerate-damage mines on beside it, and says so loudly.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 2_000})
	heard := newPromises()
	_, stop := p.mine(2, 40_000, heard.on)
	heard.more(t, 10)
	stop()
	p.stop()
	segments, err := filepath.Glob(filepath.Join(p.journalDir(), "seg-*.cj"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	const at = 200 // in the first frames
	flipByte(t, segments[0], at)

	_, errOut, code := cordee(t, "serve", "-c", p.config)
	for _, want := range []string{filepath.Base(segments[0]), "--tolerate-damage", "cordee journal verify"} {
		if code != 1 || !strings.Contains(errOut, want) {
			t.Errorf("exit %d, and %q is not in what serve says:\n%s", code, want, errOut)
		}
	}
	p.flags = []string{"--tolerate-damage"}
	p.start()
	if line := p.awaitLogged("journal.damaged", 1)[0]; line["level"] != "error" || line["file"] == "" {
		t.Errorf("the damage is not in the log as an error: %v", line)
	}
	_, stop = p.mine(2, 40_000, heard.on)
	heard.more(t, 5)
	stop()
	p.stop()
	if _, errOut, code := cordee(t, "journal", "verify", "-c", p.config); code != 1 || !strings.Contains(errOut, filepath.Base(segments[0])) {
		t.Errorf("verify: exit %d\n%s", code, errOut)
	}
}

// flipByte damages one byte of a file.
func flipByte(t *testing.T, name string, at int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0x40
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
