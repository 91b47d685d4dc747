package edge

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/pool"
)

const (
	// diskPatience is how long a candidate's write is waited for before it is
	// submitted anyway: a stalled disk must not cost a block.
	diskPatience = 2 * time.Millisecond
	// submitLife bounds one round of submitblock with its retries.
	submitLife = 60 * time.Second
	// resubmitEvery is the pace for a candidate that no node has answered.
	resubmitEvery = 5 * time.Second
	// settledDepth is when a block is no longer asked about: coinbases mature.
	settledDepth = 100
	// keepBlocks bounds the list in memory; older ones are in the journal.
	keepBlocks = 1000
	// laneDepth bounds the candidates waiting for their write.
	laneDepth = 64
)

// candidate is one block of ours from its hash to its depth in the chain.
type candidate struct {
	pool.Block
	stored   journal.Candidate
	template *pool.Template
	busy     bool // a submit is under way
	final    bool // the journal knows its result: never resubmitted
}

// blocks is the block lane: from a hash under the target to the node's chain.
// Shares never wait for it.
type blocks struct {
	e    *Edge
	lane chan *candidate
	wake chan struct{}
	busy sync.WaitGroup // candidates handed in and not yet answered

	mu    sync.Mutex // never held across I/O
	known map[chainhash.Hash]*candidate
	order []*candidate // oldest first
	life  context.Context
}

func (b *blocks) init(e *Edge) {
	b.e = e
	b.lane = make(chan *candidate, laneDepth)
	b.wake = make(chan struct{}, 1)
	b.known = map[chainhash.Hash]*candidate{}
	b.life = context.Background()
}

// found takes a hash under the target. It copies what it needs and returns at
// once; the same header is taken once only.
func (b *blocks) found(s *pool.Submission, h *pool.Hashed, worker string) {
	t := s.Work.Template
	c := &candidate{
		Block: pool.Block{
			Hash: h.Hash, Height: t.Height, Worker: worker, Value: t.Value, Found: b.e.now(),
			Answers: map[string]string{},
		},
		stored: journal.Candidate{
			Hash: h.Hash, Header: h.Header, Coinbase: s.Work.Coinbase(nil, s),
			WorkBits: t.WorkBits, Height: t.Height, When: b.e.now(),
		},
		template: t,
	}
	if !b.enter(c) {
		return
	}
	select {
	case b.lane <- c:
	default: // a flood of blocks: order is lost, the block is not
		go b.deliver(c)
	}
}

// enter makes c known, unless its header already is.
func (b *blocks) enter(c *candidate) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[c.Hash] != nil {
		return false
	}
	c.busy = true
	b.busy.Add(1)
	b.known[c.Hash] = c
	b.order = append(b.order, c)
	if len(b.order) > keepBlocks {
		if old := b.order[0]; !old.busy {
			delete(b.known, old.Hash)
			b.order = b.order[1:]
		}
	}
	return true
}

// resubmit hands the candidates that a crash left unanswered to the nodes.
func (b *blocks) resubmit(life context.Context, left []journal.Candidate) {
	b.mu.Lock()
	b.life = life
	b.mu.Unlock()
	for _, stored := range left {
		t, err := b.e.cfg.Log.Template(stored.TemplateID)
		if err != nil {
			b.e.log.Error().Str("event", "block.lost_template").Stringer("hash", stored.Hash).Int32("height", stored.Height).
				Err(err).Msg("a candidate of the last run cannot be rebuilt: its template file is gone")
			continue
		}
		c := &candidate{
			Block: pool.Block{
				Hash: stored.Hash, Height: stored.Height, Value: t.Value, Found: stored.When,
				Answers: map[string]string{},
			},
			stored: stored, template: t,
		}
		if !b.enter(c) {
			continue
		}
		b.e.log.Warn().Str("event", "block.resubmit").Stringer("hash", c.Hash).Int32("height", c.Height).
			Msg("a candidate of the last run has no answer: submitting it again")
		go b.submit(c)
	}
	go b.carry(life)
}

// carry takes candidates off the lane in order until life ends.
func (b *blocks) carry(life context.Context) {
	for {
		select {
		case <-life.Done():
			return
		case c := <-b.lane:
			b.deliver(c)
		}
	}
}

// deliver writes c down, waits 2 ms for it at most, and starts the submit.
func (b *blocks) deliver(c *candidate) {
	b.e.log.Info().Str("event", "block.candidate").Stringer("hash", c.Hash).Int32("height", c.Height).
		Str("worker", c.Worker).Int64("value_sats", c.Value).Msg("a rig found a block")
	c.stored.TemplateID = c.template.ID()
	written := make(chan error, 1)
	go func() { written <- b.e.cfg.Log.PutCandidate(c.stored) }()
	patience := time.NewTimer(diskPatience)
	defer patience.Stop()
	select {
	case err := <-written:
		if err != nil {
			b.e.log.Error().Str("event", "block.not_stored").Stringer("hash", c.Hash).Err(err).
				Msg("the candidate could not be written; submitting it all the same")
		}
	case <-patience.C:
		b.e.log.Warn().Str("event", "block.slow_disk").Stringer("hash", c.Hash).
			Msg("the disk did not take the candidate within 2 ms; submitting it without waiting")
	}
	go b.submit(c)
}

