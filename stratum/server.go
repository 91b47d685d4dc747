package stratum

import (
	"container/list"
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// ErrStopped reports a Serve on a server that was drained.
var ErrStopped = errors.New("stratum: server is stopped")

// Server speaks Stratum V1 to rigs. Make one with NewServer, call Serve for
// each listener, Publish work, and Drain at the end.
type Server struct {
	cfg   Config
	scale pool.Scale
	start time.Time // of the server's millisecond clock

	set      atomic.Pointer[published]
	firmware atomic.Pointer[Firmware]
	classes  [256]atomic.Int64 // rigs by class id
	tip      atomic.Uint64     // generation of the newest set
	number   atomic.Uint64     // job sets ever published
	count    counters
	closes   closeRing
	quiet    [eventCount]quiet
	nonces   nonces
	memory   memory
	crowd    crowd
	lane     lane
	desks    sync.Pool
	kick     chan struct{} // a newer set waits for the broadcaster
	stop     chan struct{} // closed when drained

	sessions   sync.WaitGroup // every goroutine of a connection
	background sync.WaitGroup
	watching   sync.WaitGroup

	pubMu sync.Mutex // orders Publish and Withdraw

	mu        sync.Mutex
	list      []*session
	young     list.List                 // of *session, oldest first, less those that were found to be rigs
	listeners map[net.Listener]reopener // nil for one that stays open
	gate      chan struct{}             // while withdrawn; closed by the next Publish
	ids       uint64
	draining  bool
	running   bool   // background goroutines
	watch     *watch // of rigs that rest; nil where there is none
	watched   bool   // it was asked for
	stopped   bool
}

// NewServer checks cfg. It starts nothing.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:       cfg,
		scale:     cfg.Network.Scale,
		start:     time.Now(),
		kick:      make(chan struct{}, 1),
		stop:      make(chan struct{}),
		listeners: make(map[net.Listener]reopener),
		lane:      make(lane, 2*runtime.GOMAXPROCS(0)),
	}
	s.firmware.Store(cfg.Firmware)
	s.crowd.caps = cfg.Caps
	s.nonces.prefix = cfg.Prefix
	s.nonces.rotated = s.now()
	s.desks.New = func() any { return new(desk) }
	return s, nil
}

// now is a monotonic clock in milliseconds, never 0: 0 stands for never.
func (s *Server) now() int64 { return time.Since(s.start).Milliseconds() + 1 }

// serve is a session's goroutine, from open to where it rests or ends.
func (s *Server) serve(sess *session) {
	if reason, rests := sess.run(); !rests {
		s.end(sess, reason)
	}
}

// end removes every trace of a session whose turn nobody takes any more.
func (s *Server) end(sess *session, reason CloseReason) {
	sess.mu.Lock()
	sess.closeLocked(reason)
	reason, worked := sess.reason, sess.started
	sess.leave()
	sess.mu.Unlock()

	s.mu.Lock()
	last := s.list[len(s.list)-1]
	s.list[sess.place], last.place = last, sess.place
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	s.young.Remove(sess.young)
	s.mu.Unlock()
	s.crowd.leave(&sess.seat)
	s.nonces.free(sess.en1, worked)
	for i := range sess.names {
		s.cfg.Pool.Leave(sess.names[i].worker)
	}
	s.ended(sess, reason)
}

// ended leaves the traces of a close.
func (s *Server) ended(sess *session, r CloseReason) {
	s.count.closed[r].Add(1)
	if r == CloseSlowReader || r == CloseOutboxFull {
		s.count.slow.Add(1)
	}
	info := CloseInfo{
		Time: time.Now(), Reason: r, Remote: sess.conn.Remote(),
		Agent: sess.agent, Shares: sess.accepted, Refused: sess.refused, Silent: !sess.heard,
	}
	info.Duration = info.Time.Sub(sess.opened)
	if len(sess.names) > 0 {
		info.Name = sess.names[0].worker.Name
	}
	s.closes.add(info)
	var line *zerolog.Event
	if r == CloseHangup && info.Name == "" {
		line = s.cfg.Log.Debug().Str("event", "conn.close") // port scans and health checks: counted, not told one by one
	} else {
		line = s.say(evClose)
	}
	line.Uint64("conn", sess.id).Str("reason", r.String()).
		Str("remote", info.Remote).Str("name", info.Name).Dur("after_ms", info.Duration).
		Uint64("shares", info.Shares).Msg("a connection ended")
}

