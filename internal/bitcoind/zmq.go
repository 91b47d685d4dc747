package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/lightninglabs/gozmq"
)

// ZMQ times.
const (
	zmqRetry   = time.Second
	zmqTimeout = 500 * time.Millisecond // to connect, and between the frames of one message
)

var errZMQMessage = errors.New("ZMQ message is not a hashblock")

// listen keeps a subscription to the node's hashblock until ctx ends.
func (n *node) listen(ctx context.Context) {
	said := false // since it was up: what ends a stream and what refuses the next are one absence
	for {
		err := n.subscribe(ctx)
		n.mu.Lock()
		said = said && !n.zmq.up
		n.zmq.up = false
		n.mu.Unlock()
		poke(n.wake)
		poke(n.lookNow) // the end of the stream is often the end of the node
		if ctx.Err() != nil {
			return
		}
		if !said {
			said = true
			n.log.Warn().Str("event", "zmq.down").Err(err).Msg("no signal over ZMQ: longpoll until it is back; check zmqpubhashblock")
		}
		select {
		case <-time.After(zmqRetry):
		case <-ctx.Done():
			return
		}
	}
}

// subscribe reads one subscription to its end.
func (n *node) subscribe(ctx context.Context) error {
	// gozmq dials for up to a minute and knows no context: look first.
	d := net.Dialer{Timeout: zmqTimeout}
	probe, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(n.ZMQ, "tcp://"))
	if err != nil {
		return err
	}
	probe.Close()
	conn, err := gozmq.Subscribe(n.ZMQ, []string{"hashblock"}, zmqTimeout)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if stop() {
			conn.Close()
		}
	}()
	n.mu.Lock()
	n.zmq.up, n.zmq.since = true, time.Now()
	n.mu.Unlock()
	n.log.Info().Str("event", "zmq.up").Str("address", n.ZMQ).Msg("ZMQ connected")
	poke(n.wake)
	for {
		parts, err := conn.Receive(nil)
		at := time.Now()
		if err != nil {
			return err // a fresh subscription is simpler to trust than gozmq's own reconnect
		}
		hash, err := hashblock(parts)
		if err != nil {
			return err
		}
		n.announced(hash)
		n.announce(ctx, signal{hash: hash, source: SourceZMQ, at: at})
	}
}

// hashblock decodes a message: topic, hash as shown to people, sequence.
func hashblock(parts [][]byte) (chainhash.Hash, error) {
	var h chainhash.Hash
	if len(parts) != 3 || string(parts[0]) != "hashblock" || len(parts[1]) != len(h) {
		return h, fmt.Errorf("%d parts: %w", len(parts), errZMQMessage)
	}
	for i, b := range parts[1] {
		h[len(h)-1-i] = b
	}
	return h, nil
}

// announced notes an announcement, which makes the publisher trusted again.
func (n *node) announced(hash chainhash.Hash) {
	n.mu.Lock()
	z := &n.zmq
	z.announced = append(z.announced, hash)
	if len(z.announced) > announcedMemory {
		z.announced = z.announced[1:]
	}
	back := !z.trusted
	z.trusted = true
	if z.due == hash {
		z.dueSince = time.Time{}
	}
	n.mu.Unlock()
	if back {
		n.log.Info().Str("event", "zmq.back").Msg("ZMQ announces blocks again")
		poke(n.wake)
	}
}
