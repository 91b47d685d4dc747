package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/fleet"
	"cordee/internal/journal"
)

// Real rigs over TCP, from line to block to the next tip, until the stop: all
// that any of them heard true for is in the journal, each block is on the chain
// that the node extended, and nothing is left running.
func TestRunWithRealRigs(t *testing.T) {
	before := runtime.NumGoroutine()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, t.TempDir(), func(c *Config) {
		c.Listeners = []Listener{{Listener: ln}}
		c.Stratum.StartDifficulty, c.Stratum.MinDifficulty = 1<<19, 1<<19 // 8192 hashes a share
	})
	k.edge.jobs.out = k.edge.server

	const blocksWanted = 3
	blocks := make(chan chainhash.Hash, 1000)
	enough, stopped := make(chan struct{}), make(chan struct{})
	k.node.submit = func(_ context.Context, block []byte, each func(bitcoind.SubmitResult)) {
		each(bitcoind.SubmitResult{Node: "a", Accepted: true})
		blocks <- chainhash.DoubleHashH(block[:80])
	}
	var mu sync.Mutex
	heard := map[[32]byte]bool{}
	rigs := make([]fleet.Rig, 4)
	for i := range rigs {
		rigs[i] = fleet.Rig{User: fmt.Sprintf("alice.barn.rig%d", i), Hashrate: 200_000, VersionRolling: i%2 == 0}
	}
	f, err := fleet.New(fleet.Config{Addr: ln.Addr().String(), Rigs: rigs, Seed: 1, OnEvent: func(e fleet.Event) {
		if e.Kind == fleet.Accepted {
			mu.Lock()
			heard[e.Hash] = true
			mu.Unlock()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	k.run()
	go func() { // the chain: each block of the current tip makes the next one
		height := int32(101)
		next := func() {
			u := bitcoind.Update{Template: template(t, height, uint64(height), 0x1f01ffff, 50e8), Tip: uint64(height), Signal: time.Now()}
			select {
			case k.node.updates <- u:
			case <-stopped:
			}
		}
		next()
		for range blocksWanted {
			select {
			case <-blocks:
			case <-stopped:
				return
			}
			height++
			next()
		}
		close(enough)
	}()
	ctx, stopRigs := context.WithTimeout(context.Background(), time.Minute)
	var fleetDone sync.WaitGroup
	fleetDone.Go(func() { _ = f.Run(ctx) }) // it returns nil, always
	select {
	case <-enough:
	case <-ctx.Done():
		t.Error("too few blocks in a minute")
	}
	k.end() // with rigs still hashing
	close(stopped)
	stopRigs()
	fleetDone.Wait()

	mu.Lock()
	defer mu.Unlock()
	if len(heard) == 0 {
		t.Fatal("no rig heard true")
	}
	held := map[[32]byte]bool{}
	for _, s := range records[journal.Share](k) {
		held[s.Hash] = true
	}
	for h := range heard {
		if !held[h] {
			t.Errorf("a rig heard true for %x, which the journal lacks", h)
		}
	}
	if got := k.edge.Blocks(); len(got) < blocksWanted {
		t.Errorf("%d blocks", len(got))
	}
	if _, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", ln.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
	settled := func() bool { return runtime.NumGoroutine() <= before }
	waitFor(t, settled)
}

// waitFor yields until ok, a minute at most: goroutines that were told to end take
// a moment to be gone.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

// A node that ends by itself is an error, as is a port that is gone.
func TestRunSaysWhatWentWrong(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	defer k.journal.Close() // of no matter here
	k.edge.cfg.Node = deadNode{k.node}
	if err := k.edge.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "socket on fire") {
		t.Errorf("Run: %v", err)
	}

	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	k = newKit(t, t.TempDir(), func(c *Config) { c.Listeners = []Listener{{Listener: ln}} })
	defer k.journal.Close() // of no matter here
	if err := k.edge.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

// A drain that ran out of time, here because a disk hangs with a share on it, is
// an error and ends all the same.
func TestDrainOutOfTime(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, t.TempDir(), func(c *Config) {
		c.Listeners, c.DrainTimeout = []Listener{{Listener: ln}}, 100*time.Millisecond
		c.Stratum.StartDifficulty, c.Stratum.MinDifficulty = 1<<19, 1<<19
		c.Stratum.Limits.DrainGrace = 10 * time.Millisecond
	})
	k.edge.jobs.out = k.edge.server
	hangs, open := make(chan struct{}, 1), make(chan struct{})
	k.disk.fail(func(op, name string) error {
		if op == "sync" && strings.HasPrefix(name, "seg-") && k.edge.shares.Load() > 0 { // no job, a second share
			poke(hangs)
			<-open
		}
		return nil
	})
	f, err := fleet.New(fleet.Config{Addr: ln.Addr().String(), Rigs: []fleet.Rig{{User: "alice.barn.one", Hashrate: 500_000}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stopRigs := context.WithTimeout(t.Context(), time.Minute)
	var rigs sync.WaitGroup
	rigs.Go(func() { _ = f.Run(ctx) }) // it returns nil, always
	k.run()
	k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
	select {
	case <-hangs:
	case <-ctx.Done():
		t.Error("no share in a minute")
	}
	k.stop()
	if err := <-k.ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	close(open)
	stopRigs()
	rigs.Wait()
	if err := k.journal.Close(); err != nil {
		t.Error(err)
	}
}

type deadNode struct{ *fakeNode }

func (deadNode) Run(context.Context, func(bitcoind.Update)) error {
	return errors.New("socket on fire")
}

// New names what it misses.
func TestNewWithoutParts(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "needed") {
		t.Errorf("New: %v", err)
	}
}
