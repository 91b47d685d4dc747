package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordee/internal/audit"
	"cordee/internal/journal"
	"cordee/internal/sandbox"
	"cordee/payout"
	"cordee/pool"
)

// TestDemoUntilPaid: the demo ends with a mature block, and every output of it
// and the others is what the journal says.
func TestDemoUntilPaid(t *testing.T) {
	t.Parallel()
	out, errOut, code := cordee(t, "demo", "--until-paid", "--every", "1s", "--json")
	var s demoSummary
	if err := json.Unmarshal([]byte(lastLine(out)), &s); err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errOut)
	}
	if !s.OK || s.Audit == nil || !s.Audit.OK || s.Audit.Paying < paidBlocks || s.Audit.Mature == 0 || len(s.Audit.Mismatches) != 0 {
		t.Fatalf("%+v\n%+v", s, s.Audit)
	}
	for _, m := range s.Audit.Members {
		if m.Credited == 0 || m.Paid+m.Carried != m.Credited {
			t.Errorf("%+v", m)
		}
	}
}

// oldBlocks make regtest's subsidy small enough, 12.5 BTC, for small members to
// fall below a minimum payout that a pool may have.
const oldBlocks = 300

// TestPaidOverKills: a pool with fees, a minimum payout above what one block
// gives a small member, and a kill -9 in the middle pays what the journal
// says; and what is changed afterwards is told by name.
func TestPaidOverKills(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	generate(t, n, oldBlocks)
	p := newPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 500_000, hashesPerShare: 5_000})
	const rules = "window_blocks = 4\nmin_payout = 100_000_000\nfees = [{ account = \"tools\", bp = 70, address = %q }, { account = \"pool\", bp = 33 }]\n"
	p.append(p.config, fmt.Sprintf(rules, demoAddress("tools")))
	p.start()
	_, stopLarge := p.mine(1, 400_000, nil) // the first member's
	_, stopSmall := p.mine(3, 15_000, nil)
	p.paying(2, false)
	p.kill()
	p.start()
	p.paying(5, true)
	stopLarge()
	stopSmall()
	p.awaitConnections(0)
	generate(t, n, 100)
	p.paying(5, true) // agrees beside the running pool
	p.stop()

	good := p.audit(p.config)
	if !good.OK || good.Mature != len(good.Blocks) || len(good.Mismatches) != 0 {
		t.Fatalf("%+v", good)
	}
	if report := p.verify(); len(report.Epochs) != 2 {
		t.Errorf("%d epochs, want one before and one after the kill", len(report.Epochs))
	}
	checkAllSeen(t, n, &good)
	last := good.Blocks[len(good.Blocks)-1]
	for what, c := range map[string]struct{ old, new, text, member string }{
		"fee":            {"bp = 70,", "bp = 71,", "output of fee", ""},
		"minimum":        {"100_000_000", "20_000", "output", ""},
		"window":         {"window_blocks = 4", "window_blocks = 1", "", ""},
		"treasury":       {fmt.Sprintf("treasury = %q", demoTreasury), fmt.Sprintf("treasury = %q", demoAddress("x")), "output of treasury", ""},
		"fee's address":  {demoAddress("tools"), demoAddress("fools"), "output of fee", ""},
		"a member's leg": {demoAddress("alpes"), demoAddress("elsewhere"), "output of alpes", "alpes"},
	} {
		bad := p.audit(p.copyConfig(c.old, c.new))
		if bad.OK || len(bad.Mismatches) == 0 {
			t.Errorf("%s: changed, and nothing differs", what)
			continue
		}
		found := slices.ContainsFunc(bad.Mismatches, func(m audit.Mismatch) bool {
			return strings.Contains(m.String(), c.text) && (c.member == "" || m.Member == c.member) && m.Height > 0 && m.Height <= last.Height
		})
		if !found {
			t.Errorf("%s: none of %v says %q", what, bad.Mismatches, c.text)
		}
	}

	// Whoever has the disk and rewrites shares, with every checksum of the
	// journal, is told by the slot; with all slots rewritten too, by the blocks.
	forged := filepath.Join(p.dir, "forged")
	p.forgeJournal(filepath.Join(forged, "journal"))
	if err := os.CopyFS(filepath.Join(forged, "slots"), os.DirFS(filepath.Join(p.dataDir(), "slots"))); err != nil {
		t.Fatal(err)
	}
	config := p.copyConfig(p.dataDir(), forged)
	if _, errOut, code := cordee(t, "audit", "chain", "-c", config); code != exitFailed || !strings.Contains(errOut, "the journal's shares are not those of its record root") {
		t.Errorf("forged shares: exit %d, %s", code, errOut)
	}
	reseal(t, forged)
	bad := p.audit(config)
	if !slices.ContainsFunc(bad.Mismatches, func(m audit.Mismatch) bool { return m.What == "credit" && m.Member != "" && m.Expected != m.Found }) {
		t.Errorf("forged shares in forged slots: %v", bad.Mismatches)
	}
}

