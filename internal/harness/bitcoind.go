package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"cordee/internal/sandbox"
)

// EnvBitcoind names a bitcoind to test against.
const EnvBitcoind = "CORDEE_BITCOIND"

// Bitcoind is a Bitcoin Core of a test's own: no wallet, no peers but those the
// test gives it, everything on loopback and in a temporary directory.
type Bitcoind struct {
	URL    string
	Cookie string
	ZMQ    string // of hashblock
	P2P    string // host:port

	tb   testing.TB
	args []string
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// StartBitcoind starts the bitcoind that CORDEE_BITCOIND names, on chain
// (regtest or signet) and with further arguments, or skips the test. It does
// not wait until the node is warm.
func StartBitcoind(tb testing.TB, chain string, args ...string) *Bitcoind {
	tb.Helper()
	path := os.Getenv(EnvBitcoind)
	if path == "" {
		tb.Skipf("%s is not set: it may name a Bitcoin Core to test against", EnvBitcoind)
	}
	b := &Bitcoind{tb: tb, dir: tb.TempDir()}
	rpc, zmq, p2p := freePort(tb), freePort(tb), freePort(tb)
	b.URL = fmt.Sprintf("http://127.0.0.1:%d", rpc)
	b.ZMQ = fmt.Sprintf("tcp://127.0.0.1:%d", zmq)
	b.P2P = fmt.Sprintf("127.0.0.1:%d", p2p)
	b.Cookie = filepath.Join(b.dir, "cookie")
	b.args = append([]string{
		path,
		"-chain=" + chain, "-datadir=" + b.dir, "-rpccookiefile=" + b.Cookie,
		fmt.Sprintf("-rpcport=%d", rpc), "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1",
		fmt.Sprintf("-bind=127.0.0.1:%d", p2p), "-zmqpubhashblock=" + b.ZMQ,
		"-listen=1", "-discover=0", "-dnsseed=0", "-fixedseeds=0", "-listenonion=0", "-natpmp=0",
		"-printtoconsole=0", "-dbcache=16", "-par=1",
	}, args...)
	b.Start()
	tb.Cleanup(b.Kill)
	return b
}

// Start starts the process, anew after Kill.
func (b *Bitcoind) Start() {
	b.tb.Helper()
	b.cmd = exec.Command(b.args[0], b.args[1:]...)
	b.cmd.WaitDelay = time.Second
	if err := b.cmd.Start(); err != nil {
		b.tb.Fatal(err)
	}
	b.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(b.cmd, b.done)
}

// Kill ends the process at once, as kill -9 does.
func (b *Bitcoind) Kill() {
	b.cmd.Process.Kill()
	<-b.done
}

// Listening waits until the RPC port takes connections.
func (b *Bitcoind) Listening(ctx context.Context) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", b.URL[len("http://"):])
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-tick.C:
		case <-b.done:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// freePort returns a port nobody listens on, and no outgoing connection of a test
// beside it is given. Another test may still be quicker than the child.
func freePort(tb testing.TB) int {
	tb.Helper()
	address, err := sandbox.FreeAddress()
	if err != nil {
		tb.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