// submit gives c to every node and records what they said.
func (b *blocks) submit(c *candidate) {
	defer b.busy.Done()
	b.mu.Lock()
	life := b.life
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(life, submitLife)
	defer cancel()

	accepted, refused, failed := 0, 0, 0
	var why string
	b.e.cfg.Node.SubmitBlock(ctx, c.stored.Block(c.template), func(r bitcoind.SubmitResult) {
		b.mu.Lock()
		answer := cmp.Or(r.Answer, "accepted")
		switch {
		case r.Err != nil:
			failed++
			answer = "no answer: " + r.Err.Error()
		case r.Accepted:
			accepted++
			c.State = pool.BlockAccepted
		default:
			refused++
			why = r.Answer
		}
		c.Answers[r.Node] = answer
		b.mu.Unlock()
		b.e.log.Info().Str("event", "block.submit").Stringer("hash", c.Hash).Int32("height", c.Height).
			Str("node", r.Node).Bool("accepted", r.Accepted).Str("answer", answer).Dur("took_ms", r.Took).
			Msg("a node answered submitblock")
		b.note(c, answer, r.Node, r.Accepted)
	})

	b.mu.Lock()
	c.busy = false
	if accepted == 0 && refused > 0 && failed == 0 {
		c.State, c.final = pool.BlockRefused, true
	}
	final := c.final
	b.mu.Unlock()
	if final {
		b.e.log.Error().Str("event", "block.refused").Stringer("hash", c.Hash).Int32("height", c.Height).Str("answer", why).
			Msg("every node refused the block; its bytes are kept in the candidates folder: look at it now")
		b.done(c, "refused: "+why)
	}
	b.newTip()
}

// note appends a block event to the journal. Nothing waits for it.
func (b *blocks) note(c *candidate, answer, node string, accepted bool) {
	event := journal.BlockRefused
	if accepted {
		event = journal.BlockAccepted
	}
	_, err := b.e.cfg.Log.Append(journal.BlockRecord{
		Hash: c.Hash, Height: c.Height, When: b.e.now().UnixMilli(), Event: event, Node: node, Answer: answer,
	})
	if err != nil {
		b.e.log.Error().Str("event", "journal.append").Err(err).Msg("block event not journalled")
	}
}

func (b *blocks) done(c *candidate, result string) {
	if err := b.e.cfg.Log.CandidateDone(c.Hash, result); err != nil {
		b.e.log.Error().Str("event", "block.done").Stringer("hash", c.Hash).Err(err).Msg("result not stored")
	}
}

// newTip asks run to look at all unsettled blocks again.
func (b *blocks) newTip() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run follows blocks by hash: the chain says where each stands.
func (b *blocks) run(ctx context.Context) error {
	tick := time.NewTicker(resubmitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.wake:
			b.follow(ctx)
		case <-tick.C:
			b.again()
			b.follow(ctx)
		}
	}
}

// again resubmits the candidates that no node has answered.
func (b *blocks) again() {
	b.mu.Lock()
	var left []*candidate
	for _, c := range b.order {
		if c.State == pool.BlockCandidate && !c.busy && !c.final {
			c.busy = true
			b.busy.Add(1)
			left = append(left, c)
		}
	}
	b.mu.Unlock()
	for _, c := range left {
		go b.submit(c)
	}
}

// follow asks the chain about every block that is not settled.
func (b *blocks) follow(ctx context.Context) {
	b.mu.Lock()
	var open []*candidate
	for _, c := range b.order {
		if !c.busy && c.State != pool.BlockRefused && c.Confirmations < settledDepth {
			open = append(open, c)
		}
	}
	b.mu.Unlock()
	for _, c := range open {
		_, confirmations, err := b.e.cfg.Node.InChain(ctx, c.Hash)
		switch {
		case errors.Is(err, bitcoind.ErrUnknownBlock):
			continue // not seen by this node yet: asked again with the next tip
		case err != nil:
			return // the node is away; the tick comes again
		}
		b.settle(c, confirmations)
	}
}

// settle writes down where the chain says c stands.
func (b *blocks) settle(c *candidate, confirmations int64) {
	b.mu.Lock()
	before := c.State
	c.Confirmations = max(confirmations, 0)
	c.State = pool.BlockActive
	if confirmations < 0 {
		c.State = pool.BlockOrphaned
	}
	changed, first := c.State != before, !c.final
	c.final = true
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

// wait returns when every candidate handed in has been answered, or ctx ends:
// those left are resubmitted at the next start.
func (b *blocks) wait(ctx context.Context) {
	done := make(chan struct{})
	go func() { b.busy.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// templates names the templates that candidates without a final answer need.
func (b *blocks) templates() map[chainhash.Hash]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := map[chainhash.Hash]bool{}
	for _, c := range b.order {
		if !c.final {
			ids[c.template.ID()] = true
		}
	}
	return ids
}

// submitting reports whether a submit is under way.
func (b *blocks) submitting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.order, func(c *candidate) bool { return c.busy })
}

// list returns copies of the known blocks, newest first.
func (b *blocks) list() []pool.Block {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]pool.Block, 0, len(b.order))
	for _, c := range slices.Backward(b.order) {
		block := c.Block
		block.Answers = maps.Clone(c.Answers)
		out = append(out, block)
	}
	return out
}
