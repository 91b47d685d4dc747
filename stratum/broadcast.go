package stratum

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxWriters bounds the goroutines of one broadcast: it is system calls all the
// way, and rigs' submits want processors too.
const maxWriters = 4

// runLocked starts the goroutines that are not of one connection. s.mu is held.
func (s *Server) runLocked() {
	if s.running || s.stopped {
		return
	}
	s.running = true
	s.background.Go(s.broadcaster)
	s.background.Go(s.secondHand)
}

// broadcaster tells rigs of new sets, the newest only.
func (s *Server) broadcaster() {
	var list []*session
	for {
		select {
		case <-s.stop:
			return
		case <-s.kick:
		}
		if p := s.set.Load(); p != nil {
			list = s.snapshot(list[:0])
			s.broadcast(p, list)
			clear(list)
		}
	}
}

// broadcast offers p to every session of list. It waits for none: a full socket
// gets the work from its own goroutine, once it can.
func (s *Server) broadcast(p *published, list []*session) {
	var next, first atomic.Int64
	var wg sync.WaitGroup
	const chunk = 64
	writers := min(maxWriters, runtime.GOMAXPROCS(0), len(list)/chunk+1)
	for range writers {
		wg.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= len(list) {
					return
				}
				for _, sess := range list[from:min(from+chunk, len(list))] {
					s.guard(sess, func() { sess.offer(p) })
					if first.Load() == 0 && !p.set.Signal.IsZero() {
						first.CompareAndSwap(0, int64(time.Since(p.set.Signal)))
					}
				}
			}
		})
	}
	wg.Wait()
	if !p.set.Signal.IsZero() && len(list) > 0 {
		s.count.latency(time.Duration(first.Load()), time.Since(p.set.Signal))
	}
}

// secondHand looks at every connection once a second, instead of one timer
// each.
func (s *Server) secondHand() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var list []*session
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		now := s.now()
		s.crowd.forget(now)
		list = s.snapshot(list[:0])
		for _, sess := range list {
			s.guard(sess, func() { sess.look(now) })
		}
		clear(list)
	}
}

// guard runs f for sess. A panic costs that connection only.
func (s *Server) guard(sess *session, f func()) {
	defer func() {
		if p := recover(); p != nil {
			s.count.panics.Add(1)
			s.cfg.Log.Error().Str("event", "conn.panic").Uint64("conn", sess.id).Str("panic", fmt.Sprint(p)).Send()
			sess.close(ClosePanic)
		}
	}()
	f()
}
