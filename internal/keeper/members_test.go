package keeper

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"cordee/payout"
)

// TestMemberGone: a register that lacks who worked or is owed is refused at the
// start, by index. With it no split would come out, and every block would go to
// the treasury, credited to nobody.
func TestMemberGone(t *testing.T) {
	for _, credited := range []bool{false, true} {
		kt := newKit(t, 3, nil)
		kt.chain.foreign(kt.chain.tip, 2)
		kt.work(10, 1, 2, 3)
		kt.close()
		where := "window of slot 1"
		if credited {
			kt.block(50e8, largeClass)
			kt.cover()
			where = "the ledger has a member of index 2 (owed "
		}
		whole := kt.cfg.Members
		less := people(maps.Clone(whole.Members()))
		delete(less, 2)
		cfg := kt.cfg
		cfg.Members = less
		if _, err := New(cfg); !errors.Is(err, ErrMembers) || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), "index 2") {
			t.Errorf("credited %t: %v", credited, err)
		}
		if _, err := New(kt.cfg); err != nil {
			t.Error(err)
		}
	}
}

// TestUnsplitBlock: a block whose split could not be computed cites no slot. The
// files hold with it, else no store could ever be rebuilt from them again.
func TestUnsplitBlock(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2, 3)
	kt.close()
	kt.block(50e8, largeClass)
	kt.cover()
	whole := kt.k.cfg.Members
	less := people(maps.Clone(whole.Members()))
	delete(less, 2)
	kt.k.cfg.Members = less
	if _, r := kt.block(50e8, largeClass); r.Rule != payout.RuleTreasury {
		t.Fatalf("rule %d", r.Rule)
	}
	kt.k.cfg.Members = whole
	kt.cover()
	rep, l, err := kt.k.Check(t.Context())
	if err != nil || len(rep.Findings) != 0 || rep.Blocks != 2 || l.Balance(payout.Owner{Account: payout.UnallocatedAccount}).Owed() != 50e8 {
		t.Errorf("%+v, %v", rep, err)
	}
}
