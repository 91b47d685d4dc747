package stratum

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a connection on loopback.
func pair(t *testing.T) (ours *tcpConn, rig *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	ours, ok := newTCPConn(nc)
	if !ok {
		t.Fatal("no descriptor")
	}
	return ours, c.(*net.TCPConn)
}

// sink is a reader that notes what it read.
type sink struct {
	buf  [64]byte
	got  chan string
	held int
	then func()
	none bool // it has no work
	hold chan struct{}
}

func (s *sink) await() {
	if s.hold != nil {
		s.hold <- struct{}{} // it waits
		s.hold <- struct{}{}
	}
}

func (s *sink) working() bool { return !s.none }

func (s *sink) borrow() []byte { s.held++; return s.buf[:] }
func (s *sink) giveBack()      { s.held-- }
func (s *sink) work(n int) bool {
	s.got <- string(s.buf[:n])
	s.giveBack()
	if s.then != nil {
		s.then()
	}
	return true
}

// serve runs Serve until it ends.
func serve(c *tcpConn, s *sink) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- c.Serve(s) }()
	return ended
}

// A hang-up that comes with the last bytes gives no edge of its own once both are
// there: Recheck finds it, and of a stranger one more read.
func TestHangUpWithTheLastBytes(t *testing.T) {
	t.Run("rig", func(t *testing.T) { hangUpWithTheLastBytes(t, &sink{got: make(chan string, 4)}) })
	t.Run("stranger", func(t *testing.T) { hangUpWithTheLastBytes(t, &sink{got: make(chan string, 4), none: true}) })
}

func hangUpWithTheLastBytes(t *testing.T, s *sink) {
	t.Helper()
	c, rig := pair(t)
	if _, err := rig.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := rig.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var came [1]unix.PollFd
	err := c.raw.Control(func(fd uintptr) {
		came[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP}
		_, _ = ignoringEINTR(func() (int, error) { return unix.Poll(came[:], 5000) })
	})
	if err != nil || came[0].Revents&unix.POLLRDHUP == 0 {
		t.Fatalf("no hang-up came: %v", err)
	}
	handOnEdges(t)
	ended := serve(c, s)
	if got := <-s.got; got != "last" {
		t.Fatalf("read %q", got)
	}
	if s.none {
		if err := <-ended; !errors.Is(err, io.EOF) || s.held != 0 {
			t.Errorf("Serve ended with %v and %d buffers", err, s.held)
		}
		return
	}
	if err := rechecked(t, c, ended); !errors.Is(err, io.EOF) || s.held != 0 {
		t.Errorf("Serve ended with %v and %d buffers", err, s.held)
	}
}

// What comes while the last read is not answered stays in the socket: it takes no
// buffer, and is one read.
func TestUnansweredIsNotRead(t *testing.T) {
	c, rig := pair(t)
	s := &sink{got: make(chan string, 4), hold: make(chan struct{})}
	ended := serve(c, s)
	select {
	case <-s.hold:
	case <-time.After(time.Minute):
		t.Fatal("nobody asks whether the last read is answered")
	}
	for _, part := range []string{"first", "last"} {
		if _, err := rig.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if s.held != 0 {
		t.Error("a buffer is held while nothing may be read")
	}
	<-s.hold
	if got := <-s.got; got != "firstlast" {
		t.Errorf("read %q", got)
	}
	if err := rig.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case <-s.hold: // once more, or twice
		case <-ended:
			return
		}
	}
}

// rechecked looks at c again and again until something comes.
func rechecked[T any](t *testing.T, c *tcpConn, something <-chan T) (v T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		select {
		case v = <-something:
			return v
		case <-tick.C:
			c.Recheck()
		case <-late:
			t.Fatal("nobody noticed what came last")
		}
	}
}

// handOnEdges has the poller hand on all edges so far, as it does for whoever reads
// from any socket. A Serve that begins then begins by forgetting its own.
func handOnEdges(t *testing.T) {
	t.Helper()
	c, rig := pair(t)
	if _, err := rig.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c.nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// A read stops before an urgent byte, and what is behind it gives no edge: Recheck
// finds it.
func TestBytesBehindAnUrgentOne(t *testing.T) {
	c, rig := pair(t)
	raw, err := rig.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, send := range []struct {
		bytes string
		flags int
	}{{"first", 0}, {"!", unix.MSG_OOB}, {"last", 0}} {
		if werr := raw.Write(func(fd uintptr) bool {
			err = unix.Sendto(int(fd), []byte(send.bytes), send.flags, nil)
			return true
		}); werr != nil || err != nil {
			t.Fatal(werr, err)
		}
	}
	handOnEdges(t)
	s := &sink{got: make(chan string, 4)}
	ended := serve(c, s)
	if got := <-s.got; got != "first" {
		t.Fatalf("read %q", got)
	}
	if got := rechecked(t, c, s.got); got != "last" {
		t.Errorf("read %q", got)
	}
	if err := rig.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// Recheck disturbs nobody who has more to say.
func TestRecheckOfALivingRig(t *testing.T) {
	c, rig := pair(t)
	s := &sink{got: make(chan string, 4)}
	ended := serve(c, s)
	for range 100 {
		if _, err := rig.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
		c.Recheck()
		if got := <-s.got; got != "line\n" {
			t.Fatalf("read %q", got)
		}
		c.Recheck()
	}
	if err := rig.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("Serve ended with %v", err)
	}
}

// Recheck is called each second for every rig that said something.
func TestRecheckAllocatesNothing(t *testing.T) {
	c, _ := pair(t)
	if n := testing.AllocsPerRun(1000, func() {
		c.drained.Store(1 + recheckAfter)
		c.Recheck()
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// Close ends Serve from another goroutine, and from its own while it works.
func TestCloseEndsServe(t *testing.T) {
	c, _ := pair(t)
	ended := serve(c, &sink{got: make(chan string, 4)})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; readReason(err) != CloseHangup {
		t.Errorf("Serve ended with %v", err)
	}

	c, rig := pair(t)
	s := &sink{got: make(chan string, 4)}
	s.then = func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	ended = serve(c, s)
	if _, err := rig.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; readReason(err) != CloseHangup {
		t.Errorf("Serve ended with %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := rig.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the rig reads %v", err)
	}
}

// slow is a socket whose Close is held up before it begins.
type slow struct {
	*net.TCPConn
	before func()
}

func (s slow) Close() error {
	s.before()
	return s.TCPConn.Close()
}

// Whoever closes holds the lock that work wants. A Serve that begins in the midst
// of a Close must not get to work: closing the socket would wait for it.
func TestCloseAsServeBegins(t *testing.T) {
	c, rig := pair(t)
	if _, err := rig.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	at := make(chan string, 1)
	s := &locked{mu: &mu, at: at}
	c.closer = slow{c.nc.(*net.TCPConn), func() {
		go func() {
			_ = c.Serve(s)
			at <- "ended"
		}()
		<-at // it is at work, or gave up
	}}
	closed := make(chan error, 1)
	go func() {
		mu.Lock()
		defer mu.Unlock()
		closed <- c.Close()
	}()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Close waits for Serve, and Serve for who closes")
	}
}

// locked is a reader whose work needs mu, and says when it wants it.
type locked struct {
	buf [64]byte
	mu  *sync.Mutex
	at  chan string
}

func (*locked) await()           {}
func (l *locked) borrow() []byte { return l.buf[:] }
func (*locked) giveBack()        {}
func (*locked) working() bool    { return true }
func (l *locked) work(int) bool {
	l.at <- "at work"
	l.mu.Lock()
	defer l.mu.Unlock()
	return false
}
