package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Watch is a number of connections that only listen: for how a new job spreads.
type Watch struct {
	cfg    LinkConfig
	links  []*link
	reader sync.WaitGroup

	mu     sync.Mutex
	closed bool
	event  int           // the one at hand, from 1
	seen   []int         // by connection: the last event of which it has a job
	start  time.Time     // of the event; zero where its first job is waited for
	now    WatchEvent    // what it is so far
	latest time.Time     // of its last line
	moved  chan struct{} // room for one: a line came
}

// WatchEvent is one piece of news as it reached the connections: a new job, or
// several in a row, as an empty one and a full one after a block. Times are from
// its start.
type WatchEvent struct {
	First    time.Duration `json:"first_ns"`   // the first connection has new work
	Last     time.Duration `json:"last_ns"`    // the last one has
	Settled  time.Duration `json:"settled_ns"` // the last job of it has arrived
	Reached  int           `json:"reached"`    // connections
	Notifies int           `json:"notifies"`   // of all connections together
	Ended    int           `json:"ended"`      // connections, since the one before
}

// quietAfter ends an event: no job for so long.
const quietAfter = 250 * time.Millisecond

// NewWatch connects n connections and waits until each has work. Close it.
func NewWatch(ctx context.Context, cfg LinkConfig, n int) (*Watch, error) {
	w := &Watch{cfg: cfg, seen: make([]int, n), moved: make(chan struct{}, 1)}
	var err error
	if w.links, err = joinAll(ctx, &w.cfg, n); err != nil {
		return nil, fmt.Errorf("fleet: watch: %w", err)
	}
	for _, l := range w.links {
		w.reader.Go(func() {
			for {
				if err := l.read(func(line []byte, at time.Time) error {
					if isNotify(line) {
						w.arrived(l.index, at)
						return nil
					}
					return l.take(line, at)
				}); err != nil {
					w.left()
					return
				}
			}
		})
	}
	return w, nil
}

func (w *Watch) arrived(i int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.start.IsZero() {
		w.start = at
	}
	w.latest = at
	e := &w.now
	since := max(at.Sub(w.start), 0)
	e.Notifies++
	e.Settled = max(e.Settled, since)
	if w.seen[i] != w.event {
		w.seen[i] = w.event
		if e.Reached++; e.Reached == 1 || since < e.First {
			e.First = since
		}
		e.Last = max(e.Last, since)
	}
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

func (w *Watch) left() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.now.Ended++
	}
}

// Next measures one event: what trigger causes, from when it is called, or with
// nil the server's next, from its first job. It ends when all connections have
// new work and no more comes, or after limit. before is called when all is quiet:
// often where an event is waited for, and the last time counts.
func (w *Watch) Next(ctx context.Context, trigger func() error, limit time.Duration, before func()) (WatchEvent, error) {
	if err := w.settle(ctx, limit); err != nil {
		return WatchEvent{}, err
	}
	before()
	w.mu.Lock()
	ended := w.now.Ended
	w.event++
	w.now, w.start, w.latest = WatchEvent{Ended: ended}, time.Time{}, time.Time{}
	if trigger != nil {
		w.start = time.Now()
	}
	w.mu.Unlock()
	if trigger != nil {
		if err := trigger(); err != nil {
			return WatchEvent{}, err
		}
	}
	end := time.Now().Add(limit)
	for ctx.Err() == nil {
		w.mu.Lock()
		e, latest := w.now, w.latest
		open := len(w.links) - e.Ended
		w.mu.Unlock()
		over := !time.Now().Before(end)
		switch {
		case e.Reached > 0 && (over || e.Reached >= open && time.Since(latest) >= quietAfter):
			w.mu.Lock()
			defer w.mu.Unlock()
			w.now.Ended = 0
			return e, nil
		case over && e.Reached == 0:
			return e, fmt.Errorf("fleet: watch: no new job in %v", limit)
		case e.Reached == 0 && trigger == nil:
			before()
		}
		t := time.NewTimer(quietAfter / 10)
		select {
		case <-w.moved:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		sleep(ctx, quietAfter/100) // the lines of a thousand connections are one look
	}
	return WatchEvent{}, ctx.Err()
}

// settle waits until no job came for a while.
func (w *Watch) settle(ctx context.Context, limit time.Duration) error {
	end := time.Now().Add(limit)
	for ctx.Err() == nil {
		w.mu.Lock()
		left := quietAfter - time.Since(w.latest)
		w.mu.Unlock()
		if left <= 0 {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("fleet: watch: jobs come without a pause of %v: none can be told from the next", quietAfter)
		}
		sleep(ctx, left)
	}
	return ctx.Err()
}

// Close ends all connections.
func (w *Watch) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	for _, l := range w.links {
		_ = l.conn.Close() // nothing depends on it
	}
	w.reader.Wait()
}

// StormSample is what came of a storm.
type StormSample struct {
	Ready    int           `json:"ready"`  // connections that have work
	Failed   int           `json:"failed"` // and that came to nothing
	Failures []RejectCount `json:"failures"`
	Latency  Latency       `json:"latency"` // from the start of the storm to work; its count is Ready
	Seconds  float64       `json:"seconds"` // until all were ready or had failed
}

// Storm dials n connections at once, as when a server comes back, and waits until
// each has work or failed. None of them tries again. hold is called while those
// with work stand.
func Storm(ctx context.Context, cfg LinkConfig, n int, hold func(StormSample)) (StormSample, error) {
	var ready histogram
	var failures rejectTable
	links := make([]*link, n)
	start := time.Now()
	each(n, n, func(i int) {
		l, err := cfg.join(ctx, i)
		if err != nil {
			failures.add(0, cause(err))
			return
		}
		ready.add(time.Since(start))
		links[i] = l
	})
	out := StormSample{Seconds: time.Since(start).Seconds(), Latency: ready.summary(), Failures: failures.rows()}
	out.Ready = int(out.Latency.Count)
	out.Failed = n - out.Ready
	hold(out)
	for _, l := range links {
		if l != nil {
			_ = l.conn.Close() // nothing depends on it
		}
	}
	return out, ctx.Err()
}

// cause is an error without what differs from one connection to the next.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return clip(err.Error())
		}
		err = inner
	}
}