// Publish makes set what is mined, and tells every rig. It returns at once and
// never waits for a rig; a rig that cannot take it yet gets the newest set when
// it can. A set without jobs is ignored, and logged.
func (s *Server) Publish(set JobSet) {
	if len(set.Jobs) == 0 {
		s.cfg.Log.Error().Str("event", "job.empty_set").Send()
		return
	}
	sheets := make([]*sheet, 0, len(set.Jobs))
	for _, j := range set.Jobs {
		sheets = append(sheets, newSheet(j, s.scale))
	}
	s.pubMu.Lock()
	s.tip.Store(set.Jobs[0].Tip)
	s.set.Store(&published{set: set, number: s.number.Add(1), sheets: sheets})
	s.mu.Lock()
	s.reopenLocked()
	s.mu.Unlock()
	s.pubMu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // the broadcaster will find the newest
	}
}

// Withdraw says that there is nothing to mine: listeners that can be opened again
// are closed and every connection is, with reason, so that rigs go to their
// backup pool and find no open port here until the next Publish.
func (s *Server) Withdraw(reason CloseReason) {
	s.pubMu.Lock()
	s.set.Store(nil)
	s.mu.Lock()
	s.shutLocked()
	s.mu.Unlock()
	s.pubMu.Unlock()
	for _, sess := range s.snapshot(nil) {
		sess.finish(reason)
	}
}

// Drain ends the server: no more accepts, client.reconnect to one rig after the
// other so that they do not come back as one wave, a moment in which submits
// still are answered and rigs leave by themselves, then the rest is closed by
// name. It returns nil when every session has ended, or
// ctx's error when that came first; connections are closed then too, but a
// session may still wait for its verdict.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for ln := range s.listeners {
		_ = ln.Close()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(ended)
	}()
	s.sendAway(ctx, ended)
	grace := time.NewTimer(s.cfg.Limits.DrainGrace)
	defer grace.Stop()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
	case <-grace.C:
	}
	for _, sess := range s.snapshot(nil) {
		sess.finish(CloseDraining)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		for _, sess := range s.snapshot(nil) {
			sess.close(CloseDraining)
		}
	}
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stop)
		if s.watch != nil {
			s.watch.stop()
		}
	}
	s.mu.Unlock()
	s.background.Wait()
	if err == nil {
		s.watching.Wait() // else they end behind the last that rests
	}
	return err
}

// snapshot appends the connections of this moment to dst.
func (s *Server) snapshot(dst []*session) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.list...)
}

// Stats returns the server's counters.
func (s *Server) Stats() Stats {
	st := s.count.snapshot()
	st.Scale = s.scale
	now := s.now()
	for _, sess := range s.snapshot(nil) {
		st.Connections++
		sess.mu.Lock()
		if sess.state == working {
			st.Working++
		}
		st.Hashrate += sess.hashrate(now)
		sess.mu.Unlock()
	}
	return st
}

// Rigs returns every connection, in no order.
func (s *Server) Rigs() []RigInfo {
	list := s.snapshot(nil)
	now := s.now()
	out := make([]RigInfo, 0, len(list))
	for _, sess := range list {
		out = append(out, sess.info(now))
	}
	return out
}

// Closes returns the last 100 ended connections, newest first.
func (s *Server) Closes() []CloseInfo { return s.closes.list() }

// hashrate is RigInfo.Hashrate at now, in ms. s.mu is held.
func (s *session) hashrate(now int64) float64 {
	if !s.started {
		return 0
	}
	return s.meter.hashrate(s.startMs, now, s.srv.scale)
}

func (s *session) info(now int64) RigInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := RigInfo{
		Member: s.member, Agent: s.agent, Remote: s.conn.Remote(), State: stateNames[s.state],
		Accepted: s.accepted, Connected: s.opened, Hashrate: s.hashrate(now),
		Rejected: make(map[string]uint64),
	}
	if s.lastShare != 0 {
		r.LastShare = s.srv.start.Add(time.Duration(s.lastShare-1) * time.Millisecond)
	}
	if len(s.names) > 0 {
		r.Name = s.names[0].worker.Name
	}
	if last := s.issued.last(); last != nil {
		r.Difficulty = last.difficulty
	}
	s.fit.show(&r)
	for i, n := range s.rejects {
		if n > 0 {
			r.Rejected[pool.Reject(i).Name()] = uint64(n)
		}
	}
	return r
}
