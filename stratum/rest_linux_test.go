package stratum

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"cordee/pool"
)

// Rigs that have work cost no goroutine, and are answered.
func TestRestingRigsHaveNoGoroutine(t *testing.T) {
	g := newGround(t, nil)
	rigs := []*sleeper{g.rests("r0")}
	before := runtime.NumGoroutine()
	for i := range 40 {
		rigs = append(rigs, g.rests(fmt.Sprint("r", i+1)))
	}
	few := func() bool { return runtime.NumGoroutine() < before+10 }
	eventually(t, "40 more rigs have fewer than 10 goroutines", few)
	for _, r := range rigs {
		r.asks()
	}
	eventually(t, "and so after a share of each", few)
	if n := g.seated(); n != len(rigs) {
		t.Errorf("%d of %d rest", n, len(rigs))
	}
}

// What a resting rig says is answered, all of it and in its order, however it is
// cut and whoever answers.
func TestRestingRigIsAnswered(t *testing.T) {
	for name, post := range map[string]func(g *ground) func(*pool.Batch, Ruled) bool{
		"later":   func(*ground) func(*pool.Batch, Ruled) bool { return nil },
		"at once": func(g *ground) func(*pool.Batch, Ruled) bool { return atOnce(g.pool.hub) },
		"aside":   func(*ground) func(*pool.Batch, Ruled) bool { return never },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, nil)
			g.pool.post = post(g)
			r := g.rests("r1")
			want := uint64(0)

			r.asks()
			want++

			var all, answers []string
			for i := range 200 {
				all, answers = append(all, r.share(i, aBlock)), append(answers, yes(i))
			}
			r.say(strings.Join(all, ""))
			r.hears(answers...)
			want += 200

			line := r.share(4, aBlock)
			for _, at := range []int{1, len(line) / 2, len(line) - 1} {
				r.say(line[:at])
				eventually(t, "the first half is read", func() bool { return r.s.halfSince.Load() != 0 })
				r.unread()
				r.say(line[at:])
				r.hears(yes(4))
				line = r.share(4, aBlock)
				want++
			}

			r.say(r.share(1, aBlock) + ping(2) + r.share(3, aBlock) + "\n" + ping(4) + ping(5) + r.share(6, aBlock) + ping(7))
			r.hears(yes(1), pong(2), yes(3), pong(4), pong(5), yes(6), pong(7))
			want += 3

			r.say(r.share(1, aBlock) + r.share(2, weak) + ping(3) + r.share(4, weak) + r.share(5, aBlock))
			r.hears(yes(1), no(2), pong(3), no(4), yes(5))
			r.say(r.share(6, weak))
			r.hears(no(6))
			want += 2

			r.say(`{"id":7,"method":"mining.authorize","params":["alpha.north.r2","x"]}` + "\n" + strings.ReplaceAll(r.share(8, aBlock), "r1", "r2"))
			r.hears(yes(7), yes(8))
			want++

			if st := g.srv.Stats(); st.Shares["accepted"] != want || g.pool.credit != 8*want || g.seated() != 1 {
				t.Errorf("%d shares of credit %d, want %d of %d, and %d rest", st.Shares["accepted"], g.pool.credit, want, 8*want, g.seated())
			}
			r.hangUp()
			g.empty()
			if c := g.srv.Closes()[0]; c.Reason != CloseHangup || c.Shares != want {
				t.Errorf("%+v", c)
			}
		})
	}
}

// hangUps are how a rig goes.
var hangUps = map[string]func(c *net.TCPConn) error{
	"close": (*net.TCPConn).Close,
	"half":  (*net.TCPConn).CloseWrite,
	"reset": func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() },
}

// A hang-up right behind a share is seen at once. No second hand runs here: nobody
// comes by and looks later.
func TestHangUpBehindAShareOfARestingRig(t *testing.T) {
	for name, hangUp := range hangUps {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, nil)
			g.srv.mu.Lock()
			g.srv.running = true // as if
			g.srv.mu.Unlock()
			for i := range 40 {
				r := g.rests("r1")
				r.say(r.share(i, aBlock))
				noError(t, hangUp(r.Conn.(*net.TCPConn)))
				if name == "half" {
					r.hears(yes(i))
					r.ended()
				}
				g.empty()
				if c := g.srv.Closes()[0]; c.Reason != CloseHangup || c.Shares != 1 && name != "reset" {
					t.Fatalf("%+v", c)
				}
			}
		})
	}
}

