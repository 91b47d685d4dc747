package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// CrowdConfig describes a crowd: many rigs that cost this machine little. They
// do not hash in the background: each share is made when it is due, so the
// server must ask for few hashes a share.
type CrowdConfig struct {
	LinkConfig
	Rigs int                                // connections
	Seed uint64                             // of the order in which rigs submit
	Note func(rig int, what, detail string) // told of rejects and ends, from several goroutines; nil for nobody
}

// Crowd is a crowd that is connected.
type Crowd struct {
	cfg    CrowdConfig
	reader sync.WaitGroup
	open   atomic.Int64
	sample atomic.Pointer[sample]

	mu   sync.Mutex // guards the elements of rigs, which churn replaces
	rigs []*calmRig
}

// CrowdSample is what a crowd measured over a while.
type CrowdSample struct {
	Sent       uint64        `json:"sent"`
	Accepted   uint64        `json:"accepted"`
	Rejected   uint64        `json:"rejected"`
	Unanswered uint64        `json:"unanswered"`
	Ended      uint64        `json:"ended"`    // connections, by the server
	Rejoined   uint64        `json:"rejoined"` // connections, by churn
	Rejects    []RejectCount `json:"rejects"`
	Latency    Latency       `json:"latency"` // of submit answers
}

type sample struct {
	sent, accepted, rejected, ended, rejoined atomic.Uint64
	latency                                   histogram
	rejects                                   rejectTable
}

// calmRig is one connection. What is under mu, and all of link that changes, is
// shared by its reader and the goroutine that submits.
type calmRig struct {
	crowd *Crowd
	*link

	mu    sync.Mutex
	ended bool
	id    uint64
	due   map[uint64]time.Time // submits without an answer, by id
}

// dialsAtOnce is how many rigs of a crowd connect at the same time.
const dialsAtOnce = 100

// Gather connects a crowd and waits until each rig has work. Close it.
func Gather(ctx context.Context, cfg CrowdConfig) (*Crowd, error) {
	c := &Crowd{cfg: cfg}
	c.sample.Store(new(sample))
	links, err := joinAll(ctx, &c.cfg.LinkConfig, cfg.Rigs)
	if err != nil {
		return nil, fmt.Errorf("fleet: gather: %w", err)
	}
	for _, l := range links {
		c.rigs = append(c.rigs, c.welcome(l))
	}
	if gone := cfg.Rigs - int(c.open.Load()); gone > 0 {
		c.Close()
		return nil, fmt.Errorf("fleet: gather: %d of %d rigs did not stay", gone, cfg.Rigs)
	}
	order := rand.New(rand.NewPCG(cfg.Seed, 1))
	order.Shuffle(len(c.rigs), func(i, j int) { c.rigs[i], c.rigs[j] = c.rigs[j], c.rigs[i] })
	return c, nil
}

// welcome has a connection with work listened to.
func (c *Crowd) welcome(l *link) *calmRig {
	r := &calmRig{crowd: c, link: l, id: firstID, due: map[uint64]time.Time{}}
	l.odd = func(line []byte) { c.note(r, "odd line", clip(string(line))) }
	c.open.Add(1)
	c.reader.Go(func() {
		for {
			if err := l.read(r.hear); err != nil {
				r.leave(err)
				return
			}
		}
	})
	return r
}

// hear acts on a line.
func (r *calmRig) hear(line []byte, at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := quickID(line)
	sent, due := r.due[id]
	var m message
	if !ok || !due || isNotify(line) || json.Unmarshal(line, &m) != nil || m.Method != "" {
		return r.take(line, at)
	}
	delete(r.due, id)
	s := r.crowd.sample.Load()
	s.latency.add(at.Sub(sent))
	if m.isTrue() {
		s.accepted.Add(1)
		return nil
	}
	code, text := m.reason()
	s.rejected.Add(1)
	s.rejects.add(code, text)
	r.crowd.note(r, "reject", fmt.Sprintf("%d %s", code, text))
	return nil
}

func (c *Crowd) note(r *calmRig, what, detail string) {
	if c.cfg.Note != nil {
		c.cfg.Note(r.index, what, detail)
	}
}

func (r *calmRig) leave(err error) {
	r.mu.Lock()
	ours := r.ended
	r.ended = true
	r.mu.Unlock()
	_ = r.conn.Close()
	r.crowd.open.Add(-1)
	if !ours {
		r.crowd.sample.Load().ended.Add(1)
		r.crowd.note(r, "ended", clip(err.Error()))
	}
}

