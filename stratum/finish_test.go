package stratum

import (
	"strings"
	"testing"
	"testing/synctest"
)

// hooked is a twin that runs a function before its next write.
type hooked struct {
	*twin
	before func()
}

func (h *hooked) TryWrite(bufs [][]byte) (int, error) {
	if f := h.before; f != nil {
		h.before = nil
		f()
	}
	return h.twin.TryWrite(bufs)
}

// hookedRig is a rig whose share is with the pool until hold is closed.
func hookedRig(t *testing.T) (srv *Server, s *session, h *hooked, hold chan struct{}) {
	t.Helper()
	srv, hub := testServer(t, nil)
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	h = &hooked{twin: newTwin(1 << 20)}
	s = srv.enter(h, Door{})
	h.send(saySubscribe + sayAuthorize)
	readAll(h.twin)
	hold = make(chan struct{})
	hub.mu.Lock()
	hub.hold = hold
	hub.mu.Unlock()
	is := issuedTo(s)[0]
	sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
	h.send(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0))
	synctest.Wait()
	return srv, s, h, hold
}

// answeredThenDrained is the end of a rig that was to go.
func answeredThenDrained(t *testing.T, srv *Server, h *hooked) {
	t.Helper()
	if got := readAll(h.twin); !strings.Contains(got, `{"id":4,"result":true`) {
		t.Errorf("its share is durable, and it heard only %q", got)
	}
	if c := srv.Closes(); len(c) != 1 || c[0].Reason != CloseDraining {
		t.Errorf("%+v", c)
	}
	drain(t, srv)
}

// A rig that is to go as its answer is written is answered.
func TestFinishAsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, h, hold := hookedRig(t)
		h.before = func() { s.finish(CloseDraining) }
		close(hold)
		answeredThenDrained(t, srv, h)
	})
}

// An answer that waits for who writes a job is written before the rig goes.
func TestFinishWhileAnotherWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, h, hold := hookedRig(t)
		goOn := make(chan struct{})
		h.before = func() { <-goOn }
		srv.Publish(jobSet(testJob(t, 1, 2, 4096)))
		synctest.Wait()
		s.finish(CloseDraining)
		close(hold)
		synctest.Wait()
		close(goOn)
		answeredThenDrained(t, srv, h)
	})
}