func (p *testPool) append(path, text string) {
	p.t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(b, text...), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// paying waits until that many blocks have credited members, and with waits until
// one of them left a member waiting for his credit. Each look is an audit beside
// the running pool, and must agree.
func (p *testPool) paying(blocks int, waits bool) {
	p.t.Helper()
	eventually(p.t, findPatience, "blocks that credit members", func() error {
		r, err := auditChain(p.t.Context(), p.config)
		if err != nil {
			p.t.Fatal(err)
		}
		waited := slices.ContainsFunc(r.Blocks, func(b audit.Block) bool {
			if b.Kept { // nobody was paid: not for the minimum
				return false
			}
			return slices.ContainsFunc(b.Credits, func(c audit.Credit) bool {
				return !slices.ContainsFunc(b.Outputs, func(o audit.Output) bool { return o.Member == c.Member })
			})
		})
		if r.Paying < blocks || waits && !waited {
			return fmt.Errorf("%d of %d blocks credit members, somebody waits: %v", r.Paying, len(r.Blocks), waited)
		}
		return nil
	})
}

// audit runs `cordee audit chain`, whose exit code must say what its object
// says.
func (p *testPool) audit(config string) audit.Report {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "audit", "chain", "--json", "-c", config)
	var r audit.Report
	if err := json.Unmarshal([]byte(lastLine(out)), &r); err != nil || (code == 0) != r.OK || r.Blocks == nil {
		p.t.Fatalf("cordee audit chain: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	if !r.OK && !strings.Contains(errOut, r.Mismatches[0].String()) {
		p.t.Errorf("stderr does not name the first mismatch, %s: %s", r.Mismatches[0], errOut)
	}
	return r
}

// copyConfig writes cordee.toml and members.toml again, to another folder, with
// old replaced in both.
func (p *testPool) copyConfig(old, text string) string {
	p.t.Helper()
	dir := p.t.TempDir()
	changed := false
	for _, name := range []string{"cordee.toml", "members.toml"} {
		b, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			p.t.Fatal(err)
		}
		changed = changed || bytes.Contains(b, []byte(old))
		if err := os.WriteFile(filepath.Join(dir, name), bytes.ReplaceAll(b, []byte(old), []byte(text)), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	if !changed {
		p.t.Fatalf("neither file holds %q", old)
	}
	return filepath.Join(dir, "cordee.toml")
}

// forgeJournal writes the pool's journal again into dir, as the pool would, but
// with the small members' shares worth sixteen times as much.
func (p *testPool) forgeJournal(dir string) {
	p.t.Helper()
	var j *journal.Journal
	end := func() {
		if j != nil {
			if err := j.Close(); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	err := journal.Read(p.journalDir(), func(_ journal.RecordInfo, rec journal.Record) error {
		switch r := rec.(type) {
		case journal.Epoch:
			end()
			var err error
			j, _, err = journal.Open(journal.Config{Dir: dir, Edge: r.Edge, Prefix: r.Prefix, Genesis: r.Genesis, Program: r.Program, SegmentSize: 1 << 20})
			return err
		case journal.Sealed:
			return nil
		case journal.Rig:
			_, err := j.RigNumber(r.Member, r.Name)
			return err
		case journal.Share:
			if r.Member != demoMembers["alpes"] {
				r.Difficulty *= 16 // an answer stays one: 0
			}
			rec = r
		}
		_, err := j.Append(rec)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	end()
	if err := os.CopyFS(filepath.Join(dir, "candidates"), os.DirFS(filepath.Join(p.journalDir(), "candidates"))); err != nil && !errors.Is(err, os.ErrExist) {
		p.t.Fatal(err)
	}
}

// reseal makes the slots in dir those of the journal beside them.
func reseal(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "slots", "*.slot"))
	if err != nil {
		t.Fatal(err)
	}
	prev := [32]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := payout.DecodeSlot(b[:len(b)-ed25519.SignatureSize])
		if err != nil {
			t.Fatal(err)
		}
		var bodies [][]byte
		for _, r := range s.Ranges {
			err := journal.ReadShares(filepath.Join(dir, "journal"), r.Epoch, r.First, r.Last, func(body []byte, _ *journal.Share) error {
				bodies = append(bodies, bytes.Clone(body))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		s.Prev, s.RecordRoot = prev, payout.RecordRoot(bodies)
		prev = s.Head()
		if b, err = s.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))); err == nil {
			err = os.WriteFile(name, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkAllSeen walks the node's whole chain: every block laid out as ours is in
// the report with the outputs that the node has, and no other.
func checkAllSeen(t *testing.T, n *sandbox.Node, r *audit.Report) {
	t.Helper()
	byHash := map[string]audit.Block{}
	for _, b := range r.Blocks {
		byHash[b.Hash] = b
	}
	_, height := tipOf(t, n)
	for h := int32(oldBlocks); h <= height; h++ {
		hash, err := hashAt(t.Context(), n, h)
		if err != nil {
			t.Fatal(err)
		}
		coinbase := rawBlock(t, n, hash).Transactions[0]
		b, reported := byHash[hash]
		if _, err := pool.ParseScriptSig(coinbase.TxIn[0].SignatureScript); (err == nil) != reported {
			t.Errorf("block %d %s: ours by its layout: %v, in the report: %v", h, hash, err == nil, reported)
		}
		for i, o := range b.Outputs {
			if o.Sats != coinbase.TxOut[i].Value || o.Script != fmt.Sprintf("%x", coinbase.TxOut[i].PkScript) {
				t.Errorf("block %d: output %d is reported as %+v", h, i, o)
			}
		}
		delete(byHash, hash)
	}
	if len(byHash) != 0 {
		t.Errorf("not on the chain: %v", byHash)
	}
}
