package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// TestNoDrainOnAnOrphan: a job on a block of ours that left the chain meanwhile
// drains nothing, though the same parent was covered before; nor does a block
// that the node forgot stay in the ledger.
func TestNoDrainOnAnOrphan(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		kt := newKit(t, 3, nil)
		fork := kt.chain.foreign(kt.chain.tip, 2)
		kt.work(10, 1, 2, 3)
		kt.close()
		a, _ := kt.block(50e8, pool.DefaultClass)
		kt.cover()
		if _, r := kt.job(a, 50e8, pool.DefaultClass); !r.Drain {
			t.Fatal("a covered parent does not drain")
		}
		kt.chain.foreign(fork, 2)
		if forgotten {
			kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
			delete(kt.chain.blocks, a)
		}
		kt.follow()
		if b, _ := kt.k.ledger.Block(a); b.State != payout.Orphaned {
			t.Fatalf("forgotten %v: state %d", forgotten, b.State)
		}
		if forgotten {
			continue
		}
		if _, r := kt.job(a, 50e8, pool.DefaultClass); r.Drain {
			t.Error("a job on an orphan drains")
		}
	}
}

// TestDamagedJournalHalts: where the window's edge cannot be read any more the
// pool starts all the same, if its operator lets it mine beside the damage, and
// pays nobody.
func TestDamagedJournalHalts(t *testing.T) {
	kt := newKit(t, 3, nil)
	for range 4 {
		kt.work(20, 1, 2) // the window ends inside a slot
		kt.close()
	}
	if kt.k.cut.Load().weights.Edge == nil {
		t.Fatal("the window has no edge slot")
	}
	if err := kt.journal.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(kt.cfg.Journal, "seg-00000001-00000000.cj")
	b, err := os.ReadFile(name)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	kt.tolerate = true
	kt.start()
	kt.work(20, 1)
	if _, err := kt.k.CloseSlots(); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("slots over damage: %v", err)
	}
	if _, r := kt.job(kt.chain.foreign(kt.chain.tip, 2), 50e8, pool.DefaultClass); r.Rule != payout.RuleTreasury {
		t.Errorf("receipt %+v", r)
	}
	if !slices.Equal(kt.k.Halts(), []string{"journal.damaged"}) {
		t.Errorf("halts %v", kt.k.Halts())
	}
}
