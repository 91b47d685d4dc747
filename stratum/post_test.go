package stratum

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cordee/pool"
)

// heldShare is a rig whose share is with the pool until hold is closed, and what
// sends another share like it.
func heldShare(t *testing.T) (srv *Server, hub *hub, s *session, tw *twin, hold chan struct{}, send func(id string, nonce uint32)) {
	t.Helper()
	srv, hub = testServer(t, nil)
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	s, tw = openRig(t, srv, 1<<20)
	readAll(tw)
	hold = make(chan struct{})
	hub.mu.Lock()
	hub.hold = hold
	hub.mu.Unlock()
	is := issuedTo(s)[0]
	send = func(id string, nonce uint32) {
		sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, nonce)
		tw.send(submitLine(id, "alpha.north.r1", keyID(is.key), sub, 0))
		synctest.Wait()
	}
	send("4", 0)
	if s.posted == nil || s.desk != nil {
		t.Fatal("the share is not with the pool, or its rig holds a desk")
	}
	return srv, hub, s, tw, hold, send
}

// What a rig says while its share is with the pool is worked on behind it.
func TestPostedShareIsAnsweredFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hub, s, tw, hold, send := heldShare(t)
		send("5", 100_000)
		tw.send(`{"id":6,"method":"mining.ping","params":[]}` + "\n")
		synctest.Wait()
		if s.desk != nil {
			t.Error("the rig holds a second desk")
		}
		if got := readAll(tw); got != "" || len(hub.batches) != 1 {
			t.Fatalf("%d batches, and before the first was kept the rig heard %q", len(hub.batches), got)
		}
		srv.Publish(jobSet(testJob(t, 1, 2, 4096))) // does not wait
		synctest.Wait()
		mustHave(t, readAll(tw), `"0000000200"`)
		close(hold)
		synctest.Wait()
		got := readAll(tw)
		want := []string{`{"id":4,"result":true`, `{"id":5,"result":true`, `{"id":6,`}
		for _, w := range want {
			i := strings.Index(got, w)
			if i < 0 {
				t.Fatalf("no %s in time, or out of turn", w)
			}
			got = got[i:]
		}
		if s.posted != nil || s.accepted != 2 {
			t.Errorf("%d accepted, want 2; or something is still with the pool", s.accepted)
		}
		drain(t, srv)
	})
}

// A rig that hangs up loses nothing: its connection ends behind its share.
func TestHangUpWhilePosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _, tw, hold, _ := heldShare(t)
		tw.hangUp()
		synctest.Wait()
		if n := len(srv.snapshot(nil)); n != 1 {
			t.Fatalf("%d connections: its number is free, and its share is under way", n)
		}
		time.Sleep(2 * time.Hour) // no limit counts what the disk takes
		close(hold)
		synctest.Wait()
		c := srv.Closes()
		if len(c) != 1 || c[0].Shares != 1 || c[0].Reason != CloseHangup {
			t.Errorf("%+v", c)
		}
		drain(t, srv)
	})
}

// The hours that a disk takes are no silence of the rig's.
func TestPostedShareIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _, tw, hold, _ := heldShare(t)
		time.Sleep(2 * time.Hour)
		close(hold)
		time.Sleep(30 * time.Minute)
		if tw.isClosed() {
			t.Error("closed:", srv.Closes()[0].Reason)
		}
		drain(t, srv)
	})
}

// A rig that is to go is answered first.
func TestFinishWhilePosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, s, tw, hold, _ := heldShare(t)
		s.finish(CloseDraining)
		synctest.Wait()
		if tw.isClosed() {
			t.Fatal("closed before its share was answered")
		}
		close(hold)
		synctest.Wait()
		mustHave(t, readAll(tw), `{"id":4,"result":true`)
		if c := srv.Closes(); len(c) != 1 || c[0].Reason != CloseDraining {
			t.Errorf("%+v", c)
		}
		drain(t, srv)
	})
}

// faulty posts, and spoils the verdicts before it tells.
type faulty struct {
	*hub
	spoil func(b *pool.Batch)
}

func (f *faulty) Post(b *pool.Batch, r Ruled) bool {
	f.judge(b)
	go func() {
		f.spoil(b)
		r.Ruled()
	}()
	return true
}

// Of a share that could not be kept no rig hears true.
func TestPostedShareThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, tw, s := faultyRig(t, func(b *pool.Batch) { b.Verdicts[0] = pool.Verdict{Reject: pool.NotDurable} })
		mustHave(t, readAll(tw), `{"id":4,"result":null,"error":[20,"Share could not be stored"`)
		if s.accepted != 0 || s.rejects[pool.NotDurable] != 1 {
			t.Error(s.accepted, s.rejects)
		}
		drain(t, srv)
	})
}

// A panic in who answers costs that connection only.
func TestPanicOfWhoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, tw, _ := faultyRig(t, func(b *pool.Batch) { b.Verdicts = b.Verdicts[:0] })
		if c := srv.Closes(); !tw.isClosed() || len(c) != 1 || c[0].Reason != ClosePanic || srv.Stats().Panics != 1 {
			t.Errorf("%+v", c)
		}
		drain(t, srv)
	})
}

func faultyRig(t *testing.T, spoil func(*pool.Batch)) (*Server, *twin, *session) {
	t.Helper()
	srv, _ := testServer(t, func(c *Config) { c.Pool = &faulty{c.Pool.(*hub), spoil} })
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	s, tw := openRig(t, srv, 1<<20)
	readAll(tw)
	is := issuedTo(s)[0]
	sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
	tw.send(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0))
	synctest.Wait()
	return srv, tw, s
}

// later is a bare Pool whose answers come from a goroutine of its own.
type later struct {
	bare
	due    chan Ruled
	posted *atomic.Uint64
}

func newLater(t *testing.T) later {
	l := later{bare{pool.RegtestScale}, make(chan Ruled, 1), new(atomic.Uint64)}
	go func() {
		for r := range l.due {
			r.Ruled()
		}
	}()
	t.Cleanup(func() { close(l.due) })
	return l
}

func (l later) Post(b *pool.Batch, r Ruled) bool {
	l.Submit(b)
	l.posted.Add(1)
	l.due <- r
	return true
}

// An idle buffer keeps neither works nor names alive.
func TestIdleDeskIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, s, _, hold, _ := heldShare(t)
		d := s.posted
		close(hold)
		synctest.Wait()
		if sub, claim := d.batch.Subs[:1][0], d.batch.Claims[:1][0]; sub.Work != nil || claim.Worker != nil {
			t.Error("a work or a name lives on in it")
		}
		drain(t, srv)
	})
}
