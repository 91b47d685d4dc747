package stratum

import (
	"strconv"
	"strings"
	"time"

	"cordee/pool"
)

// Bounds of what one connection may ask of the pool. None is of an address or
// of a name: a farm stands behind one address, and anyone may say a name.
const (
	validationMillis = 2     // one share validated in so long, on average: 500 a second,
	validationBurst  = 4096  // and as many at once: a rig of 1 PH/s at difficulty 4096 sends 57 a second
	requestMillis    = 8     // any other line likewise: 125 a second,
	requestBurst     = 256   // and as many at once: a proxy signs 128 names in
	blankMillis      = 1     // an empty line, among those
	refusedMillis    = 16    // a refused share, among those too: 62 a second,
	freeRefused      = 64    // beyond as many in a row: what a rig has on its way when a block comes
	longestPause     = 5_000 // ms, after one read: less than Limits.HalfLine, for a line may be half there
	pauseMillis      = 100   // how long a pause goes on before it looks whether the connection ended

	resendAfter  = 100    // refused shares in a row, then the rig gets its work again;
	resendFew    = 10     // or as few as these, where it goes on
	resendMillis = 60_000 // for so long
	dropAfter    = 1000   // in a row, then the connection ends
	quietMillis  = 50_000 // without a line to a rig, then it gets its work again: cgminer leaves at 90 s
)

// manners is what one connection did lately. It belongs to the session's
// goroutine.
type manners struct {
	shares  pace   // validations
	others  pace   // other lines, and what is refused
	refused uint32 // shares in a row, since the last one that was answered true
	since   int64  // ms, of the first of them or of the last resend
	resent  bool   // within this row
}

// pace is how far ahead of its time a connection is.
type pace struct {
	cost int64 // ms, of the read at hand
	due  int64 // ms: when all that came so far would have been due
}

// ahead ends a read at now and returns by how many ms more than burst it came
// too early.
func (p *pace) ahead(now, burst int64) int64 {
	p.due = max(p.due, now) + p.cost
	p.cost = 0
	return p.due - now - burst
}

// pause ends a read at now and returns how long to read nothing, in ms. Whoever
// sends more than is worked through for it fills its own socket: no share is
// lost, none is refused, and nobody else waits. share is the time of one of them.
func (m *manners) pause(now int64, share time.Duration) int64 {
	left := max(m.shares.ahead(now, validationBurst*share.Milliseconds()), m.others.ahead(now, requestBurst*requestMillis), 0)
	return min(left, longestPause)
}

// verdict counts an answer to a submit. Refusals that are ours do not count.
func (m *manners) verdict(r pool.Reject, now int64) {
	switch r {
	case pool.Accepted:
		m.refused, m.resent = 0, false
	case pool.NotDurable, pool.Draining:
	default:
		if m.refused == 0 {
			m.since = now
		}
		if m.refused++; m.refused > freeRefused {
			m.others.cost += refusedMillis
		}
	}
}

// step says what the row of refused shares calls for: work again, since firmware
// may be stuck on an old job, and in the end a close.
func (m *manners) step(now int64) (resend, drop bool) {
	if m.refused >= dropAfter {
		return false, true
	}
	resend = m.refused >= resendAfter && !m.resent || m.refused >= resendFew && now-m.since >= resendMillis
	if resend {
		m.resent, m.since = true, now
	}
	return resend, false
}

// ladder acts on a row of refused shares. s.mu is held.
func (s *session) ladder(d *desk, last pool.Reject, now int64) {
	resend, drop := s.manners.step(now)
	if drop {
		s.end = CloseRejects
	}
	if !resend || !s.started {
		return
	}
	s.box.want, s.box.wantClean = true, true
	s.srv.count.resends.Add(1)
	s.srv.say(evResend).Uint64("conn", s.id).Uint32("refused", s.manners.refused).
		Str("reason", last.Name()).Msg("shares in a row were refused; the rig got its work again")
	d.out = s.tell(d.out, strconv.FormatUint(uint64(s.manners.refused), 10)+" shares in a row were refused: "+last.Text())
}

// tell appends a line for whoever reads the rig's log. Only cgminer is told:
// others may take it for an answer. text is plain ASCII. s.mu is held.
func (s *session) tell(out []byte, text string) []byte {
	if !strings.HasPrefix(s.agent, "cgminer/") {
		return out
	}
	out = append(out, `{"id":null,"method":"client.show_message","params":["`...)
	out = append(out, text...)
	return append(out, "\"]}\n"...)
}

// pause ends a read and returns how long to read nothing, in ms: the connection
// sent more than is worked through for it.
func (s *session) pause() int64 {
	left := s.manners.pause(s.workedAt(), s.srv.cfg.Limits.Share)
	if left > 0 {
		s.srv.count.throttled.Add(1)
		s.srv.say(evThrottle).Uint64("conn", s.id).Int64("pause_ms", left).
			Msg("a rig sends more than is worked through for it; it is read more slowly")
	}
	return left
}

// breathe lets so many milliseconds pass. It holds no buffer and no lock.
func (s *session) breathe(left int64) {
	for left > 0 && !s.isClosed() {
		time.Sleep(time.Duration(min(left, pauseMillis)) * time.Millisecond)
		left -= pauseMillis
	}
}

func (s *session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason != CloseNone
}
