package keeper

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cordee/payout"
)

// TestCheckFinds: each invariant that is broken on disk is found by its name,
// and a history that is whole gives no finding.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		invariant string
		spoil     func(kt *kit)
	}{
		{"", func(*kit) {}},
		{"I3", func(kt *kit) { // somebody with the key rewrote a slot
			s, err := kt.k.Slot(2)
			if err != nil {
				kt.tb.Fatal(err)
			}
			s.Sums[0].Difficulty++
			b, err := s.Sign(kt.cfg.Key)
			if err == nil {
				err = os.WriteFile(kt.k.slots.path(2), b, 0o600)
			}
			if err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"files", func(kt *kit) {
			if err := os.Truncate(kt.k.slots.path(1), 50); err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"files", func(kt *kit) {
			if err := os.Remove(kt.k.events.path(2)); err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"I6", func(kt *kit) {
			b, err := kt.k.events.get(3)
			if err == nil {
				err = os.WriteFile(kt.k.events.path(2), b, 0o600)
			}
			if err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"journal", func(kt *kit) {
			list, err := filepath.Glob(filepath.Join(kt.cfg.Journal, "seg-*"))
			if err != nil || len(list) == 0 {
				kt.tb.Fatal(list, err)
			}
			for _, name := range list {
				if err := os.Remove(name); err != nil {
					kt.tb.Fatal(err)
				}
			}
		}},
		{"I7", func(kt *kit) {
			kt.k.rules.Fees = []payout.FeeRule{{Account: "pool", BP: 200}}
		}},
	} {
		kt := newKit(t, 3, nil)
		history(kt)
		c.spoil(kt)
		rep, _, err := kt.k.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		has := slices.ContainsFunc(rep.Findings, func(f Finding) bool { return f.Invariant == c.invariant })
		if has != (c.invariant != "") || !has && (len(rep.Findings) != 0 || rep.Slots != 6 || rep.Blocks != 6 || rep.Events != 8 || rep.Unread != 0) {
			t.Errorf("%q: %+v", c.invariant, rep)
		}
	}
}
