package stratum

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cordee/stratum/proxyproto"
)

// tcpConn is a socket, read and written through its file descriptor so that
// "try" and "wait" can be told apart. The closures handed to SyscallConn are
// made once per connection: none is allocated per read or write.
type tcpConn struct {
	nc     net.Conn // nil on a watch
	raw    syscall.RawConn
	closer io.Closer
	remote atomic.Pointer[string]

	reader  reader // of the Serve in progress
	readErr error
	readFn  func(fd uintptr) bool
	rests   bool         // Serve ends with errRests where it would wait
	use     atomic.Int32 // by Serve, or none any more
	drained atomic.Int32 // a short read was taken for all there is: calls of Recheck since, from 1
	peekFn  func(fd uintptr)
	peeked  bool // there is more, or the end

	bufs     [][]byte // of the write in progress
	writeN   int
	writeErr error
	tryFn    func(fd uintptr) bool
	waitFn   func(fd uintptr) bool
}

// What a tcpConn is in use for. Serve and Close settle by one word who came first:
// a Serve that began while the socket is being closed would be waited for, by who
// holds a lock that its work wants.
const (
	forNothing int32 = iota
	forServe         // or it is on a watch
	forClose         // and for good
)

// newTCPConn wraps nc, or returns false when it has no file descriptor.
func newTCPConn(nc net.Conn) (*tcpConn, bool) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, false
	}
	if t, ok := nc.(*net.TCPConn); ok {
		// What a deaf rig may cost in the kernel; left alone, it grows to 4 MiB.
		_ = t.SetWriteBuffer(64 << 10)
		// And one that sends more than is read: that grows to 6 MiB.
		_ = t.SetReadBuffer(32 << 10)
		// A dead rig is noticed after 60 + 3*10 s; without this, never.
		// Errors here are those of a socket already gone, which Read will report.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 10 * time.Second, Count: 3})
	}
	c := &tcpConn{nc: nc, raw: raw, closer: nc}
	remote := nc.RemoteAddr().String()
	c.remote.Store(&remote)
	c.readFn, c.tryFn, c.waitFn, c.peekFn = c.readAll, c.tryOnce, c.waitOnce, c.peek
	return c, true
}

func (c *tcpConn) Remote() string            { return *c.remote.Load() }
func (c *tcpConn) Handshake(time.Time) error { return nil }
func (c *tcpConn) Held() bool                { return false }

// ReadHeader looks at what came without taking it, until it is a whole header,
// and then takes that and not a byte more.
func (c *tcpConn) ReadHeader(deadline time.Time) (client netip.AddrPort, err error) {
	if err := c.nc.SetReadDeadline(deadline); err != nil {
		return client, err
	}
	buf := make([]byte, proxyproto.MaxHeader)
	var n int
	werr := c.raw.Read(func(fd uintptr) bool {
		var seen int
		seen, err = ignoringEINTR(func() (int, error) {
			k, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_PEEK)
			return k, err
		})
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false
		case err == nil && seen == 0:
			err = io.EOF
		case err == nil:
			client, n, err = proxyproto.Parse(buf[:seen])
		}
		return !errors.Is(err, proxyproto.ErrShort) // more of it wakes us again
	})
	if err = errors.Join(werr, err); err != nil {
		return client, err
	}
	if _, err := io.ReadFull(c.nc, buf[:n]); err != nil { // it is there
		return client, err
	}
	if client.IsValid() {
		remote := client.String()
		c.remote.Store(&remote)
	}
	return client, c.nc.SetReadDeadline(time.Time{})
}

