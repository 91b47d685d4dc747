package stratum

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// rest gives the connection to a watch: it has no goroutine of its own from then on.
// False means that it goes on as it was.
func (s *session) rest() bool {
	c, ok := s.conn.(*tcpConn)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitLocked()
	if s.reason != CloseNone || s.box.writing {
		return false
	}
	s.srv.sessions.Add(1)
	if !c.rest(s.srv.watch, s) {
		c.rests = false // it would fail again with each share
		s.srv.sessions.Done()
		return false
	}
	return true
}

// rest takes the socket out of the runtime's poller and has w watch it for r. False
// leaves all as it was. Nobody may write meanwhile. It counts as served until over.
func (c *tcpConn) rest(w *watch, r resting) bool {
	fd, err := -1, error(nil)
	cerr := c.raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if cerr != nil || err != nil {
		return false // as when no more files may be open
	}
	k, err := (*socket)(nil), net.ErrClosed
	if c.use.CompareAndSwap(forNothing, forServe) {
		if k, err = w.add(fd, r); err != nil {
			c.use.Store(forNothing)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return false
	}
	_ = c.nc.Close() // one of two descriptors
	c.nc, c.raw, c.closer, c.reader, c.readFn, c.peekFn = nil, k, k, nil, nil, nil
	return true
}

// over says that nobody reads any more: Close closes.
func (c *tcpConn) over() { c.use.Store(forNothing) }

// readsAtOnce is how many reads of one rig in a row others wait for. A part of a line
// costs its rig nothing, so that it could go on for as long as its socket is not empty.
const readsAtOnce = 8

// read implements resting. It waits for nothing: what has to is done aside.
func (s *session) read(k *socket, all bool) {
	defer s.rescue()
	for range readsAtOnce {
		if k.fresh() {
			all = true
		}
		b := s.borrow()
		n, err := readNow(uintptr(k.fd), b)
		if n <= 0 {
			s.giveBack()
			if errors.Is(err, unix.EAGAIN) {
				if k.free() {
					return
				}
				continue
			}
			if err == nil {
				err = io.EOF
			}
			s.conclude(readReason(err))
			return
		}
		if all || n == len(b) {
			k.again()
		}
		if !s.workNow(k, n) || k.free() {
			return
		}
	}
	s.goAside(k)
}

// workNow is work of who must not wait. False means that another has the turn now.
func (s *session) workNow(k *socket, n int) (mine bool) {
	if !s.begin(n) {
		s.conclude(s.end)
		return false
	}
	d := s.desk
	d.socket = k
	if !s.parse(d, true) {
		s.aside(k, func() bool {
			s.parse(d, false)
			return s.settle(d)
		})
		return false
	}
	if s.post(d) {
		return false
	}
	if len(d.batch.Subs) > 0 {
		s.aside(k, func() bool { return s.settle(d) })
		return false
	}
	s.bring(d)
	if s.end != CloseNone {
		s.conclude(s.end)
		return false
	}
	if left := s.pause(); left > 0 {
		s.aside(k, func() bool { s.breathe(left); return true })
		return false
	}
	return true
}

// aside has f wait on a goroutine of its own, which has the turn, and then goes on
// or ends as f says.
func (s *session) aside(k *socket, f func() (more bool)) {
	s.srv.sessions.Go(func() {
		defer s.rescue()
		if f() {
			s.read(k, true)
		} else {
			s.conclude(s.end)
		}
	})
}

// goAside reads on where nobody else waits for it.
func (s *session) goAside(k *socket) { s.aside(k, func() bool { return true }) }

// goOn frees the turn that k's rig had while a batch was posted. What came meanwhile is
// not read by the caller: he may be the journal's, and others are told after this.
func (s *session) goOn(k *socket) {
	if k != nil && !k.free() {
		s.goAside(k)
	}
}

// conclude ends a connection that rests. The turn is the caller's, and is not given
// back.
func (s *session) conclude(r CloseReason) {
	s.srv.sessions.Go(func() {
		defer s.srv.sessions.Done() // of rest
		s.conn.(*tcpConn).over()
		s.srv.end(s, r)
	})
}

// rescue has a panic end this connection only.
func (s *session) rescue() {
	if p := recover(); p != nil {
		s.panicked(p)
		s.conclude(ClosePanic)
	}
}
