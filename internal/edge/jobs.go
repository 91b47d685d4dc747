package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
	"cordee/stratum"
)

const (
	// renotify is the longest a rig waits for a line: cgminer gives up a
	// silent socket at 90 s, the field's cadence is 30.
	renotify = 30 * time.Second
	// templateLife is how long jobs of the last template are served with no node
	// answering, and jobs of an old tip where none of the new one can be made: then
	// rigs are sent to their backup pool.
	templateLife = 60 * time.Second
	// keepTemplates is how deep the tip must be over a template before its
	// file goes.
	keepTemplates = 6
)

// publisher is the side of the stratum server that jobs go out by.
type publisher interface {
	Publish(set stratum.JobSet)
	Withdraw(reason stratum.CloseReason)
	ClassesInUse() []pool.Class
}

// jobs turns templates into published jobs. Ages are measured on the machine's
// monotonic clock: a wall clock that jumps must not send rigs away.
type jobs struct {
	e   *Edge
	out publisher

	mu        sync.Mutex // held only to swap the fields below, never across I/O
	last      *pool.Template
	tip       uint64    // of last
	tipSince  time.Time // when tip came
	signal    time.Time // of tip, until a job of it is out
	jobless   time.Time // since when no job of the newest tip is out; zero where one is
	fetched   time.Time // when last came; at first, when run began to wait for it
	counter   uint32    // of the next job
	published time.Time // when the last job went out
	live      bool      // a job is out, and not withdrawn
	away      bool      // rigs were sent to their backup pool
	liveTip   uint64    // of that job
	tried     classSet  // classes that a job was made for then, or could not be
	swept     int32     // height at which template files were last dropped, of sweep alone
	complaint string    // last failure, so that retries do not repeat it

	// publishing lets one publication or withdrawal happen at a time. It is held
	// across the journal's write; neither rigs nor mu wait for it.
	publishing chan struct{}
	tips       chan struct{} // poked at a new tip, for sweep
	wanted     chan struct{} // poked when a rig's class has no job, for run
	complaints [256]string   // last failure of each class alone
}

func (j *jobs) init(e *Edge) {
	j.e, j.out, j.publishing = e, e.server, make(chan struct{}, 1)
	j.tips, j.wanted = make(chan struct{}, 1), make(chan struct{}, 1)
	// Never reuse a counter: behind every one in the journal, and behind the
	// clock where the journal is new. At less than one job a second the clock
	// stays ahead of a lost journal, but for the gap that each kill adds.
	j.counter = max(e.cfg.Recovery.NextCounter, uint32(e.now().Unix()))
}

// update is the node's word: build jobs on u and publish them.
func (j *jobs) update(u bitcoind.Update) {
	j.mu.Lock()
	newTip := j.last == nil || u.Tip != j.tip
	j.last, j.tip, j.fetched = u.Template, u.Tip, time.Now()
	if newTip {
		j.tipSince, j.signal = j.fetched, u.Signal
		if j.jobless.IsZero() {
			j.jobless = j.fetched
		}
	}
	j.mu.Unlock()

	j.publish()
	if newTip {
		j.e.blocks.newTip()
		poke(j.tips)
	}
}

// publish makes the last template what is mined. On a failure rigs keep the
// job they have, and run tries again.
func (j *jobs) publish() {
	j.publishing <- struct{}{}
	defer func() { <-j.publishing }()
	if j.e.poisoned.Load() {
		return // nothing mined on it could be kept
	}
	err, text := j.issue(), ""
	if err != nil {
		text = err.Error()
	}
	j.mu.Lock()
	news := text != j.complaint
	j.complaint = text
	j.mu.Unlock()
	if errors.Is(err, journal.ErrPoisoned) {
		j.e.poisoned.Store(true)
	}
	if err != nil && news {
		j.e.log.Error().Str("event", "job.failed").Err(err).
			Msg("no job from this template; rigs keep the last one, and it is tried again every second")
	}
}

