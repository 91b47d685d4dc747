package stratum

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// tlsConn is a socket behind TLS. crypto/tls wants a net.Conn that blocks; it
// gets one only for the handshake. After that it reads and writes through a
// tlsWire that never blocks: a read that finds nothing is a temporary error,
// which crypto/tls passes on and survives in the middle of a record, and what it
// writes is put aside, encrypted, for as long as the socket is full. So a TLS rig
// too waits without a buffer of ours, and a broadcast never waits for it.
//
// Encrypted bytes cannot be taken back: what TryWrite counts is in order for
// good, and at most a record of it is held.
type tlsConn struct {
	*tcpConn
	tls  *tls.Conn
	lane lane

	shaking atomic.Bool // in the handshake
	inLane  bool        // of the handshake's goroutine alone
	fd      uintptr     // of the read in progress
	readN   int         // what it brought

	mu     sync.Mutex // leaf; not held while crypto/tls works
	held   *cipherBuf // nil when nothing is
	pushFn func(fd uintptr)
	pushed error
}

// lane lets so many handshakes compute at once, that a storm of them leaves
// processors to the rigs that are in. It is left while the rig is waited for.
type lane chan struct{}

// cipherBuf is encrypted bytes on their way to the socket; those before off are
// out.
type cipherBuf struct {
	b   []byte
	off int
}

const (
	recordSize = 16 << 10 // of plaintext, the most TLS allows
	maxHeld    = 64 << 10 // a record, and answers to what the rig may ask of TLS itself
)

var (
	cipherBufs = sync.Pool{New: func() any { return &cipherBuf{b: make([]byte, 0, recordSize+1024)} }}
	plainBufs  = sync.Pool{New: func() any { return new([recordSize]byte) }}
)

// errHeld ends a connection whose rig makes TLS itself answer and does not read.
var errHeld = errors.New("stratum: too many encrypted bytes wait")

// errNothing is "nothing to read now": net.Error's Temporary is what crypto/tls
// looks at.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read now" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func newTLSConn(c *tcpConn, cfg *tls.Config, l lane) *tlsConn {
	t := &tlsConn{tcpConn: c, lane: l}
	t.shaking.Store(true)
	t.tls = tls.Server(tlsWire{t}, cfg)
	c.readFn, t.pushFn = t.readOnce, t.pushOnce
	return t
}

// Handshake is done on the session's goroutine.
func (c *tlsConn) Handshake(deadline time.Time) error {
	if err := c.nc.SetDeadline(deadline); err != nil {
		return err
	}
	err := c.tls.Handshake()
	c.leaveLane()
	if err != nil {
		return err
	}
	c.shaking.Store(false)
	return c.nc.SetDeadline(time.Time{})
}

func (c *tlsConn) enterLane() {
	if !c.inLane {
		c.lane <- struct{}{} // nobody stays in it: there is only computing to do
		c.inLane = true
	}
}

func (c *tlsConn) leaveLane() {
	if c.inLane {
		<-c.lane
		c.inLane = false
	}
}

// Serve reads record by record. What crypto/tls has read ahead is not in the
// socket, so each begins with a try, inside a raw.Read of its own.
func (c *tlsConn) Serve(r reader) error {
	c.reader = r
	for {
		c.readN, c.readErr = 0, nil
		if err := c.raw.Read(c.readFn); err != nil {
			return err
		}
		if c.readErr != nil {
			return c.readErr
		}
		if !r.work(c.readN) {
			return nil
		}
	}
}

func (*tlsConn) Recheck() {} // every read begins with a try

// readOnce is one read with a decryption in it: crypto/tls reads until it has a
// record, or until the socket has nothing, in which case the poller is asked.
func (c *tlsConn) readOnce(fd uintptr) bool {
	c.fd = fd
	n, err := c.tls.Read(c.reader.borrow())
	if c.Held() { // what TLS itself answered
		if perr := c.push(); perr != nil {
			err = perr
		}
	}
	if n > 0 {
		c.readN = n // an error will come again
		return true
	}
	c.reader.giveBack()
	if errors.Is(err, errNothing) {
		return false
	}
	c.readErr = err
	return true
}

func (c *tlsConn) TryWrite(bufs [][]byte) (int, error) {
	if c.Held() {
		if err := c.push(); err != nil || c.Held() {
			return 0, err
		}
	}
	plain := plainBufs.Get().(*[recordSize]byte)
	defer plainBufs.Put(plain)
	total, at := 0, 0 // at: bytes of bufs[0] that are in a record
	for len(bufs) > 0 {
		n := 0
		for n < len(plain) && len(bufs) > 0 {
			k := copy(plain[n:], bufs[0][at:])
			n, at = n+k, at+k
			if at == len(bufs[0]) {
				bufs, at = bufs[1:], 0
			}
		}
		if n == 0 {
			break
		}
		if _, err := c.tls.Write(plain[:n]); err != nil {
			return total, err
		}
		total += n
		if err := c.push(); err != nil || c.Held() {
			return total, err
		}
	}
	return total, nil
}

func (c *tlsConn) WaitWrite() error {
	if err := c.tcpConn.WaitWrite(); err != nil {
		return err
	}
	return c.push()
}

func (c *tlsConn) Held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held != nil
}

// push writes what is held, as far as the socket takes it. It goes by Control:
// another goroutine may be waiting in WaitWrite.
func (c *tlsConn) push() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return nil
	}
	c.pushed = nil
	err := c.raw.Control(c.pushFn)
	if h := c.held; h.off == len(h.b) {
		h.b, h.off = h.b[:0], 0
		if cap(h.b) <= recordSize+1024 {
			cipherBufs.Put(h)
		}
		c.held = nil
	}
	return errors.Join(err, c.pushed)
}

func (c *tlsConn) pushOnce(fd uintptr) {
	h := c.held
	for h.off < len(h.b) {
		n, err := ignoringEINTR(func() (int, error) { return unix.Write(int(fd), h.b[h.off:]) })
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			c.pushed = err
			return
		}
		h.off += n
	}
}

// Close tells the rig that the end is meant, where that can be done at once.
func (c *tlsConn) Close() error { return c.tls.Close() }

// tlsWire is the side of a tlsConn that crypto/tls sees.
type tlsWire struct{ c *tlsConn }

func (w tlsWire) Read(b []byte) (int, error) {
	c := w.c
	if c.shaking.Load() {
		c.leaveLane()
		n, err := c.nc.Read(b)
		c.enterLane()
		return n, err
	}
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(int(c.fd), b) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, errNothing
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (w tlsWire) Write(b []byte) (int, error) {
	c := w.c
	if c.shaking.Load() {
		return c.nc.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = cipherBufs.Get().(*cipherBuf)
	}
	if len(c.held.b)-c.held.off+len(b) > maxHeld {
		return 0, errHeld
	}
	c.held.b = append(c.held.b, b...)
	return len(b), nil
}

func (w tlsWire) Close() error {
	if w.c.Held() {
		_ = w.c.push() // the rig may be told, or not
	}
	return w.c.nc.Close()
}

func (w tlsWire) LocalAddr() net.Addr  { return w.c.nc.LocalAddr() }
func (w tlsWire) RemoteAddr() net.Addr { return w.c.nc.RemoteAddr() }

// Deadlines are those of the handshake, which it sets itself.
func (tlsWire) SetDeadline(time.Time) error      { return nil }
func (tlsWire) SetReadDeadline(time.Time) error  { return nil }
func (tlsWire) SetWriteDeadline(time.Time) error { return nil }
