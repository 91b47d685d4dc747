package edge

import (
	"errors"
	"sync"
	"time"

	"cordee/internal/journal"
	"cordee/pool"
	"cordee/stratum"
)

// shareBufs lends the journal records of a batch.
var shareBufs = sync.Pool{New: func() any { return new([]journal.Share) }}

// Submit implements stratum.Pool: hash, hand blocks on, judge, journal. On
// return every Accepted verdict is durable; those that could not be stored say
// NotDurable, and no rig hears true for them.
func (e *Edge) Submit(b *pool.Batch) {
	b.Hash()
	for i := range b.Hashed {
		if b.Hashed[i].Block {
			e.blocks.found(&b.Subs[i], &b.Hashed[i], b.Claims[i].Worker.Name)
		}
	}
	if ticket, credited, ok := e.append(b, e.judge(b)); ok {
		e.kept(b, credited, ticket.Wait())
	}
}

// Post implements stratum.Pool. Blocks are left to Submit, and members whose index
// is not kept yet: both may take their time.
func (e *Edge) Post(b *pool.Batch, r stratum.Ruled) (later bool) {
	for i := range b.Subs {
		if !e.cfg.Register.Kept(b.Subs[i].Work.Member) {
			return false
		}
	}
	b.Hash()
	for i := range b.Hashed {
		if b.Hashed[i].Block {
			return false
		}
	}
	now := e.judge(b)
	buf := shareBufs.Get().(*[]journal.Share)
	shares, credited, err := e.accepted(b, now, (*buf)[:0], e.cfg.Log.TryRigNumber)
	*buf = shares
	var ticket journal.Ticket
	if err == nil && len(shares) > 0 {
		ticket, err = e.cfg.Log.TryAppendShares(shares)
	}
	shareBufs.Put(buf)
	switch {
	case errors.Is(err, journal.ErrFull):
		go func() {
			if ticket, credited, ok := e.append(b, now); ok {
				e.kept(b, credited, ticket.Wait())
			}
			r.Ruled()
		}()
		return true
	case err != nil:
		e.notDurable(b.Verdicts, err)
		return false
	case ticket == journal.Ticket{}:
		return false // there is nothing to wait for
	}
	p := posts.Get().(*post)
	*p = post{e: e, batch: b, credited: credited, ruled: r}
	if ticket.Then(p) {
		return true
	}
	*p = post{}
	posts.Put(p)
	e.kept(b, credited, ticket.Wait()) // it is known already
	return false
}

// post is a batch that was posted. It implements journal.Waiter.
type post struct {
	e        *Edge
	batch    *pool.Batch
	credited uint64
	ruled    stratum.Ruled
}

// posts lends them.
var posts = sync.Pool{New: func() any { return new(post) }}

// Kept implements journal.Waiter.
func (p *post) Kept(err error) {
	p.e.kept(p.batch, p.credited, err)
	r := p.ruled
	*p = post{}
	posts.Put(p)
	r.Ruled()
}

// judge gives a verdict on each of b, and returns when it did.
func (e *Edge) judge(b *pool.Batch) time.Time {
	now := e.now()
	b.Judge(now.Unix(), e.cfg.Network.Scale)
	return now
}

// append appends to the journal what was accepted of b. Where ok is false there is
// nothing to wait for.
func (e *Edge) append(b *pool.Batch, when time.Time) (ticket journal.Ticket, credited uint64, ok bool) {
	buf := shareBufs.Get().(*[]journal.Share)
	defer shareBufs.Put(buf)
	shares, credited, err := e.accepted(b, when, (*buf)[:0], e.cfg.Log.RigNumber)
	*buf = shares
	if err == nil && len(shares) == 0 {
		return ticket, 0, false
	}
	if err == nil {
		ticket, err = e.cfg.Log.AppendShares(shares)
	}
	if err != nil {
		e.notDurable(b.Verdicts, err)
		return ticket, 0, false
	}
	return ticket, credited, true
}

// accepted appends what was accepted of b to shares; credited is how many of them
// earn something. A share whose name has no number, and gets none, is not durable;
// others of this batch may be. ErrFull is of all: nothing is decided then.
func (e *Edge) accepted(b *pool.Batch, when time.Time, shares []journal.Share, number rigNumber) (_ []journal.Share, credited uint64, err error) {
	for i := range b.Verdicts {
		if b.Verdicts[i].Reject != pool.Accepted {
			continue
		}
		share, err := e.record(b, i, when.UnixMilli(), number)
		if errors.Is(err, journal.ErrFull) {
			return shares, 0, err
		}
		if err != nil {
			e.notDurable(b.Verdicts[i:i+1], err)
			continue
		}
		if share.Difficulty > 0 {
			credited++
		}
		shares = append(shares, share)
	}
	return shares, credited, nil
}

// rigNumber is Log.RigNumber, or what does not wait.
type rigNumber func(member uint16, name string) (uint32, error)

// kept does what is left once the journal has the shares of b, or failed.
func (e *Edge) kept(b *pool.Batch, credited uint64, err error) {
	if err != nil {
		e.notDurable(b.Verdicts, err)
		return
	}
	e.shares.Add(credited)
	e.canary.offer(b)
}

// record is verdict i of b as the journal keeps it. The member is the one in
// the coinbase that was hashed, never the submitted name (decision 34). His index
// is his for ever before the journal names it.
func (e *Edge) record(b *pool.Batch, i int, when int64, number rigNumber) (journal.Share, error) {
	s, w := &b.Subs[i], b.Subs[i].Work
	who := b.Claims[i].Worker
	rig := who.Rig
	if rig == 0 || who.Member != w.Member {
		err := e.cfg.Register.Keep(w.Member)
		if err == nil {
			rig, err = number(w.Member, who.Name)
		}
		if err != nil {
			return journal.Share{}, err
		}
		if who.Member == w.Member {
			who.Rig = rig
		}
	}
	return journal.Share{
		When:        when,
		Rig:         rig,
		Member:      w.Member,
		Class:       w.Job.Class.ID,
		Variant:     w.Variant,
		Counter:     w.Job.Counter,
		WorkBits:    w.Template.WorkBits,
		Difficulty:  b.Verdicts[i].Credit,
		Extranonce1: s.Extranonce1,
		Extranonce2: s.Extranonce2,
		NTime:       s.NTime,
		Nonce:       s.Nonce,
		Version:     s.Version,
		Hash:        b.Hashed[i].Hash,
	}, nil
}

// notDurable turns every acceptance among verdicts into the error that a rig
// must hear when its share may be lost.
func (e *Edge) notDurable(verdicts []pool.Verdict, err error) {
	for i := range verdicts {
		if verdicts[i].Reject == pool.Accepted {
			verdicts[i] = pool.Verdict{Reject: pool.NotDurable}
			e.lost.Add(1)
		}
	}
	if errors.Is(err, journal.ErrPoisoned) && e.poisoned.Swap(true) {
		return // said once: it stays so until a restart
	}
	// Once a second: how many they are is in the status and the metrics.
	now, last := int64(time.Since(e.born)), e.toldLost.Load()
	if last != 0 && now-last < int64(time.Second) || !e.toldLost.CompareAndSwap(last, max(now, 1)) {
		return
	}
	help := "shares refused: the journal cannot keep them; free the disk or replace it, then restart"
	if errors.Is(err, journal.ErrTooManyRigs) {
		help = "shares refused: their rig names are too many; let rigs keep their names, and restart to begin to count anew"
	}
	e.log.Error().Str("event", "share.not_durable").Err(err).Uint64("lost", e.lost.Load()).Msg(help)
}
