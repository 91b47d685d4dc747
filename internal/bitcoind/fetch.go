package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// event is a template on its way to Run.
type event struct {
	node     *node
	template *pool.Template
	signal   time.Time
	source   string
}

// fetched is one answer of an operation of the fetcher.
type fetched struct {
	op       int // which operation
	template *pool.Template
	err      error
	more     bool // an empty template: the node's own is still to come
	source   string
	at       time.Time
}

// Pauses of the fetcher.
const (
	retryFirst = 100 * time.Millisecond // after a failed fetch, then doubled
	retryMax   = 2 * time.Second
	retryIdle  = 5 * time.Second // a node that is not followed, to see whether its templates are good again
)

// fetcher is the only one to fetch a node's templates. All its state belongs to
// the goroutine of run; calls are made by at most two more (fetch, longpoll)
// that answer through channels, so a slow call never delays the next signal.
type fetcher struct {
	*node
	out chan<- event

	op     int                // current operation; answers of older ones are dropped
	cancel context.CancelFunc // of the operation in flight, nil for none
	target chainhash.Hash     // previous block hash that the last template has or the next will have
	last   *pool.Template     // the node's own last good template
	base   *pool.Template     // last, or the empty one published since: what the next empty one extends
	baseAt time.Time          // when base was published
	news   signal             // of the target, until its template came
	again  signal             // of a tip that was left, heard while another was fetched
	left   []chainhash.Hash   // tips that were left, newest last
	wait   time.Duration      // next pause after a failure

	lp       int                // current longpoll
	lpCancel context.CancelFunc // nil for none pending
	lpAgain  time.Time          // not before

	answers  chan fetched
	lpAnswer chan fetched
}

// fetch serves the node's templates until ctx ends.
func (n *node) fetch(ctx context.Context, out chan<- event) {
	f := &fetcher{
		node:     n,
		out:      out,
		wait:     retryFirst,
		answers:  make(chan fetched),
		lpAnswer: make(chan fetched),
	}
	f.run(ctx)
}

func (f *fetcher) run(ctx context.Context) {
	next := time.NewTimer(f.cfg.Refresh) // refresh, or retry
	late := time.NewTimer(time.Hour)     // a new tip without a template
	late.Stop()
	following := false
	for {
		if now := f.followed.Load() && f.checked(); now != following {
			following = now
			if following {
				f.start(ctx, signal{hash: f.currentTip().Hash, source: SourcePoll, at: time.Now()})
				late.Reset(f.cfg.EmptyLife)
			} else {
				f.stop()
				late.Stop()
			}
		}
		f.longpoll(ctx, following)
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case s := <-f.signals:
			if !following || s.hash == f.target {
				break
			}
			if f.cancel != nil && slices.Contains(f.left, s.hash) {
				f.again = s // an old poll's answer that comes late, or a way back
				break
			}
			f.start(ctx, s)
			late.Reset(f.cfg.EmptyLife)
		case <-next.C:
			if f.cancel == nil && (following || f.checked() && f.broken()) {
				s := f.news
				if s.hash == (chainhash.Hash{}) {
					s = signal{source: SourceRefresh, at: time.Now()}
				}
				f.start(ctx, s)
			}
			next.Reset(f.cfg.Refresh)
		case <-late.C:
			f.setTemplate(ErrTemplateLate)
		case a := <-f.answers:
			if a.op != f.op {
				break
			}
			if !a.more {
				f.cancel = nil
			}
			if a.err != nil {
				f.failed(ctx, a.err)
				next.Reset(f.pause(following))
				break
			}
			f.publish(ctx, a)
			if !a.more {
				late.Stop()
				next.Reset(f.cfg.Refresh)
				if s := f.again; s.hash != (chainhash.Hash{}) && s.hash != f.target {
					f.start(ctx, s) // the node itself tells which it was
				}
			}
		case a := <-f.lpAnswer:
			if a.op != f.lp {
				break
			}
			f.lpCancel = nil
			switch {
			case a.err != nil:
				f.lpAgain = time.Now().Add(f.cfg.Poll) // the poll stands in, and wakes this loop
				time.AfterFunc(f.cfg.Poll, func() { poke(f.wake) })
			case slices.Contains(f.left, a.template.PrevHash) && a.template.PrevHash != f.target:
				// It waited in this queue while the chain moved on; or the chain
				// came back to it, which the poll will tell.
				poke(f.lookNow)
			default:
				f.stop() // what is in flight is older
				f.publish(ctx, a)
				late.Stop()
				next.Reset(f.cfg.Refresh)
			}
		}
	}
}

// broken reports whether the last template was bad.
func (f *fetcher) broken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.templateErr != nil
}

// pause returns how long to wait after a failure.
func (f *fetcher) pause(following bool) time.Duration {
	if !following {
		return retryIdle
	}
	d := f.wait
	f.wait = min(2*d, retryMax)
	return d
}

