package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"cordee/internal/sandbox"
)

// TestOlderJournal: a journal that was restored from an older copy than the slots
// stops a start; with --tolerate-damage a new epoch has a number that no slot has
// counted, and what rigs are answered for from then on is in slots again.
func TestOlderJournal(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 2_000})
	heard := newPromises()
	work := func() (slot uint32) {
		before := p.status().Store.Slot
		_, stop := p.mine(2, 40_000, heard.on)
		heard.more(t, 10)
		stop()
		eventually(t, 20*time.Second, "a slot of these shares", func() error {
			if slot = p.status().Store.Slot; slot == before {
				return fmt.Errorf("slot %d", slot)
			}
			return nil
		})
		p.stop()
		return slot
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
	if s := p.status(); s.Epoch != 3 || len(p.logged("journal.older")) != 1 {
		t.Errorf("epoch %d, and the log has %v", s.Epoch, p.logged("journal.older"))
	}
	work()
}