// Serve is one raw.Read for as long as the connection lives: the poller forgets
// an edge that comes between two of them, so that each would have to begin with a
// read that mostly finds nothing, and a share costs two system calls to read.
//
// A read that does not fill its buffer has taken all there was, and what comes
// later is a new edge (epoll(7)). Two things are not: a hang-up that came with the
// last bytes, and bytes behind an urgent one. For those Recheck looks, and of a
// stranger one more read.
func (c *tcpConn) Serve(r reader) error {
	c.reader, c.readErr = r, nil
	if !c.use.CompareAndSwap(forNothing, forServe) {
		return net.ErrClosed
	}
	defer c.use.Store(forNothing)
	for {
		err := c.raw.Read(c.readFn)
		if errors.Is(err, os.ErrDeadlineExceeded) { // by Recheck: read again
			err = c.nc.SetReadDeadline(time.Time{})
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		return c.readErr
	}
}

// readAll reads and has it worked on until there is nothing (false: wait) or it is
// over.
func (c *tcpConn) readAll(fd uintptr) bool {
	c.drained.Store(0)
	for {
		c.reader.await()
		b := c.reader.borrow()
		n, err := readNow(fd, b)
		if n <= 0 {
			c.reader.giveBack()
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			if c.readErr = err; err == nil {
				c.readErr = io.EOF
			}
			return true
		}
		if !c.reader.work(n) {
			return true
		}
		if n < len(b) && c.reader.working() {
			if c.rests {
				c.readErr = errRests
				return true
			}
			c.drained.Store(1)
			return false
		}
	}
}

// Recheck has Serve read again where it took a short read for the last and there
// is more, or the end. It looks when nothing came for a while: a rig that goes on
// needs no look, and one in a second for each costs as much as its shares do.
func (c *tcpConn) Recheck() {
	n := c.drained.Load()
	if n == 0 || n <= recheckAfter && c.drained.CompareAndSwap(n, n+1) || !c.drained.CompareAndSwap(n, 0) {
		return
	}
	if err := c.raw.Control(c.peekFn); err == nil && c.peeked {
		_ = c.nc.SetReadDeadline(longAgo) // of a socket that is gone: Serve knows by itself
	}
}

// recheckAfter is how many calls of Recheck a rig may be silent before one looks.
const recheckAfter = 30

var longAgo = time.Unix(1, 0)

func (c *tcpConn) peek(fd uintptr) {
	ready, err := has(fd, unix.POLLIN)
	c.peeked = ready || err != nil
}

// errRests ends a Serve whose rig has work and said all that it had to say.
var errRests = errors.New("stratum: nothing to read from a rig that has work")

// Close ends the connection. While Serve runs the socket is only shut, which ends
// Serve: closing it waits for Serve, whose own goroutine may be the one that
// closes.
func (c *tcpConn) Close() error {
	if !c.use.CompareAndSwap(forNothing, forClose) && c.use.Load() != forClose {
		return c.raw.Control(shut)
	}
	return c.closer.Close()
}

func shut(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) } // one that is not connected any more is shut

func (c *tcpConn) TryWrite(bufs [][]byte) (int, error) {
	c.bufs, c.writeN, c.writeErr = bufs, 0, nil
	err := c.raw.Write(c.tryFn)
	c.bufs = nil
	if err != nil {
		return 0, err
	}
	return c.writeN, c.writeErr
}

// WaitWrite asks the socket before it waits, again inside one raw.Write: space
// may have come since the TryWrite that found none.
func (c *tcpConn) WaitWrite() error {
	c.writeErr = nil
	if err := c.raw.Write(c.waitFn); err != nil {
		return err
	}
	return c.writeErr
}

func (c *tcpConn) tryOnce(fd uintptr) bool {
	var n int
	var err error
	if len(c.bufs) == 1 {
		n, err = writeNow(fd, c.bufs[0])
	} else {
		n, err = ignoringEINTR(func() (int, error) { return unix.Writev(int(fd), c.bufs) })
	}
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	c.writeN, c.writeErr = max(n, 0), err
	return true
}

func (c *tcpConn) waitOnce(fd uintptr) bool {
	ready, err := has(fd, unix.POLLOUT)
	c.writeErr = err
	return ready || err != nil
}

// has reports whether there is what of events, or an error, without waiting for it.
func has(fd uintptr, events int16) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := ignoringEINTR(func() (int, error) { return unix.Poll(fds, 0) })
	return n > 0, err
}

// ignoringEINTR repeats f while a signal interrupts it.
func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