// issue builds the jobs on the last template, writes them down, and hands the
// set to the server. The journal's write comes before the first rig's line.
// Clean is what changes the tip of what rigs have, not of what the node said
// before: a job that failed must not hide a new tip. j.publishing is held, so an
// older template never follows a newer one.
func (j *jobs) issue() error {
	start := time.Now()
	j.mu.Lock()
	t, tip, signal, counter := j.last, j.tip, j.signal, j.counter
	clean := !j.live || tip != j.liveTip
	j.counter++
	j.mu.Unlock()

	id, err := j.e.cfg.Log.PutTemplate(t)
	if err != nil {
		return fmt.Errorf("store template of height %d: %w", t.Height, err)
	}
	drafts, tried, err := j.drafts(t, tip, counter)
	if err != nil {
		return err
	}
	set := stratum.JobSet{Clean: clean, Signal: signal}
	records := make([]journal.Record, 0, 2*len(drafts))
	for _, d := range drafts {
		set.Jobs = append(set.Jobs, d.job)
		records = append(records, journal.Receipt{Bytes: d.receipt}, journal.JobRecord(d.job, id, payout.ReceiptID(d.receipt), 0))
	}
	ticket, err := j.e.cfg.Log.Append(records...)
	if err == nil {
		err = ticket.WaitWritten()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.out.Publish(set)
	for _, d := range drafts {
		j.prove(d)
	}

	j.mu.Lock()
	j.published, j.live, j.away, j.liveTip, j.tried = time.Now(), true, false, tip, tried
	if tip == j.tip {
		j.signal, j.jobless = time.Time{}, time.Time{}
	}
	j.mu.Unlock()
	j.e.log.Info().Str("event", "job.new").Int32("height", t.Height).Stringer("prev", t.PrevHash).
		Int("txs", len(t.Txs)).Int64("value_sats", t.Value).Bool("empty", t.Empty).Bool("clean", clean).
		Str("node", t.Node).Uint32("counter", counter).Int("classes", len(set.Jobs)).
		Dur("took_ms", time.Since(start)).Msg("job published")
	return nil
}

// run keeps rigs fed between templates, and sends them away when there has
// been none for too long, until ctx ends.
func (j *jobs) run(ctx context.Context) {
	j.mu.Lock()
	if j.last == nil {
		j.fetched = time.Now()
	}
	j.mu.Unlock()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			j.look()
		case <-j.wanted:
			if j.missing() {
				j.publish()
			}
		}
	}
}

func (j *jobs) look() {
	j.mu.Lock()
	known, away := j.last != nil, j.away
	old, stale := time.Since(j.fetched) >= templateLife, j.stale()
	due := known && (!j.live || j.liveTip != j.tip || time.Since(j.published) >= renotify)
	j.mu.Unlock()
	switch {
	case len(j.publishing) != 0: // a publication is under way: the next second looks again
	case old || j.e.poisoned.Load():
		if !away {
			j.withdraw()
		}
	case stale && !away:
		j.withdraw()
	case due:
		j.publish()
	}
}

// stale reports that what rigs have is of an old tip for too long. j.mu is held.
func (j *jobs) stale() bool {
	return !j.jobless.IsZero() && time.Since(j.jobless) >= templateLife
}

// withdraw sends rigs to their backup pool, unless work came meanwhile.
func (j *jobs) withdraw() {
	j.publishing <- struct{}{}
	defer func() { <-j.publishing }()
	poisoned := j.e.poisoned.Load()
	j.mu.Lock()
	age, stale, why := time.Since(j.fetched), j.stale(), j.complaint
	stay := age < templateLife && !stale && !poisoned
	if !stay {
		j.live, j.away = false, true
	}
	j.mu.Unlock()
	switch {
	case stay:
	case poisoned:
		j.e.log.Error().Str("event", "journal.poison").
			Msg("no share can be stored any more: rigs are sent to their backup pool; free the disk or replace it, then restart")
		j.out.Withdraw(stratum.CloseNotDurable)
	case stale:
		j.e.log.Error().Str("event", "job.none").Str("why", why).
			Msg("no job of the new tip could be made for 60 s: rigs would mine on an old block, and are sent to their backup pool; it is tried again every second")
		j.out.Withdraw(stratum.CloseNotPublished)
	default:
		j.e.log.Error().Str("event", "template.none").Dur("age_ms", age).
			Msg("no node has given a template for 60 s: rigs are sent to their backup pool; check the nodes")
		j.out.Withdraw(stratum.CloseNoTemplate)
	}
}

// sweep deletes the files of templates that the tip buried, until ctx ends. No
// job waits for it: behind an empty one the node's own template comes at once.
func (j *jobs) sweep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.tips:
			_, t, _ := j.current()
			j.drop(t.Height)
		}
	}
}

func (j *jobs) drop(height int32) {
	if height == j.swept {
		return
	}
	j.swept = height
	pending := j.e.blocks.templates()
	err := j.e.cfg.Log.DropTemplates(func(h int32, id chainhash.Hash) bool {
		return h > height-keepTemplates || pending[id]
	})
	if err != nil {
		j.e.log.Warn().Str("event", "template.drop").Err(err).Msg("could not delete old template files")
	}
}

// failure says why no job of the newest tip is out, "" where one is or is on its
// way.
func (j *jobs) failure() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.jobless.IsZero() {
		return ""
	}
	return j.complaint
}

// current returns the tip generation, the last template and how long the tip
// has stood.
func (j *jobs) current() (tip uint64, t *pool.Template, stood time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tip, j.last, time.Since(j.tipSince)
}
