package stratum

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"cordee/pool"
)

// A rig that waits for the journal, or for its name, stops nobody else.
func TestRestingRigThatWaitsStopsNobody(t *testing.T) {
	g := newGround(t, nil)
	hold := make(chan struct{})
	waiting := make(chan struct{}, 2)
	wait := func() {
		waiting <- struct{}{}
		<-hold
	}
	g.pool.post = func(b *pool.Batch, r Ruled) bool {
		if strings.HasSuffix(of(b), "slow") {
			return false
		}
		return g.pool.hub.Post(b, r)
	}
	g.pool.submit = func(b *pool.Batch) {
		if strings.HasSuffix(of(b), "slow") {
			wait()
		}
	}
	g.pool.authorize = func(user string) {
		if strings.HasSuffix(user, "unknown") {
			wait()
		}
	}
	slow, asks := g.rests("slow"), g.rests("asks")
	others := []*sleeper{g.rests("r1"), g.rests("r2")}
	slow.say(slow.share(1, aBlock))
	asks.say(asks.share(1, aBlock) + `{"id":2,"method":"mining.authorize","params":["alpha.north.unknown","x"]}` + "\n" + asks.share(3, aBlock))
	<-waiting
	<-waiting
	for range 5 {
		for _, r := range others {
			r.asks()
		}
	}
	slow.say(slow.share(2, aBlock))
	asks.say(ping(4))
	others = append(others, g.rests("r3")) // newcomers neither
	others[2].asks()
	close(hold)
	slow.hears(yes(1), yes(2))
	asks.hears(yes(1), yes(2), yes(3), pong(4))
}

