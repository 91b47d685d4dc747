package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/pool"
	"cordee/stratum"
)

// Node is what the edge needs of the nodes. *bitcoind.Cluster is one.
type Node interface {
	Run(ctx context.Context, on func(bitcoind.Update)) error
	SubmitBlock(ctx context.Context, block []byte, each func(bitcoind.SubmitResult))
	Propose(ctx context.Context, block []byte) (reason string, err error)
	InChain(ctx context.Context, hash chainhash.Hash) (height int32, confirmations int64, err error)
}

// Log is what the edge needs of the journal. *journal.Journal is one.
type Log interface {
	Append(recs ...journal.Record) (journal.Ticket, error)
	AppendShares(shares []journal.Share) (journal.Ticket, error)
	TryAppendShares(shares []journal.Share) (journal.Ticket, error)
	RigNumber(member uint16, name string) (uint32, error)
	TryRigNumber(member uint16, name string) (uint32, error)
	PutTemplate(t *pool.Template) (chainhash.Hash, error)
	Template(id chainhash.Hash) (*pool.Template, error)
	DropTemplates(keep func(height int32, id chainhash.Hash) bool) error
	PutCandidate(c journal.Candidate) error
	CandidateDone(hash chainhash.Hash, result string) error
}

// Payer says how a template's value leaves. It returns the split, which must
// sum to the value, and the bytes of the receipt that explains it.
type Payer interface {
	Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error)
	// Kept is the same split with every sat left in the treasury.
	Kept(t *pool.Template, class pool.Class) (pool.Payout, []byte, error)
}

// Books hears of every block of ours, once its file is written. It returns at
// once.
type Books interface {
	Candidate(c journal.Candidate)
}

// Register says who stands behind a user name. Who Resolve found is held until one
// Leave; before a share of his is accepted, Keep makes his index his for ever.
type Register interface {
	Resolve(user string) (w pool.Worker, text string, ok bool)
	Leave(member uint16)
	Keep(member uint16) error
	Kept(member uint16) bool // Keep would not block, and be nil
}

// Config is what one edge is made of. Every field is needed but the last four.
type Config struct {
	Network   *pool.Network
	Node      Node
	Log       Log
	Payer     Payer
	Register  Register
	Stratum   stratum.Config // Pool is set by New
	Listeners []Listener
	Tag       string
	Recovery  *journal.Recovery
	Logger    zerolog.Logger

	Books        Books            // nil: nobody keeps accounts
	Quiet        time.Duration    // no block is proposed to the node this soon after a new tip; 0: 2 s (decision 21)
	DrainTimeout time.Duration    // 0: 8 s, so that a stop ends within 10
	Now          func() time.Time // nil: time.Now
}

// Listener is an open port, and what is asked of the rigs behind it.
type Listener struct {
	net.Listener
	Door stratum.Door
}

// Edge is a running pool process, without its configuration and its pages.
type Edge struct {
	cfg    Config
	log    zerolog.Logger
	now    func() time.Time
	server *stratum.Server
	jobs   jobs
	blocks blocks
	canary canary
	shares atomic.Uint64 // credited since the start
	lost   atomic.Uint64 // accepted by Judge but not durable: answered with an error
	// toldLost is when the log last told of lost shares, in ns since born on the
	// machine's own clock; 0 is never.
	toldLost atomic.Int64
	born     time.Time
	// poisoned says that the journal takes nothing more until a restart.
	poisoned atomic.Bool
	epoch    uint32
	begun    time.Time
}

// New checks cfg and builds an edge. It does no I/O.
func New(cfg Config) (*Edge, error) {
	switch {
	case cfg.Network == nil, cfg.Node == nil, cfg.Log == nil, cfg.Payer == nil, cfg.Register == nil, cfg.Recovery == nil:
		return nil, errors.New("edge: network, node, log, payer, register and recovery are needed")
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 8 * time.Second
	}
	if cfg.Quiet == 0 {
		cfg.Quiet = canaryQuiet
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e := &Edge{cfg: cfg, log: cfg.Logger, now: cfg.Now, epoch: cfg.Recovery.Epoch, begun: cfg.Now(), born: time.Now()}
	cfg.Stratum.Pool = e
	cfg.Stratum.NewClass = func() { poke(e.jobs.wanted) }
	server, err := stratum.NewServer(cfg.Stratum)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	e.server = server
	e.jobs.init(e)
	e.blocks.init(e)
	e.canary.init(e)
	return e, nil
}

// Server is the stratum server inside, for its statistics.
func (e *Edge) Server() *stratum.Server { return e.server }

// Authorize implements stratum.Pool.
func (e *Edge) Authorize(user string) (pool.Worker, string, bool) {
	return e.cfg.Register.Resolve(user)
}

// Leave implements stratum.Pool.
func (e *Edge) Leave(w pool.Worker) { e.cfg.Register.Leave(w.Member) }

// Run lives until ctx ends, then drains: listeners close, submits in flight
// are answered, blocks in flight are handed over. It returns nil after a clean
// drain. The journal is the caller's to close, afterwards.
//
// The order at the end is the order of the promises: first no new work, then
// every answer, then every block.
func (e *Edge) Run(ctx context.Context) error {
	// What must outlive the signal to stop: answers and blocks in flight.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()

	e.blocks.resubmit(life, e.cfg.Recovery)
	carried := make(chan struct{})
	go func() { // the block lane: ends with life
		defer close(carried)
		e.blocks.carry(life)
	}()

	// Everything below ends with gctx, and an end by gctx is no error: Wait
	// must return what went wrong first, or what the drain could not do.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := e.cfg.Node.Run(gctx, e.jobs.update)
		if gctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("edge: the nodes are not followed any more: %w", err)
	})
	g.Go(func() error { e.jobs.run(gctx); return nil })
	g.Go(func() error { e.jobs.sweep(gctx); return nil })
	g.Go(func() error { e.blocks.run(gctx); return nil })
	g.Go(func() error { e.blocks.retry(gctx); return nil })
	g.Go(func() error { e.canary.run(gctx); return nil })
	serving, stopServing := context.WithCancel(life)
	defer stopServing()
	for _, ln := range e.cfg.Listeners {
		g.Go(func() error { // ends with the drain
			err := e.server.ServeDoor(serving, ln.Listener, ln.Door)
			if errors.Is(err, stratum.ErrStopped) && gctx.Err() != nil {
				return nil // told to stop before it began
			}
			return err
		})
	}
	g.Go(func() error {
		<-gctx.Done()
		limit, cancel := context.WithTimeout(life, e.cfg.DrainTimeout)
		defer cancel()
		err := e.server.Drain(limit)
		stopServing()
		e.blocks.wait(limit)
		if err != nil {
			return fmt.Errorf("edge: drain: %w", err)
		}
		return nil
	})
	err := g.Wait()

	// Submits that no node answered end now; they are on disk. A disk that
	// stalls may hold one back longer than a stop should take.
	end()
	<-carried
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	e.blocks.wait(limit)
	return err
}
