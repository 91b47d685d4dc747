package stratum

import (
	"container/list"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"cordee/pool"
)

// name is one authorized name of a connection.
type name struct {
	raw    string // as the rig sent it
	worker pool.Worker
}

// session is one rig's connection. Its reader reads, parses and waits for verdicts:
// a goroutine of its own until the rig has work, and then whoever has the turn of its
// socket. The server's goroutines push work and look at the time. What both touch is
// under mu, which is never held across a write, a hash or the journal.
// Ten thousand of them are memory: 1024 bytes is a size that the allocator has.
type session struct {
	srv      *Server
	conn     conn
	door     Door // what its listener asks for
	seat     seat // among those of its address
	id       uint64
	opened   time.Time
	openedMs int64
	place    int           // in the server's list
	young    *list.Element // in the server's list of newcomers
	en1      [pool.Extranonce1Size]byte
	en2Size  uint8

	// Of the reader alone.
	heard    bool        // it said something
	end      CloseReason // close once the answers are out
	desk     *desk
	readAt   int64  // ms, of the read at hand
	ruledAt  int64  // ms, of the last verdicts: a disk may have kept them
	partial  []byte // the start of a line
	seen     pool.Seen
	seenTip  uint64 // generation that seen is of
	refused  string // the last name that was, sanitised
	denied   uint32
	rejected uint32 // for sampling the log
	manners  manners

	halfSince    atomic.Int64 // ms, start of the unfinished line; 0 for none
	lastLine     atomic.Int64 // ms
	stalledSince atomic.Int64 // ms, last progress of a full socket; 0 for none

	mu      sync.Mutex
	state   state
	started bool        // the first work is due or out
	busy    bool        // a read is being worked on
	ending  CloseReason // close with it when no longer busy, and nobody writes
	reason  CloseReason
	asked   bool // configure asked for version-rolling
	box     outbox

	posted   *desk     // with the pool: its batch waits for the journal
	answered sync.Cond // posted is nil again

	agent      string
	fit        fitting // of the class of its firmware
	names      []name  // written by the goroutine under mu
	member     uint16  // of the first name; all others are of the same
	mask       uint32  // negotiated, or the server's
	floor      pool.Difficulty
	wish       password        // what the first authorize asked for
	suggestion pool.Difficulty // newest that was honoured
	suggestAt  int64

	issued    issued
	number    uint64 // of the newest set issued here
	vardiff   pool.Vardiff
	proven    pool.Difficulty // the most that credited shares said of the rig; 0 before the first
	nextTick  int64
	meter     meter
	startMs   int64 // of the first work
	spoke     int64 // ms, of the last bytes to the rig
	accepted  uint64
	rejects   [notedRejects]uint32
	lastShare int64 // ms, of the last accepted one; 0 for none
}

func newSession(srv *Server, c conn, door Door) *session {
	s := &session{
		srv: srv, conn: c, door: door.filled(&srv.cfg), opened: time.Now(), openedMs: srv.now(),
		en2Size: pool.Extranonce2Size, mask: pool.VersionRollingMask,
	}
	s.answered.L = &s.mu
	s.lastLine.Store(s.openedMs)
	return s
}

// notedRejects is above every pool.Reject that a session sees.
const notedRejects = 16

// run serves the connection until it ends, and says why it did, or until it rests
// with a watch. A panic ends this connection only.
func (s *session) run() (reason CloseReason, rests bool) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(p)
			reason = ClosePanic
		}
	}()
	if r := s.greet(); r != CloseNone {
		return r, false
	}
	for {
		err := s.conn.Serve(s)
		if errors.Is(err, errRests) {
			if s.rest() {
				return CloseNone, true
			}
			continue
		}
		s.await()
		if err != nil {
			return readReason(err), false
		}
		return s.end, false
	}
}

// panicked tells of a panic, which its connection pays for.
func (s *session) panicked(p any) {
	s.srv.count.panics.Add(1)
	s.srv.cfg.Log.Error().Str("event", "conn.panic").Uint64("conn", s.id).
		Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Send()
}

// deliver sends what the read brought forth, and the first work once both
// subscribe and authorize are answered: nothing may come between those two
// answers.
func (s *session) deliver(d *desk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliverLocked(d)
}

func (s *session) deliverLocked(d *desk) {
	if s.state == working && !s.started {
		s.start()
	}
	if len(d.out) > 0 || s.box.want {
		s.flush(d.out)
	}
	s.busy = false
	if s.end == CloseNone && !s.writesNow() {
		s.end = s.ending
	}
}

