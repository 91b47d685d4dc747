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
		if got := c.enter(s, netip.MustParseAddr(addr), 1); got != want {
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
			if c.enter(s, netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(3)), byte(rng.IntN(3))}), 1) == CloseNone {
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

// An address whose connections keep ending without work is slowed down by name,
// to one every 32 ms, and its network to one every 8. Nobody else is, and it is
// forgotten once that ends.
func TestLoopIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 50
		srv, _ := testServer(t, func(c *Config) { c.Caps = Caps{Strangers: 20, Workless: most} })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		comeAndGo := func(addr string) bool {
			s, tw := enterFrom(srv, addr, Door{})
			if s == nil {
				return false
			}
			tw.send(saySubscribe)
			tw.hangUp()
			synctest.Wait()
			return true
		}
		in := 0
		for range 10 * most {
			if comeAndGo("203.0.113.7:1") {
				in++
			}
		}
		if n := srv.Stats().Closed["reconnect_loop"]; in != most || n != 9*most {
			t.Errorf("%d got in at once, %d were refused", in, n)
		}
		in = 0
		for range 10 * 1000 { // ten seconds
			time.Sleep(time.Millisecond)
			if comeAndGo("203.0.113.7:1") {
				in++
			}
		}
		if in < 310 || in > 314 {
			t.Errorf("%d got in within ten seconds", in)
		}
		for addr, want := range map[string]bool{"203.0.113.8:1": true, "203.0.114.7:1": true, "127.0.0.1:1": true} {
			if comeAndGo(addr) != want {
				t.Errorf("%s: let in %t", addr, !want)
			}
		}
		in = 0 // by turns from other addresses of a network
		for i := range 10 * 250 * 4 {
			if comeAndGo(fmt.Sprintf("198.51.100.%d:1", i%250)) {
				in++
			}
		}
		if in != 4*most {
			t.Errorf("%d of a network got in at once", in)
		}
		// A rig of the looping address gets in at its next try, and owes nothing.
		_, rig := enterFrom(srv, "203.0.113.7:2", Door{})
		for range 100 {
			if rig.send(saySubscribe + sayAuthorize); !rig.isClosed() {
				break
			}
			time.Sleep(time.Millisecond)
			_, rig = enterFrom(srv, "203.0.113.7:2", Door{})
		}
		synctest.Wait()
		said, _ := rig.recv()
		mustHave(t, said, "mining.notify")
		rig.hangUp()
		time.Sleep(5 * time.Second)
		drain(t, srv)
		if n := len(srv.crowd.debts); n != 0 {
			t.Errorf("%d debts are kept of those who paid: %v", n, srv.crowd.debts)
		}
	})
}

// A farm of 2 000 that comes back at once, again and again, owes nothing, however
// small the bound; nor does one behind a loop of its own for long.
func TestFarmIsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, func(c *Config) { c.Caps = Caps{Strangers: 512, PerAddress: 4096, PerNetwork: 8192, Workless: 1024} })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		for range 5 {
			var farm []*twin
			for i := range 2000 {
				s, tw := enterFrom(srv, fmt.Sprintf("203.0.113.7:%d", 1000+i), Door{})
				if s == nil {
					t.Fatalf("rig %d was refused: %v", i, srv.Closes()[0].Reason)
				}
				tw.send(saySubscribe + sayAuthorize)
				if i%500 == 499 {
					synctest.Wait()
				}
				farm = append(farm, tw)
			}
			synctest.Wait()
			if n := srv.Stats().Working; n != 2000 {
				t.Fatalf("%d rigs work", n)
			}
			for _, tw := range farm {
				tw.hangUp()
			}
			synctest.Wait()
		}
		drain(t, srv)
	})
}

// What is kept is bounded, whatever comes from wherever.
func TestDebtsAreBounded(t *testing.T) {
	c := crowd{caps: Caps{Workless: 2}}
	for i := range uint32(3 * maxDebts) {
		s := &seat{}
		a := netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}) // each of a network of its own
		if got := c.enter(s, a, 1); got != CloseNone {
			t.Fatalf("%v: %v", a, got)
		}
		c.leave(s)
	}
	if len(c.debts) != maxDebts || len(c.here) != 0 {
		t.Errorf("%d debts", len(c.debts))
	}
	c.forget(1 + worklessMillis/4)
	if n := len(c.debts); n != maxDebts/2 {
		t.Errorf("%d debts once networks have paid", n)
	}
	c.forget(1 + worklessMillis)
	if len(c.debts) != 0 {
		t.Errorf("%d debts in the end", len(c.debts))
	}
	// Room that was refused for another reason costs nothing.
	for range 5 {
		s := &seat{}
		if got := c.enter(s, netip.AddrFrom4([4]byte{10, 0, 0, 1}), 1); got != CloseNone {
			t.Fatal(got)
		}
		c.settle(s)
		c.leave(s)
	}
}
