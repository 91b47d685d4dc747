package stratum

import (
	"testing"
	"testing/synctest"
	"time"
)

// The time in which a rig is not read because of us, at a slow disk and then in a
// pause, is no time in which it leaves a line unfinished.
func TestHalfLineBehindASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hub := testServer(t, func(c *Config) { c.Limits.Request = 5 * time.Second })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		time.Sleep(time.Minute) // what it said so far is paid for
		is := issuedTo(s)[0]
		sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		hold := make(chan struct{})
		hub.mu.Lock()
		hub.hold = hold
		hub.mu.Unlock()
		const ping, half = `{"id":5,"method":"mining.ping","params":[]}` + "\n", `{"id":6,`
		tw.send(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0) + ping + ping + half)
		synctest.Wait()
		tw.send(`"method":"mining.ping","params":[]}` + "\n")
		time.Sleep(8 * time.Second)
		close(hold)
		time.Sleep(longestPause*time.Millisecond + time.Second)
		synctest.Wait()
		if tw.isClosed() {
			t.Error("closed, and its line was there all the time:", srv.Closes())
		}
		drain(t, srv)
	})
}
