package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"cordee/internal/sandbox"
	"cordee/payout"
)

// TestOlderJournal: a journal that was restored from an older copy than the slots
// stops a start; with --tolerate-damage a new epoch has a number that no slot has
// counted, and what rigs are answered for from then on is in slots again.
func TestOlderJournal(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 2_000})
	heard := newPromises()
	work := func() {
		_, stop := p.mine(2, 40_000, heard.on)
		heard.more(t, 10)
		stop()
		p.awaitConnections(0)
		p.awaitCounted()
		p.stop()
	}
	restore := func(dir string) {
		if err := os.RemoveAll(p.journalDir()); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(p.journalDir(), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	work()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(p.journalDir())); err != nil {
		t.Fatal(err)
	}
	p.start()
	work()

	restore(copied)
	_, errOut, code := cordee(t, "serve", "-c", p.config)
	for _, want := range []string{"counts shares of epoch 2", "an older copy", "--tolerate-damage"} {
		if code != 1 || !strings.Contains(errOut, want) {
			t.Errorf("exit %d, and %q is not in what serve says:\n%s", code, want, errOut)
		}
	}
	restore(copied)
	p.flags = []string{"--tolerate-damage"}
	p.start()
	if s := p.status(); s.Epoch != 3 {
		t.Errorf("epoch %d", s.Epoch)
	}
	work()
	if lines := p.logged("journal.older"); len(lines) != 1 {
		t.Errorf("the log has %v", lines)
	}
}

// awaitCounted waits until the newest slot ends with the last share of this run.
// Nobody may mine.
func (p *testPool) awaitCounted() {
	p.t.Helper()
	eventually(p.t, patience, "a slot of the last shares", func() error {
		s, slots := p.status(), p.shelf("slots", "slot")
		if s.Journal.LastSeq == 0 {
			return nil
		}
		if len(slots) == 0 {
			return errors.New("no slot yet")
		}
		newest := slots[len(slots)-1]
		m, err := payout.DecodeSlot(newest[:len(newest)-ed25519.SignatureSize])
		if err != nil {
			return err
		}
		if r := m.Ranges[len(m.Ranges)-1]; r.Epoch != s.Epoch || r.Last != s.Journal.LastSeq {
			return fmt.Errorf("slot %d ends with share %d of epoch %d, the journal with %d of %d", m.Number, r.Last, r.Epoch, s.Journal.LastSeq, s.Epoch)
		}
		return nil
	})
}
