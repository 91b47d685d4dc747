package keeper

import (
	"errors"
	"maps"
	"strings"
	"testing"
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