// Measure has the crowd submit rate real shares a second for d, one rig after
// the other at an even pace whatever the answers do, and waits for the last of
// them for 5 s.
func (c *Crowd) Measure(ctx context.Context, rate float64, d time.Duration) (CrowdSample, error) {
	s := new(sample)
	c.sample.Store(s)
	m := newMiner(rand.New(rand.NewPCG(c.cfg.Seed, rand.Uint64())))
	m.extranonce2 = rand.Uint64()
	start := time.Now()
	for n := 0; ; n++ {
		due := time.Duration(float64(n) / rate * float64(time.Second))
		if due >= d || ctx.Err() != nil {
			break
		}
		sleep(ctx, time.Until(start.Add(due)))
		if err := c.rig(n).submit(m, s); err != nil {
			return CrowdSample{}, err
		}
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && s.latency.count() < s.sent.Load(); {
		if !sleep(ctx, 10*time.Millisecond) {
			break
		}
	}
	out := CrowdSample{
		Sent: s.sent.Load(), Accepted: s.accepted.Load(), Rejected: s.rejected.Load(), Ended: s.ended.Load(),
		Rejoined: s.rejoined.Load(), Rejects: s.rejects.rows(), Latency: s.latency.summary(),
	}
	out.Unanswered = out.Sent - out.Accepted - out.Rejected
	return out, ctx.Err()
}

// rig returns the n-th of the crowd, over and over.
func (c *Crowd) rig(n int) *calmRig {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rigs[n%len(c.rigs)]
}

// Churn is Measure while perSecond rigs a second end their connection and come
// back under their name.
func (c *Crowd) Churn(ctx context.Context, rate, perSecond float64, d time.Duration) (CrowdSample, error) {
	ctx, cancel := context.WithCancel(ctx)
	fault := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				fault <- nil
				return
			case <-tick.C:
			}
			if err := c.rejoin(ctx, n); err != nil {
				fault <- err
				cancel()
				return
			}
		}
	}()
	out, err := c.Measure(ctx, rate, d)
	close(stop)
	if again := <-fault; again != nil {
		err = fmt.Errorf("fleet: a rig did not come back: %w", again)
	}
	cancel()
	return out, err
}

// rejoin replaces the n-th rig by itself, unless an answer is due to it.
func (c *Crowd) rejoin(ctx context.Context, n int) error {
	r := c.rig(n)
	r.mu.Lock()
	busy := len(r.due) > 0 || r.ended
	if !busy {
		r.ended = true
	}
	r.mu.Unlock()
	if busy {
		return nil
	}
	_ = r.conn.Close() // nothing depends on it
	l, err := c.cfg.join(ctx, r.index)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rigs[n%len(c.rigs)] = c.welcome(l)
	c.sample.Load().rejoined.Add(1)
	return nil
}

// workOf parses a notify line that came at a moment, for a connection with this
// extranonce1, size of extranonce2 and difficulty.
func workOf(notify []byte, en1Text, sizeText json.RawMessage, difficulty float64, at time.Time) (*work, error) {
	var m message
	if err := json.Unmarshal(notify, &m); err != nil {
		return nil, err
	}
	j, err := parseNotify(m.Params)
	if err != nil {
		return nil, err
	}
	en1, size, err := parseExtranonce(en1Text, sizeText)
	if err != nil {
		return nil, err
	}
	target, err := targetOf(difficulty)
	return &work{job: j, en1: en1, en2size: size, difficulty: difficulty, target: target, at: at}, err
}

// mostHashes bounds what a share of a crowd may cost: milliseconds.
const mostHashes = 1 << 16

// submit makes a share with m and sends it. A connection that ended is passed
// over: it was counted when it did.
func (r *calmRig) submit(m *miner, s *sample) error {
	r.mu.Lock()
	w, err := r.work()
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("fleet: %s: %w", r.user, err)
	}
	m.setWork(w)
	_, found := m.scan(mostHashes, time.Now())
	if found == nil {
		return fmt.Errorf("fleet: no share for %s in %d hashes at difficulty %g: a crowd needs one that asks for few", r.user, mostHashes, w.difficulty)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	r.id++
	line, err := callLine(r.id, "mining.submit", r.user, w.job.id, found.en2, fmt.Sprintf("%08x", found.ntime), fmt.Sprintf("%08x", found.nonce))
	if err != nil {
		return err
	}
	r.due[r.id] = time.Now()
	s.sent.Add(1)
	_, _ = r.conn.Write(line) // the reader says what became of the connection
	return nil
}

// Close ends all connections.
func (c *Crowd) Close() {
	c.mu.Lock()
	rigs := slices.Clone(c.rigs)
	c.mu.Unlock()
	for _, r := range rigs {
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
		_ = r.conn.Close()
	}
	c.reader.Wait()
}
