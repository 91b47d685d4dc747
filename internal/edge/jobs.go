package edge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
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
	// templateLife is how long jobs of the last template are served with no
	// node answering: then rigs are sent to their backup pool.
	templateLife = 60 * time.Second
	// keepTemplates is how deep the tip must be over a template before its
	// file goes.
	keepTemplates = 6
)

// jobs turns templates into published jobs.
type jobs struct {
	e *Edge

	mu        sync.Mutex // held only to swap the fields below, never across I/O
	last      *pool.Template
	tip       uint64
	counter   uint32
	fetched   time.Time // when the last template came
	published time.Time
	withdrawn bool
	tipSince  time.Time
	dropped   int32 // height at which template files were last dropped

	publishing sync.Mutex // one publication at a time; rigs never wait for it
}

func (j *jobs) init(e *Edge) {
	j.e = e
	// Never reuse a counter: behind every one in the journal, and behind the
	// clock where the journal is new. At less than one job a second the clock
	// stays ahead of any lost journal.
	j.counter = max(e.cfg.Recovery.NextCounter, uint32(e.now().Unix()))
}

// update is the node's word: build jobs on u and publish them.
func (j *jobs) update(ctx context.Context, u bitcoind.Update) {
	j.mu.Lock()
	newTip := j.last == nil || u.Tip != j.tip
	j.last, j.tip, j.fetched = u.Template, u.Tip, j.e.now()
	if newTip {
		j.tipSince = j.fetched
	}
	j.mu.Unlock()

	if err := j.publish(ctx, u.Template, u.Tip, newTip, u.Signal); err != nil {
		j.e.log.Error().Str("event", "job.failed").Int32("height", u.Template.Height).Err(err).
			Msg("no job from this template; rigs keep the last one")
		return
	}
	if newTip {
		j.e.blocks.newTip()
		j.drop(u.Template.Height)
	}
}

// publish builds a job for every class, writes it down, and hands the set to
// the server. The journal's write comes before the first rig's line.
func (j *jobs) publish(ctx context.Context, t *pool.Template, tip uint64, clean bool, signal time.Time) error {
	j.publishing.Lock()
	defer j.publishing.Unlock()

	start := j.e.now()
	j.mu.Lock()
	counter := j.counter
	j.counter++
	j.mu.Unlock()

	id, err := j.e.cfg.Log.PutTemplate(t)
	if err != nil {
		return fmt.Errorf("store template: %w", err)
	}
	class := pool.DefaultClass
	split, receipt, err := j.e.cfg.Payer.Payout(t, class)
	if err != nil {
		return fmt.Errorf("payout: %w", err)
	}
	job, err := pool.NewJob(t, split, class, j.e.cfg.Tag, tip, counter)
	if err != nil {
		return fmt.Errorf("class %s: %w", class.Name, err)
	}
	ticket, err := j.e.cfg.Log.Append(journal.Receipt{Bytes: receipt}, journal.JobRecord(job, id, payout.ReceiptID(receipt), 0))
	if err == nil {
		err = ticket.WaitWritten()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.e.server.Publish(stratum.JobSet{Jobs: []*pool.Job{job}, Clean: clean, Signal: signal})
	j.e.canary.shape(job)

	j.mu.Lock()
	j.published, j.withdrawn = j.e.now(), false
	j.mu.Unlock()
	j.e.log.Info().Str("event", "job.new").Int32("height", t.Height).Stringer("prev", t.PrevHash).
		Int("txs", len(t.Txs)).Int64("value_sats", t.Value).Bool("empty", t.Empty).Bool("clean", clean).
		Str("node", t.Node).Uint32("counter", counter).Dur("took_ms", j.e.now().Sub(start)).Msg("job published")
	return nil
}

// run keeps rigs fed between templates, and sends them away when there has
// been none for too long.
func (j *jobs) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := j.e.now()
		j.mu.Lock()
		t, tip := j.last, j.tip
		age, quiet, withdrawn := now.Sub(j.fetched), now.Sub(j.published), j.withdrawn
		stale := t != nil && age > templateLife && !withdrawn
		if stale {
			j.withdrawn = true
		}
		j.mu.Unlock()

		switch {
		case stale:
			j.e.log.Error().Str("event", "template.none").Dur("age_ms", age).
				Msg("no node has given a template for 60 s: rigs are sent to their backup pool; check the nodes")
			j.e.server.Withdraw(stratum.CloseNoTemplate)
		case t != nil && !withdrawn && quiet > renotify && age < templateLife:
			if err := j.publish(ctx, t, tip, false, time.Time{}); err != nil {
				j.e.log.Error().Str("event", "job.failed").Err(err).Msg("could not renew the job")
			}
		}
	}
}

// drop deletes the files of templates that the tip buried.
func (j *jobs) drop(height int32) {
	j.mu.Lock()
	due := height != j.dropped
	j.dropped = height
	j.mu.Unlock()
	if !due {
		return
	}
	pending := j.e.blocks.templates()
	err := j.e.cfg.Log.DropTemplates(func(h int32, id chainhash.Hash) bool {
		return h > height-keepTemplates || pending[id]
	})
	if err != nil {
		j.e.log.Warn().Str("event", "template.drop").Err(err).Msg("could not delete old template files")
	}
}

// current returns the tip generation, the last template and how long the tip
// has stood.
func (j *jobs) current() (tip uint64, t *pool.Template, stood time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tip, j.last, j.e.now().Sub(j.tipSince)
}

// shapeOf names the ordered scripts and class of a job: what must be proven
// valid to the node once, whatever the amounts (decision 21).
func shapeOf(job *pool.Job) [32]byte {
	h := sha256.New()
	h.Write([]byte{job.Class.ID})
	var n [4]byte
	for _, o := range job.Payout.Outputs {
		binary.BigEndian.PutUint32(n[:], uint32(len(o.Script)))
		h.Write(n[:])
		h.Write(o.Script)
	}
	return [32]byte(h.Sum(nil))
}
