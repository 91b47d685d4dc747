package stratum

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// listen serves srv on loopback until the test ends.
func listen(t *testing.T, srv *Server) string {
	t.Helper()
	return listenDoor(t, srv, Door{})
}

// listenDoor is listen by a door of its own.
func listenDoor(t *testing.T, srv *Server, door Door) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeDoor(t.Context(), ln, door) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Drain(ctx); err != nil {
			t.Error("drain:", err)
		}
		if err := <-served; err != nil {
			t.Error("serve:", err)
		}
	})
	return ln.Addr().String()
}

// rig is a plain client.
type rig struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *rig {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &rig{t, c, bufio.NewReaderSize(c, 64<<10)}
}

func (r *rig) say(s string) {
	r.t.Helper()
	if _, err := io.WriteString(r, s); err != nil {
		r.t.Fatal(err)
	}
}

// until reads lines until one contains part, and returns it.
func (r *rig) until(part string) string {
	r.t.Helper()
	for {
		l, err := r.r.ReadString('\n')
		if err != nil {
			r.t.Fatalf("waiting for %q: %v", part, err)
		}
		if strings.Contains(l, part) {
			return l
		}
	}
}

// ended waits for the server's close.
func (r *rig) ended() {
	r.t.Helper()
	if _, err := io.Copy(io.Discard, r.r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		r.t.Fatal("not closed:", err)
	}
}

// closedAs waits for a close by name. The rig sees its end before the list
// does, so it asks again and again, up to a minute.
func closedAs(t *testing.T, srv *Server, reason CloseReason) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
		if srv.Stats().Closed[reason.String()] > 0 {
			return
		}
	}
	t.Fatalf("no close as %s: %v", reason, srv.Closes())
}

// What strangers send ends their connection by name, and an honest rig beside
// them notices nothing.
func TestHostile(t *testing.T) {
	for name, c := range map[string]struct {
		send   string
		reason CloseReason
	}{
		"garbage":    {"\x00\xff\xfe\x16\x03\x01\n", CloseBadLine},
		"http":       {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CloseBadLine},
		"1 MB line":  {strings.Repeat("a", 1<<20), CloseLongLine},
		"4 KiB line": {`{"id":1,"x":"` + strings.Repeat("a", 4<<10) + "\"}\n", CloseLongLine},
		"bomb":       {strings.Repeat("[", 4000) + "\n", CloseBadLine},
		"deep":       {`{"id":1,"params":[` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500) + "]}\n", CloseBadLine},
		"quotes":     {`{"id":1,"method":"mining.authorize","params":["a"b""c\","x"]}` + "\n", CloseBadLine},
		"batch":      {`[{"id":1,"method":"mining.subscribe"}]` + "\n", CloseBadLine},
		"long id":    {`{"id":"` + strings.Repeat("9", 65) + `","method":"mining.subscribe"}` + "\n", CloseBadLine},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := testServer(t, nil)
			addr := listen(t, srv)
			srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
			honest := dial(t, addr)
			honest.say(saySubscribe + sayAuthorize)
			honest.until(`"method":"mining.notify"`)

			bad := dial(t, addr)
			_, _ = io.WriteString(bad, c.send) // the server may close before it is through
			bad.ended()
			closedAs(t, srv, c.reason)

			srv.Publish(jobSet(testJob(t, 1, 2, 4096)))
			mustHave(t, honest.until(`"method":"mining.notify"`), `"0000000200"`)
		})
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Mistakes that are no attack are answered, and the connection lives.
func TestForgiven(t *testing.T) {
	var log lockedBuffer
	srv, _ := testServer(t, func(c *Config) { c.Log = zerolog.New(&log) })
	addr := listen(t, srv)
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	r := dial(t, addr)
	r.say(`{"id":1,"method":"mining.submit","params":["a","b","c","d","e"]}` + "\n")
	mustHave(t, r.until(`"id":1,`), "[25,")
	r.say(`{"id":2,"method":"mining.subscribe","params":["evil\u001b[31m\n\u0000<b>` + strings.Repeat("x", 1000) + `"]}` + "\n")
	r.until(`"id":2,`)
	r.say(`{"id":3,"method":"mining.authorize","params":["\"},\n{\"event\":\"forged\u0007\\","x"]}` + "\n")
	mustHave(t, r.until(`"id":3,`), "[24,")
	r.say(sayAuthorize)
	r.until(`"method":"mining.notify"`)
	info := srv.Rigs()[0]
	if len(info.Agent) > maxAgent || strings.ContainsAny(info.Agent, "\x1b\n\x00") {
		t.Errorf("agent %q", info.Agent)
	}
	r.say("\r\n\n  \n" + `{"id":5,"method":"mining.ping"}` + "\r\n")
	r.until("pong")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	closedAs(t, srv, CloseHangup)
	for l := range strings.Lines(log.String()) {
		if !strings.HasPrefix(l, `{"level"`) || strings.Contains(l, "\x07") {
			t.Errorf("forged log line %q", l)
		}
	}
}

