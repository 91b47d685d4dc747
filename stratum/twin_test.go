package stratum

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// twin is a conn without a socket, for bubbles of synctest: what blocks, blocks
// on a sync.Cond. The rig's side is send, hangUp and recv.
type twin struct {
	mu     sync.Mutex
	moved  *sync.Cond
	in     []byte
	eof    bool
	out    []byte
	room   int // bytes that out may hold: the socket's buffer
	closed bool
	writes int // calls that wrote something
	remote string
}

func newTwin(room int) *twin {
	t := &twin{room: room}
	t.moved = sync.NewCond(&t.mu)
	return t
}

func (t *twin) Serve(r reader) error {
	for {
		t.wait()
		r.await()
		n, err := t.read(r)
		if err != nil {
			return err
		}
		if !r.work(n) {
			return nil
		}
	}
}

func (*twin) Recheck() {}

// wait returns when there is something to read, or the end.
func (t *twin) wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.in) == 0 && !t.eof && !t.closed {
		t.moved.Wait()
	}
}

func (t *twin) read(r reader) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case len(t.in) == 0:
		return 0, io.EOF
	}
	n := copy(r.borrow(), t.in)
	t.in = t.in[:copy(t.in, t.in[n:])]
	return n, nil
}

func (t *twin) TryWrite(bufs [][]byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.eof {
		return 0, net.ErrClosed
	}
	n := 0
	for _, b := range bufs {
		k := min(len(b), t.room-len(t.out))
		t.out = append(t.out, b[:k]...)
		n += k
	}
	if n > 0 {
		t.writes++
	}
	t.moved.Broadcast()
	return n, nil
}

func (t *twin) WaitWrite() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.out) >= t.room && !t.closed && !t.eof {
		t.moved.Wait()
	}
	if t.closed || t.eof {
		return net.ErrClosed
	}
	return nil
}

func (t *twin) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.moved.Broadcast()
	return nil
}

func (t *twin) Remote() string {
	if t.remote != "" {
		return t.remote
	}
	return "192.0.2.1:4444"
}

func (*twin) ReadHeader(time.Time) (a netip.AddrPort, err error) { return a, nil }
func (*twin) Handshake(time.Time) error                          { return nil }
func (*twin) Held() bool                                         { return false }

func (t *twin) send(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in = append(t.in, s...)
	t.moved.Broadcast()
}

func (t *twin) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.eof = true
	t.moved.Broadcast()
}

// recv takes what was written, and how many writes it took.
func (t *twin) recv() (string, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, n := string(t.out), t.writes
	t.out, t.writes = t.out[:0], 0
	t.moved.Broadcast()
	return s, n
}

// take takes at most n bytes.
func (t *twin) take(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n = min(n, len(t.out))
	s := string(t.out[:n])
	t.out = t.out[:copy(t.out, t.out[n:])]
	t.moved.Broadcast()
	return s
}

func (t *twin) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}
