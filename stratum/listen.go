package stratum

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// reopener is Door.Reopen.
type reopener = func() (net.Listener, error)

// Between two tries of what the machine refuses.
const (
	pauseFirst = 10 * time.Millisecond
	pauseMost  = time.Second
)

// acceptErrorEvery is how often the log tells of accept errors.
const acceptErrorEvery = time.Minute

// Serve is ServeDoor for a listener that asks nothing of its own.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.ServeDoor(ctx, ln, Door{})
}

// ServeDoor accepts rigs from ln until ctx ends or the server is drained, and then
// closes ln and returns nil. Connections live on: only Drain ends them. An
// accept error, such as too many open files, is survived: it is retried after
// 10 ms to 1 s. While work is withdrawn ln is closed, if door.Reopen can replace
// it: then rigs are refused by the machine, at once. ErrStopped if the server
// was drained before.
func (s *Server) ServeDoor(ctx context.Context, ln net.Listener, door Door) error {
	if door.TLS != nil {
		door.TLS = door.TLS.Clone()
		door.TLS.MinVersion = max(door.TLS.MinVersion, tls.VersionTLS12)
		door.TLS.DynamicRecordSizingDisabled = true // a notify is one record
	}
	shut, err := s.accept(ctx, ln, door)
	for shut {
		if ln = s.reopen(ctx, door.Reopen); ln == nil {
			return nil
		}
		if shut, err = s.accept(ctx, ln, door); errors.Is(err, ErrStopped) {
			return nil // drained meanwhile
		}
	}
	return err
}

// accept admits what comes to ln until that is closed, which it is on return.
// shut says that Withdraw did it.
func (s *Server) accept(ctx context.Context, ln net.Listener, door Door) (shut bool, err error) {
	defer func() { _ = ln.Close() }()
	s.mu.Lock()
	switch {
	case s.draining:
		s.mu.Unlock()
		return false, ErrStopped
	case s.gate != nil && door.Reopen != nil:
		s.mu.Unlock()
		return true, nil
	}
	s.listeners[ln] = door.Reopen
	s.runLocked()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	unhook := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer unhook()

	pause, said, unsaid := pauseFirst, int64(0), uint64(0)
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = pauseFirst
			s.admit(nc, door)
			continue
		}
		if ctx.Err() != nil || s.isDraining() {
			return false, nil
		}
		if errors.Is(err, net.ErrClosed) {
			s.mu.Lock()
			_, held := s.listeners[ln]
			s.mu.Unlock()
			if held { // not by us
				return false, fmt.Errorf("stratum: listener %s: %w", ln.Addr(), err)
			}
			return true, nil
		}
		s.count.acceptFails.Add(1)
		if now := s.now(); said == 0 || now-said >= acceptErrorEvery.Milliseconds() {
			s.cfg.Log.Error().Str("event", "conn.accept_error").Err(err).Dur("retry_ms", pause).Uint64("unsaid", unsaid).
				Msg("no connection can be accepted; check the limit of open files")
			said, unsaid = now, 0
		} else {
			unsaid++
		}
		if !s.rest(ctx, pause) {
			return false, nil
		}
		pause = min(2*pause, pauseMost)
	}
}

// rest reports whether the server still lives after d.
func (s *Server) rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-s.stop:
	case <-time.After(d):
		return !s.isDraining()
	}
	return false
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// shutLocked closes every listener that can be opened again, until reopenLocked.
// s.mu is held.
func (s *Server) shutLocked() {
	if s.gate != nil {
		return
	}
	s.gate = make(chan struct{})
	for ln, again := range s.listeners {
		if again == nil {
			continue
		}
		delete(s.listeners, ln) // tells accept who closed it
		_ = ln.Close()
		s.cfg.Log.Warn().Str("event", "listener.closed").Stringer("address", ln.Addr()).
			Msg("there is no work: rigs find no open port and go to their backup pool")
	}
}

// reopenLocked lets listeners open again. s.mu is held.
func (s *Server) reopenLocked() {
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

// reopen waits until there is work again and opens a listener for it. It tries
// until it succeeds, and returns nil when the server ends.
func (s *Server) reopen(ctx context.Context, again reopener) net.Listener {
	pause := pauseFirst
	for {
		s.mu.Lock()
		gate := s.gate
		s.mu.Unlock()
		if gate != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-s.stop:
				return nil
			case <-gate:
			}
			continue // it may be shut again
		}
		if ctx.Err() != nil || s.isDraining() {
			return nil
		}
		ln, err := again()
		if err == nil {
			s.cfg.Log.Info().Str("event", "listener.open").Stringer("address", ln.Addr()).Msg("there is work again: rigs are welcome")
			return ln
		}
		s.cfg.Log.Error().Str("event", "listener.failed").Err(err).Dur("retry_ms", pause).
			Msg("there is work, but the port cannot be opened: rigs stay away until it can")
		if !s.rest(ctx, pause) {
			return nil
		}
		pause = min(2*pause, pauseMost)
	}
}

// sendAway asks every rig to reconnect, in no order and over some time, so that
// a whole farm does not hang up at once. It returns early when all have left.
func (s *Server) sendAway(ctx context.Context, ended <-chan struct{}) {
	list := s.snapshot(nil)
	rand.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	spread := min(time.Duration(len(list))*time.Millisecond, s.cfg.Limits.DrainSpread)
	begin := time.Now()
	for i, sess := range list {
		at := spread * time.Duration(i) / time.Duration(len(list))
		if early := at - time.Since(begin); early >= 10*time.Millisecond {
			select {
			case <-ctx.Done():
				return
			case <-ended:
				return
			case <-time.After(early):
			}
		}
		s.guard(sess, sess.sayGoodbye)
	}
}
