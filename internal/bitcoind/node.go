package bitcoind

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"

	"cordee/pool"
)

// Sources of an Update.
const (
	SourceZMQ      = "zmq"      // hashblock
	SourceLongPoll = "longpoll" // a pending getblocktemplate returned
	SourcePoll     = "poll"     // the tip poll saw it, or a node was taken over
	SourceRefresh  = "refresh"  // nothing new, only time has passed
)

// signal is the news of a tip.
type signal struct {
	hash   chainhash.Hash // zero: ask the node
	source string
	at     time.Time
}

// node is one node of the cluster. Three goroutines serve it: watch (is it
// alive, where is its tip), listen (ZMQ), and fetch (templates).
type node struct {
	NodeConfig
	cfg *Config
	log zerolog.Logger

	ask, template, submit *lane // invariant 1

	signals  chan signal   // to fetch
	wake     chan struct{} // to fetch: followed or signal kind changed
	lookNow  chan struct{} // to watch
	changed  chan<- struct{}
	followed atomic.Bool

	mu          sync.Mutex
	looked      bool  // watch has an answer, good or bad
	lookErr     error // of the last look
	passed      bool  // the chain was checked since the last outage
	templateErr error // of the last fetch
	lastErr     error // the last of either, kept for Status
	caps        capabilities
	peers       int // -1: unknown
	tip         tip
	templateAt  time.Time
	longpolling bool
	zmq         zmqHealth
	took        []chainhash.Hash // our last blocks that the node took, oldest first
}

// zmqHealth is what is known of the node's publisher.
type zmqHealth struct {
	up        bool             // subscribed
	trusted   bool             // it announced what the poll saw, or was not tested yet
	since     time.Time        // of the subscription
	announced []chainhash.Hash // the last few
	due       chainhash.Hash   // seen by the poll, not announced
	dueSince  time.Time
}

// announcedMemory is how many announcements are kept to compare a poll with.
const announcedMemory = 16

// zmqGrace is how long an announcement may come after the poll that saw the
// same block.
const zmqGrace = 500 * time.Millisecond

func newNode(cfg *Config, nc NodeConfig, changed chan<- struct{}) *node {
	return &node{
		NodeConfig: nc,
		cfg:        cfg,
		log:        cfg.Log.With().Str("node", nc.Name).Logger(),
		ask:        newLane(&nc, 3, maxSmallAnswer),
		template:   newLane(&nc, 3, cfg.MaxAnswer),
		submit:     newLane(&nc, 3, maxSmallAnswer),
		signals:    make(chan signal, 16),
		wake:       make(chan struct{}, 1),
		lookNow:    make(chan struct{}, 1),
		changed:    changed,
		peers:      -1,
		zmq:        zmqHealth{trusted: true},
	}
}

// poke leaves a mark in a channel of one mark.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// announce passes a signal to fetch.
func (n *node) announce(ctx context.Context, s signal) {
	select {
	case n.signals <- s:
	case <-ctx.Done():
	}
}

// healthy reports whether the node can be followed. known is false before the
// first answer.
func (n *node) healthy() (ok, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.looked && n.lookErr == nil && n.templateErr == nil, n.looked
}

// checked reports whether the node's chain was checked since its last outage.
func (n *node) checked() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.passed
}

func (n *node) currentTip() tip {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tip
}

// setLook records the outcome of a look, and logs a change of state.
func (n *node) setLook(err error) {
	n.mu.Lock()
	was, known := stateName(n.lookErr), n.looked
	n.looked, n.lookErr = true, err
	if err != nil {
		n.lastErr = err
		if !errors.Is(err, ErrTimeout) {
			n.passed = false // an outage: the node behind the address may be another one
		}
	}
	caps, peers := n.caps, n.peers
	n.mu.Unlock()
	if now := stateName(err); now != was || !known {
		poke(n.wake)
		if err != nil {
			n.log.Warn().Str("event", "node.down").Str("state", now).Err(err).
				Msg("the node cannot be mined on; rigs keep the last job, another healthy node takes over")
		} else {
			n.log.Info().Str("event", "node.up").Str("version", caps.Version).Int("peers", peers).Msg("the node is healthy")
		}
	}
	poke(n.changed)
}

// setTemplate records the outcome of a fetch.
func (n *node) setTemplate(err error) {
	n.mu.Lock()
	was := stateName(n.templateErr)
	n.templateErr = err
	if err != nil {
		n.lastErr = err
	} else {
		n.templateAt = time.Now()
	}
	n.mu.Unlock()
	if now := stateName(err); now != was {
		if err != nil {
			n.log.Warn().Str("event", "template.failed").Str("state", now).Err(err).Msg("the node gave no usable template; it is asked again")
		} else {
			n.log.Info().Str("event", "template.good").Msg("the node gives templates again")
		}
		poke(n.changed)
	}
}

