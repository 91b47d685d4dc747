package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// CrowdConfig describes a crowd: many rigs that cost this machine little. They
// do not hash in the background: each share is made when it is due, so the
// server must ask for few hashes a share.
type CrowdConfig struct {
	Addr string                             // host:port
	Rigs int                                // connections
	User func(i int) string                 // name of rig i
	From func(i int) net.IP                 // source address of rig i; nil leaves it to the kernel
	Seed uint64                             // of the order in which rigs submit
	Note func(rig int, what, detail string) // told of rejects and ends, from several goroutines; nil for nobody
}

// Crowd is a crowd that is connected.
type Crowd struct {
	cfg    CrowdConfig
	rigs   []*calmRig
	reader sync.WaitGroup
	open   atomic.Int64
	sample atomic.Pointer[sample]
}

// CrowdSample is what a crowd measured over a while.
type CrowdSample struct {
	Sent       uint64        `json:"sent"`
	Accepted   uint64        `json:"accepted"`
	Rejected   uint64        `json:"rejected"`
	Unanswered uint64        `json:"unanswered"`
	Ended      uint64        `json:"ended"` // connections, by the server
	Rejects    []RejectCount `json:"rejects"`
	Latency    Latency       `json:"latency"` // of submit answers
}

type sample struct {
	sent, accepted, rejected, ended atomic.Uint64
	latency                         histogram
	rejects                         rejectTable
}

// calmRig is one connection. What is under mu is shared by its reader and the
// goroutine that submits.
type calmRig struct {
	crowd *Crowd
	index int
	user  string
	conn  net.Conn

	mu         sync.Mutex
	en1        json.RawMessage
	en2size    json.RawMessage
	difficulty float64
	notify     []byte // the newest, as it came
	at         time.Time
	ended      bool
	id         uint64
	due        map[uint64]time.Time // submits without an answer, by id
}

// dialsAtOnce is how many rigs of a crowd connect at the same time.
const dialsAtOnce = 100

// Gather connects a crowd and waits until each rig has work. Close it.
func Gather(ctx context.Context, cfg CrowdConfig) (*Crowd, error) {
	c := &Crowd{cfg: cfg}
	c.sample.Store(new(sample))
	room := make(chan struct{}, dialsAtOnce)
	var dialing sync.WaitGroup
	var mu sync.Mutex
	var first error
	for i := range cfg.Rigs {
		room <- struct{}{}
		dialing.Go(func() {
			defer func() { <-room }()
			r, err := c.join(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				first = errors.Join(first, err)
				return
			}
			c.rigs = append(c.rigs, r)
		})
		mu.Lock()
		failed := first != nil
		mu.Unlock()
		if failed || ctx.Err() != nil {
			break
		}
	}
	dialing.Wait()
	if first == nil {
		first = ctx.Err()
	}
	if first == nil && int(c.open.Load()) < cfg.Rigs {
		first = fmt.Errorf("%d of %d rigs did not stay", cfg.Rigs-int(c.open.Load()), cfg.Rigs)
	}
	if first != nil {
		c.Close()
		return nil, fmt.Errorf("fleet: gather: %w", first)
	}
	order := rand.New(rand.NewPCG(cfg.Seed, 1))
	order.Shuffle(len(c.rigs), func(i, j int) { c.rigs[i], c.rigs[j] = c.rigs[j], c.rigs[i] })
	return c, nil
}

// join connects rig i and waits for its first work.
func (c *Crowd) join(ctx context.Context, i int) (*calmRig, error) {
	d := net.Dialer{Timeout: dialTimeout}
	if c.cfg.From != nil {
		d.LocalAddr = &net.TCPAddr{IP: c.cfg.From(i)}
	}
	conn, err := d.DialContext(ctx, "tcp", c.cfg.Addr)
	if err != nil {
		return nil, err
	}
	r := &calmRig{crowd: c, index: i, user: c.cfg.User(i), conn: conn, difficulty: 1, due: map[uint64]time.Time{}}
	line, err := appendCall(nil, 1, "mining.subscribe", "cordee-crowd/1")
	if err == nil {
		line, err = appendCall(line, 2, "mining.authorize", r.user, "x")
	}
	if err == nil {
		r.id = 2
		_, err = conn.Write(line)
	}
	if err != nil {
		_ = conn.Close() // nothing depends on it
		return nil, err
	}
	working := make(chan struct{})
	c.open.Add(1)
	c.reader.Go(func() { r.read(working) })
	t := time.NewTimer(handshakeTimeout)
	defer t.Stop()
	select {
	case <-working:
		return r, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-t.C:
		err = fmt.Errorf("%s has no work after %v", r.user, handshakeTimeout)
	}
	_ = conn.Close()
	return nil, err
}

// read takes lines until the connection ends. It parses little: of all the
// notifies only those that are submitted on are looked into.
func (r *calmRig) read(working chan struct{}) {
	var once sync.Once
	tell := func() { once.Do(func() { close(working) }) }
	defer tell()
	lines := bufio.NewReaderSize(r.conn, 2048)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // of a longer notify than usual
			head := bytes.Clone(line)
			line, err = lines.ReadBytes('\n')
			line = append(head, line...)
		}
		if err != nil {
			r.leave(err)
			return
		}
		at := time.Now()
		if bytes.Contains(line, []byte(`"mining.notify",`)) && bytes.Contains(line, []byte(`"id":null`)) {
			r.mu.Lock()
			r.notify, r.at = append(r.notify[:0], line...), at
			r.mu.Unlock()
			tell()
			continue
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			r.crowd.note(r, "odd line", clip(string(line)))
			continue
		}
		r.take(&m, at)
	}
}

// take acts on a line that is no notify.
func (r *calmRig) take(m *message, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, _ := m.callID()
	sent, due := r.due[id]
	switch {
	case m.Method == "mining.set_difficulty" && len(m.Params) > 0:
		_ = json.Unmarshal(m.Params[0], &r.difficulty) // stays as it is
	case m.Method != "":
	case id == 1:
		var result []json.RawMessage
		if json.Unmarshal(m.Result, &result) == nil && len(result) > 2 {
			r.en1, r.en2size = result[1], result[2]
		}
	case due:
		delete(r.due, id)
		s := r.crowd.sample.Load()
		s.latency.add(at.Sub(sent))
		if m.isTrue() {
			s.accepted.Add(1)
			return
		}
		code, text := m.reason()
		s.rejected.Add(1)
		s.rejects.add(code, text)
		r.crowd.note(r, "reject", fmt.Sprintf("%d %s", code, text))
	case id == 2 && !m.isTrue():
		_, text := m.reason()
		r.crowd.note(r, "refused", text)
	}
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
		if err := c.rigs[n%len(c.rigs)].submit(m, s); err != nil {
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
		Rejects: s.rejects.rows(), Latency: s.latency.summary(),
	}
	out.Unanswered = out.Sent - out.Accepted - out.Rejected
	return out, ctx.Err()
}

// work is what the rig would hash now.
func (r *calmRig) work() (*work, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return workOf(r.notify, r.en1, r.en2size, r.difficulty, r.at)
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
	w, err := r.work()
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
	line, err := appendCall(nil, r.id, "mining.submit", r.user, w.job.id, found.en2, fmt.Sprintf("%08x", found.ntime), fmt.Sprintf("%08x", found.nonce))
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
	for _, r := range c.rigs {
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
		_ = r.conn.Close()
	}
	c.reader.Wait()
}
