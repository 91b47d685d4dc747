package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

var pools atomic.Uint64

// fresh returns a store under a name no other test has, in the server at addr.
func fresh(tb testing.TB, addr string) (*redisstore.Store, redisstore.Config) {
	tb.Helper()
	c := redisstore.Config{
		Mode: redisstore.Single, Addrs: []string{addr}, Name: fmt.Sprintf("test-%d", pools.Add(1)),
	}
	return connect(tb, c), c
}

func connect(tb testing.TB, c redisstore.Config) *redisstore.Store {
	tb.Helper()
	s, err := redisstore.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func openStore(tb testing.TB, s payout.Store, mayInit bool) {
	tb.Helper()
	if err := s.Open(tb.Context(), harness.StoreMeta(1), mayInit); err != nil {
		tb.Fatal(err)
	}
}

// admin returns a client for what a store would never do.
func admin(tb testing.TB, addr string) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, MaxRetries: -1, DisableIdentity: true})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func do(tb testing.TB, c *redis.Client, args ...any) any {
	tb.Helper()
	answer, err := c.Do(tb.Context(), args...).Result()
	if err != nil {
		tb.Fatalf("%v: %v", args, err)
	}
	return answer
}

func TestRedisStore(t *testing.T) {
	r := harness.StartRedis(t)
	// Parallel parts outlive this function's body, not its cleanups.
	t.Run("Contract", func(t *testing.T) {
		harness.TestStore(t, func(tb testing.TB) payout.Store {
			s, _ := fresh(tb, r.Addr)
			return s
		})
	})
}

// TestTwins compares with the memory store, restores of older snapshots and
// losses included.
func TestTwins(t *testing.T) {
	r := harness.StartRedis(t, "--appendfsync", "everysec")
	c := admin(t, r.Addr)
	harness.CompareStores(t, func() (a, b harness.StoreTwin) {
		s, config := fresh(t, r.Addr)
		return harness.MemoryTwin(t), harness.StoreTwin{
			Store:    s,
			Wipe:     func() { wipe(t, c, config.Name) },
			Snapshot: func() func() { return snapshot(t, c, config.Name) },
		}
	})
}

func keysOf(tb testing.TB, c *redis.Client, name string) []string {
	tb.Helper()
	keys, err := c.Keys(tb.Context(), "{cordee:"+name+"}:*").Result()
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

func wipe(tb testing.TB, c *redis.Client, name string) {
	tb.Helper()
	for _, key := range keysOf(tb, c, name) {
		do(tb, c, "DEL", key)
	}
}

// snapshot remembers what the pool called name has but leases, and returns what
// brings it back.
func snapshot(tb testing.TB, c *redis.Client, name string) (restore func()) {
	tb.Helper()
	state := map[string]any{}
	for _, key := range keysOf(tb, c, name) {
		if !strings.Contains(key, ":lease:") {
			state[key] = do(tb, c, "DUMP", key)
		}
	}
	return func() {
		tb.Helper()
		wipe(tb, c, name)
		for key, value := range state {
			do(tb, c, "RESTORE", key, 0, value)
		}
	}
}

// TestKeys proves that a pool's keys stay under its tag, that two pools in one
// server are apart, and what a batch and a slot leave behind.
func TestKeys(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	s, config := fresh(t, r.Addr)
	other, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	openStore(t, other, true)
	apply(t, s, harness.StoreBatch(1, 1, 10, 2), 10)
	apply(t, s, harness.StoreBatch(2, 11, 20, 2), 20)
	for n := uint32(1); n <= 2; n++ {
		if err := s.PutSlot(t.Context(), harness.StoreManifest(n, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if hwm, err := other.HWM(t.Context(), 1, 1); err != nil || hwm != 0 {
		t.Fatalf("the other pool's mark is %d, %v", hwm, err)
	}
	tag := "{cordee:" + config.Name + "}:"
	want := map[string]bool{
		tag + "meta": true, tag + "state": true, tag + "hwm": true, tag + "runs": true,
		tag + "run:207fffff": true, tag + "delta:2": true, tag + "slot": true,
	}
	for _, key := range keysOf(t, c, config.Name) {
		if !want[key] {
			t.Errorf("%s is unexpected", key)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if all := do(t, c, "DBSIZE"); all != int64(8) { // and the other's meta
		t.Errorf("%v keys in all", all)
	}
}

func apply(tb testing.TB, s payout.Store, b payout.Batch, hwm uint64) {
	tb.Helper()
	got, applied, err := s.Apply(tb.Context(), b)
	if err != nil || got != hwm || !applied {
		tb.Fatalf("batch %d to %d: %d, %v, %v", b.From, b.To, got, applied, err)
	}
}

// TestCommands proves that nothing that walks the key space runs, and that a
// batch is one command whatever it holds.
func TestCommands(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	apply(t, s, harness.StoreBatch(1, 1, 500, 200), 500)
	do(t, c, "CONFIG", "RESETSTAT")
	for i := range uint64(10) {
		apply(t, s, harness.StoreBatch(1, 501+i*500, 1000+i*500, 200), 1000+i*500)
	}
	calls := func() map[string]string {
		stats, err := c.Info(context.WithoutCancel(t.Context()), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for line := range strings.Lines(stats) {
			if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls="); ok {
				m[name], _, _ = strings.Cut(rest, ",")
			}
		}
		return m
	}
	if n := calls()["evalsha"]; n != "10" || calls()["eval"] != "" {
		t.Errorf("10 batches are %s EVALSHA, %s EVAL", n, calls()["eval"])
	}
	ctx := t.Context()
	if _, err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Health(ctx); err != nil {
		t.Fatal(err)
	}
	for name := range calls() {
		if name == "keys" || name == "scan" || strings.HasSuffix(name, "scan") || strings.Contains(name, "float") {
			t.Errorf("%s was called", name)
		}
	}

	// A server that forgot its scripts is taught again.
	do(t, c, "SCRIPT", "FLUSH")
	apply(t, s, harness.StoreBatch(1, 5501, 5501, 1), 5501)
}
