package bitcoind_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/bitcoind"
	"cordee/internal/harness"
	"cordee/pool"
)

// patience is how long a test waits for what must happen, on a slow machine and
// under the race detector.
const patience = time.Minute

// logBook is a log that tests may read.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func network(t testing.TB, name string) *pool.Network {
	t.Helper()
	n, err := pool.NetworkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// configFor returns a configuration of fakes, polling fast.
func configFor(t testing.TB, fakes ...*harness.FakeCore) bitcoind.Config {
	t.Helper()
	cfg := bitcoind.Config{
		Network:    network(t, "regtest"),
		Log:        zerolog.Nop(),
		Poll:       50 * time.Millisecond,
		AskTimeout: 5 * time.Second, // a fake on a busy machine is not to be called dead
		StartWait:  time.Millisecond,
	}
	for _, f := range fakes {
		cfg.Nodes = append(cfg.Nodes, bitcoind.NodeConfig{URL: f.URL(), Cookie: f.Cookie()})
	}
	return cfg
}

// withZMQ gives the only node its publisher.
func withZMQ(cfg bitcoind.Config, f *harness.FakeCore) bitcoind.Config {
	cfg.Nodes[0].ZMQ = f.ZMQ()
	return cfg
}

// running is a cluster that runs until the test ends.
type running struct {
	*bitcoind.Cluster
	t       testing.TB
	updates chan bitcoind.Update
	at      map[*pool.Template]time.Time
	mu      sync.Mutex
}

func newCluster(t testing.TB, cfg bitcoind.Config) *bitcoind.Cluster {
	t.Helper()
	c, err := bitcoind.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t testing.TB, cfg bitcoind.Config) *running {
	t.Helper()
	r := &running{
		Cluster: newCluster(t, cfg),
		t:       t,
		updates: make(chan bitcoind.Update, 1000),
		at:      make(map[*pool.Template]time.Time),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- r.Run(ctx, func(u bitcoind.Update) {
			r.mu.Lock()
			r.at[u.Template] = time.Now()
			r.mu.Unlock()
			r.updates <- u
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return after its context ended")
		}
	})
	return r
}

// next returns the next update.
func (r *running) next() bitcoind.Update {
	r.t.Helper()
	select {
	case u := <-r.updates:
		return u
	case <-time.After(patience):
		r.t.Fatalf("no update; nodes: %+v", r.Status())
		panic("unreachable")
	}
}

// until returns the first update that met likes.
func (r *running) until(met func(bitcoind.Update) bool) bitcoind.Update {
	r.t.Helper()
	for {
		if u := r.next(); met(u) {
			return u
		}
	}
}

// onTip returns the first full template on tip.
func (r *running) onTip(tip pool.Tip) bitcoind.Update {
	r.t.Helper()
	return r.until(func(u bitcoind.Update) bool {
		return u.Template.PrevHash == tip.Hash && !u.Template.Empty
	})
}

// took returns how long after its signal an update came.
func (r *running) took(u bitcoind.Update) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[u.Template].Sub(u.Signal)
}

// state waits until node i is in state.
func (r *running) state(i int, state string) bitcoind.NodeStatus {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		s := r.Status()[i]
		if s.State == state {
			return s
		}
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("node %d is %q, not %q: %+v", i, s.State, state, s)
		}
	}
}

// within waits for what f must come to.
func within(t testing.TB, f *harness.FakeCore, what string, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !f.Wait(ctx, met) {
		t.Fatalf("never: %s", what)
	}
}
