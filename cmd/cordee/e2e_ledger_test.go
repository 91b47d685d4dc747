package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordee/internal/harness"
	"cordee/internal/keeper"
	"cordee/internal/sandbox"
	"cordee/pool"
)

// ledgerCheck runs `cordee ledger check --json`.
func (p *testPool) ledgerCheck() (r ledgerReport, code int) {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "ledger", "check", "--json", "-c", p.config)
	if err := json.Unmarshal([]byte(lastLine(out)), &r); err != nil {
		p.t.Fatalf("ledger check: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	return r, code
}

// contents returns what every key of the server holds, in an order that is the
// same for equal contents.
func contents(t *testing.T, r *harness.Redis) map[string]string {
	t.Helper()
	admin, ctx := r.Admin(), t.Context()
	keys, err := admin.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, k := range keys {
		switch kind := admin.Type(ctx, k).Val(); kind {
		case "hash":
			all[k] = fmt.Sprintf("%q", admin.HGetAll(ctx, k).Val()) // fmt sorts maps
		default:
			all[k] = kind + " " + admin.Get(ctx, k).Val()
		}
	}
	return all
}

// TestLedgerCheckAndRebuild: beside a running pool and without one the check
// finds nothing where all is well; what is spoilt in a file, in the store or in
// the ledger's opinion of the chain is named; a rebuild is refused while the
// pool runs and for another incarnation's store, and gives, byte for byte, what
// shipping gave.
func TestLedgerCheckAndRebuild(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t)
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, redis: r.Addr, hashesPerBlock: 3e5, hashesPerShare: 6000})
	heard := newPromises()
	_, stopRigs := p.mine(3, 20_000, heard.on)
	p.creditedBlock()
	p.awaitStore(keeper.ShipCurrent, 3)
	if rep, code := p.ledgerCheck(); code != 0 || !rep.OK || !rep.Running || rep.StoreSlots < 3 || rep.ChainBlocks == 0 || len(rep.Invariants) != len(ledgerInvariants) {
		t.Errorf("beside a running pool: exit %d, %+v", code, rep)
	}
	if _, errOut, code := cordee(t, "ledger", "rebuild", "--yes", "-c", p.config); code != 1 || !strings.Contains(errOut, "stop it first") {
		t.Errorf("rebuild under a running pool: exit %d, %s", code, errOut)
	}
	stopRigs()
	p.awaitSettled()
	status := p.status()
	if s := status.Store; s.Kind != "redis" || s.State != keeper.ShipCurrent || s.Since.IsZero() || len(s.Problems) != 0 {
		t.Errorf("status says of the store %+v", s)
	}
	p.stop()

	if err := r.Admin().Set(t.Context(), "{cordee:other}:meta", "not ours", 0).Err(); err != nil {
		t.Fatal(err)
	}
	rep, code := p.ledgerCheck()
	if code != 0 || !rep.OK || rep.Running || rep.StoreSlots != rep.Slots || rep.StoreEvents != rep.Events || rep.Events == 0 || len(rep.Notes) != 0 {
		t.Fatalf("without a pool: exit %d, %+v", code, rep)
	}
	out, _, code := cordee(t, "ledger", "check", "-c", p.config)
	if code != 0 || strings.Count(out, "\nok  ") != len(ledgerInvariants)-1 || !strings.HasSuffix(out, "everything agrees\n") {
		t.Errorf("exit %d\n%s", code, out)
	}

	before := contents(t, r)
	out, errOut, code := cordee(t, "ledger", "rebuild", "-c", p.config) // its input is empty
	if code != 1 || !strings.Contains(errOut, "nothing was changed") || !strings.Contains(out, "delete   ") || !maps.Equal(before, contents(t, r)) {
		t.Errorf("without an answer: exit %d\n%s%s", code, out, errOut)
	}
	if code, out := p.rebuild("no\n"); code != 1 || !maps.Equal(before, contents(t, r)) {
		t.Errorf("another answer: exit %d\n%s", code, out)
	}
	if code, out := p.rebuild("demo\n"); code != 0 || !strings.Contains(out, "rebuilt: ") {
		t.Errorf("confirmed: exit %d\n%s", code, out)
	}
	after := contents(t, r)
	if !maps.Equal(before, after) {
		t.Errorf("rebuilt, the store differs:\n%q\n%q", before, after)
	}

	// What is spoilt is named, and a rebuild mends the store.
	admin, ctx := r.Admin(), t.Context()
	const mine = "{cordee:demo}:"
	for field, v := range admin.HGetAll(ctx, mine+"run:"+admin.HKeys(ctx, mine+"runs").Val()[0]).Val() {
		if err := admin.HSet(ctx, mine+"run:"+admin.HKeys(ctx, mine+"runs").Val()[0], field, v+"0").Err(); err != nil {
			t.Fatal(err)
		}
		break
	}
	if rep, code := p.ledgerCheck(); code != 1 || rep.OK || len(rep.Findings) != 1 || rep.Findings[0].Invariant != "store" || !strings.HasPrefix(rep.Findings[0].Where, "work of member") {
		t.Errorf("a spoilt sum: exit %d, %+v", code, rep)
	}
	out, errOut, code = cordee(t, "ledger", "rebuild", "--yes", "--json", "-c", p.config)
	var done rebuildReport
	if err := json.Unmarshal([]byte(lastLine(out)), &done); err != nil || code != 0 || !done.OK || len(done.Deleted) == 0 || done.Slots != rep.Slots {
		t.Errorf("exit %d, %v\n%s%s", code, err, out, errOut)
	}
	if !maps.Equal(before, contents(t, r)) {
		t.Error("rebuilt over a spoilt sum, the store differs")
	}

	for folder, ext := range map[string]string{"slots": "slot", "ledger": "event"} {
		name := filepath.Join(p.dataDir(), folder, "0000000001."+ext)
		whole := p.shelf(folder, ext)[0]
		spoilt := bytes.Clone(whole)
		spoilt[len(spoilt)/2] ^= 1
		if err := os.WriteFile(name, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		_, errOut, code := cordee(t, "ledger", "check", "-c", p.config)
		if code != 1 || !strings.Contains(errOut, name) {
			t.Errorf("a byte of %s: exit %d, %s", name, code, errOut)
		}
		if _, errOut, code := cordee(t, "ledger", "rebuild", "--yes", "-c", p.config); code != 1 || !strings.Contains(errOut, "nothing is rebuilt from them") {
			t.Errorf("rebuild from a spoilt %s: exit %d, %s", name, code, errOut)
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tip, _ := tipOf(t, n)
	if _, err := n.Call(ctx, "invalidateblock", tip); err != nil {
		t.Fatal(err)
	}
	off := func(f ledgerFinding) bool { return f.Invariant == "chain" && f.Where == "block "+tip } // a rival of ours below it may be back, and be found too
	if rep, code := p.ledgerCheck(); code != 1 || !slices.ContainsFunc(rep.Findings, off) {
		t.Errorf("a block that left the chain: exit %d, %+v", code, rep)
	}
	if _, err := n.Call(ctx, "reconsiderblock", tip); err != nil {
		t.Fatal(err)
	}

	// Another's store, and an empty one.
	if err := admin.HSet(ctx, mine+"meta", "incarnation", strings.Repeat("ab", 16)).Err(); err != nil {
		t.Fatal(err)
	}
	foreign := contents(t, r)
	if _, errOut, code := cordee(t, "ledger", "rebuild", "--yes", "-c", p.config); code != 1 || !strings.Contains(errOut, "another pool or incarnation") || !maps.Equal(foreign, contents(t, r)) {
		t.Errorf("another incarnation: exit %d, %s", code, errOut)
	}
	if err := admin.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if rep, code := p.ledgerCheck(); code != 1 || rep.Findings[0].Invariant != "store" {
		t.Errorf("emptied: exit %d, %+v", code, rep)
	}
	if _, errOut, code := cordee(t, "ledger", "rebuild", "--yes", "-c", p.config); code != 0 {
		t.Errorf("of an empty store: exit %d, %s", code, errOut)
	}
	delete(before, "{cordee:other}:meta")
	if !maps.Equal(before, contents(t, r)) {
		t.Error("rebuilt from nothing, the store differs")
	}

	r.Kill()
	if rep, code := p.ledgerCheck(); code != 0 || !rep.OK || len(rep.Notes) != 1 || !strings.Contains(rep.Notes[0], "the store could not be compared") {
		t.Errorf("with the store away: exit %d, %+v", code, rep)
	}
	r.Start()

	// A start puts back what the store can prove.
	slots, events := p.shelf("slots", "slot"), p.shelf("ledger", "event")
	if err := os.Remove(filepath.Join(p.dataDir(), "slots", "0000000001.slot")); err != nil {
		t.Fatal(err)
	}
	event := bytes.Clone(events[0])
	event[50] ^= 1
	if err := os.WriteFile(filepath.Join(p.dataDir(), "ledger", "0000000001.event"), event, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.awaitStore(keeper.ShipCurrent, uint32(rep.Slots))
	if !bytes.Equal(p.shelf("slots", "slot")[0], slots[0]) || !bytes.Equal(p.shelf("ledger", "event")[0], events[0]) {
		t.Error("the files are not as they were")
	}
	p.stop()
	if lines := p.logged("files.mended"); len(lines) != 2 {
		t.Errorf("the log says of the files %v", lines)
	}
	heard.audit(t, p.journalDir())
}

// rebuild answers the question of `cordee ledger rebuild`.
func (p *testPool) rebuild(answer string) (code int, out string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "cordee", "ledger", "rebuild", "-c", p.config)
	cmd.Stdin = strings.NewReader(answer)
	b, _ := cmd.CombinedOutput() // the code says it
	return cmd.ProcessState.ExitCode(), string(b)
}

// awaitSettled waits until every share is in a slot, every block of ours has an
// answer, those in the chain are in the ledger, and all of it is in the store.
// Nobody may mine: then nothing comes after it.
func (p *testPool) awaitSettled() {
	p.t.Helper()
	p.awaitConnections(0)
	p.awaitCounted()
	eventually(p.t, patience, "an answer to each block", func() error {
		for _, b := range p.blocks() {
			if b.State == pool.BlockCandidate || b.State == pool.BlockAccepted {
				return fmt.Errorf("%+v", b)
			}
		}
		return nil
	})
	eventually(p.t, patience, "all is in the store", func() error {
		rep, _ := p.ledgerCheck()
		if !rep.OK || rep.StoreEvents != rep.Events || rep.StoreSlots != rep.Slots {
			return fmt.Errorf("%+v", rep)
		}
		return nil
	})
}
