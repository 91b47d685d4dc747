package stratum

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever looks at the pool's page has the counters read once a second: that must
// not cost an allocation for each rig. What they say of all rigs is what the list
// says of each.
func TestStatsOfManyRigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		stats := func() { _ = srv.Stats() }
		openRig(t, srv, 1<<16)
		one := testing.AllocsPerRun(1000, stats)
		for range 2 {
			s, tw := openRig(t, srv, 1<<16)
			is := issuedTo(s)[0]
			sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
			tw.send(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0))
			time.Sleep(time.Minute)
		}
		for range 296 {
			openRig(t, srv, 1<<16)
		}
		enterFrom(srv, "192.0.2.9:1", Door{}) // and says nothing
		if many := testing.AllocsPerRun(1000, stats); many != one {
			t.Errorf("%g allocations with 300 connections, %g with one", many, one)
		}
		sum, mining := 0.0, 0
		for _, r := range srv.Rigs() {
			if sum += r.Hashrate; r.Hashrate > 0 {
				mining++
			}
		}
		st := srv.Stats()
		if mining != 2 || math.Abs(st.Hashrate/sum-1) > 1e-9 {
			t.Errorf("hashrate is %g, that of %d rigs %g", st.Hashrate, mining, sum)
		}
		if st.Connections != 300 || st.Working != 299 {
			t.Errorf("%d connections, %d working", st.Connections, st.Working)
		}
		drain(t, srv)
	})
}
