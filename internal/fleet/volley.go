package fleet

import (
	"bytes"
	"context"
	"encoding/json"
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

// gun is one connection of a volley. All but what quarry and link say belongs to
// its own goroutine.
type gun struct {
	*link
	quarry
	pen
	volley *Volley
	next   int     // share
	due    []int64 // by id modulo its length: when it was sent, ns since epoch; 0 for no answer due
	open   int     // of them
	id     uint64
	gone   bool // the server dropped the job
	out    []byte
	epoch  time.Time
}

// firstID of a submit: above the handshake's.
const firstID = 10

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

// settle takes what the server says until it is silent.
func (g *gun) settle() error {
	_ = g.conn.SetReadDeadline(time.Now().Add(settling))
	defer func() { _ = g.conn.SetReadDeadline(time.Time{}) }()
	for {
		err := g.read(g.take)
		if err == nil {
			continue
		}
		if g.why(context.Background(), err) != err {
			return nil // it was silent
		}
		return fmt.Errorf("%s: %w", g.user, err)
	}
}

// Fire sends, and measures for d after a while to warm up. begin and end are
// called where the window begins and ends. The window ends early, and says why,
// once a connection has no more shares, or the server dropped a job.
func (v *Volley) Fire(ctx context.Context, warm, d time.Duration, begin, end func()) (VolleySample, error) {
	v.sample.Store(newVolleySample())
	epoch := time.Now().Add(-time.Nanosecond)
	for _, g := range v.guns {
		g.epoch = epoch
		v.busy.Go(g.run)
	}
	early := v.wait(ctx, warm)
	s := newVolleySample()
	begin()
	start := time.Now()
	v.sample.Store(s)
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

// run keeps the shares on their way until there is nothing more to do.
func (g *gun) run() {
	for {
		if !g.volley.stop.Load() {
			if err := g.send(g.volley.cfg.InFlight - g.open); err != nil {
				g.leave()
				return
			}
		}
		if g.open == 0 {
			return
		}
		if err := g.read(g.line); err != nil {
			g.leave()
			return
		}
	}
}

func (g *gun) leave() {
	if g.volley.stop.Load() {
		return // by us
	}
	g.volley.sample.Load().of(g).ended.Add(1)
	g.volley.finish("the server ended a connection")
}

// send sends n more shares, all in one write.
func (g *gun) send(n int) error {
	if n <= 0 || g.gone {
		return nil
	}
	g.out = g.out[:0]
	sent := 0
	for now := int64(time.Since(g.epoch)); sent < n; sent++ {
		due := &g.due[g.id%uint64(len(g.due))]
		if *due != 0 {
			break // a server that answers out of order, and this one much later
		}
		if g.next == len(g.nonces) {
			g.volley.finish("a connection has sent all its shares: mine more of them, or measure for a shorter time")
			break
		}
		g.out = g.pen.append(g.out, g.id, g.next)
		*due = now
		g.id++
		g.next++
	}
	if sent == 0 {
		return nil
	}
	g.open += sent
	g.volley.sample.Load().of(g).sent.Add(uint64(sent))
	_, err := g.conn.Write(g.out)
	return err
}

// line acts on one line while shares are on their way.
func (g *gun) line(line []byte, at time.Time) error {
	id, ok := quickID(line)
	s := g.volley.sample.Load()
	if ok && id >= firstID && id < g.id && bytes.Contains(line, resultKey) {
		due := &g.due[id%uint64(len(g.due))]
		if *due == 0 || g.id-id > uint64(len(g.due)) {
			return nil // a second answer
		}
		s.of(g).latency.add(at.Sub(g.epoch) - time.Duration(*due))
		*due = 0
		g.open--
		if quickTrue(line) {
			s.of(g).accepted.Add(1)
			return nil
		}
		g.refused(line, s)
		return nil
	}
	if isNotify(line) {
		s.of(g).jobs.Add(1)
		var m message
		if json.Unmarshal(line, &m) != nil {
			return nil
		}
		if j, err := parseNotify(m.Params); err == nil && j.clean && j.prevhash != g.quarry.work.job.prevhash {
			g.drop("a new block made the shares stale")
		}
		return nil
	}
	return g.take(line, at)
}

func (g *gun) refused(line []byte, s *volleySample) {
	var m message
	if json.Unmarshal(line, &m) == nil && m.isTrue() {
		s.of(g).accepted.Add(1) // spelled in an unusual way
		return
	}
	code, text := m.reason()
	s.of(g).rejected.Add(1)
	s.rejects.add(code, text)
	if isStale(code, text) {
		g.drop("the server calls the shares' job stale")
	}
}

// drop ends what the connection does: its shares are of no use any more.
func (g *gun) drop(why string) {
	if g.gone {
		return
	}
	g.gone = true
	g.volley.finish(why)
}

var (
	resultKey = []byte(`"result"`)
	idKey     = []byte(`"id":`)
)

// quickID returns the id of a line as nearly every server writes it.
func quickID(line []byte) (id uint64, ok bool) {
	i := bytes.Index(line, idKey)
	if i < 0 {
		return 0, false
	}
	for _, b := range line[i+len(idKey):] {
		switch {
		case b >= '0' && b <= '9':
			if id > 1<<60 {
				return 0, false
			}
			id, ok = id*10+uint64(b-'0'), true
		case b == ' ' && !ok, b == '"':
		default:
			return id, ok
		}
	}
	return id, ok
}

// quickTrue reports an answer of true.
func quickTrue(line []byte) bool {
	i := bytes.Index(line, resultKey) + len(resultKey)
	rest := bytes.TrimLeft(line[i:], ": ")
	return bytes.HasPrefix(rest, []byte("true"))
}
