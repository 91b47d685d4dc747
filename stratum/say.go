package stratum

import (
	"sync"

	"github.com/rs/zerolog"
)

// Bounds of what rigs and strangers can make the log say: of each event so many
// lines at once, and one more every so often. A farm that comes back is told
// whole; nobody fills a disk, or drives the lines of a block out of the log's
// buffer.
const (
	logBurst       = 1000
	logEveryMillis = 100
)

// event is something that others than the operator can make happen.
type event uint8

const (
	evAuthOK event = iota
	evAuthDeny
	evBadLine
	evClose
	evReject
	evStepDown
	evResend
	evThrottle
	eventCount
)

var eventNames = [eventCount]string{
	"auth.ok", "auth.deny", "conn.bad_line", "conn.close", "share.reject", "rig.class_down", "conn.resend", "conn.throttle",
}

// quiet bounds the lines of one event. The zero value is ready.
type quiet struct {
	mu     sync.Mutex
	due    int64 // ms: when all lines said so far would have been due
	unsaid uint64
}

// allow reports whether a line may be said at now, and how many were not since
// the last one.
func (q *quiet) allow(now int64) (unsaid uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = max(q.due, now)
	if q.due-now >= logBurst*logEveryMillis {
		q.unsaid++
		return 0, false
	}
	q.due += logEveryMillis
	unsaid, q.unsaid = q.unsaid, 0
	return unsaid, true
}

// say begins a line of e, or returns nil, which takes fields too, when it was
// said too often.
func (s *Server) say(e event) *zerolog.Event {
	unsaid, ok := s.quiet[e].allow(s.now())
	if !ok {
		return nil
	}
	line := s.cfg.Log.Info().Str("event", eventNames[e])
	if unsaid > 0 {
		line = line.Uint64("unsaid", unsaid)
	}
	return line
}
