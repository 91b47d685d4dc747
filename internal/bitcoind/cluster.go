package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// Cluster is one or several nodes of one chain. One of them is followed: its
// templates are mined on. Blocks go to all.
type Cluster struct {
	cfg     Config
	log     zerolog.Logger
	nodes   []*node
	changed chan struct{} // a node's state changed, or a look is done

	mu       sync.Mutex
	followed *node
	trouble  time.Time // since when the followed node is not the best, zero: it is
}

// Update is a template to mine on.
type Update struct {
	Template *pool.Template
	// Tip is the generation: it rises by one at every change of previous block
	// hash, and never returns (ADR 0005).
	Tip uint64
	// Signal is when the node's own signal of this new tip was received; zero
	// on the same tip.
	Signal time.Time
	Source string // one of the Source constants
}

// New checks cfg and makes a Cluster of it. It does no I/O.
func New(cfg Config) (*Cluster, error) {
	cfg.setDefaults()
	cfg.Nodes = append([]NodeConfig(nil), cfg.Nodes...)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, log: cfg.Log, changed: make(chan struct{}, 1)}
	for _, nc := range cfg.Nodes {
		c.nodes = append(c.nodes, newNode(&c.cfg, nc, c.changed))
	}
	c.followed = c.nodes[0]
	c.followed.followed.Store(true)
	return c, nil
}

// Check asks every node, at start, whether it is on the configured chain and
// ready to be mined on. It waits for a node that warms up until ctx ends, and
// for one that does not listen yet up to StartWait. It returns nil when one
// node is usable and no node is wrong (chain, challenge, credentials): wrong
// ones stay wrong, and only at start does somebody look.
func (c *Cluster) Check(ctx context.Context) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = n.waitReady(ctx) })
	}
	wg.Wait()
	usable := false
	for i, err := range errs {
		switch {
		case err == nil:
			usable = true
		case errors.Is(err, ErrWrongChain), errors.Is(err, ErrSignetChallenge), errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden):
			return fmt.Errorf("node %s: %w", c.nodes[i].Name, err)
		default:
			errs[i] = fmt.Errorf("node %s: %w", c.nodes[i].Name, err)
			c.log.Warn().Str("event", "node.check").Str("node", c.nodes[i].Name).Str("state", stateName(err)).Err(err).
				Msg("a node is not usable at start; it is asked again while the pool runs")
		}
	}
	if usable {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNoNode, errors.Join(errs...))
}

// sayAgain is how often the log says that a node is waited for.
const sayAgain = 10 * time.Second

// waitReady checks a node until it is past its own start.
func (n *node) waitReady(ctx context.Context) error {
	var last error
	began, told := time.Now(), time.Time{}
	for {
		cctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := n.check(cctx)
		cancel()
		if err != nil && last != nil && ctx.Err() != nil {
			return last // what the node said, not that the last look was cut off
		}
		last = err
		again := errors.Is(err, ErrWarmup) || errors.Is(err, ErrBusy) ||
			(errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTimeout) || n.noCookieYet(err)) && time.Since(began) < n.cfg.StartWait
		if !again {
			return err
		}
		if time.Since(told) > sayAgain {
			told = time.Now()
			n.log.Warn().Str("event", "node.wait").Str("state", stateName(err)).Err(err).Msg("waiting for the node")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(n.cfg.Poll):
		}
	}
}

// Run follows the nodes until ctx ends, and then returns its error. on is
// called from one goroutine, in order. Run is to be called once.
func (c *Cluster) Run(ctx context.Context, on func(Update)) error {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan event)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		for _, n := range c.nodes {
			n.ask.close()
			n.template.close()
			n.submit.close()
		}
	}()
	for _, n := range c.nodes {
		wg.Go(func() { n.watch(ctx) })
		wg.Go(func() { n.fetch(ctx, events) })
		if n.ZMQ != "" {
			wg.Go(func() { n.listen(ctx) })
		}
	}
	var cur *pool.Template
	var generation uint64
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.changed:
			c.choose(time.Now())
		case ev := <-events:
			if !ev.node.followed.Load() {
				break
			}
			u := Update{Template: ev.template, Source: ev.source}
			switch {
			case cur == nil || cur.PrevHash != ev.template.PrevHash:
				generation++
				u.Signal = ev.signal
			case ev.template.Empty && !cur.Empty:
				continue // an empty template never replaces a full one of its tip
			}
			cur = ev.template
			u.Tip = generation
			on(u)
		}
	}
}

// choose decides which node to follow. The followed node stays while it is
// healthy and no other has had more work for BehindGrace: two nodes hear of a
// block at different moments, and hopping between them would cost tips.
// Another takes over at once if its chain has at least the same work, else
// after BehindGrace (decision 19).
func (c *Cluster) choose(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cur := c.followed
	ok, known := cur.healthy()
	if !known {
		return
	}
	var best *node
	for _, n := range c.nodes {
		if n == cur {
			continue
		}
		if good, _ := n.healthy(); good && (best == nil || n.currentTip().compare(best.currentTip()) > 0) {
			best = n
		}
	}
	if best == nil {
		c.trouble = time.Time{}
		return
	}
	ahead := best.currentTip().compare(cur.currentTip())
	if ok && ahead <= 0 {
		c.trouble = time.Time{}
		return
	}
	if c.trouble.IsZero() {
		c.trouble = now
	}
	if patience := ok || ahead < 0; patience && now.Sub(c.trouble) < c.cfg.BehindGrace {
		return
	}
	c.trouble = time.Time{}
	c.followed = best
	cur.followed.Store(false)
	best.followed.Store(true)
	reason := "behind"
	if !ok {
		reason = cur.status().State
	}
	c.log.Warn().Str("event", "node.takeover").Str("from", cur.Name).Str("to", best.Name).Str("reason", reason).
		Msg("another node is followed from now on")
	poke(cur.wake)
	poke(best.wake)
}

// Status tells the state of every node, in the order of the configuration.
func (c *Cluster) Status() []NodeStatus {
	c.mu.Lock()
	followed := c.followed
	c.mu.Unlock()
	s := make([]NodeStatus, len(c.nodes))
	for i, n := range c.nodes {
		s[i] = n.status()
		if s[i].Healthy && n != followed && n.currentTip().compare(followed.currentTip()) < 0 {
			s[i].State = stateName(ErrBehind)
		}
	}
	return s
}

// Call makes any call on the followed node, on the connections for questions.
// An error of the node is an *RPCError.
func (c *Cluster) Call(ctx context.Context, method string, params ...any) (json.RawMessage, error) {
	c.mu.Lock()
	n := c.followed
	c.mu.Unlock()
	var result json.RawMessage
	err := n.ask.call(ctx, newRequest(method, params...), &result)
	return result, err
}

// askAny asks the followed node, then the others, until one answers. A node's
// not knowing a block is an answer only when no node knows it. Each node has
// patience to answer: one that hangs must not keep the others from it.
func (c *Cluster) askAny(ctx context.Context, patience time.Duration, ask func(context.Context, *node) error) error {
	c.mu.Lock()
	order := []*node{c.followed}
	c.mu.Unlock()
	for _, n := range c.nodes {
		if n != order[0] {
			order = append(order, n)
		}
	}
	var first error
	for _, n := range order {
		nctx, cancel := context.WithTimeout(ctx, patience)
		err := ask(nctx, n)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if first == nil || errors.Is(err, ErrUnknownBlock) {
			first = err
		}
	}
	return first
}

// hostOf returns the host and port of a URL.
func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}
