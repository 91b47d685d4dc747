package stratum

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// enterFrom opens a connection from addr.
func enterFrom(srv *Server, addr string, door Door) (*session, *twin) {
	tw := newTwin(1 << 20)
	tw.remote = addr
	return srv.enter(tw, door), tw
}

// Twice as many strangers as may be: the rest is refused by name, and a rig
// from elsewhere, and one from the same address once some have left, gets in.
func TestStrangersOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, func(c *Config) { c.Caps = Caps{Strangers: 50, PerAddress: 200, PerNetwork: 300} })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		in := 0
		for i := range 100 {
			if s, _ := enterFrom(srv, fmt.Sprintf("203.0.113.7:%d", 1000+i), Door{}); s != nil {
				in++
			}
		}
		if n := srv.Stats().Closed["too_many_strangers"]; in != 50 || n != 50 {
			t.Errorf("%d got in, %d were refused", in, n)
		}
		_, other := enterFrom(srv, "203.0.113.8:1", Door{})
		other.send(saySubscribe + sayAuthorize)
		synctest.Wait()
		said, _ := other.recv()
		mustHave(t, said, "mining.notify")
		time.Sleep(31 * time.Second) // the strangers were late
		_, same := enterFrom(srv, "203.0.113.7:9", Door{})
		same.send(saySubscribe + sayAuthorize)
		synctest.Wait()
		said, _ = same.recv()
		mustHave(t, said, "mining.notify")
		drain(t, srv)
		if len(srv.crowd.here) != 0 {
			t.Errorf("%v is kept of those who left", srv.crowd.here)
		}
	})
}

// A farm behind one address comes back at once: its rigs are bounded by the
// large cap only, for each makes room among the strangers when it has work.
func TestFarmBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, func(c *Config) { c.Caps = Caps{Strangers: 50, PerAddress: 2000, PerNetwork: 2100} })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		for i := range 2000 {
			s, tw := enterFrom(srv, fmt.Sprintf("203.0.113.7:%d", 1000+i), Door{})
			if s == nil {
				t.Fatalf("rig %d was refused: %v", i, srv.Closes()[0])
			}
			tw.send(saySubscribe + sayAuthorize)
			if i%40 == 39 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if n := srv.Stats().Working; n != 2000 {
			t.Errorf("%d rigs work", n)
		}
		for addr, want := range map[string]CloseReason{
			"203.0.113.7:1": CloseAddressFull, "203.0.113.8:1": CloseNone, "203.0.114.1:1": CloseNone, "127.0.0.1:1": CloseNone,
		} {
			if s, _ := enterFrom(srv, addr, Door{}); (s == nil) != (want != CloseNone) || s == nil && srv.Closes()[0].Reason != want {
				t.Errorf("%s: let in %t, want %v", addr, s != nil, want)
			}
		}
		drain(t, srv)
	})
}

func TestCrowd(t *testing.T) {
	c := crowd{caps: Caps{Strangers: 2, PerAddress: 3, PerNetwork: 4, Trusted: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}
	var seats []*seat
	enter := func(addr string, rig bool, want CloseReason) {
		t.Helper()
		s := &seat{}
		if got := c.enter(s, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
		if rig {
			c.settle(s)
		}
		seats = append(seats, s)
	}
	enter("192.0.2.1", false, CloseNone)
	enter("192.0.2.1", false, CloseNone)
	enter("192.0.2.1", false, CloseStrangers)
	c.settle(seats[0])
	c.settle(seats[0]) // counts once
	enter("::ffff:192.0.2.1", true, CloseNone)
	enter("192.0.2.1", false, CloseAddressFull)
	enter("192.0.2.200", true, CloseNone)
	enter("192.0.2.201", true, CloseNetworkFull)
	enter("192.0.3.1", true, CloseNone)
	// One customer has a /64, one site a /56.
	enter("2001:db8:0:100::1", false, CloseNone)
	enter("2001:db8:0:100:ffff::1", false, CloseNone)
	enter("2001:db8:0:100:aaaa::1", false, CloseStrangers)
	enter("2001:db8:0:101::1", true, CloseNone)
	enter("2001:db8:0:102::1", true, CloseNone)
	enter("2001:db8:0:1ff::1", true, CloseNetworkFull)
	enter("2001:db8:0:200::1", true, CloseNone)
	for range 10 {
		enter("198.51.100.9", false, CloseNone)
	}
	for _, s := range seats {
		c.leave(s)
		c.leave(s)
	}
	if len(c.here) != 0 {
		t.Errorf("kept: %v", c.here)
	}
}

// However connections come, get work and go, the counts are those of a walk over
// all seats, and none is above its cap.
func TestCrowdCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	caps := Caps{Strangers: 3, PerAddress: 5, PerNetwork: 9}
	c := crowd{caps: caps}
	var seats []*seat
	for range 20_000 {
		switch k := rng.IntN(3); {
		case k == 0 || len(seats) == 0:
			s := &seat{}
			if c.enter(s, netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(3)), byte(rng.IntN(3))})) == CloseNone {
				seats = append(seats, s)
			}
		case k == 1:
			c.settle(seats[rng.IntN(len(seats))])
		default:
			i := rng.IntN(len(seats))
			c.leave(seats[i])
			seats = slices.Delete(seats, i, i+1)
		}
		want := map[netip.Prefix]tally{}
		for _, s := range seats {
			a, n := around(s.addr)
			for _, p := range []netip.Prefix{a, n} {
				x := want[p]
				x.all++
				if s.stranger {
					x.strangers++
				}
				want[p] = x
			}
		}
		if len(want) != len(c.here) {
			t.Fatalf("%v, want %v", c.here, want)
		}
		for p, x := range want {
			over := x.all > caps.PerNetwork || p.Bits() == 32 && (x.all > caps.PerAddress || x.strangers > caps.Strangers)
			if c.here[p] != x || over {
				t.Fatalf("%v: %v, want %v", p, c.here[p], x)
			}
		}
	}
}
