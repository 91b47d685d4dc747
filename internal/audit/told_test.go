package audit

import (
	"context"
	"crypto/ed25519"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestForgedSlot: manifests that no pool of this key signed are refused by name,
// although they hold and follow one another.
func TestForgedSlot(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > 5 {
			return
		}
		p := newFakePool(t, filepath.Join(dir, string(rune('a'+n))))
		p.play()
		p.cfg.Key, _ = ed25519.NewKeyFromSeed(append(make([]byte, 31), 1)).Public().(ed25519.PublicKey)
		_, err := Run(context.Background(), &p.cfg)
		if err == nil || !strings.Contains(err.Error(), "0000000001.slot") || !strings.Contains(err.Error(), "signature") {
			t.Fatalf("slots of another key: %v", err)
		}
		p.cfg.Key = nil // a member at home has no key
		r, err := Run(context.Background(), &p.cfg)
		if err != nil || !r.OK || !strings.Contains(strings.Join(r.Notes, " "), "not checked") {
			t.Fatalf("no key: %+v, %v", r, err)
		}
	})
}

// TestWithheld: a receipt may say that carry was not paid, and all agrees; but
// it is noted wherever somebody waited.
func TestWithheld(t *testing.T) {
	dir, n, noted := t.TempDir(), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		p := newFakePool(t, filepath.Join(dir, "p"+string(rune('a'+n%26))+string(rune('a'+n/26))))
		p.play()
		r, err := Run(context.Background(), &p.cfg)
		p.check(err)
		want := 0
		for _, b := range r.Blocks {
			if b.Drained && !b.Kept && b.Waiting != 0 {
				t.Fatalf("block %d drained, and %d sats waited", b.Height, b.Waiting)
			}
			if b.Waiting > 0 {
				want++
			}
		}
		if want > 0 && len(r.Notes) == 0 {
			t.Fatalf("%d blocks withheld something, notes %q", want, r.Notes)
		}
		noted += len(r.Notes)
	})
	if noted == 0 {
		t.Error("nothing was ever withheld: the test tests nothing")
	}
}

// TestChangedRules: where only the newest blocks agree, a change of the files is
// the likely cause, and that is said.
func TestChangedRules(t *testing.T) {
	for _, c := range []struct {
		agree string // a letter a block, by height from 10
		says  string
	}{
		{"yyy", ""},
		{"nnn", ""},
		{"yyn", ""},
		{"nnyy", "the newest 2 of 4 blocks agree, that of height 11 is the last"},
		{"ynyyy", "the newest 3 of 5 blocks agree, that of height 11 is the last"},
	} {
		var blocks []Block
		for i, a := range c.agree {
			blocks = append(blocks, Block{Height: int32(10 + i), Agree: a == 'y', Drained: true})
		}
		got := strings.Join(notes(blocks), "\n")
		if !strings.Contains(got, c.says) || (c.says == "") != (got == "") {
			t.Errorf("%s: %q", c.agree, got)
		}
	}
}