// One rig reads nothing for a thousand new jobs; the others get each newest one
// and memory stays bounded.
func TestSlowReaderTCP(t *testing.T) {
	srv, _ := testServer(t, func(c *Config) { c.Limits = Limits{WriteStall: 2 * time.Second, Request: 1} }) // or sockets never fill
	addr := listen(t, srv)
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	good := dial(t, addr)
	good.say(saySubscribe + sayAuthorize)
	good.until(`"method":"mining.notify"`)
	deaf := dial(t, addr)
	deaf.say(saySubscribe + sayAuthorize)
	ping := strings.Repeat(`{"id":7,"method":"mining.ping"}`+"\n", 200)
	for i := uint32(2); srv.Stats().SlowReaders == 0; i++ {
		if _, err := io.WriteString(deaf, ping); err != nil {
			break
		}
		if i%50 == 0 {
			srv.Publish(jobSet(testJob(t, 1, i, 4096)))
			mustHave(t, good.until(`"method":"mining.notify"`), fmt.Sprintf(`"%08x00"`, i))
		}
	}
	for deadline := time.Now().Add(time.Minute); srv.Stats().SlowReaders != 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the deaf rig was not closed", srv.Closes())
		}
	}
	srv.Publish(jobSet(testJob(t, 1, 1<<20, 4096)))
	good.until(fmt.Sprintf(`"%08x00"`, 1<<20))
}

// starved fails some accepts as a process without file descriptors does.
type starved struct {
	net.Listener
	fails atomic.Int32
}

func (l *starved) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptSurvivesEMFILE(t *testing.T) {
	srv, _ := testServer(t, func(c *Config) { c.Limits.DrainGrace = time.Millisecond })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &starved{Listener: ln}
	l.fails.Store(4)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	r := dial(t, ln.Addr().String())
	r.say(saySubscribe)
	r.until(`"id":2,`)
	if n := srv.Stats().AcceptFails; n != 4 {
		t.Errorf("%d accept errors counted, want 4", n)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := srv.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := srv.Serve(t.Context(), ln); !errors.Is(err, ErrStopped) {
		t.Error("Serve after Drain:", err)
	}
}

func TestServerFull(t *testing.T) {
	srv, _ := testServer(t, func(c *Config) { c.MaxConns = 1 })
	addr := listen(t, srv)
	one := dial(t, addr)
	one.say(saySubscribe + sayAuthorize)
	one.until(`"id":3,`)
	dial(t, addr).ended()
	closedAs(t, srv, CloseServerFull)
	one.say(`{"id":5,"method":"mining.ping"}` + "\n")
	one.until("pong")
}

// bare is a Pool without the counters of hub, for counting allocations.
type bare struct{ scale pool.Scale }

func (bare) Authorize(user string) (pool.Worker, string, bool) {
	return pool.Worker{Member: 1, Name: user}, "", true
}

func (bare) Leave(pool.Worker) {}

func (p bare) Post(b *pool.Batch, _ Ruled) bool {
	p.Submit(b)
	return false
}

func (p bare) Submit(b *pool.Batch) {
	b.Hash()
	b.Judge(time.Now().Unix(), p.scale)
}

// From socket to verdict to answer a share allocates nothing (decision 30), whoever
// answers.
func TestSubmitDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	t.Run("at once", func(t *testing.T) { submitDoesNotAllocate(t, bare{pool.RegtestScale}) })
	t.Run("later", func(t *testing.T) {
		l := newLater(t)
		if submitDoesNotAllocate(t, l); l.posted.Load() != 3000 {
			t.Errorf("%d of 3000 shares were posted", l.posted.Load())
		}
	})
}

func submitDoesNotAllocate(t *testing.T, p Pool) {
	t.Helper()
	const warm, counted = 1600, 1400 // the duplicate table grows at 1536 and 3072
	srv, _ := testServer(t, func(c *Config) {
		c.Pool = p
		c.StartDifficulty, c.MinDifficulty = 8, 8 // all there is: vardiff has nothing to say
	})
	addr := listen(t, srv)
	srv.Publish(jobSet(testJob(t, 1, 1, 8)))
	r := dial(t, addr)
	r.say(saySubscribe + sayAuthorize)
	r.until(`"method":"mining.notify"`)
	s := srv.snapshot(nil)[0]
	is := issuedTo(s)[0]
	lines := make([][]byte, 0, warm+counted)
	nonce := uint32(0)
	for range warm + counted {
		sub := mine(t, s, target{issue: is}, aBlock, is.work.Template.CurTime, 0x2000, nonce)
		nonce = sub.Nonce + 1
		lines = append(lines, []byte(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0x2000)))
	}
	const yes = `{"id":4,"result":true,"error":null}` + "\n"
	answer := make([]byte, len(yes))
	play := func(lines [][]byte) {
		for _, l := range lines {
			if _, err := r.Write(l); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r.r, answer); err != nil || string(answer) != yes {
				t.Fatalf("%s: %q %v", l, answer, err)
			}
		}
	}
	play(lines[:warm])
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would empty the pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	play(lines[warm:])
	runtime.ReadMemStats(&after)
	// The second hand and the runtime itself are not quite silent.
	if n := after.Mallocs - before.Mallocs; n > counted/50 {
		t.Errorf("%d allocations in %d shares", n, counted)
	}
}
