package edge

import (
	"errors"
	"testing"

	"cordee/internal/journal"
	"cordee/pool"
)

// keeping is everyone, who may not be kept.
type keeping struct {
	everyone
	asked []uint16
	err   error
}

func (r *keeping) Keep(member uint16) error {
	r.asked = append(r.asked, member)
	return r.err
}

func (r *keeping) Kept(uint16) bool { return false }

// The register is asked to keep a member before the journal names him. Where it
// cannot, no share of his is true, and the journal does not know him; a share
// that is refused asks nothing.
func TestMemberIsKeptBeforeHisShare(t *testing.T) {
	r := &keeping{err: errors.New("disk full")}
	k := newKit(t, t.TempDir(), func(c *Config) { c.Register = r })
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	memory := new(pool.Seen)
	hard := easy
	hard.Issued, hard.Later = 1<<60, 1<<60
	b := batch(memory, hard, submission(w, 1))
	if k.edge.Submit(b); b.Verdicts[0].Reject != pool.LowDifficulty || len(r.asked) != 0 {
		t.Errorf("%+v, asked for %v", b.Verdicts, r.asked)
	}
	b = batch(memory, easy, submission(w, 2))
	if k.edge.Submit(b); b.Verdicts[0].Reject != pool.NotDurable || len(r.asked) != 1 || r.asked[0] != w.Member {
		t.Errorf("%+v, asked for %v", b.Verdicts, r.asked)
	}
	if rigs, shares := records[journal.Rig](k), records[journal.Share](k); len(rigs)+len(shares) != 0 {
		t.Errorf("the journal has %v %v", rigs, shares)
	}
	r.err = nil
	b = batch(memory, easy, submission(w, 3))
	if k.edge.Submit(b); b.Verdicts[0].Reject != pool.Accepted {
		t.Errorf("%+v", b.Verdicts)
	}
	if rigs := records[journal.Rig](k); len(rigs) != 1 || rigs[0].Member != w.Member {
		t.Errorf("the journal has %v", rigs)
	}
	if err := k.journal.Close(); err != nil {
		t.Error(err)
	}
}
