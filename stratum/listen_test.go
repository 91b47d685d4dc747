package stratum

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// refusesConnections waits until addr has no open port.
func refusesConnections(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
		c, err := net.Dial("tcp", addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = c.Close()
		}
	}
	t.Fatal("the port stays open")
}

// Without work there is no open port, so that rigs fail over at once; with work
// there is one again, on the same address, even if that takes some tries.
func TestListenerClosesWithoutWork(t *testing.T) {
	var log lockedBuffer
	srv, _ := testServer(t, func(c *Config) { c.Log = zerolog.New(&log) })
	var addr string
	var fails atomic.Int32
	fails.Store(2)
	door := Door{Reopen: func() (net.Listener, error) {
		if fails.Add(-1) >= 0 {
			return nil, syscall.EADDRINUSE
		}
		return net.Listen("tcp", addr)
	}}
	addr = listenDoor(t, srv, door)
	for round := range uint32(3) {
		srv.Publish(jobSet(testJob(t, 1, 2*round+1, 4096)))
		var r *rig
		for deadline := time.Now().Add(time.Minute); r == nil; runtime.Gosched() {
			if c, err := net.Dial("tcp", addr); err == nil {
				_ = c.Close()
				r = dial(t, addr)
			} else if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		r.say(saySubscribe + sayAuthorize)
		r.until(`"method":"mining.notify"`)
		srv.Withdraw(CloseNoTemplate)
		r.ended()
		refusesConnections(t, addr)
		srv.Withdraw(CloseNoTemplate) // twice is as good as once
	}
	for _, event := range []string{"listener.closed", "listener.open", "listener.failed"} {
		mustHave(t, log.String(), `"event":"`+event+`"`)
	}
	srv.Publish(jobSet(testJob(t, 1, 100, 4096))) // and is drained while it opens
}

// A server that is withdrawn when it ends does not wait for work.
func TestDrainWithoutWork(t *testing.T) {
	srv, _ := testServer(t, nil)
	addr := listenDoor(t, srv, Door{Reopen: func() (net.Listener, error) { return nil, errors.New("asked for") }})
	refusesAfter := dial(t, addr)
	refusesAfter.say(saySubscribe)
	refusesAfter.until(`"id":2,`)
	srv.Withdraw(CloseNoTemplate)
	refusesConnections(t, addr)
}

// The header counts for the address that is shown and for what is bounded by
// it; a network that must send one and does not is turned away, and a header
// from elsewhere is nothing but bad Stratum.
func TestProxyHeader(t *testing.T) {
	loopback := Door{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	t.Run("rigs", func(t *testing.T) {
		srv, _ := testServer(t, func(c *Config) { c.Caps.PerAddress = 1 })
		addr := listenDoor(t, srv, loopback)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		for _, header := range []string{
			"PROXY TCP4 203.0.113.7 10.0.0.1 40000 3333\r\n",
			"PROXY TCP6 2001:db8::7 2001:db8::1 40000 3333\r\n",
			"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0f\xcb\x00\x71\x09\x0a\x00\x00\x01\x9c\x40\x0d\x05\x04\x00\x00",
			"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
		} {
			r := dial(t, addr)
			for _, b := range []byte(header) {
				r.say(string([]byte{b}))
			}
			r.say(saySubscribe + sayAuthorize)
			r.until(`"method":"mining.notify"`)
		}
		shown := map[string]bool{}
		for _, r := range srv.Rigs() {
			host, _, _ := strings.Cut(r.Remote, ":4")
			shown[host] = true
		}
		for _, want := range []string{"203.0.113.7", "[2001:db8::7]", "203.0.113.9"} {
			if !shown[want] {
				t.Errorf("no rig is at %s: %v", want, shown)
			}
		}
		again := dial(t, addr)
		again.say("PROXY TCP4 203.0.113.7 10.0.0.1 40001 3333\r\n" + saySubscribe)
		again.ended()
		closedAs(t, srv, CloseAddressFull)
	})
	for name, c := range map[string]struct {
		door   Door
		send   string
		reason CloseReason
	}{
		"missing":   {loopback, saySubscribe, CloseBadProxy},
		"silent":    {loopback, "", CloseBadProxy},
		"half":      {loopback, "PROXY TCP4 203.0", CloseBadProxy},
		"forged":    {Door{}, "PROXY TCP4 203.0.113.7 10.0.0.1 40000 3333\r\n" + saySubscribe, CloseBadLine},
		"elsewhere": {Door{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "PROXY UNKNOWN\r\n", CloseBadLine},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := testServer(t, func(c *Config) { c.Limits.Greeting = time.Second })
			r := dial(t, listenDoor(t, srv, c.door))
			r.say(c.send)
			r.ended()
			closedAs(t, srv, c.reason)
		})
	}
	t.Run("health check", func(t *testing.T) {
		srv, _ := testServer(t, nil)
		_ = dial(t, listenDoor(t, srv, loopback)).Close()
		closedAs(t, srv, CloseHangup)
	})
}

// A process that has used up its files goes on accepting once it has some, and
// says so in few lines.
func TestAcceptSurvivesRealEMFILE(t *testing.T) {
	if os.Getenv("CORDEE_TEST_EMFILE") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAcceptSurvivesRealEMFILE$", "-test.v")
		cmd.Env = append(os.Environ(), "CORDEE_TEST_EMFILE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "survived") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Skip(err)
	}
	var log lockedBuffer
	srv, _ := testServer(t, func(c *Config) { c.Log = zerolog.New(&log) })
	addr := listen(t, srv)
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	r := dial(t, addr) // its file is there, the server's will not be
	var fill []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fill = append(fill, f)
	}
	_ = fill[0].Close() // one for a client, none for the server
	waiting := dial(t, addr)
	for deadline := time.Now().Add(time.Minute); srv.Stats().AcceptFails == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("no accept failed")
		}
	}
	for _, f := range fill[1:] {
		_ = f.Close()
	}
	for _, c := range []*rig{r, waiting, dial(t, addr)} {
		c.say(saySubscribe + sayAuthorize)
		c.until(`"method":"mining.notify"`)
	}
	mustHave(t, log.String(), "conn.accept_error")
	t.Log("survived", srv.Stats().AcceptFails)
}

