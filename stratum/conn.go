package stratum

import (
	"net/netip"
	"time"
)

// conn is all that a session knows of its rig's socket. Real sockets stand
// behind it (conn_tcp.go), and in tests a twin that works inside a bubble of
// synctest, where a real socket would hang.
//
// One at a time reads, and one at a time writes: the outbox sees to that. Close may
// come from anywhere, any number of times, and ends the others.
type conn interface {
	// ReadHeader reads what a load balancer put before the rig's first byte and
	// returns the rig's address, which Remote shows from now on; the zero value
	// when the header names none.
	ReadHeader(deadline time.Time) (netip.AddrPort, error)

	// Handshake does what must be done before the first line can be read.
	Handshake(deadline time.Time) error

	// Serve waits until the rig sent something, reads once into a buffer borrowed
	// from r and lets r work on it, again and again until r says that it is enough,
	// which is no error. While it waits it holds no buffer, so that ten thousand
	// idle rigs need none. io.EOF is a hang-up; errRests says that the rig has work and
	// nothing to say, and may rest with a watch. On an error no buffer is held.
	Serve(r reader) error

	// Recheck is called once a second, and never blocks: see tcpConn.
	Recheck()

	// TryWrite writes what the socket takes at once, and never blocks. A full
	// socket is a short count without an error. What was counted cannot be
	// taken back, and may still be held: see Held.
	TryWrite(bufs [][]byte) (int, error)

	// WaitWrite blocks until the socket would take something, and writes what it
	// takes of what is held.
	WaitWrite() error

	// Held reports bytes that TryWrite counted and the socket did not take yet.
	Held() bool

	Close() error
	Remote() string
}

// reader takes what a conn reads. It is asked by one goroutine.
type reader interface {
	// await returns when what was read before is answered, in the order of which
	// more is read, so that nobody holds two buffers while a disk stalls. It must
	// not be called where Close waits for the caller.
	await()

	borrow() []byte
	giveBack()

	// working says that it is a rig with work, not a stranger, of whom a hang-up
	// must be seen at once: they come in crowds.
	working() bool

	// work takes n bytes at the front of the buffer, gives it back, and says
	// whether to go on.
	work(n int) (more bool)
}
