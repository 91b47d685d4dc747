package stratum

import "cordee/pool"

// work implements reader: it is one read, from its bytes to the answers, or to
// where only the journal is waited for.
func (s *session) work(n int) (more bool) {
	if !s.begin(n) {
		return false
	}
	d := s.desk
	d.socket = nil
	s.parse(d, false)
	return s.post(d) || s.settle(d)
}

// begin is the start of a read of n bytes. False means that the connection is closed
// already.
func (s *session) begin(n int) bool {
	s.srv.count.in.Add(uint64(n))
	s.mu.Lock()
	s.awaitLocked()
	s.heard = true
	closed := s.reason != CloseNone // what a socket still holds when it is shut
	s.busy = !closed
	s.mu.Unlock()
	if closed {
		s.giveBack()
		return false
	}
	s.readAt = s.srv.now()
	d := s.desk
	d.left, d.whole = d.buf[:d.n+n], false
	return true
}

// parse works through the complete lines of a read. False means that it stopped
// before one that is no share, where those only were asked for.
func (s *session) parse(d *desk, shares bool) (all bool) {
	for s.end == CloseNone {
		line, rest, ok := cutLine(d.left)
		if !ok {
			break
		}
		if len(d.left)-len(rest)-1 > s.lineLimit() {
			s.end = CloseLongLine
			break
		}
		if isBlank(line) {
			s.manners.others.cost += blankMillis
		} else if !s.line(d, line, shares) {
			return false
		}
		d.left, d.whole = rest, true
	}
	if s.end == CloseNone && len(d.left) > s.lineLimit() {
		s.end = CloseLongLine
	}
	return true
}

// settle is what is left of a read that is not posted.
func (s *session) settle(d *desk) (more bool) {
	s.bring(d)
	if s.end != CloseNone {
		return false
	}
	s.breathe(s.pause())
	return true
}

// bring has the batch ruled on and sends what the read brought forth.
func (s *session) bring(d *desk) {
	s.rule(d)
	if s.end != CloseNone {
		s.partial = nil
	} else {
		now := s.workedAt()
		if d.whole {
			s.lastLine.Store(now)
		}
		switch {
		case len(d.left) == 0:
			s.halfSince.Store(0)
		case d.whole || s.halfSince.Load() == 0:
			s.halfSince.Store(now)
		}
		s.keepPartial(d.left)
	}
	s.deliver(d)
	s.giveBack()
}

// keepPartial keeps the start of a line, and no big buffer for a short one.
func (s *session) keepPartial(buf []byte) {
	if len(buf) == 0 && cap(s.partial) > 512 {
		s.partial = nil
	}
	s.partial = append(s.partial[:0], buf...)
}

// workedAt is when the read at hand was worked on last, in ms: until then the rig
// waited for us.
func (s *session) workedAt() int64 { return max(s.readAt, s.ruledAt) }

func (s *session) lineLimit() int {
	if len(s.names) == 0 {
		return s.srv.cfg.Limits.FirstLine
	}
	return s.srv.cfg.Limits.Line
}

// line handles one line. False means that it is no share, where those only were
// asked for, and waits.
func (s *session) line(d *desk, line []byte, shares bool) bool {
	m := &d.msg
	if !parseLine(line, m) || m.badID {
		s.srv.say(evBadLine).Uint64("conn", s.id).
			Str("start", printable(line, 80)).Send()
		s.end = CloseBadLine
		return true
	}
	k := methodOf(m)
	if shares && k != mSubmit {
		return false
	}
	s.srv.count.messages[k].Add(1)
	if k == mSubmit {
		s.manners.shares.cost += s.srv.cfg.Limits.Share.Milliseconds()
	} else {
		s.manners.others.cost += s.srv.cfg.Limits.Request.Milliseconds()
		s.rule(d) // answers keep the order of the requests
	}
	if r := law[k].refuse[s.state]; r != pool.Accepted {
		if k == mSubmit {
			s.count(d, r)
		}
		if m.id != nil {
			d.out = appendReject(d.out, m.id, r)
		}
		return true
	}
	law[k].handle(s, d, m)
	return true
}
