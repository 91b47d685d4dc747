package redisstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cordee/internal/harness"
	"cordee/payout"
)

// TestCorrupt puts into a store what no program of ours writes: it is named,
// and a write that meets it changes nothing.
func TestCorrupt(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	ctx := t.Context()
	applying := func(s payout.Store) error {
		b := batch(11, 20)
		b.Slot = 2
		_, _, err := s.Apply(ctx, b)
		return err
	}
	appending := func(s payout.Store) error {
		_, err := s.Append(ctx, harness.StoreRecord(1).Head, harness.StoreRecord(2))
		return err
	}
	running := func(s payout.Store) error { _, err := s.Run(ctx); return err }
	delta := func(s payout.Store) error { _, err := s.Deltas(ctx, 1); return err }
	last := func(s payout.Store) error { _, _, err := s.LastSlot(ctx); return err }
	slots := func(s payout.Store) error { _, err := s.Slots(ctx, 1, 10); return err }
	records := func(s payout.Store) error { _, err := s.Records(ctx, 1, 10); return err }
	marks := func(s payout.Store) error { _, err := s.HWMs(ctx); return err }
	for _, damage := range []struct {
		command string // with K: for the pool's prefix
		calls   map[string]func(payout.Store) error
	}{
		{"HSET K:run:207fffff 2 1.5", map[string]func(payout.Store) error{"Apply": applying, "Run": running}},
		{"HSET K:run:207fffff 2 -7", map[string]func(payout.Store) error{"Apply": applying, "Run": running}},
		{"HSET K:run:207fffff 2 0", map[string]func(payout.Store) error{"Apply": applying, "Run": running}},
		{"HSET K:delta:2 2:207fffff many", map[string]func(payout.Store) error{"Apply": applying}},
		{"HSET K:delta:1 2:xyz 5", map[string]func(payout.Store) error{"Deltas": delta}},
		{"SET K:run:207fffff 1", map[string]func(payout.Store) error{"Apply": applying, "Run": running}},
		{"SET K:runs 1", map[string]func(payout.Store) error{"Apply": applying, "Run": running}},
		{"HSET K:hwm 1:x 5", map[string]func(payout.Store) error{"HWMs": marks}},
		{"HSET K:hwm 1:1 many", map[string]func(payout.Store) error{"Apply": applying, "HWMs": marks}},
		{"HSET K:state slothead 00", map[string]func(payout.Store) error{"LastSlot": last}},
		{"HSET K:state slot x", map[string]func(payout.Store) error{"LastSlot": last, "Slots": slots}},
		{"HDEL K:slot 1", map[string]func(payout.Store) error{"Slots": slots}},
		{"HSET K:slot 1 short", map[string]func(payout.Store) error{"Slots": slots}},
		{"HSET K:state head zz", map[string]func(payout.Store) error{"Append": func(s payout.Store) error {
			_, err := s.Append(ctx, [32]byte{}, harness.StoreRecord(9))
			return err
		}}},
		{"SET K:ledger 1", map[string]func(payout.Store) error{"Append": appending, "Records": records}},
		{"SET K:ledgerkey 1", map[string]func(payout.Store) error{"Append": appending}},
		{"HSET K:ledger 1 short", map[string]func(payout.Store) error{"Records": records}},
	} {
		s, config := fresh(t, r.Addr)
		openStore(t, s, true)
		b := batch(1, 10)
		b.Slot = 2
		apply(t, s, b, 10)
		_, err1 := s.Append(ctx, [32]byte{}, harness.StoreRecord(1))
		if err := errors.Join(s.PutSlot(ctx, harness.StoreManifest(1, 1)), err1); err != nil {
			t.Fatal(err)
		}
		args := []any{}
		for word := range strings.FieldsSeq(strings.ReplaceAll(damage.command, "K:", "{cordee:"+config.Name+"}:")) {
			args = append(args, word)
		}
		do(t, c, args...)
		dump := func() map[string]any {
			all := map[string]any{}
			for _, key := range keysOf(t, c, config.Name) {
				all[key] = do(t, c, "DUMP", key)
			}
			return all
		}
		before := dump()
		for name, call := range damage.calls {
			if err := call(s); !errors.Is(err, payout.ErrCorrupt) {
				t.Errorf("%s after %s: %v", name, damage.command, err)
			}
		}
		after := dump()
		for key, value := range before {
			if after[key] != value {
				t.Errorf("%s changed %s", damage.command, key)
			}
		}
	}
}

// TestLeaseEndsByServer: the lease of a holder that went silent goes to the
// next, who is told a greater token.
func TestLeaseEndsByServer(t *testing.T) {
	r := harness.StartRedis(t)
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	ctx := t.Context()
	first, err := s.Acquire(ctx, "edge-1", "a", 60_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(ctx, "edge-1", "b", 10); !errors.Is(err, payout.ErrHeld) || !strings.Contains(err.Error(), `"a"`) {
		t.Fatalf("while it is held: %v", err)
	}
	if err := s.Renew(ctx, "edge-1", "a", first, 60_000); err != nil {
		t.Fatal(err)
	}
	// The holder's own Acquire sets the time anew, here to less.
	began := time.Now() // before the server's time begins
	if again, err := s.Acquire(ctx, "edge-1", "a", 30); err != nil || again != first {
		t.Fatalf("token %d, not %d, %v", again, first, err)
	}
	var second uint64
	for err = payout.ErrHeld; errors.Is(err, payout.ErrHeld) && time.Since(began) < time.Minute; {
		second, err = s.Acquire(ctx, "edge-1", "b", 60_000)
	}
	if err != nil || second <= first || time.Since(began) < 20*time.Millisecond {
		t.Fatalf("token %d after %d, %v, after %v", second, first, err, time.Since(began))
	}
	if err := s.Renew(ctx, "edge-1", "a", first, 1000); !errors.Is(err, payout.ErrHeld) {
		t.Fatalf("Renew by the old holder: %v", err)
	}
	if err := s.Release(ctx, "edge-1", "a", first); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(ctx, "edge-1", "b", second, 1000); err != nil {
		t.Fatalf("the old holder's Release ended it: %v", err)
	}
}
