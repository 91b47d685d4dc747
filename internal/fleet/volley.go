package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// VolleyConfig describes a volley: connections that each keep a number of real
// shares on their way. The shares are mined before, so that the load costs this
// machine little beside the server.
type VolleyConfig struct {
	LinkConfig
	Conns    int
	InFlight int     // shares without an answer, of each connection, at every moment
	Shares   int     // mined beforehand for each connection
	Hashes   float64 // that mining them may cost, of all connections together; 0 is no bound
}

// Volley is connected and has its shares.
type Volley struct {
	cfg  VolleyConfig
	guns []*gun

	sample atomic.Pointer[volleySample]
	stop   atomic.Bool
	over   chan string // why the window ends early; room for one
	busy   sync.WaitGroup
}

// VolleySample is what a volley measured in its window.
type VolleySample struct {
	Seconds    float64       `json:"seconds"` // of the window
	Early      string        `json:"early,omitempty"`
	Sent       uint64        `json:"sent"`
	Accepted   uint64        `json:"accepted"`
	Rejected   uint64        `json:"rejected"`
	Unanswered uint64        `json:"unanswered"` // after the window and 5 s
	Lost       uint64        `json:"lost"`       // mined, and not sent since the server dropped their job
	Left       uint64        `json:"left"`       // mined, and not needed
	Ended      uint64        `json:"ended"`      // connections, by the server
	Jobs       uint64        `json:"jobs"`       // notifies in the window
	Rejects    []RejectCount `json:"rejects"`
	Latency    Latency       `json:"latency"` // of submit answers
}

// volleySample is counted into in shards, since a volley's connections answer to
// every processor at once.
type volleySample struct {
	shard   []volleyShard
	rejects rejectTable
}

type volleyShard struct {
	sent, accepted, rejected, ended, jobs atomic.Uint64
	latency                               histogram
}

// Muster connects all, waits for their work and mines their shares. Fire it
// once, then Close it.
func Muster(ctx context.Context, cfg VolleyConfig) (*Volley, error) {
	v := &Volley{cfg: cfg, over: make(chan string, 1)}
	links, err := joinAll(ctx, &v.cfg.LinkConfig, cfg.Conns)
	if err != nil {
		return nil, fmt.Errorf("fleet: muster: %w", err)
	}
	ring := 16
	for ring < 4*cfg.InFlight {
		ring *= 2
	}
	for _, l := range links {
		v.guns = append(v.guns, &gun{link: l, volley: v, due: make([]int64, ring), id: firstID})
	}
	if err := v.mine(ctx); err != nil {
		v.Close()
		return nil, fmt.Errorf("fleet: muster: %w", err)
	}
	return v, nil
}

// settling is how long a server may go on with what it says of its own accord
// after the first work, before shares are mined on it.
const settling = 250 * time.Millisecond

func (v *Volley) mine(ctx context.Context) error {
	fault := make([]error, len(v.guns))
	each(len(v.guns), len(v.guns), func(i int) { fault[i] = v.guns[i].settle() })
	if err := errors.Join(fault...); err != nil {
		return err
	}
	cost := 0.0
	for _, g := range v.guns {
		w, err := g.link.work()
		if err != nil {
			return fmt.Errorf("%s: %w", g.user, err)
		}
		g.quarry.work = w
		cost += w.hashesPerShare() * float64(v.cfg.Shares)
	}
	if v.cfg.Hashes > 0 && cost > v.cfg.Hashes {
		return fmt.Errorf("the server asks for difficulty %g: %d shares of %d connections would take %.2g hashes: "+
			"have it ask for less (start and least difficulty), or mine fewer shares",
			v.guns[0].quarry.work.difficulty, v.cfg.Shares, len(v.guns), cost)
	}
	each(len(v.guns), runtime.GOMAXPROCS(0), func(i int) {
		g := v.guns[i]
		w := g.quarry.work
		if fault[i] = g.mine(ctx, w, v.cfg.Shares, 100*w.hashesPerShare()); fault[i] == nil {
			g.pen, fault[i] = newPen(&g.quarry, g.user)
		}
	})
	return errors.Join(fault...)
}

// Fire sends, and measures for d after a while to warm up. begin and end are
// called where the window begins and ends. The window ends early, and says why,
// once a connection has no more shares, or the server dropped a job.
func (v *Volley) Fire(ctx context.Context, warm, d time.Duration, begin, end func()) (VolleySample, error) {
	s := newVolleySample()
	v.sample.Store(s)
	epoch := time.Now().Add(-time.Nanosecond) // no share was sent at 0
	if warm == 0 {
		begin()
	}
	for _, g := range v.guns {
		g.epoch = epoch
		v.busy.Go(g.run)
	}
	early := ""
	if warm > 0 {
		early = v.wait(ctx, warm)
		begin()
		s = newVolleySample()
		v.sample.Store(s)
	}
	start := time.Now()
	if early == "" {
		early = v.wait(ctx, d)
	}
	took := time.Since(start)
	end()
	out := s.sum()
	v.stop.Store(true)
	out.Seconds, out.Early = took.Seconds(), early

	// The last answers.
	done := make(chan struct{})
	go func() { v.busy.Wait(); close(done) }()
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-t.C:
	}
	v.Close()
	<-done
	for _, g := range v.guns {
		out.Unanswered += uint64(g.open)
		if left := uint64(len(g.nonces) - g.next); g.gone {
			out.Lost += left
		} else {
			out.Left += left
		}
	}
	return out, ctx.Err()
}

// wait returns after d, or sooner with the reason.
func (v *Volley) wait(ctx context.Context, d time.Duration) (early string) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case early = <-v.over:
	case <-ctx.Done():
		early = "interrupted"
	}
	return early
}

// finish ends the window. Only the first reason counts.
func (v *Volley) finish(why string) {
	select {
	case v.over <- why:
	default:
	}
}

// Close ends all connections.
func (v *Volley) Close() {
	v.stop.Store(true)
	for _, g := range v.guns {
		_ = g.conn.Close() // nothing depends on it
	}
}

func newVolleySample() *volleySample {
	return &volleySample{shard: make([]volleyShard, 4*runtime.GOMAXPROCS(0))}
}

func (s *volleySample) of(g *gun) *volleyShard { return &s.shard[g.index%len(s.shard)] }

func (s *volleySample) sum() (out VolleySample) {
	var l histogram
	for i := range s.shard {
		h := &s.shard[i]
		out.Sent += h.sent.Load()
		out.Accepted += h.accepted.Load()
		out.Rejected += h.rejected.Load()
		out.Ended += h.ended.Load()
		out.Jobs += h.jobs.Load()
		l.merge(&h.latency)
	}
	out.Rejects, out.Latency = s.rejects.rows(), l.summary()
	return out
}