// watch looks at the node every Poll, or at once when poked, until ctx ends.
func (n *node) watch(ctx context.Context) {
	tick := time.NewTicker(n.cfg.Poll)
	defer tick.Stop()
	var seen chainhash.Hash
	var prevLook time.Time // of the last good look
	for looks := 0; ; looks++ {
		began := time.Now()
		err := n.lookOnce(ctx, &seen, prevLook, looks)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			prevLook = began
		}
		n.setLook(err)
		select {
		case <-tick.C:
		case <-n.lookNow:
		case <-ctx.Done():
			return
		}
	}
}

// peersEvery is how many looks pass between two counts of peers.
const peersEvery = 30

func (n *node) lookOnce(ctx context.Context, seen *chainhash.Hash, prevLook time.Time, looks int) error {
	if !n.checked() {
		cctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := n.check(cctx); err != nil {
			return err
		}
		n.mu.Lock()
		n.passed = true
		n.mu.Unlock()
	}
	actx, cancel := context.WithTimeout(ctx, n.cfg.AskTimeout)
	defer cancel()
	hash, err := n.bestHash(actx)
	if err != nil {
		return err
	}
	at := time.Now()
	if hash != *seen {
		n.expect(hash, at, prevLook)
		h, err := n.header(actx, n.ask, hash)
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.tip = h.tip(hash)
		n.mu.Unlock()
		*seen = hash
	}
	// Every time, not only on a change since the last look: between two looks
	// ZMQ may have led the fetcher away, and the chain come back unannounced.
	n.announce(ctx, signal{hash: hash, source: SourcePoll, at: at})
	n.judgeZMQ(at)
	if looks%peersEvery == peersEvery-1 {
		peers, err := n.countPeers(actx)
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.peers = peers
		n.mu.Unlock()
	}
	return nil
}

// expect notes a tip that the poll saw and ZMQ should have announced. A tip
// from before the subscription proves nothing.
func (n *node) expect(hash chainhash.Hash, at, prevLook time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.zmq
	if z.up && !prevLook.IsZero() && z.since.Before(prevLook) && !slices.Contains(z.announced, hash) {
		z.due, z.dueSince = hash, at
	}
}

// judgeZMQ stops trusting a publisher that did not announce what the poll saw.
func (n *node) judgeZMQ(now time.Time) {
	n.mu.Lock()
	z := &n.zmq
	late := z.trusted && !z.dueSince.IsZero() && now.Sub(z.dueSince) >= zmqGrace
	if late {
		z.trusted = false
		z.dueSince = time.Time{}
	}
	n.mu.Unlock()
	if late {
		n.log.Warn().Str("event", "zmq.silent").Msg("a block was not announced: longpoll until one is")
		poke(n.wake)
	}
}

// zmqHealthy reports whether no longpoll is needed.
func (n *node) zmqHealthy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.zmq.up && n.zmq.trusted
}

// status returns what Status tells of the node.
func (n *node) status() NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := NodeStatus{
		Name:     n.Name,
		Host:     hostOf(n.URL),
		Followed: n.followed.Load(),
		Healthy:  n.looked && n.lookErr == nil && n.templateErr == nil,
		State:    "unknown",
		Tip:      n.tip.Tip,
		Peers:    n.peers,
		Version:  n.caps.Version,
		Signal:   SourcePoll,
	}
	switch {
	case n.lookErr != nil:
		s.State = stateName(n.lookErr)
	case n.templateErr != nil:
		s.State = stateName(n.templateErr)
	case n.looked:
		s.State = stateName(nil)
	}
	switch {
	case n.zmq.up && n.zmq.trusted:
		s.Signal = SourceZMQ
	case n.longpolling:
		s.Signal = SourceLongPoll
	}
	if n.lastErr != nil {
		s.LastError = n.lastErr.Error()
	}
	if !n.templateAt.IsZero() {
		s.TemplateAge = time.Since(n.templateAt)
	}
	return s
}

// NodeStatus is what operators see of a node.
type NodeStatus struct {
	Name        string
	Host        string // host:port of the RPC server
	Followed    bool   // templates come from it
	Healthy     bool
	State       string // "ok", or the short name of what is wrong (stable, for metrics)
	LastError   string // text of the last failure, also of one that is over; "" for none
	Tip         pool.Tip
	Peers       int           // -1: unknown
	Signal      string        // what announces blocks now: zmq, longpoll or poll
	TemplateAge time.Duration // since its last template; 0 where it gave none
	Version     string        // "Core 31.99.0", "btcd 0.26.2", "unknown"; "" before the first answer
}
