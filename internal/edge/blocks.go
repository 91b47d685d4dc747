package edge

import (
	"cmp"
	"context"
	"errors"
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
	// keepBlocks bounds the list in memory; older ones are in the journal.
	// Those without a final answer are kept beyond it: each cost a block's work.
	keepBlocks = 1000
	// laneDepth bounds the candidates waiting for their write, maxSubmits those
	// on their way to the nodes. Only a regtest can fill either.
	laneDepth, maxSubmits = 64, 256
	// codeUndecodable is RPC_DESERIALIZATION_ERROR: the node read the bytes and
	// found no block in them. No retry will change that.
	codeUndecodable = -22
)

// candidate is one block of ours from its hash to its depth in the chain.
// Block and the flags are under blocks.mu, the rest is set before it is shared.
type candidate struct {
	pool.Block
	stored   journal.Candidate
	template *pool.Template // nil once settled
	written  chan struct{}  // closed when the write of its file ended

	busy    bool // a submit is under way or due
	final   bool // the journal knows its result: no start resubmits it
	settled bool // the chain is not asked about it any more
	missed  int  // times in a row that no node knew it
}

// blocks is the block lane: from a hash under the target to the node's chain.
// Shares never wait for it.
type blocks struct {
	e      *Edge
	lane   chan *candidate
	slots  chan struct{} // one for each submit under way
	wake   chan struct{}
	landed chan struct{} // poked when a candidate is answered for

	mu       sync.Mutex // never held across I/O
	known    map[chainhash.Hash]*candidate
	order    []*candidate // oldest first
	inFlight int          // handed in and not yet answered
	life     context.Context
}

func (b *blocks) init(e *Edge) {
	b.e = e
	b.lane = make(chan *candidate, laneDepth)
	b.slots = make(chan struct{}, maxSubmits)
	b.wake = make(chan struct{}, 1)
	b.landed = make(chan struct{}, 1)
	b.known = map[chainhash.Hash]*candidate{}
	b.life = context.Background()
}

