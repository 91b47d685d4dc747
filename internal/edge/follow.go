package edge

import (
	"context"
	"errors"
	"time"

	"cordee/internal/bitcoind"
	"cordee/pool"
)

const (
	// resubmitEvery is the pace for a candidate that no node has answered.
	resubmitEvery = 5 * time.Second
	// settledDepth is when a block is no longer asked about: coinbases mature.
	settledDepth = 100
	// maxMissed is how often in a row no node may know a block that one took
	// before it is submitted again: a node killed hard forgets its last blocks.
	maxMissed = 2
)

// newTip asks run to look at all unsettled blocks again.
func (b *blocks) newTip() { poke(b.wake) }

// run follows blocks by hash, until ctx ends: the chain says where each stands.
func (b *blocks) run(ctx context.Context) {
	tick := time.NewTicker(resubmitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			b.follow(ctx)
		case <-tick.C:
			b.follow(ctx)
		}
	}
}

// retry hands unanswered candidates to the nodes again, until ctx ends. It is
// apart from run, which waits for nodes and for the disk: neither may hold
// another block back.
func (b *blocks) retry(ctx context.Context) {
	tick := time.NewTicker(resubmitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.again()
		}
	}
}

// again resubmits the candidates that no node has answered.
func (b *blocks) again() {
	b.mu.Lock()
	var left []*candidate
	for _, c := range b.order {
		if c.State == pool.BlockCandidate && !c.busy && len(left) < maxSubmits {
			c.busy = true
			b.inFlight++
			left = append(left, c)
		}
	}
	b.mu.Unlock()
	for _, c := range left {
		b.launch(c, c.stored.Block(c.template))
	}
}

// follow asks the chain about every block that is not settled. One that a node
// took is asked about even while another node keeps us waiting.
func (b *blocks) follow(ctx context.Context) {
	b.mu.Lock()
	var open []*candidate
	for _, c := range b.order {
		if c.State != pool.BlockRefused && !c.settled && (!c.busy || c.State != pool.BlockCandidate) {
			open = append(open, c)
		}
	}
	b.mu.Unlock()
	for _, c := range open {
		_, confirmations, err := b.e.cfg.Node.InChain(ctx, c.Hash)
		switch {
		case errors.Is(err, bitcoind.ErrUnknownBlock):
			b.miss(c)
		case err != nil:
			return // the node is away; the tick comes again
		default:
			b.settle(c, confirmations)
		}
	}
}

// miss notes that no node knows c, though one may have taken it.
func (b *blocks) miss(c *candidate) {
	b.mu.Lock()
	c.missed++
	again := c.missed >= maxMissed && !c.busy && c.State != pool.BlockCandidate && c.template != nil
	if again {
		c.State, c.Confirmations, c.missed = pool.BlockCandidate, 0, 0
	}
	b.mu.Unlock()
	if again {
		b.e.log.Warn().Str("event", "block.forgotten").Stringer("hash", c.Hash).Int32("height", c.Height).
			Msg("no node knows a block that one took: submitting it again")
	}
}

// settle writes down where the chain says c stands.
func (b *blocks) settle(c *candidate, confirmations int64) {
	depth := confirmations
	if _, t, _ := b.e.jobs.current(); confirmations < 0 && t != nil {
		depth = int64(t.Height) - int64(c.Height) // of the height it lost
	}
	b.mu.Lock()
	before := c.State
	c.missed = 0
	c.Confirmations = max(confirmations, 0)
	c.State = pool.BlockActive
	if confirmations < 0 {
		c.State = pool.BlockOrphaned
	}
	changed, first := c.State != before, !c.final
	c.final = true
	if depth >= settledDepth && !c.busy {
		c.settled, c.template, c.stored.Coinbase = true, nil, nil // megabytes that nobody will send again
	}
	state := c.State
	b.mu.Unlock()
	if first {
		b.done(c, state.String())
	}
	if changed {
		b.e.log.Info().Str("event", "block.state").Stringer("hash", c.Hash).Int32("height", c.Height).
			Stringer("from", before).Stringer("state", state).Int64("confirmations", confirmations).
			Msg("the chain says where our block stands")
	}
}