func (f *fetcher) failed(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	f.setTemplate(err)
	poke(f.lookNow)
}

// stop ends the operation in flight.
func (f *fetcher) stop() {
	if f.cancel != nil {
		f.cancel()
		f.cancel = nil
	}
	f.op++
}

// start begins an operation, ending the one in flight.
func (f *fetcher) start(ctx context.Context, s signal) {
	f.stop()
	f.again = signal{}
	if s.hash != (chainhash.Hash{}) {
		f.leave(s.hash)
		f.news = s
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.TemplateTimeout)
	f.cancel = cancel
	op, base, baseAt := f.op, f.base, f.baseAt
	send := func(a fetched) {
		a.op, a.source, a.at = op, s.source, s.at
		if a.template != nil && a.template.PrevHash != s.hash {
			a.at = time.Now() // newer than the signal: the answer is the first to tell
		}
		select {
		case f.answers <- a:
		case <-ctx.Done():
			if a.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				f.answers <- a // nobody cancelled: the loop waits for this answer
			}
		}
	}
	go func() {
		defer cancel()
		if base != nil && s.hash != (chainhash.Hash{}) && f.capable() {
			if t := f.first(ctx, s, base, baseAt); t != nil {
				send(fetched{template: t, more: true})
			}
		}
		t, err := f.get(ctx, "")
		send(fetched{template: t, err: err})
	}()
}

// capable reports whether the node tells what an empty template needs.
func (f *fetcher) capable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.caps.Median
}

// leave moves the target to hash.
func (f *fetcher) leave(hash chainhash.Hash) {
	if f.target == hash {
		return
	}
	f.left = append(f.left, f.target)
	if len(f.left) > announcedMemory {
		f.left = f.left[1:]
	}
	f.target = hash
}

// publish hands a template to Run.
func (f *fetcher) publish(ctx context.Context, a fetched) {
	f.leave(a.template.PrevHash)
	f.base, f.baseAt = a.template, time.Now()
	if !a.more {
		f.last = a.template
		f.wait = retryFirst
		f.news = signal{}
		f.setTemplate(nil)
	}
	select {
	case f.out <- event{node: f.node, template: a.template, signal: a.at, source: a.source}:
	case <-ctx.Done():
	}
}

// get asks for a template.
func (f *fetcher) get(ctx context.Context, longpoll string) (*pool.Template, error) {
	g := new(gbt)
	if err := f.template.call(ctx, templateRequest(f.cfg.Network, longpoll), g); err != nil {
		return nil, err
	}
	t, err := g.template(f.cfg, f.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return t, nil
}

// longpoll keeps one pending, or none: there is one while the node is followed
// and its ZMQ is not to be trusted (decision 19).
func (f *fetcher) longpoll(ctx context.Context, following bool) {
	want := following && !f.zmqHealthy() && f.last != nil && f.last.LongPoll != "" && !time.Now().Before(f.lpAgain)
	switch {
	case f.lpCancel != nil && (!following || f.zmqHealthy()):
		f.lpCancel()
		f.lpCancel = nil
		f.lp++
	case f.lpCancel == nil && want:
		// The node answers at a new block, or about a minute after new
		// transactions came; silence for longer proves nothing.
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		f.lp++
		f.lpCancel = cancel
		op, id, began := f.lp, f.last.LongPoll, time.Now()
		go func() {
			defer cancel()
			// The signal is the answer's first byte, not the end of decoding it.
			var first atomic.Int64
			t, err := f.get(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
				GotFirstResponseByte: func() { first.Store(int64(time.Since(began))) },
			}), id)
			a := fetched{op: op, template: t, err: err, source: SourceLongPoll, at: began.Add(time.Duration(first.Load()))}
			select {
			case f.lpAnswer <- a:
			case <-ctx.Done():
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					f.lpAnswer <- a
				}
			}
		}()
	}
	f.mu.Lock()
	f.longpolling = f.lpCancel != nil
	f.mu.Unlock()
}

// first builds the empty template of a new tip from its header (decision 20),
// or returns nil where the rules want the node's own template.
func (f *fetcher) first(ctx context.Context, s signal, base *pool.Template, baseAt time.Time) *pool.Template {
	net := f.cfg.Network
	if net.Name != "regtest" && net.Params.ReduceMinDifficulty {
		return nil // its nBits depend on the time
	}
	hctx, cancel := context.WithTimeout(ctx, f.cfg.AskTimeout)
	defer cancel()
	h, err := f.header(hctx, f.template, s.hash)
	if err != nil || !h.Hash.set || h.Hash.Hash != s.hash {
		return nil
	}
	return emptyTemplate(f.cfg, h, base, time.Since(baseAt))
}
