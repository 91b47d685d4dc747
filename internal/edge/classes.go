package edge

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"cordee/pool"
)

// classSet is a set of class ids.
type classSet [256 / 64]uint64

func (s *classSet) add(id uint8)      { s[id/64] |= 1 << (id % 64) }
func (s *classSet) has(id uint8) bool { return s[id/64]>>(id%64)&1 == 1 }

// draft is a job that is not published yet.
type draft struct {
	job      *pool.Job
	receipt  []byte
	unproven *pool.Payout // what is to be mined in its place once the node called it valid; nil for none
}

// slotTries is how often the jobs of an issue are begun again because a slot
// closed between two of them. It closes every 60 s, on regtest every second.
const slotTries = 3

var errNewSlot = errors.New("slots close faster than jobs are made")

// drafts makes the jobs of an issue: the default class's, then those of the
// other classes in use, smallest first. All are of one slot, so that members of
// different classes can compare what they were told (decision 13). A class that
// fails is left out, for its rigs mine the default's job; without that there is
// none. An empty template, which is there to be first and lives for seconds, has
// none for the larger classes: theirs comes with the node's own. tried names all
// that were looked at.
func (j *jobs) drafts(t *pool.Template, tip uint64, counter uint32) (list []draft, tried classSet, err error) {
	classes := j.out.ClassesInUse()
	for _, c := range classes {
		tried.add(c.ID)
	}
	tried.add(pool.DefaultClass.ID)
	classes = slices.DeleteFunc(classes, func(c pool.Class) bool {
		return c.ID == pool.DefaultClass.ID || t.Empty && c.MaxCoinbase > pool.DefaultClass.MaxCoinbase
	})
	slices.SortFunc(classes, func(a, b pool.Class) int { return cmp.Compare(a.MaxCoinbase, b.MaxCoinbase) })
	for range slotTries {
		d, err := j.draft(t, pool.DefaultClass, tip, counter)
		if err != nil {
			return nil, tried, fmt.Errorf("height %d: %w", t.Height, err)
		}
		list = append(list[:0], d)
		moved := false
		for _, c := range classes {
			d, err := j.draft(t, c, tip, counter)
			if err == nil && d.job.Payout.Slot != list[0].job.Payout.Slot {
				moved = true
				break
			}
			j.complain(c, t, err)
			if err == nil {
				list = append(list, d)
			}
		}
		if !moved {
			return list, tried, nil
		}
	}
	j.complain(classes[0], t, errNewSlot)
	return list[:1], tried, nil
}

// complain says that class has no job, once for each reason.
func (j *jobs) complain(class pool.Class, t *pool.Template, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != j.complaints[class.ID] {
		j.e.log.Warn().Str("event", "job.class_failed").Str("class", class.Name).Int32("height", t.Height).Err(err).
			Msg("no job for a class of firmware: its rigs mine the default's, or wait if that is too large for them")
	}
	j.complaints[class.ID] = text
}

// draft makes the job of one class.
func (j *jobs) draft(t *pool.Template, class pool.Class, tip uint64, counter uint32) (draft, error) {
	split, receipt, unproven, err := j.split(t, class)
	if err != nil {
		return draft{}, fmt.Errorf("payout of class %s: %w", class.Name, err)
	}
	split.Receipt = receipt
	job, err := pool.NewJob(t, split, class, j.e.cfg.Tag, tip, counter)
	if err != nil {
		return draft{}, fmt.Errorf("class %s: %w", class.Name, err)
	}
	return draft{job, receipt, unproven}, nil
}

// split returns how t's value leaves for class, by decision 21: a split whose
// shape (shapeOf) the node has not called valid is not mined. Until it is, the
// same credits are, with every sat left in the treasury: one output, which needs
// no proof. unproven is the split that waits, nil for none.
func (j *jobs) split(t *pool.Template, class pool.Class) (split pool.Payout, receipt []byte, unproven *pool.Payout, err error) {
	split, receipt, err = j.e.cfg.Payer.Payout(t, class)
	if err != nil || len(split.Outputs) <= 1 || j.e.canary.knows(shapeOf(class, &split)) {
		return split, receipt, nil, err
	}
	wanted := split
	split, receipt, err = j.e.cfg.Payer.Kept(t, class)
	return split, receipt, &wanted, err
}

// prove has the canary ask the node about the shape of d's job, or of the split
// that waits for it: then by a job that no rig sees.
func (j *jobs) prove(d draft) {
	job := d.job
	if d.unproven != nil {
		wanted, err := pool.NewJob(job.Template, *d.unproven, job.Class, job.Tag, job.Tip, job.Counter)
		if err != nil {
			j.e.log.Error().Str("event", "canary.refused").Str("kind", "shape").Err(err).
				Int32("height", job.Template.Height).Str("class", job.Class.Name).
				Msg("the split makes no job: its sats stay in the treasury")
			return
		}
		job = wanted
	}
	j.e.canary.shape(job)
}

// missing reports a class in use that the last issue did not look at. One that
// it could not make a job for waits for the next.
func (j *jobs) missing() bool {
	j.mu.Lock()
	live, tried := j.live, j.tried
	j.mu.Unlock()
	return live && slices.ContainsFunc(j.out.ClassesInUse(), func(c pool.Class) bool { return !tried.has(c.ID) })
}

// shapeOf names the ordered scripts and class of a job: what must be proven
// valid to the node once, whatever the amounts (decision 21).
func shapeOf(class pool.Class, split *pool.Payout) [32]byte {
	h := sha256.New()
	h.Write([]byte{class.ID})
	var n [4]byte
	for _, o := range split.Outputs {
		binary.BigEndian.PutUint32(n[:], uint32(len(o.Script)))
		h.Write(n[:])
		h.Write(o.Script)
	}
	return [32]byte(h.Sum(nil))
}