// The share and the hang-up are one event here, and one read leaves the end behind:
// nothing else ever comes.
func TestHangUpInOneEventWithAShare(t *testing.T) {
	g := newGround(t, nil)
	reached, goOn := g.blocked("gate", atOnce(g.pool.hub))
	gate, r := g.rests("gate"), g.rests("r1")
	gate.say(gate.share(1, aBlock))
	<-reached
	r.say(r.share(2, aBlock))
	noError(t, r.Conn.(*net.TCPConn).CloseWrite())
	came(t, r, unix.POLLRDHUP)
	if r.k.turn.Load() != turnFree {
		t.Fatal("it is read while another holds up who reads")
	}
	close(goOn)
	r.hears(yes(2))
	r.ended()
	closedAs(t, g.srv, CloseHangup)
	gate.hears(yes(1))
}

// came waits for what is to come at our end of r's connection.
func came(t *testing.T, r *sleeper, what int16) {
	t.Helper()
	eventually(t, "it came", func() bool {
		var is bool
		noError(t, r.k.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: what}}
			_, err := ignoringEINTR(func() (int, error) { return unix.Poll(fds, 0) })
			is = err == nil && fds[0].Revents&what != 0
		}))
		return is
	})
}

// Bytes behind an urgent one are no event of their own where all came together.
func TestBytesBehindAnUrgentOneOfARestingRig(t *testing.T) {
	g := newGround(t, nil)
	reached, goOn := g.blocked("gate", atOnce(g.pool.hub))
	gate, r := g.rests("gate"), g.rests("r1")
	gate.say(gate.share(1, aBlock))
	<-reached
	raw, err := r.Conn.(*net.TCPConn).SyscallConn()
	noError(t, err)
	for _, send := range []struct {
		bytes string
		flags int
	}{{r.share(2, aBlock), 0}, {"!", unix.MSG_OOB}, {r.share(3, aBlock), 0}} {
		noError(t, raw.Write(func(fd uintptr) bool {
			err = unix.Sendto(int(fd), []byte(send.bytes), send.flags, nil)
			return true
		}))
		noError(t, err)
	}
	came(t, r, unix.POLLPRI)
	close(goOn)
	r.hears(yes(2), yes(3))
}

