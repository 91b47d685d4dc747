package fleet

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"cordee/pool"
)

// The pace of a session.
const (
	handshakeTimeout = 30 * time.Second
	lingerTimeout    = time.Second // for answers still due at the end
	shortTick        = 20 * time.Millisecond
	longTick         = time.Second
	tickHashes       = 64   // a slow rig wakes only for about this many
	chunkHashes      = 2048 // between two looks at the socket
	maxCredit        = 1.0  // seconds of hashing a stalled machine may make up for
)

// bip320 is the mask of version bits a rig asks for.
const bip320 = 0x1fffe000

// pending is a share whose answer is due.
type pending struct {
	share *share
	sent  time.Time
}

// session is one connection. Its goroutine owns everything; only readLines
// runs beside it.
type session struct {
	*rig
	conn  net.Conn
	lines chan received
	quit  chan struct{}

	nextID  uint64
	todo    []string // handshake calls not yet sent
	waiting string   // handshake call not yet answered
	waitID  uint64
	pending map[uint64]pending

	subscribed bool
	ready      bool // subscribed and authorized: may hash
	worked     bool // work came
	en1        []byte
	en2size    int
	mask       uint32 // granted version bits
	announced  float64
	target     pool.Target
	credit     float64 // hashes that may be tried now
	lastCredit time.Time
}

func newSession(r *rig, conn net.Conn) *session {
	s := &session{
		rig: r, conn: conn, lines: make(chan received, 16), quit: make(chan struct{}),
		pending: make(map[uint64]pending),
		todo:    []string{"mining.subscribe", "mining.authorize"},
	}
	if r.VersionRolling {
		at := 1
		if r.ConfigureFirst {
			at = 0
		}
		s.todo = slices.Insert(s.todo, at, "mining.configure")
	}
	// Servers announce a difficulty before the first job; a rig that hears
	// none mines at 1.
	s.announced = 1
	s.target, _ = targetOf(1)
	return s
}

// run serves the connection until it ends and closes it. The error says why;
// it is never nil.
func (s *session) run(ctx context.Context) error {
	var reader sync.WaitGroup
	reader.Go(func() { readLines(s.conn, s.lines, s.quit) })
	defer func() {
		close(s.quit)
		s.conn.Close()
		reader.Wait()
	}()
	// Bounds linger, and a write that a server does not take.
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(lingerTimeout, func() { s.conn.Close() })
	})()

	handshake := time.NewTimer(handshakeTimeout)
	defer handshake.Stop()
	tick := time.NewTimer(time.Duration(s.rng.Int64N(int64(s.tickLength())))) // random phase
	defer tick.Stop()

	if err := s.nextCall(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return s.linger()
		case l := <-s.lines:
			if err := s.handle(l); err != nil {
				return err
			}
		case <-handshake.C:
			if !s.ready {
				return fmt.Errorf("no answer to %s in %v", s.waiting, handshakeTimeout)
			}
		case <-tick.C:
			if err := s.hash(ctx); err != nil {
				return err
			}
			tick.Reset(s.tickLength())
		}
	}
}

// tickLength is the time between two rounds of hashing: short, but long enough
// that a rig of a few hashes per second does not wake for nothing.
func (s *session) tickLength() time.Duration {
	if s.Hashrate == 0 {
		return longTick
	}
	seconds := tickHashes / s.Hashrate
	return max(shortTick, time.Duration(min(seconds, longTick.Seconds())*float64(time.Second)))
}

