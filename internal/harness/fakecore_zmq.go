package harness

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// zmqPublisher is the smallest PUB socket of ZMTP 3.0 (rfc.zeromq.org/spec/23)
// with the NULL mechanism: greeting, READY, then messages to all who
// subscribed to anything.
type zmqPublisher struct {
	address string
	listen  net.Listener

	mu       sync.Mutex
	moved    *sync.Cond // on mu
	subs     map[net.Conn]bool
	sequence uint32
	conns    sync.WaitGroup
}

func startZMQ(tb testing.TB) *zmqPublisher {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	z := &zmqPublisher{address: l.Addr().String(), listen: l, subs: make(map[net.Conn]bool)}
	z.moved = sync.NewCond(&z.mu)
	z.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			z.conns.Go(func() { z.serve(conn) })
		}
	})
	tb.Cleanup(z.close)
	return z
}

// serve greets a subscriber, and keeps it until it leaves.
func (z *zmqPublisher) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	ready := []byte("\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB")
	if _, err := conn.Write(greeting); err != nil {
		return
	}
	if _, err := io.ReadFull(conn, make([]byte, 64)); err != nil {
		return
	}
	if _, err := conn.Write(append([]byte{4, byte(len(ready))}, ready...)); err != nil {
		return
	}
	frame := func() error { // flags and length, then that many bytes; all of ours are short
		var head [2]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, conn, int64(head[1]))
		return err
	}
	for range 2 { // READY, the subscription
		if frame() != nil {
			return
		}
	}
	conn.SetDeadline(time.Time{})
	z.set(conn, true)
	defer z.set(conn, false)
	for frame() == nil {
	}
}

func (z *zmqPublisher) set(conn net.Conn, on bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if on {
		z.subs[conn] = true
	} else {
		delete(z.subs, conn)
	}
	z.moved.Broadcast()
}

// publish sends hashblock: topic, hash as shown to people, sequence.
func (z *zmqPublisher) publish(hash chainhash.Hash) {
	z.mu.Lock()
	defer z.mu.Unlock()
	msg := append([]byte{1, 9}, "hashblock"...)
	msg = append(msg, 1, 32)
	for i := range hash {
		msg = append(msg, hash[len(hash)-1-i])
	}
	msg = append(msg, 0, 4)
	msg = binary.LittleEndian.AppendUint32(msg, z.sequence)
	z.sequence++
	for conn := range z.subs {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write(msg)
	}
}

// wait waits for n subscribers.
func (z *zmqPublisher) wait(ctx context.Context, n int) bool {
	stop := context.AfterFunc(ctx, func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.moved.Broadcast()
	})
	defer stop()
	z.mu.Lock()
	defer z.mu.Unlock()
	for len(z.subs) != n && ctx.Err() == nil {
		z.moved.Wait()
	}
	return len(z.subs) == n
}

// close ends the publisher.
func (z *zmqPublisher) close() {
	z.listen.Close()
	z.mu.Lock()
	for conn := range z.subs {
		conn.Close()
	}
	z.mu.Unlock()
}