// start makes the first work due. s.mu is held.
func (s *session) start() {
	now := s.srv.now()
	s.classify()
	before := s.srv.memory.get(s.names[0].worker.Name, now)
	s.recall(&before)
	d := before.difficulty
	for _, next := range []pool.Difficulty{s.wish.start, s.suggestion, s.agentStart(), s.door.StartDifficulty} {
		if d == 0 {
			d = next
		}
	}
	s.floor = max(s.floor, s.wish.floor)
	s.started = true
	s.srv.crowd.settle(&s.seat)
	s.startMs, s.meter.at = now, now
	s.nextTick = now + tickMillis
	s.vardiff = pool.NewVardiff(d.PowerOfTwo(), s.door.SharesPerMinute, now)
	s.box.want = true
	s.box.wantMask = s.asked
}

// clamp returns the power of two to send for d: at least the floor, at most
// what the door has and the network asks, which win.
func (s *session) clamp(d, network pool.Difficulty) pool.Difficulty {
	low := max(s.door.MinDifficulty, s.floor, s.agentFloor())
	if p := low.PowerOfTwo(); p < low {
		low = p << 1
	}
	high := min(network, pool.Difficulty(s.srv.scale)<<31) // NerdQAxe reads 32 bits
	if s.door.MaxDifficulty > 0 {
		high = min(high, s.door.MaxDifficulty)
	}
	return min(max(d.PowerOfTwo(), low), high)
}

// toRemember returns the difficulty that the rig should begin with next time, 0
// for none: what its shares proved. A suggestion or a floor alone is nothing to
// go by: names are public, and whoever leaves a difficulty behind under
// another's would keep that rig without a share for minutes. s.mu is held.
func (s *session) toRemember() pool.Difficulty { return min(s.proven, s.vardiff.Current()) }

// retarget puts d in force, clamped, and makes new work due if that changes
// anything. s.mu is held.
func (s *session) retarget(d pool.Difficulty) {
	p := s.srv.set.Load()
	if p == nil || !s.started {
		return
	}
	if d = s.clamp(d, p.sheets[0].network); d != s.vardiff.Current() {
		s.vardiff.Set(d, s.srv.now())
		s.box.want = true
		s.srv.count.retargets.Add(1)
	}
}

// offer pushes p if the rig does not have it yet. It never blocks.
func (s *session) offer(p *published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.number >= p.number {
		return
	}
	s.box.want = true
	s.box.wantClean = s.box.wantClean || p.set.Clean
	s.flush(nil)
}

// sayGoodbye asks a rig that has work to reconnect.
func (s *session) sayGoodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		s.flush(append(s.tell(nil, "The pool stops or restarts: reconnect, or use a backup"), reconnectLine...))
	}
}

// look is the server's second hand: it ends what is too old, and lets vardiff
// see silence.
func (s *session) look(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.srv.cfg.Limits
	over := func(since int64, limit time.Duration) bool {
		return since != 0 && now-since >= limit.Milliseconds()
	}
	switch {
	case s.reason != CloseNone:
	case !s.started && over(s.openedMs, l.Authorize):
		s.closeLocked(CloseLate)
	case over(s.stalledSince.Load(), l.WriteStall):
		s.closeLocked(CloseSlowReader)
	case s.busy: // waits for us
	case over(s.halfSince.Load(), l.HalfLine):
		s.closeLocked(CloseHalfLine)
	case over(s.lastLine.Load(), l.Idle):
		s.closeLocked(CloseIdle)
	case s.started && now-s.spoke >= quietMillis:
		s.box.want = true
		s.flush(nil)
	case s.started && now >= s.nextTick:
		s.nextTick = now + tickMillis
		if d := s.vardiff.Tick(now); d != s.vardiff.Current() {
			s.retarget(d)
			if s.box.want {
				s.flush(nil)
			}
		}
	}
	s.conn.Recheck()
}

// close ends the connection. The first reason given is the one that counts.
func (s *session) close(r CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(r)
}

func (s *session) closeLocked(r CloseReason) {
	if s.reason == CloseNone {
		s.reason = r
	}
	_ = s.conn.Close() // of a socket that is given up: nothing depends on it
}

// finish ends the connection as soon as answers under way are written.
func (s *session) finish(r CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.writesNow() {
		s.ending = r
		return
	}
	s.closeLocked(r)
}