// A rig that hangs up while its share is with the pool is gone behind its share.
func TestHangUpWhilePostedAndResting(t *testing.T) {
	for name, hangUp := range hangUps {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, nil)
			r := g.rests("r1")
			hold := g.hold()
			r.say(r.share(1, aBlock))
			g.pool.posted(t, 1)
			noError(t, hangUp(r.Conn.(*net.TCPConn)))
			eventually(t, "the hang-up is noted", func() bool { return r.k.turn.Load() == turnAgain })
			if n := g.srv.Stats().Connections; n != 1 {
				t.Errorf("%d connections: its share is under way", n)
			}
			close(hold)
			g.empty()
			if c := g.srv.Closes()[0]; c.Reason != CloseHangup || c.Shares != 1 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// hold has the pool keep what it is given until the channel is closed.
func (g *ground) hold() chan struct{} {
	hold := make(chan struct{})
	g.pool.hub.mu.Lock()
	g.pool.hub.hold = hold
	g.pool.hub.mu.Unlock()
	return hold
}

// What ends a connection from our side finds it wherever it is: at rest, with a
// share at the pool, or with one aside. Who may is answered first.
func TestEndOfARestingRig(t *testing.T) {
	ends := map[string]struct {
		end    func(g *ground, r *sleeper)
		reason CloseReason
		answer bool
	}{
		"close":    {func(_ *ground, r *sleeper) { r.s.close(CloseIdle) }, CloseIdle, false},
		"finish":   {func(_ *ground, r *sleeper) { r.s.finish(CloseNotDurable) }, CloseNotDurable, true},
		"withdraw": {func(g *ground, _ *sleeper) { g.srv.Withdraw(CloseNoTemplate) }, CloseNoTemplate, true},
		"drain":    {func(g *ground, _ *sleeper) { noError(g.t, g.srv.Drain(g.t.Context())) }, CloseDraining, true},
	}
	for name, c := range ends {
		for _, where := range []string{"at rest", "posted", "aside"} {
			t.Run(name+" "+where, func(t *testing.T) {
				g := newGround(t, nil)
				hold := g.hold()
				if where == "aside" {
					g.pool.post = never
				}
				r := g.rests("r1")
				switch where {
				case "posted":
					r.say(r.share(1, aBlock))
					g.pool.posted(t, 1)
				case "aside":
					r.say(r.share(1, aBlock))
					eventually(t, "a goroutine waits aside", func() bool { return len(stacks("(*session).aside.", "(*steered).Submit")) == 1 })
				}
				var ending sync.WaitGroup
				ending.Go(func() { c.end(g, r) })
				eventually(t, "it is to end", func() bool {
					r.s.mu.Lock()
					defer r.s.mu.Unlock()
					return r.s.ending != CloseNone || r.s.reason != CloseNone
				})
				if where != "at rest" {
					if n := g.srv.Stats().Connections; n != 1 {
						t.Errorf("%d connections: its share is under way", n)
					}
				}
				close(hold)
				if c.answer && where != "at rest" {
					r.until(`{"id":1,"result":true`)
				}
				r.ended()
				ending.Wait()
				g.empty()
				shares := uint64(1)
				if where == "at rest" {
					shares = 0
				}
				if got := g.srv.Closes(); len(got) != 1 || got[0].Reason != c.reason || got[0].Shares != shares {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// fill writes to r until its socket is full, and returns how much it is to read.
func (r *sleeper) fill(t *testing.T) (total int) {
	t.Helper()
	junk := append([]byte(strings.Repeat("x", 1023)), '\n')
	eventually(t, "its socket takes no more, and who writes waits for the watch", func() (full bool) {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		if len(r.s.box.backlog) <= r.s.srv.cfg.Limits.Outbox/2 {
			r.s.flush(junk)
			total += len(junk)
			return false
		}
		noError(t, r.k.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			space, werr := has(fd, unix.POLLOUT)
			full = err == nil && werr == nil && !space && info.Unacked == 0 && info.Notsent_bytes > 0 // its window is shut
		}))
		w := r.k.watch
		w.mu.Lock()
		defer w.mu.Unlock()
		return full && w.writers[r.k] != nil
	})
	return total
}

// A rig that did not read for a while gets all of it, and what it says meanwhile is
// answered behind that.
func TestRestingRigThatReadsLate(t *testing.T) {
	g := newGround(t, nil)
	r := g.rests("r1")
	for i := range 3 {
		total := r.fill(t)
		r.say(r.share(i, aBlock))
		eventually(t, "its share counts", func() bool { return g.srv.Stats().Shares["accepted"] == uint64(i+1) })
		n, err := io.CopyN(io.Discard, r.r, int64(total))
		if err != nil {
			t.Fatalf("%d of %d bytes: %v", n, total, err)
		}
		r.hears(yes(i))
		eventually(t, "nobody writes", func() bool {
			r.s.mu.Lock()
			defer r.s.mu.Unlock()
			return !r.s.box.writing && r.s.stalledSince.Load() == 0
		})
	}
	eventually(t, "nobody waits to write", func() bool { return len(stacks("(*session).drainOutbox")) == 0 })
}

// One that does not read at all is closed by name, and nobody waits for it any more.
func TestRestingRigThatDoesNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		reason CloseReason
		end    func(r *sleeper)
	}{
		"slow": {CloseSlowReader, func(r *sleeper) { r.s.look(r.s.srv.now() + r.s.srv.cfg.Limits.WriteStall.Milliseconds()) }},
		"full": {CloseOutboxFull, func(r *sleeper) {
			r.s.mu.Lock()
			defer r.s.mu.Unlock()
			r.s.flush(make([]byte, r.s.srv.cfg.Limits.Outbox+1))
		}},
		"ours":  {CloseIdle, func(r *sleeper) { r.s.close(CloseIdle) }},
		"reset": {CloseHangup, func(r *sleeper) { noError(r.t, hangUps["reset"](r.Conn.(*net.TCPConn))) }},
		"half":  {CloseHangup, func(r *sleeper) { noError(r.t, hangUps["half"](r.Conn.(*net.TCPConn))) }}, // our socket is closed and never shut
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t, nil)
			r := g.rests("r1")
			r.fill(t)
			c.end(r)
			closedAs(t, g.srv, c.reason)
			g.empty()
			w := g.srv.watch
			eventually(t, "nobody waits to write", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.writers) == 0 && len(stacks("(*session).drainOutbox")) == 0
			})
		})
	}
}
