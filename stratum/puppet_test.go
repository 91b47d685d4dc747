package stratum

import (
	"testing"
	"time"
)

// puppet is a session driven by hand on one goroutine: each read is a call, and
// the clock is moved by moving the server's start.
type puppet struct {
	srv  *Server
	s    *session
	twin *twin
}

func newPuppet(t testing.TB, srv *Server) *puppet {
	t.Helper()
	tw := newTwin(1 << 30)
	p := &puppet{srv: srv, s: newSession(srv, tw, Door{}), twin: tw}
	var ok bool
	if p.s.en1, ok = srv.nonces.take(srv.now(), 0); !ok {
		t.Fatal("no extranonce1")
	}
	return p
}

// read is one read of chunk, or as many as its size needs, until the session
// ends.
func (p *puppet) read(chunk []byte) {
	for len(chunk) > 0 && p.s.end == CloseNone && p.s.reason == CloseNone {
		n := copy(p.s.borrow(), chunk)
		chunk = chunk[n:]
		if !p.s.begin(n) {
			return
		}
		d := p.s.desk
		p.s.parse(d, false)
		if p.s.post(d) {
			p.s.await()
		} else {
			p.s.bring(d)
		}
	}
}

func (p *puppet) publish(set JobSet) {
	p.srv.Publish(set)
	p.s.offer(p.srv.set.Load())
}

func (p *puppet) advance(d time.Duration) {
	p.srv.start = p.srv.start.Add(-d)
	p.s.look(p.srv.now())
}
