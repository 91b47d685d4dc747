package stratum

import "cordee/pool"

// maxIssued is how many jobs of a connection are remembered: five minutes of
// one every 30 s, and vardiff's extra ones.
const maxIssued = 32

// issue is a job as one connection got it.
type issue struct {
	key        uint64 // of the wire id
	work       *pool.Work
	difficulty pool.Difficulty // sent with it: what a share on it must meet and is credited
	at         int64           // ms, when written
	tip        uint64
	mask       uint32 // version bits the rig may roll
	raised     bool   // came with clean_jobs for a raise, not for a new tip
}

// issued are the jobs of one connection, oldest first. What a newer job does to
// an older one (its end, difficulties sent since) is worked out when asked: so
// a job that could not be written is taken back by removing it.
type issued struct{ list []issue }

// push adds i. It drops what the tip has buried two deep, and at maxIssued the
// oldest. Depth is counted in height, not in changes of tip: after a
// reorganisation a block on the branch that lost may still win.
func (t *issued) push(i issue) {
	drop := 0
	for drop < len(t.list) && (t.list[drop].work.Template.Height+2 <= i.work.Template.Height || len(t.list)-drop >= maxIssued) {
		drop++
	}
	if drop > 0 {
		n := copy(t.list, t.list[drop:])
		clear(t.list[n:])
		t.list = t.list[:n]
	}
	t.list = append(t.list, i)
}

// pop takes back the last push.
func (t *issued) pop() {
	n := len(t.list) - 1
	t.list[n] = issue{}
	t.list = t.list[:n]
}

// last returns the newest, nil for none.
func (t *issued) last() *issue {
	if len(t.list) == 0 {
		return nil
	}
	return &t.list[len(t.list)-1]
}

// find returns the job of a wire id, with what the jobs after it say of it:
// the lowest difficulty sent since (0 for none), and whether its time to be
// credited is over.
func (t *issued) find(key uint64, now int64) (i *issue, later pool.Difficulty, over bool) {
	for k := len(t.list) - 1; k >= 0; k-- {
		e := &t.list[k]
		if e.key == key {
			if k+1 < len(t.list) {
				over = over || now-t.list[k+1].at > jobCreditMillis
			}
			return e, later, over
		}
		if later == 0 || e.difficulty < later {
			later = e.difficulty
		}
		over = over || e.raised && now-e.at > raiseGraceMillis
	}
	return nil, 0, false
}
