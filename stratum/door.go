package stratum

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// admit starts a session for nc, or closes it.
func (s *Server) admit(nc net.Conn, door Door) {
	tc, ok := newTCPConn(nc)
	if !ok {
		s.count.acceptFails.Add(1)
		s.cfg.Log.Error().Str("event", "conn.accept_error").Str("type", fmt.Sprintf("%T", nc)).
			Msg("connection has no file descriptor")
		_ = nc.Close()
		return
	}
	if door.TLS != nil {
		s.enter(newTLSConn(tc, door.TLS, s.lane), door)
		return
	}
	tc.rests = s.watchRigs()
	s.enter(tc, door)
}

// watchRigs starts the watch with the first socket that may rest with it, and reports
// whether there is one.
func (s *Server) watchRigs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched || s.stopped {
		return s.watch != nil
	}
	s.watched = true
	var err error
	if s.watch, err = newWatch(); err != nil {
		s.cfg.Log.Error().Str("event", "watch.failed").Err(err).
			Msg("rigs cannot be watched together, each costs a goroutine until a restart; check the limit of open files")
	}
	if s.watch != nil {
		s.watching.Go(s.watch.run)
	}
	return s.watch != nil
}

// enter starts a session on c that came in by door, or closes c with a name.
func (s *Server) enter(c conn, door Door) *session {
	sess := newSession(s, c, door)
	s.count.opened.Add(1)

	s.mu.Lock()
	leaves, refuse := s.letIn(sess)
	if refuse != CloseNone {
		s.mu.Unlock()
		s.crowd.settle(&sess.seat) // that it gets no work is ours
		s.crowd.leave(&sess.seat)
		if leaves != nil {
			leaves.close(CloseServerFull)
		}
		_ = c.Close()
		s.ended(sess, refuse)
		return nil
	}
	s.ids++
	sess.id = s.ids
	sess.place = len(s.list)
	s.list = append(s.list, sess)
	sess.young = s.young.PushBack(sess)
	s.runLocked()
	s.sessions.Go(func() { s.serve(sess) })
	s.mu.Unlock()
	if leaves != nil {
		leaves.close(CloseServerFull)
	}

	s.cfg.Log.Debug().Str("event", "conn.open").Uint64("conn", sess.id).Str("remote", c.Remote()).Send()
	return sess
}

// letIn finds sess a place, or says why there is none. leaves is who has to go
// for it; the caller closes it once s.mu, which is held, is not.
func (s *Server) letIn(sess *session) (leaves *session, refuse CloseReason) {
	switch {
	case s.draining:
		return nil, CloseDraining
	case s.gate != nil:
		return nil, CloseNotPublished
	}
	// Of a balancer's connection the rig's address is not known yet: see greet.
	if addr := addrOf(sess.conn); !sess.door.proxied(addr) {
		if r := s.crowd.enter(&sess.seat, addr, s.now()); r != CloseNone {
			return nil, r
		}
	}
	leaves, room := s.makeRoom()
	if !room {
		return leaves, CloseServerFull
	}
	var ok bool
	if sess.en1, ok = s.nonces.take(sess.openedMs, s.number.Load()); !ok {
		return leaves, CloseServerFull
	}
	return leaves, CloseNone
}

// proxied reports whether connections from a begin with a PROXY header.
func (d *Door) proxied(a netip.Addr) bool {
	return slices.ContainsFunc(d.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addrOf returns c's address, the zero value where it has none.
func addrOf(c conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.Remote())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// greet does what comes before the first line, and says why it could not be
// done. All of it together has one deadline.
func (s *session) greet() CloseReason {
	deadline := time.Now().Add(s.srv.cfg.Limits.Greeting)
	if s.door.proxied(addrOf(s.conn)) {
		if _, err := s.conn.ReadHeader(deadline); err != nil {
			if readReason(err) == CloseHangup { // a balancer looks whether we live
				return CloseHangup
			}
			return CloseBadProxy
		}
		if r := s.srv.crowd.enter(&s.seat, addrOf(s.conn), s.srv.now()); r != CloseNone {
			return r
		}
	}
	if s.door.TLS == nil {
		return CloseNone
	}
	err := s.conn.Handshake(deadline)
	if _, other := errors.AsType[tls.RecordHeaderError](err); other {
		return CloseNotTLS
	}
	switch {
	case err == nil:
		return CloseNone
	case errors.Is(err, os.ErrDeadlineExceeded):
		return CloseTLSTimeout
	case readReason(err) == CloseHangup:
		return CloseHangup
	}
	return CloseTLSHandshake
}