// poke leaves a note that there is something to look at. It never blocks.
func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// found takes a hash under the target. It copies what it needs and returns at
// once; the same header is taken once only.
func (b *blocks) found(s *pool.Submission, h *pool.Hashed, worker string) {
	t, now := s.Work.Template, b.e.now()
	c := &candidate{
		Block: pool.Block{
			Hash: h.Hash, Height: t.Height, Worker: worker, Member: s.Work.Member, Value: t.Value, Found: now.UnixMilli(),
			Answers: map[string]string{},
		},
		stored: journal.Candidate{
			Hash: h.Hash, Header: h.Header, Coinbase: s.Work.Coinbase(nil, s),
			WorkBits: t.WorkBits, Height: t.Height, When: now,
		},
		template: t,
		written:  make(chan struct{}),
	}
	if s.Work.Job != nil {
		c.stored.Receipt = s.Work.Job.Payout.Receipt
	}
	if !b.enter(c) {
		return
	}
	select {
	case b.lane <- c:
	default: // a flood of blocks: order is lost, the block is not, and this rig pays with its time
		b.deliver(c)
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
	b.inFlight++
	b.known[c.Hash] = c
	b.order = append(b.order, c)
	if len(b.order) > keepBlocks {
		done := func(c *candidate) bool { return c.final && !c.busy }
		if i := slices.IndexFunc(b.order, done); i >= 0 {
			delete(b.known, b.order[i].Hash)
			b.order = slices.Delete(b.order, i, i+1)
		}
	}
	return true
}

// resubmit hands the candidates that a crash left unanswered to the nodes.
// Submits, these and later ones, end with life.
func (b *blocks) resubmit(life context.Context, rec *journal.Recovery) {
	b.mu.Lock()
	b.life = life
	b.mu.Unlock()
	for _, path := range rec.BadCandidates {
		b.e.log.Error().Str("event", "block.bad_file").Str("file", path).
			Msg("a candidate's file is damaged and cannot be submitted: it may be a block, look at it now")
	}
	b.remember(rec.Settled)
	for _, stored := range rec.Candidates {
		t, err := b.e.cfg.Log.Template(stored.TemplateID)
		if err != nil {
			b.e.log.Error().Str("event", "block.lost_template").Stringer("hash", stored.Hash).Int32("height", stored.Height).
				Err(err).Msg("a candidate of the last run cannot be rebuilt: its template file is gone")
			continue
		}
		c := &candidate{
			Block: pool.Block{
				Hash: stored.Hash, Height: stored.Height, Found: stored.When.UnixMilli(),
				Answers: map[string]string{},
			},
			stored: stored, template: t, written: make(chan struct{}),
		}
		close(c.written)
		c.Value, c.Member = readCoinbase(stored.Coinbase)
		if !b.enter(c) {
			continue
		}
		b.e.log.Warn().Str("event", "block.resubmit").Stringer("hash", c.Hash).Int32("height", c.Height).
			Msg("a candidate of the last run has no answer: submitting it again")
		b.launch(c, c.stored.Block(t))
	}
}

// carry takes candidates off the lane in order until life ends. Those still in
// it then are written down all the same: the next start submits them.
func (b *blocks) carry(life context.Context) {
	for {
		select {
		case c := <-b.lane:
			b.deliver(c)
			continue
		default:
		}
		select {
		case <-life.Done():
			if len(b.lane) == 0 {
				return
			}
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
	stored, result := c.stored, make(chan error, 1)
	// The writer of one candidate's file: it ends when the disk answers, and
	// there are as many as blocks found while the disk stalls.
	go func() {
		err := b.e.cfg.Log.PutCandidate(stored)
		close(c.written)
		result <- err
		if err == nil {
			b.note(c, journal.BlockCandidate, "", "")
		}
		if books := b.e.cfg.Books; books != nil {
			books.Candidate(stored)
		}
	}()
	patience := time.NewTimer(diskPatience)
	defer patience.Stop()
	block := stored.Block(c.template) // while the disk works
	select {
	case err := <-result:
		if err != nil {
			b.e.log.Error().Str("event", "block.not_stored").Stringer("hash", c.Hash).Err(err).
				Msg("the candidate could not be written; submitting it all the same")
		}
	case <-patience.C:
		b.e.log.Warn().Str("event", "block.slow_disk").Stringer("hash", c.Hash).
			Msg("the disk did not take the candidate within 2 ms; submitting it without waiting")
	}
	b.launch(c, block)
}

// launch starts the submit of c, whose bytes are block. No block waits for the
// answer to another. Without a free slot c is left to again.
func (b *blocks) launch(c *candidate, block []byte) {
	select {
	case b.slots <- struct{}{}:
	default:
		b.land(c)
		return
	}
	// One submit: it ends with the last node's answer, after submitLife, or
	// with the edge.
	go func() {
		defer func() { <-b.slots }()
		b.submit(c, block)
	}()
}

// land ends c's time in flight.
func (b *blocks) land(c *candidate) {
	b.mu.Lock()
	c.busy = false
	b.inFlight--
	b.mu.Unlock()
	poke(b.landed)
}

// tally counts what nodes said to one submit.
type tally struct {
	has, refused, silent int
	why                  string // the last refusal
}

// submit gives c to every node and records what they said.
func (b *blocks) submit(c *candidate, block []byte) {
	defer b.land(c)
	b.mu.Lock()
	life := b.life
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(life, submitLife)
	defer cancel()

	var t tally
	b.e.cfg.Node.SubmitBlock(ctx, block, func(r bitcoind.SubmitResult) { b.answered(c, &t, r) })

	b.mu.Lock()
	refused := t.has == 0 && t.silent == 0 && t.refused > 0 && c.State == pool.BlockCandidate
	if refused {
		c.State, c.final = pool.BlockRefused, true
	}
	b.mu.Unlock()
	if refused {
		b.e.log.Error().Str("event", "block.refused").Stringer("hash", c.Hash).Int32("height", c.Height).Str("answer", t.why).
			Msg("every node refused the block; its bytes are kept in the candidates folder: look at it now")
		b.done(c, refusedResult+t.why)
	}
}

// answered records one node's answer to a submit.
func (b *blocks) answered(c *candidate, t *tally, r bitcoind.SubmitResult) {
	answer, event := cmp.Or(r.Answer, "accepted"), journal.BlockRefused
	rpc, _ := errors.AsType[*bitcoind.RPCError](r.Err)
	undecided := notYet(r.Answer) && !b.buried(c)
	b.mu.Lock()
	switch {
	case rpc != nil && rpc.Code == codeUndecodable:
		t.refused++
		answer, t.why = rpc.Message, rpc.Message
	case r.Err != nil:
		t.silent++
		answer, event = "no answer: "+r.Err.Error(), journal.BlockSubmitted
	case r.Accepted || r.Answer == "inconclusive" || r.Answer == "duplicate-inconclusive":
		// Inconclusive is a block that the node keeps and that is not on its
		// best chain now: a reorganisation may put it there.
		t.has++
		event = journal.BlockAccepted
		if c.State == pool.BlockCandidate {
			c.State = pool.BlockAccepted
		}
	case undecided:
		t.silent++
		event = journal.BlockSubmitted
	default:
		t.refused++
		t.why = r.Answer
	}
	c.Answers[r.Node] = answer
	b.mu.Unlock()
	b.e.log.Info().Str("event", "block.submit").Stringer("hash", c.Hash).Int32("height", c.Height).
		Str("node", r.Node).Bool("accepted", r.Accepted).Str("answer", answer).Dur("took_ms", r.Took).
		Msg("a node answered submitblock")
	b.note(c, event, r.Node, answer)
	if event == journal.BlockAccepted {
		b.newTip() // the other nodes' silence must not delay what this one's chain says
		poke(b.landed)
	}
}

// notYet reports an answer that says something of the node's moment, not of the
// block: a node that was killed hard comes back without its last blocks and
// does not know our parent until its peers gave it again, and a clock that is
// behind finds a block too new.
func notYet(answer string) bool { return answer == "prev-blk-not-found" || answer == "time-too-new" }

// buried reports whether the tip is so deep over c's height that its template
// would be dropped: no node is waited for beyond that.
func (b *blocks) buried(c *candidate) bool {
	_, t, _ := b.e.jobs.current()
	return t != nil && t.Height-c.Height >= keepTemplates
}

// note appends a block event to the journal. Nothing waits for its disk.
func (b *blocks) note(c *candidate, event journal.Event, node, answer string) {
	_, err := b.e.cfg.Log.Append(journal.BlockRecord{
		Hash: c.Hash, Height: c.Height, When: b.e.now().UnixMilli(), Event: event, Node: node, Answer: answer,
	})
	if err != nil {
		b.e.log.Error().Str("event", "journal.append").Err(err).Msg("block event not journalled")
	}
}

// done stores c's final result, behind its file.
func (b *blocks) done(c *candidate, result string) {
	<-c.written
	if err := b.e.cfg.Log.CandidateDone(c.Hash, result); err != nil {
		b.e.log.Error().Str("event", "block.done").Stringer("hash", c.Hash).Err(err).Msg("result not stored")
	}
}

// wait returns when a node has answered for every candidate handed in, or ctx
// ends: those left are resubmitted at the next start. What one node took is on
// its way to the others, so that a dead one does not hold up a stop. One caller
// at a time.
func (b *blocks) wait(ctx context.Context) {
	for {
		b.mu.Lock()
		open := slices.ContainsFunc(b.order, func(c *candidate) bool { return c.busy && c.State == pool.BlockCandidate })
		b.mu.Unlock()
		if !open {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-b.landed:
		}
	}
}
