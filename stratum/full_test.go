package stratum

import (
	"testing"
	"testing/synctest"
	"time"
)

// Strangers who hold every connection keep no rig out: the oldest of them goes
// for it. A rig that works is never closed for a newcomer.
func TestStrangersKeepNoRigOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, func(c *Config) { c.MaxConns = 100 })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		_, first := openRig(t, srv, 1<<20)
		var crowd []*twin
		for range 10_000 {
			tw := newTwin(1 << 20)
			srv.enter(tw, Door{})
			crowd = append(crowd, tw)
			if len(crowd)%100 == 0 {
				synctest.Wait()
			}
		}
		if n := srv.Stats().Connections; n > 100+maxLeaving {
			t.Errorf("%d connections, %d allowed", n, 100)
		}
		if n := srv.young.Len(); n > 100+maxLeaving {
			t.Errorf("%d newcomers are noted", n)
		}
		rig := newTwin(1 << 20)
		if s := srv.enter(rig, Door{}); s == nil {
			t.Fatal("the rig was refused")
		}
		rig.send(saySubscribe + sayAuthorize)
		synctest.Wait()
		said, _ := rig.recv()
		mustHave(t, said, "mining.notify")
		if first.isClosed() {
			t.Error("a working rig was closed for newcomers")
		}
		if got := srv.Closes()[0].Reason; got != CloseServerFull {
			t.Errorf("closed as %v", got)
		}
		time.Sleep(31 * time.Second) // the rest of the crowd was late
		if n := srv.Stats().Connections; n != 2 {
			t.Errorf("%d connections", n)
		}
		for range 98 {
			openRig(t, srv, 1<<20)
		}
		if srv.enter(newTwin(1<<20), Door{}) != nil {
			t.Error("a newcomer where only rigs work")
		}
		drain(t, srv)
	})
}
