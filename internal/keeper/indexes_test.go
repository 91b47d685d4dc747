package keeper

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordee/internal/journal"
	"cordee/payout"
)

// swapped gives the members of indexes 1 and 2 each other's.
func swapped(m Members) people {
	p := people(maps.Clone(m.Members()))
	p[1], p[2] = p[2], p[1]
	return p
}

// refusedAs reports what New says of cfg with these members.
func refusedAs(t *testing.T, cfg *Config, members Members, want error, texts ...string) {
	t.Helper()
	c := *cfg
	c.Members = members
	_, err := New(c)
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// TestIndexesAreForEver: two members who change places in members.toml between
// two starts would get each other's work and carry. The start is refused and
// names both; who never worked may be anybody else.
func TestIndexesAreForEver(t *testing.T) {
	kt := newKit(t, 4, nil)
	kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2)
	kt.close()
	whole := kt.cfg.Members
	refusedAs(t, &kt.cfg, swapped(whole), ErrIndexes, "index 1 is member ba's, not ca's; index 2 is member ca's, not ba's: ")

	moved := people(maps.Clone(whole.Members()))
	moved[9] = moved[1]
	delete(moved, 1)
	delete(moved, 2)
	err := CheckIndexes(kt.cfg.Dir, moved)
	if !errors.Is(err, ErrIndexes) || !strings.Contains(err.Error(), "member ba has index 1, not 9; member ca of index 2 has worked here and is missing: ") {
		t.Errorf("%v", err)
	}
	moved[1] = moved[9]
	if err := CheckIndexes(kt.cfg.Dir, moved); !errors.Is(err, ErrMembers) || !strings.Contains(err.Error(), "member ca of index 2") {
		t.Errorf("%v", err)
	}

	other := people(maps.Clone(whole.Members()))
	other[3] = payout.Member{ID: "newcomer"}
	kt.cfg.Members = other
	kt.restart()
	kt.work(10, 3)
	kt.close()
	refusedAs(t, &kt.cfg, whole, ErrIndexes, "index 3 is member newcomer's, not da's")

	rep, _, err := kt.k.Check(t.Context())
	if err != nil || len(rep.Findings) != 0 {
		t.Errorf("%v, %v", rep.Findings, err)
	}
	kt.k.members = swapped(other)
	rep, _, err = kt.k.Check(t.Context())
	if err != nil || len(rep.Findings) != 1 || !strings.Contains(rep.Findings[0].What, "index 1 is member ba's, not ca's") {
		t.Errorf("%v, %v", rep.Findings, err)
	}
}

// TestIndexesBeforeTheFile: a data directory of an earlier program has no such
// file, and shares of the last minute are in no slot. The names of rigs in the
// journal say whose they are.
func TestIndexesBeforeTheFile(t *testing.T) {
	kt := newKit(t, 3, nil)
	for m := range uint16(3) { // 0 is parked work: its names are anybody's
		if _, err := kt.journal.RigNumber(m, kt.cfg.Members.Members()[max(m, 1)].ID+".site.rig"); err != nil {
			t.Fatal(err)
		}
	}
	kt.work(10, 0, 1, 2)
	if err := kt.journal.Close(); err != nil {
		t.Fatal(err)
	}
	j, rec, err := journal.Open(journal.Config{Dir: kt.cfg.Journal, Edge: 1, Prefix: 1, SegmentSize: kt.segment})
	if err != nil {
		t.Fatal(err)
	}
	kt.journal, kt.cfg.Log, kt.cfg.Recovery = j, j, rec
	refusedAs(t, &kt.cfg, swapped(kt.cfg.Members), ErrIndexes, "index 1 is member ba's, not ca's")
	if _, err := New(kt.cfg); err != nil {
		t.Fatal(err)
	}
	known, err := readIndexes(kt.cfg.Dir)
	if err != nil || !maps.Equal(known, indexes{1: "ba", 2: "ca"}) {
		t.Errorf("%v, %v", known, err)
	}
	// What is in the file stands, whatever rigs were called before.
	kt.cfg.Recovery.Workers = map[uint16]string{1: "ca.site.rig"}
	if _, err := New(kt.cfg); err != nil {
		t.Error(err)
	}
}

// TestIndexFileDamaged: a file that was cut or edited is refused by name, never
// read as if fewer had worked; a full disk closes no slot.
func TestIndexFileDamaged(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.work(10, 1, 2)
	kt.close()
	name := filepath.Join(kt.cfg.Dir, IndexFile)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", string(whole[:5]), string(whole[:len(whole)-1]), string(whole[5:]), string(whole) + "3 da\n", string(whole) + "\n",
		"1 ba\n1 ca\n2 members\n", "1\n1 members\n", "70000 ba\n1 members\n", "one ba\n1 members\n",
	} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		refusedAs(t, &kt.cfg, kt.cfg.Members, ErrDamaged, name)
	}
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	kt.work(10, 3)
	if n, err := kt.k.CloseSlots(); err == nil || kt.k.slots.last != 1 {
		t.Errorf("%d slots closed, %v", n, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if kt.close() != 1 || kt.k.slots.last != 2 {
		t.Error("not closed behind it")
	}
	known, err := readIndexes(kt.cfg.Dir)
	if err != nil || !maps.Equal(known, indexes{1: "ba", 2: "ca", 3: "da"}) {
		t.Errorf("%v, %v", known, err)
	}
}
