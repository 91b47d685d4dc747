package stratum

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// outbox is what waits to be written to one rig: a bounded backlog of answers,
// and one place for the newest work. All fields are under the session's mutex,
// but whoever set writing owns the connection's write side and may release the
// mutex across a write. So no lock is held across a send, answers keep their
// order, and a newer job replaces one that could not be written yet.
type outbox struct {
	writing bool
	backlog []byte

	want      bool // work is due
	wantClean bool // some work that was replaced unsent said clean
	wantMask  bool // set_version_mask is due with it

	vec [4][]byte // of the write in progress
	pre []byte    // its mask and difficulty lines
}

// flush queues out, which it copies or writes before it returns, and writes
// what can be written. s.mu is held, and is released meanwhile.
func (s *session) flush(out []byte) {
	if s.reason != CloseNone {
		return
	}
	if s.box.writing {
		if len(out) > 0 {
			s.box.backlog = append(s.box.backlog, out...)
			if len(s.box.backlog) > s.srv.cfg.Limits.Outbox {
				s.closeLocked(CloseOutboxFull)
			}
		}
		return
	}
	s.box.writing = true
	if s.pump(out) {
		s.box.writing = false
	} else {
		s.stalledSince.Store(s.srv.now())
		s.srv.sessions.Go(s.drainOutbox)
	}
	if s.ending != CloseNone && !s.busy { // it came meanwhile
		s.closeLocked(s.ending)
	}
}

// writesNow reports that somebody writes and waits for nobody: what is queued goes
// out with it. s.mu is held.
func (s *session) writesNow() bool { return s.box.writing && s.stalledSince.Load() == 0 }

// drainOutbox runs only while the socket is full.
func (s *session) drainOutbox() {
	for {
		err := s.conn.WaitWrite()
		s.mu.Lock()
		if err != nil {
			s.closeLocked(writeReason(err))
		}
		s.stalledSince.Store(s.srv.now())
		if s.pump(nil) {
			s.box.writing = false
			s.stalledSince.Store(0)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// pump writes until nothing waits (true) or the socket is full (false): then
// something is left here, or held by the connection. The
// caller holds s.mu and owns writing.
func (s *session) pump(out []byte) bool {
	b := &s.box
	for s.reason == CloseNone {
		answers := b.backlog
		b.backlog = nil
		bufs := b.vec[:0]
		if len(answers) > 0 {
			bufs = append(bufs, answers)
		}
		if len(out) > 0 {
			bufs = append(bufs, out)
		}
		before := len(answers) + len(out)
		var undo staged
		if b.want && len(bufs) < 2 {
			bufs, undo = s.issue(bufs)
		}
		if len(bufs) == 0 {
			return !s.conn.Held()
		}
		total := 0
		for _, p := range bufs {
			total += len(p)
		}

		s.mu.Unlock()
		n, err := s.conn.TryWrite(bufs)
		s.mu.Lock()

		s.srv.count.out.Add(uint64(n))
		if err != nil {
			s.closeLocked(writeReason(err))
			break
		}
		if n > 0 {
			s.spoke = s.srv.now()
			if s.stalledSince.Load() != 0 {
				s.stalledSince.Store(s.spoke)
			}
		}
		out = nil
		if n == total {
			clear(b.vec[:])
			continue
		}
		if undo.done && n <= before {
			// Not a byte of the work is out: a newer one may still replace it.
			s.unissue(undo)
			total = before
		}
		rest := make([]byte, 0, total-n+len(b.backlog))
		skip := n
		for _, p := range bufs {
			k := min(skip, len(p))
			skip -= k
			rest = append(rest, p[k:]...)
			if len(rest) >= total-n {
				rest = rest[:total-n]
				break
			}
		}
		clear(b.vec[:])
		b.backlog = append(rest, b.backlog...)
		if len(b.backlog) > s.srv.cfg.Limits.Outbox {
			s.closeLocked(CloseOutboxFull)
			break
		}
		return false
	}
	b.backlog, b.want = nil, false
	return true
}

// staged is what unissue needs to take an issue back.
type staged struct {
	done, clean, mask bool
	number            uint64
}

// issue appends the newest work to bufs and counts it as issued: before the
// write, since the rig may answer before the write returns. Without work for its
// class, or without a variant left for this job, it appends nothing.
func (s *session) issue(bufs [][]byte) ([][]byte, staged) {
	b := &s.box
	p := s.srv.set.Load()
	if p == nil {
		return bufs, staged{} // Publish will ask again
	}
	s.classify()
	sh := p.sheetFor(s.fit.class)
	if sh == nil {
		return bufs, staged{} // so will it once there is a job that this rig can hash
	}
	undo := staged{done: true, clean: b.wantClean, mask: b.wantMask, number: s.number}
	b.want, b.wantClean, b.wantMask = false, false, false

	variant, ok := s.nextVariant(sh.job.Counter)
	if !ok {
		return bufs, staged{}
	}
	now := s.srv.now()
	d := s.clamp(s.vardiff.Current(), sh.network)
	if d != s.vardiff.Current() {
		s.vardiff.Set(d, now)
	}
	last := s.issued.last()
	newTip := last == nil || last.tip != sh.job.Tip
	raised := !newTip && d/4 >= last.difficulty
	clean := newTip || raised || undo.clean || p.set.Clean && s.number != p.number

	pre := b.pre[:0]
	if undo.mask {
		pre = appendSetMask(pre, s.mask)
	}
	if last == nil || last.difficulty != d {
		pre = appendSetDifficulty(pre, d, s.srv.scale)
	}
	b.pre = pre
	v := sh.view(s.member, variant)
	if len(pre) > 0 {
		bufs = append(bufs, pre)
	}
	tail := sh.tail[0]
	if clean {
		tail = sh.tail[1]
	}
	bufs = append(bufs, v.head, tail)
	s.issued.push(issue{
		key: wireKey(sh.job.Counter, variant), work: v.work, difficulty: d,
		at: now, tip: sh.job.Tip, mask: s.mask, raised: raised,
	})
	s.number = p.number
	return bufs, undo
}

// unissue takes back the last issue.
func (s *session) unissue(u staged) {
	s.issued.pop()
	s.number = u.number
	s.box.want = true
	s.box.wantClean = s.box.wantClean || u.clean
	s.box.wantMask = s.box.wantMask || u.mask
}

// nextVariant returns the variant under which job counter is issued next here:
// the same job again is new work only under another (decision 7).
func (s *session) nextVariant(counter uint32) (uint8, bool) {
	last := s.issued.last()
	if last == nil || uint32(last.key>>8) != counter {
		return 0, true // counters only grow: older ones need no look
	}
	variant := uint8(last.key)
	return variant + 1, variant < 255
}

// writeReason names a write error.
func writeReason(err error) CloseReason {
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return CloseHangup
	case errors.Is(err, errHeld):
		return CloseOutboxFull
	}
	return CloseWriteError
}

// readReason names a read error.
func readReason(err error) CloseReason {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ETIMEDOUT):
		return CloseHangup
	case errors.Is(err, errHeld):
		return CloseOutboxFull
	}
	return CloseReadError
}
