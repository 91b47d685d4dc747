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
// nobody mined, and every few minutes the very bytes of an accepted share.
// Proposals skip proof of work. One is in flight at a time.
type canary struct {
	e      *Edge
	shapes chan *pool.Job // latest unproven shape
	shares chan proposal
	due    atomic.Bool

	mu     sync.Mutex
	proven map[[32]byte]bool
	state  CanaryStatus
}

// proposal is a block in the making: a real submission, or one made up.
type proposal struct {
	sub    pool.Submission
	header [80]byte
	tip    uint64
}

// CanaryStatus says how the last proposals went.
type CanaryStatus struct {
	Proven  uint64    `json:"proven"`           // proposals the node called valid
	Refused uint64    `json:"refused"`          // proposals it called invalid
	Reason  string    `json:"reason,omitempty"` // of the last one refused
	Last    time.Time `json:"last,omitzero"`
}

func (c *canary) init(e *Edge) {
	c.e = e
	c.shapes = make(chan *pool.Job, 1)
	c.shares = make(chan proposal, 1)
	c.proven = map[[32]byte]bool{}
	c.due.Store(true)
}

// knows reports whether the node called a block of this shape valid.
func (c *canary) knows(shape [32]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proven[shape]
}

// shape queues job's shape for a proposal, unless it is proven.
func (c *canary) shape(job *pool.Job) {
	if c.knows(shapeOf(job.Class, &job.Payout)) {
		return
	}
	select {
	case <-c.shapes: // a newer job replaces one not yet looked at
	default:
	}
	select {
	case c.shapes <- job:
	default:
	}
}

// offer lends the canary an accepted share when one is due. It never blocks.
func (c *canary) offer(b *pool.Batch) {
	if !c.due.Load() {
		return
	}
	for i := range b.Verdicts {
		if b.Verdicts[i].Reject != pool.Accepted {
			continue
		}
		if c.due.CompareAndSwap(true, false) {
			select {
			case c.shares <- proposal{sub: b.Subs[i], header: b.Hashed[i].Header, tip: b.Subs[i].Work.Job.Tip}:
			default: // the last one was not looked at yet
			}
		}
		return
	}
}

// run proposes what is due, one at a time, until ctx ends.
func (c *canary) run(ctx context.Context) {
	next := time.NewTimer(canaryEvery) // when a share is due again
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			c.due.Store(true)
		case p := <-c.shares:
			if _, ruled := c.propose(ctx, &p, "share"); ruled {
				next.Reset(canaryEvery)
			} else {
				next.Reset(canaryAgain)
			}
		case job := <-c.shapes:
			p := madeUp(job)
			if valid, _ := c.propose(ctx, &p, "shape"); valid {
				c.prove(shapeOf(job.Class, &job.Payout))
				if len(job.Payout.Outputs) > 1 {
					c.e.jobs.publish() // it waited for this
				}
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
		c.e.log.Error().Str("event", "canary.refused").Str("kind", kind).Str("reason", reason).Int32("height", t.Height).
			Msg("the node says that a block of what our rigs hash would be invalid: stop and look at it now")
		return false, true
	}
	c.e.log.Info().Str("event", "canary.valid").Str("kind", kind).Int32("height", t.Height).Msg("the node calls our block valid")
	return true, true
}

// staleReason reports a ruling that only says that the node has moved on, or
// knows the block, before we heard of it. Core and btcd have their own words.
func staleReason(reason string) bool {
	switch reason {
	case "inconclusive", "inconclusive-not-best-prevblk", "bad-prevblk", "duplicate", "duplicate-inconclusive":
		return true
	}
	return false
}

func (c *canary) status() CanaryStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
