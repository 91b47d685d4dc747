package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordee/internal/config"
	"cordee/internal/journal"
	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/payout"
)

// TestHaltAndLift: a block of ours whose candidate holds the receipt of another
// job halts payouts by name, and mining goes on; status, log, page and `halt
// show` say so; lifted for a reason, the journal's receipt credits the block and
// coinbases pay members again. The ledger keeps both events.
func TestHaltAndLift(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	const hashesPerBlock = 3e5
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: hashesPerBlock, hashesPerShare: 6000})
	heard := newPromises()
	_, stopRigs := p.mine(3, 20_000, heard.on)
	heard.more(t, 10)
	hash := p.creditedBlock()
	stopRigs()
	p.stop()

	// Before the ledger heard of any block, and with a spoilt candidate.
	if err := os.RemoveAll(filepath.Join(p.dataDir(), "ledger")); err != nil {
		t.Fatal(err)
	}
	p.spoilCandidate(hash)
	p.start()
	_, stopRigs = p.mine(3, 20_000, heard.on)
	halts := p.awaitHalts("block.mismatch")
	if !strings.Contains(halts.Halts[0].Text, hash) || !halts.Running {
		t.Errorf("%+v", halts)
	}
	out, errOut, code := cordee(t, "halt", "show", "-c", p.config)
	if code != 0 || !strings.Contains(out, "HALTED  block.mismatch: block "+hash) {
		t.Errorf("halt show: exit %d\n%s%s", code, out, errOut)
	}
	if out, _, code := cordee(t, "status", "-c", p.config); code != 0 || !strings.Contains(out, "ALARM") || !strings.Contains(out, "payouts are halted, mining goes on: block.mismatch") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	if _, page, err := p.get("/?lang=en"); err != nil || !strings.Contains(page, "block.mismatch") {
		t.Errorf("the page does not say it: %v", err)
	}
	if _, text, err := p.get("/metrics"); err != nil || !strings.Contains(text, "\ncordee_payout_halts 1\n") {
		t.Errorf("the metric does not say it: %v", err)
	}
	p.awaitLogged("payout.halted", 1)
	heard.more(t, 10) // mining goes on
	_, tip, err := n.Tip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The block above the tip can be of a job handed out before the halt; one above that can't.
	if b := p.creditedFrom(tip + 2); len(b.Split.Members) == 0 || b.Split.Treasury != b.Split.Reward {
		t.Errorf("while halted a block pays %+v", b.Split)
	}

	if _, errOut, code := cordee(t, "halt", "lift", "store.foreign", "--reason", "a guess", "-c", p.config); code != 1 || !strings.Contains(errOut, "there is block.mismatch") {
		t.Errorf("another name: exit %d, %s", code, errOut)
	}
	out, errOut, code = cordee(t, "halt", "lift", "block.mismatch", "--reason", "the candidate file was spoilt, the journal is whole", "--json", "-c", p.config)
	var lifted web.Halts
	if err := json.Unmarshal([]byte(lastLine(out)), &lifted); err != nil || code != 0 || len(lifted.Halts) != 0 || len(lifted.Log) != 2 || !lifted.Log[1].Lifted {
		t.Fatalf("halt lift: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	eventually(t, findPatience, "the block is credited and coinbases pay members again", func() error {
		b, known := p.block(hash)
		if !known || b.Split == nil {
			return errors.New("not in the ledger")
		}
		newest := p.blocks()[0]
		if newest.Split == nil || newest.Split.Treasury == newest.Split.Reward {
			return fmt.Errorf("the newest block pays %+v", newest.Split)
		}
		return nil
	})
	p.awaitHalts()
	if out, _, code := cordee(t, "payouts", "-c", p.config); code != 0 || !strings.Contains(out, "alpes") {
		t.Errorf("payouts: exit %d\n%s", code, out)
	}
	stopRigs()
	p.stop()
	heard.audit(t, p.journalDir())
	out, _, code = cordee(t, "halt", "show", "-c", p.config)
	if code != 0 || !strings.Contains(out, "no pool is running") || !strings.Contains(out, "payouts are not halted") ||
		!strings.Contains(out, "the candidate file was spoilt, the journal is whole") {
		t.Errorf("halt show of the files: exit %d\n%s", code, out)
	}
	if out, errOut, code := cordee(t, "audit", "chain", "-c", p.config); code != 0 {
		t.Errorf("audit chain: exit %d\n%s%s", code, out, errOut)
	}
}

// creditedBlock waits for a block of ours that credits members, and returns its
// hash.
func (p *testPool) creditedBlock() (hash string) {
	p.t.Helper()
	eventually(p.t, findPatience, "block that credits members", func() error {
		for _, b := range p.blocks() {
			if b.Split != nil && len(b.Split.Members) > 0 && b.Split.State == web.SplitImmature {
				hash = b.Hash
				return nil
			}
		}
		return errors.New("none yet")
	})
	return hash
}

// creditedFrom waits for a credited block at that height or above.
func (p *testPool) creditedFrom(height int) (found web.Block) {
	p.t.Helper()
	eventually(p.t, findPatience, fmt.Sprintf("a credited block at height %d or above", height), func() error {
		for _, b := range p.blocks() {
			if int(b.Height) >= height && b.Split != nil && !b.Found.IsZero() {
				found = b
				return nil
			}
		}
		return errors.New("none yet")
	})
	return found
}

func (p *testPool) awaitHalts(names ...string) (h web.Halts) {
	p.t.Helper()
	eventually(p.t, patience, fmt.Sprintf("halts %q", names), func() error {
		h = web.Halts{}
		if err := p.ask("/halts", &h); err != nil {
			return err
		}
		var got []string
		for _, x := range h.Halts {
			got = append(got, x.Name)
		}
		if !slices.Equal(got, names) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	return h
}

// spoilCandidate gives the candidate of that block another receipt: its own,
// of a block one higher.
func (p *testPool) spoilCandidate(hash string) {
	p.t.Helper()
	list, err := journal.ReadCandidates(p.journalDir())
	if err != nil {
		p.t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(c journal.Candidate) bool { return c.Hash.String() == hash })
	if i < 0 {
		p.t.Fatalf("block %s has no candidate", hash)
	}
	r, err := payout.DecodeReceipt(list[i].Receipt)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Height++
	if list[i].Receipt, err = r.Encode(); err != nil {
		p.t.Fatal(err)
	}
	cfg, err := config.Load(p.config)
	if err != nil {
		p.t.Fatal(err)
	}
	j, _, err := journal.Open(journal.Config{
		Dir: p.journalDir(), Edge: cfg.Edge.ID, Prefix: cfg.Edge.Prefix, Genesis: *cfg.Network.Params.GenesisHash, Program: "test",
	})
	if err == nil {
		err = errors.Join(j.PutCandidate(list[i]), j.Close())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
