package edge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cordee/pool"
)

const (
	// canaryEvery is how often a real share's block is proposed to the node.
	canaryEvery = 5 * time.Minute
	// canaryAgain is when the next share is taken after one on which the node
	// did not rule: the tip moved, or it is away.
	canaryAgain = 10 * time.Second
	// canaryQuiet keeps proposals, which hold the node's main lock for 40 ms,
	// away from a tip change.
	canaryQuiet = 2 * time.Second
	maxShapes   = 1024
)

// canary proves to the node, before money depends on it, that what rigs hash
// would be a valid block (decision 21): the shape of a new payout from a block
// nobody mined, and every few minutes, of each class, the very bytes of an
// accepted share. Proposals skip proof of work. One is in flight at a time.
type canary struct {
	e      *Edge
	asked  chan struct{} // poked when a shape waits
	shares chan proposal
	due    [256]atomic.Bool // by class: a share of it is wanted

	mu     sync.Mutex
	shapes map[uint8]*pool.Job // latest unproven shape of each class
	turn   uint8               // class whose shape was asked about last
	proven map[[32]byte]bool
	state  CanaryStatus
}

// proposal is a block in the making: a real submission, or one made up.
type proposal struct {
	sub    pool.Submission
	header [80]byte
	tip    uint64
}

func (p *proposal) class() string { return p.sub.Work.Job.Class.Name }

// CanaryStatus says how the last proposals went.
type CanaryStatus struct {
	Proven  uint64    `json:"proven"`           // proposals the node called valid
	Refused uint64    `json:"refused"`          // proposals it called invalid
	Reason  string    `json:"reason,omitempty"` // of the last one refused
	Last    time.Time `json:"last,omitzero"`
}

func (c *canary) init(e *Edge) {
	c.e = e
	c.asked = make(chan struct{}, 1)
	c.shares = make(chan proposal, 1)
	c.shapes, c.proven = map[uint8]*pool.Job{}, map[[32]byte]bool{}
	for i := range c.due {
		c.due[i].Store(true)
	}
}

// knows reports whether the node called a block of this shape valid.
func (c *canary) knows(shape [32]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proven[shape]
}

// shape queues job's shape for a proposal, unless it is proven. A newer one of
// its class replaces one not yet looked at.
func (c *canary) shape(job *pool.Job) {
	if c.knows(shapeOf(job.Class, &job.Payout)) {
		return
	}
	c.mu.Lock()
	c.shapes[job.Class.ID] = job
	c.mu.Unlock()
	poke(c.asked)
}

// next takes the shape of the class whose turn it is, nil for none.
func (c *canary) next() (job *pool.Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.shapes) == 0 {
		return nil
	}
	for c.turn++; c.shapes[c.turn] == nil; c.turn++ { // goes round
	}
	job = c.shapes[c.turn]
	delete(c.shapes, c.turn)
	return job
}

// waits reports whether a shape is queued.
func (c *canary) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.shapes) > 0
}

// offer lends the canary an accepted share when one of its class is due. It
// never blocks.
func (c *canary) offer(b *pool.Batch) {
	for i := range b.Verdicts {
		if b.Verdicts[i].Reject != pool.Accepted {
			continue
		}
		due := &c.due[b.Subs[i].Work.Job.Class.ID]
		if due.Load() && due.CompareAndSwap(true, false) {
			select {
			case c.shares <- proposal{sub: b.Subs[i], header: b.Hashed[i].Header, tip: b.Subs[i].Work.Job.Tip}:
			default: // the last one was not looked at yet
				due.Store(true)
			}
		}
		return
	}
}

// run proposes what is due, one at a time, until ctx ends.
func (c *canary) run(ctx context.Context) {
	again := map[uint8]time.Time{} // when a share of a class is due again
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	better := false // a shape was proven, and rigs do not have it yet
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for class, at := range again {
				if !now.Before(at) {
					delete(again, class)
					c.due[class].Store(true)
				}
			}
		case p := <-c.shares:
			wait := canaryAgain
			if _, ruled := c.propose(ctx, &p, "share"); ruled {
				wait = canaryEvery
			}
			again[p.sub.Work.Job.Class.ID] = time.Now().Add(wait)
		case <-c.asked:
			job := c.next()
			if job == nil {
				continue
			}
			p := madeUp(job)
			if valid, _ := c.propose(ctx, &p, "shape"); valid {
				c.prove(shapeOf(job.Class, &job.Payout))
				better = better || len(job.Payout.Outputs) > 1
			}
			if c.waits() { // rigs get all that is proven at once, in one set
				poke(c.asked)
			} else if better {
				better = false
				c.e.jobs.publish() // it waited for this
			}
		}
	}
}

// madeUp is a block on job that nobody mined.
func madeUp(job *pool.Job) proposal {
	s := pool.Submission{
		Work: job.Work(0, 0), Extranonce2Size: pool.Extranonce2Size,
		NTime: job.Template.CurTime, Version: job.Template.Version,
	}
	h := pool.Hash(nil, []pool.Submission{s})
	return proposal{sub: s, header: h[0].Header, tip: job.Tip}
}

func (c *canary) prove(shape [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.proven) >= maxShapes {
		clear(c.proven)
	}
	c.proven[shape] = true
}

// propose waits for a quiet moment and asks the node. ruled is false where it
// gave no ruling, or one against another tip, which says nothing.
func (c *canary) propose(ctx context.Context, p *proposal, kind string) (valid, ruled bool) {
	for {
		tip, _, stood := c.e.jobs.current()
		if tip != p.tip {
			return false, false
		}
		if stood >= c.e.cfg.Quiet && !c.e.blocks.submitting() {
			break
		}
		select {
		case <-ctx.Done():
			return false, false
		case <-time.After(max(c.e.cfg.Quiet-stood, 100*time.Millisecond)):
		}
	}
	t := p.sub.Work.Template
	reason, err := c.e.cfg.Node.Propose(ctx, t.Block(&p.header, p.sub.Work.Coinbase(nil, &p.sub)))
	if err != nil {
		c.e.log.Warn().Str("event", "canary.no_answer").Str("kind", kind).Err(err).Msg("the node did not judge our block proposal")
		return false, false
	}
	if tip, _, _ := c.e.jobs.current(); tip != p.tip || staleReason(reason) {
		return false, false
	}
	c.mu.Lock()
	c.state.Last = c.e.now()
	if reason == "" {
		c.state.Proven++
	} else {
		c.state.Refused++
		c.state.Reason = reason
	}
	c.mu.Unlock()
	if reason != "" {
		c.e.log.Error().Str("event", "canary.refused").Str("kind", kind).Str("class", p.class()).Str("reason", reason).Int32("height", t.Height).
			Msg("the node says that a block of what our rigs hash would be invalid: stop and look at it now")
		return false, true
	}
	c.e.log.Info().Str("event", "canary.valid").Str("kind", kind).Str("class", p.class()).Int32("height", t.Height).Msg("the node calls our block valid")
	return true, true
}

// staleReason reports a ruling that only says that the node has moved on, or
// knows the block, before we heard of it. Core and btcd have their own words.
func staleReason(reason string) bool {
	switch reason {
	case "inconclusive", "inconclusive-not-best-prevblk", "bad-prevblk", "duplicate", "duplicate-inconclusive",
		"inconclusive-not-best-prvblk": // btcd's spelling
		return true
	}
	return false
}

func (c *canary) status() CanaryStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