// hash spends the hashes that time has granted, looking at the socket between
// chunks so that new work is never more than a chunk away.
func (s *session) hash(ctx context.Context) error {
	now := time.Now()
	if s.miner.work == nil || !s.ready {
		s.lastCredit = now
		return nil
	}
	s.credit += now.Sub(s.lastCredit).Seconds() * s.Hashrate
	s.credit = min(s.credit, max(s.Hashrate*maxCredit, 1))
	s.lastCredit = now
	for s.credit >= 1 && ctx.Err() == nil {
		tried, found := s.miner.scan(int(min(s.credit, chunkHashes)), now)
		if tried == 0 {
			return nil // the work went away meanwhile
		}
		s.credit -= float64(tried)
		s.fleet.count.hashes.Add(uint64(tried))
		if found != nil {
			if err := s.submit(found); err != nil {
				return err
			}
		}
		select {
		case l := <-s.lines:
			if err := s.handle(l); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}

// linger waits for the answers that are due, until run closes the connection,
// and hashes no more.
func (s *session) linger() error {
	for len(s.pending) > 0 {
		if err := s.handle(<-s.lines); err != nil {
			return fmt.Errorf("stopped with %d answers due: %w", len(s.pending), err)
		}
	}
	return errors.New("stopped")
}

// call writes one request and returns its id.
func (s *session) call(method string, params ...any) (uint64, error) {
	s.nextID++
	line, err := callLine(s.nextID, method, params...)
	if err != nil {
		return 0, err
	}
	return s.nextID, s.write(line)
}

func (s *session) write(line []byte) error {
	// A connection that cannot take a deadline fails at the write.
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	_, err := s.conn.Write(line)
	return err
}

// nextCall sends the next request of the handshake, one at a time as most
// firmware does.
func (s *session) nextCall() (err error) {
	if len(s.todo) == 0 {
		s.waiting = ""
		s.ready = true
		if !s.authorized {
			s.authorized = true
			s.fleet.count.authorized.Add(1)
		}
		s.emit(Event{Kind: Authorized})
		if d := s.fleet.cfg.SuggestDifficulty; d > 0 {
			_, err = s.call("mining.suggest_difficulty", d)
		}
		return err
	}
	s.waiting, s.todo = s.todo[0], s.todo[1:]
	switch s.waiting {
	case "mining.configure":
		s.waitID, err = s.call(s.waiting, []string{"version-rolling"}, map[string]any{
			"version-rolling.mask": fmt.Sprintf("%08x", bip320), "version-rolling.min-bit-count": 2,
		})
	case "mining.subscribe":
		s.waitID, err = s.call(s.waiting, s.Agent)
	case "mining.authorize":
		s.waitID, err = s.call(s.waiting, s.User, s.Password)
	}
	return err
}

// submit writes one share.
func (s *session) submit(f *share) error {
	params := []any{
		s.User, f.work.job.id, f.en2, fmt.Sprintf("%08x", f.ntime), fmt.Sprintf("%08x", f.nonce),
	}
	if f.work.mask != 0 {
		params = append(params, fmt.Sprintf("%08x", f.rolled))
	}
	p := pending{share: f, sent: time.Now()}
	s.pending[s.nextID+1] = p
	s.fleet.count.submitted.Add(1)
	s.emit(s.shareEvent(Submit, p, p.sent))
	_, err := s.call("mining.submit", params...)
	return err
}

func (s *session) shareEvent(kind EventKind, p pending, at time.Time) Event {
	return Event{
		Kind: kind, At: at, JobID: p.share.work.job.id, Difficulty: p.share.work.difficulty,
		Hash: p.share.hash, Share: p.share.key(),
	}
}

// settle books the answer of a share.
func (s *session) settle(p pending, m *message, at time.Time) {
	kind, count := Accepted, &s.fleet.count
	var code int
	var text string
	if m.isTrue() {
		s.work.Store(math.Float64bits(math.Float64frombits(s.work.Load()) + p.share.work.difficulty))
		count.accepted.Add(1)
	} else {
		kind = Rejected
		code, text = m.reason()
		s.fleet.rejects.add(code, text)
		if isStale(code, text) {
			count.stale.Add(1)
		}
		count.rejected.Add(1)
	}
	e := s.shareEvent(kind, p, at)
	e.Code, e.Text, e.Latency = code, text, at.Sub(p.sent)
	s.fleet.latency.add(e.Latency)
	s.emit(e)
}

// setExtranonce takes extranonce1 and the size of extranonce2; they act with
// the next notify.
func (s *session) setExtranonce(en1, size json.RawMessage) error {
	raw, n, err := parseExtranonce(en1, size)
	if err != nil {
		return err
	}
	s.en1, s.en2size = raw, n
	return nil
}

// parseExtranonce reads extranonce1 and the size of extranonce2.
func parseExtranonce(en1, size json.RawMessage) ([]byte, int, error) {
	var text string
	var n int
	if err := errors.Join(json.Unmarshal(en1, &text), json.Unmarshal(size, &n)); err != nil {
		return nil, 0, fmt.Errorf("extranonce: %w", err)
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) > maxExtranonce {
		return nil, 0, fmt.Errorf("extranonce1 %q is not hex of at most %d bytes", clip(text), maxExtranonce)
	}
	if n < 0 || n > maxExtranonce {
		return nil, 0, fmt.Errorf("extranonce2 size %d is not 0 to %d", n, maxExtranonce)
	}
	return raw, n, nil
}

// setMask takes the version bits the server grants; they act with the next
// notify.
func (s *session) setMask(raw json.RawMessage) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("version mask: %w", err)
	}
	mask, err := parseWord(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return fmt.Errorf("version mask: %w", err)
	}
	s.mask = mask & bip320
	return nil
}