// A panic costs the connection that it came with: in who posts, in who waits aside,
// in who answers, and with a line of its own.
func TestPanicOfARestingRig(t *testing.T) {
	boom := func(b *pool.Batch) {
		if strings.HasSuffix(of(b), "bad") {
			panic("asked to")
		}
	}
	due := make(chan Ruled, 1)
	for name, c := range map[string]struct {
		post   func(g *ground, b *pool.Batch, r Ruled) bool
		submit func(b *pool.Batch)
		line   string // instead of a share
	}{
		"post":   {post: func(g *ground, b *pool.Batch, r Ruled) bool { boom(b); return g.pool.hub.Post(b, r) }},
		"submit": {post: func(_ *ground, b *pool.Batch, r Ruled) bool { return never(b, r) }, submit: boom},
		"ruled": {post: func(g *ground, b *pool.Batch, r Ruled) bool {
			if strings.HasSuffix(of(b), "bad") {
				due <- r // and there is no verdict
				return true
			}
			return g.pool.hub.Post(b, r)
		}},
		"line": {line: `{"id":9,"method":"mining.authorize","params":["panic","x"]}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, nil)
			g.pool.submit = c.submit
			if c.post != nil {
				g.pool.post = func(b *pool.Batch, r Ruled) bool { return c.post(g, b, r) }
			}
			good := g.rests("good")
			for range 3 {
				bad := g.rests("bad")
				line := c.line
				if line == "" {
					line = bad.share(1, aBlock)
				}
				bad.say(line)
				if name == "ruled" {
					r := <-due
					bad.say(ping(2))
					eventually(t, "there is more to read", func() bool { return bad.k.turn.Load() == turnAgain })
					r.Ruled()
				}
				bad.ended()
			}
			eventually(t, "three are gone", func() bool { return len(g.srv.Closes()) == 3 && g.seated() == 1 })
			for _, c := range g.srv.Closes() {
				if c.Reason != ClosePanic {
					t.Errorf("%+v", c)
				}
			}
			if n := g.srv.Stats().Panics; n != 3 {
				t.Errorf("%d panics", n)
			}
			good.asks()
		})
	}
}

// Rigs that come, rest and go in any way leave nothing behind.
func TestRestingRigsLeaveNothing(t *testing.T) {
	before := openFiles(t)
	g := newGround(t, func(c *Config) { c.Caps = Caps{PerAddress: 100, Strangers: 100} })
	g.rests("first").hangUp()
	g.empty()
	ways := []func(r *sleeper){
		func(r *sleeper) { r.hangUp() },
		func(r *sleeper) { noError(t, hangUps["half"](r.Conn.(*net.TCPConn))); r.ended(); r.hangUp() },
		func(r *sleeper) { noError(t, hangUps["reset"](r.Conn.(*net.TCPConn))) },
		func(r *sleeper) { r.say(r.share(1, aBlock)); r.hangUp() },
		func(r *sleeper) { r.say(r.share(1, aBlock) + ping(2)); r.hangUp() },
		func(r *sleeper) { r.s.close(CloseIdle); r.ended(); r.hangUp() },
		func(r *sleeper) { r.say("no line\n"); r.ended(); r.hangUp() },
		func(r *sleeper) { // while somebody waits to write to it
			r.s.mu.Lock()
			for !r.s.box.writing {
				r.s.flush(make([]byte, 1024))
			}
			r.s.mu.Unlock()
			r.hangUp()
		},
	}
	const rounds = 40
	for round := range rounds {
		rigs := make([]*sleeper, len(ways))
		for i := range rigs {
			rigs[i] = g.rests(fmt.Sprint("r", i))
		}
		for i, way := range ways {
			way(rigs[(i+round)%len(ways)])
		}
	}
	g.empty()
	noError(t, g.srv.Drain(t.Context()))
	if n := len(g.srv.watch.seats); n > 2*len(ways) {
		t.Errorf("%d seats for %d rigs at once", n, len(ways))
	}
	for i := range uint32(1 + rounds*len(ways)) {
		if g.srv.nonces.live.has(i) || !g.srv.nonces.freed.has(i) {
			t.Fatal("extranonce1 was not given back", i)
		}
	}
	g.srv.crowd.mu.Lock()
	if n := len(g.srv.crowd.here); n != 0 {
		t.Errorf("%d addresses are counted", n)
	}
	g.srv.crowd.mu.Unlock()
	if left, st := g.pool.left.Load(), g.srv.Stats(); left != 1+rounds*int64(len(ways)) || uint64(left) != st.Opened {
		t.Errorf("%d of %d workers left", left, st.Opened)
	}
	eventually(t, "as many files are open as before", func() bool { return openFiles(t) <= before })
}

// A rig that the watch cannot take keeps its goroutine, and what it asks for is
// answered each time that it would rest and cannot.
func TestRigThatCannotRest(t *testing.T) {
	g := newGround(t, nil)
	w, err := newWatch()
	noError(t, err)
	w.close() // the kernel refuses each socket
	g.srv.mu.Lock()
	g.srv.watch, g.srv.watched = w, true
	g.srv.mu.Unlock()
	r := g.works("r1")
	before := openFiles(t)
	for range 20 {
		r.asks()
	}
	r.say(r.share(1, aBlock) + ping(2) + r.share(3, weak))
	r.hears(yes(1), pong(2), no(3))
	if n := g.seated(); n != 0 {
		t.Errorf("%d rest", n)
	}
	eventually(t, "no descriptor is left of a try", func() bool { return openFiles(t) <= before })
	r.hangUp()
	closedAs(t, g.srv, CloseHangup)
}

// Where there is no watch at all each rig keeps its goroutine.
func TestNoWatch(t *testing.T) {
	var log lockedBuffer
	g := newGround(t, func(c *Config) { c.Log = c.Log.Output(&log) })
	conn := g.pipe()
	restore := fewFiles(t, 0)
	g.srv.admit(conn, Door{})
	restore()
	mustHave(t, log.String(), `"event":"watch.failed"`)
	for _, name := range []string{"r1", "r2"} {
		r := g.works(name)
		r.asks()
		r.say(r.share(1, aBlock) + ping(2))
		r.hears(yes(1), pong(2))
		if len(stacks("(*tcpConn).Serve")) == 0 {
			t.Error("nobody serves it")
		}
		r.hangUp()
	}
	if g.srv.watch != nil {
		t.Error("there is a watch")
	}
}

// pipe returns our end of a connection that no door let in.
func (g *ground) pipe() net.Conn {
	g.t.Helper()
	c, _ := pair(g.t)
	return c.nc
}

// A drained server has no watch left.
func TestDrainEndsTheWatch(t *testing.T) {
	g := newGround(t, nil)
	r := g.rests("r1")
	r.asks()
	noError(t, g.srv.Drain(t.Context()))
	if found := stacks("(*watch).run"); len(found) != 0 {
		t.Errorf("it runs: %s", found[0])
	}
	r.ended()
	g.empty()
}

// A share that does not come back keeps its connection, and the watch, until it
// does. Drain does not wait for it when its time is over.
func TestDrainWithoutAVerdict(t *testing.T) {
	for _, where := range []string{"posted", "aside"} {
		t.Run(where, func(t *testing.T) {
			g := newGround(t, nil)
			hold := g.hold()
			if where == "aside" {
				g.pool.post = never
			}
			r, idle := g.rests("r1"), g.rests("r2")
			r.say(r.share(1, aBlock))
			eventually(t, "it is under way", func() bool { return len(stacks("(*hub).kept")) == 1 })
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := g.srv.Drain(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Drain: %v", err)
			}
			idle.ended()
			eventually(t, "one is left", func() bool { return g.srv.Stats().Connections == 1 && g.seated() == 1 })
			if len(stacks("(*watch).run")) != 1 {
				t.Error("the watch ended before its socket")
			}
			close(hold)
			r.ended()
			g.empty()
			g.srv.watching.Wait()
			for _, c := range g.srv.Closes() {
				if c.Reason != CloseDraining {
					t.Errorf("%+v", c)
				}
			}
			if n := g.srv.Stats().Shares["accepted"]; n != 1 {
				t.Errorf("%d shares count", n)
			}
		})
	}
}

// A rig that sends too much waits aside, whatever it sends too much of, and is gone
// at once when it is closed meanwhile.
func TestThrottledRigWaitsAside(t *testing.T) {
	for what, far := range map[string]func(m *manners, due int64){
		"shares": func(m *manners, due int64) { m.shares.due = due },
		"others": func(m *manners, due int64) { m.others.due = due },
		"blanks": func(m *manners, due int64) { m.others.due = due },
	} {
		t.Run(what, func(t *testing.T) {
			g := newGround(t, nil)
			r, other := g.rests("r1"), g.rests("r2")
			eventually(t, "the test has the turn", r.k.take)
			far(&r.s.manners, 1<<40)
			r.s.goOn(r.k)
			if what == "blanks" {
				r.say("\n") // nothing to rule on
			} else {
				r.say(r.share(1, weak))
				r.hears(no(1))
			}
			eventually(t, "it breathes", func() bool { return len(stacks("(*session).breathe")) == 1 })
			if on := stacks("(*session).breathe", "(*watch).run"); len(on) != 0 {
				t.Errorf("and the watch with it: %s", on[0])
			}
			other.asks()
			r.say(ping(2)) // waits in the socket
			r.s.close(CloseIdle)
			r.ended()
			closedAs(t, g.srv, CloseIdle)
			other.asks()
			eventually(t, "one is left", func() bool { return g.seated() == 1 })
		})
	}
}