// failing is a listener that the machine refuses connections from.
type failing struct {
	net.Listener
	left atomic.Int32
	err  error
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: l.err}
	}
	return nil, net.ErrClosed
}

// Errors of accept, as many as there may be, fill no log.
func TestAcceptErrorsDoNotFloodTheLog(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS} {
		synctest.Test(t, func(t *testing.T) {
			var log lockedBuffer
			srv, _ := testServer(t, func(c *Config) { c.Log = zerolog.New(&log) })
			l := &failing{Listener: nowhere{}, err: errno}
			l.left.Store(5000) // more than an hour, at one a second
			if err := srv.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			if n := srv.Stats().AcceptFails; n != 5000 {
				t.Errorf("%d errors survived", n)
			}
			if lines := strings.Count(log.String(), "\n"); lines < 80 || lines > 100 || !strings.Contains(log.String(), `"unsaid":59`) {
				t.Errorf("%d lines in %d min", lines, 5000/60)
			}
			drain(t, srv)
		})
	}
}

// nowhere is a listener without a socket.
type nowhere struct{ net.Listener }

func (nowhere) Close() error   { return nil }
func (nowhere) Addr() net.Addr { return &net.TCPAddr{} }

// Rigs are asked to leave one after the other, not all at once, and a server
// without many is gone at once.
func TestDrainIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, func(c *Config) { c.Limits.DrainSpread = 200 * time.Millisecond })
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		var rigs []*twin
		for range 400 {
			_, tw := openRig(t, srv, 1<<20)
			tw.recv()
			rigs = append(rigs, tw)
		}
		done := make(chan error, 1)
		go func() { done <- srv.Drain(context.Background()) }()
		told := 0
		for range 5 {
			time.Sleep(40 * time.Millisecond)
			synctest.Wait()
			now := 0
			for _, tw := range rigs {
				tw.mu.Lock()
				if strings.Contains(string(tw.out), "client.reconnect") {
					now++
				}
				tw.mu.Unlock()
			}
			if now-told < 40 || now-told > 120 {
				t.Errorf("%d of 400 rigs were told within 40 ms", now-told)
			}
			told = now
		}
		for _, tw := range rigs {
			tw.hangUp()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
