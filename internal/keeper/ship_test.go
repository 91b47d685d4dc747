package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/harness"
	"cordee/payout"
	"cordee/pool"
)

// faulty is a store that can be away: before a call, or after it was done, so
// that only the reply is lost.
type faulty struct {
	payout.Store
	before, after func(call string) error
}

func (f *faulty) fail(at func(string) error, call string) error {
	if at == nil {
		return nil
	}
	return at(call)
}

func through[T any](f *faulty, call string, do func() (T, error)) (T, error) {
	var zero T
	if err := f.fail(f.before, call); err != nil {
		return zero, err
	}
	v, err := do()
	if lost := f.fail(f.after, call); lost != nil {
		return zero, lost
	}
	return v, err
}

func (f *faulty) Open(ctx context.Context, meta payout.Meta, mayInit bool) error {
	_, err := through(f, "open", func() (int, error) { return 0, f.Store.Open(ctx, meta, mayInit) })
	return err
}

func (f *faulty) LastSlot(ctx context.Context) (n uint32, head [32]byte, err error) {
	n, err = through(f, "last", func() (v uint32, err error) { v, head, err = f.Store.LastSlot(ctx); return v, err })
	return n, head, err
}

func (f *faulty) Apply(ctx context.Context, b payout.Batch) (hwm uint64, applied bool, err error) {
	hwm, err = through(f, "apply", func() (v uint64, err error) { v, applied, err = f.Store.Apply(ctx, b); return v, err })
	return hwm, applied, err
}

func (f *faulty) PutSlot(ctx context.Context, m payout.Manifest) error {
	_, err := through(f, "put", func() (int, error) { return 0, f.Store.PutSlot(ctx, m) })
	return err
}

func (f *faulty) Append(ctx context.Context, expect [32]byte, recs ...payout.LedgerRecord) ([32]byte, error) {
	return through(f, "append", func() ([32]byte, error) { return f.Store.Append(ctx, expect, recs...) })
}

// history fills a kit with slots, restarts, blocks and an orphan.
func history(kt *kit) {
	kt.chain.foreign(kt.chain.tip, 2)
	for i := range 6 {
		kt.work(uint64(5+i), 1, 2, 3, 0)
		if i%2 == 1 {
			kt.restart()
			kt.work(3, 2)
		}
		kt.close()
		kt.cover()
		fork := kt.chain.tip
		kt.block(50e8, largeClass)
		kt.cover()
		if i == 3 {
			kt.chain.foreign(fork, 2)
			kt.cover()
		}
	}
	if err := kt.k.Halt("test", "to be in the ledger"); err != nil {
		kt.tb.Fatal(err)
	}
}

func fresh(t testing.TB) *payout.Memory {
	t.Helper()
	m := payout.NewMemory(func() int64 { return 0 })
	if err := m.Open(t.Context(), harness.StoreMeta(1), true); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestShipping: a store that fails at any call, before or after it was done,
// ends with the same contents as one that never did, and as a rebuilt one.
func TestShipping(t *testing.T) {
	kt := newKit(t, 3, nil)
	history(kt)
	want := fresh(t)
	if err := kt.k.Rebuild(t.Context(), want, harness.StoreMeta(1), func(uint32, uint32) {}); err != nil {
		t.Fatal(err)
	}
	run, err := want.Run(t.Context())
	if err != nil || len(run) != 4 {
		t.Fatalf("sums %v, %v", run, err)
	}
	for n := range 1000 {
		calls := 0
		fault := func(call string) error {
			if calls++; calls == n {
				return fmt.Errorf("call %s: %w", call, payout.ErrUnavailable)
			}
			return nil
		}
		store := &faulty{Store: payout.NewMemory(func() int64 { return 0 }), before: fault, after: fault}
		kt.cfg.Store, kt.k.cfg.Store, kt.k.opened = store, store, false
		kt.k.cfg.Volatile = true
		err := kt.k.Ship(t.Context())
		failed := n > 0 && n <= calls
		if failed != errors.Is(err, payout.ErrUnavailable) || failed != (kt.k.Status().Ship == ShipUnavailable) {
			t.Fatalf("call %d: %v, %s", n, err, kt.k.Status().Ship)
		}
		store.before, store.after = nil, nil
		if err := kt.k.Ship(t.Context()); err != nil {
			t.Fatalf("after call %d: %v", n, err)
		}
		same(t, store, want)
		if n > 0 && !failed {
			if n < 20 {
				t.Fatalf("only %d calls", n)
			}
			break
		}
	}
	if s := kt.k.Status(); s.Ship != ShipCurrent || s.StoreSlot != s.Slot || int(s.StoreEvents) != s.Events || !slices.Equal(s.Halts, []string{"test"}) {
		t.Errorf("status %+v", s)
	}
}

// TestStoreGoesBack: a store restored from any earlier moment is filled again.
func TestStoreGoesBack(t *testing.T) {
	kt := newKit(t, 3, nil)
	store := payout.NewMemory(func() int64 { return 0 })
	kt.cfg.Store, kt.k.cfg.Store = store, store
	var copies [][]byte
	for range 4 {
		kt.work(5, 1, 2)
		kt.close()
		if err := kt.k.Ship(t.Context()); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, store.Checkpoint())
		kt.cover()
		kt.block(50e8, largeClass)
		kt.cover()
	}
	if err := kt.k.Ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := fresh(t)
	if err := kt.k.Rebuild(t.Context(), want, harness.StoreMeta(1), func(uint32, uint32) {}); err != nil {
		t.Fatal(err)
	}
	for i, c := range copies {
		if err := store.Restore(c); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			kt.restart()
		}
		if err := kt.k.Ship(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, store, want)
	}
}

// TestWrongStoreHalts: a store that is another's, was emptied, or has another
// history stops shipping and payouts under its name; mining goes on, slots are
// closed and blocks credited.
func TestWrongStoreHalts(t *testing.T) {
	for _, c := range []struct {
		halt  string
		spoil func(kt *kit, m *payout.Memory)
	}{
		{"store.incarnation-missing", func(_ *kit, m *payout.Memory) { m.Wipe() }},
		{"store.incarnation-missing", func(kt *kit, m *payout.Memory) { m.Wipe(); kt.restart() }},
		{"store.foreign", func(kt *kit, m *payout.Memory) {
			other := payout.NewMemory(func() int64 { return 0 })
			if err := other.Open(kt.tb.Context(), harness.StoreMeta(2), true); err != nil {
				kt.tb.Fatal(err)
			}
			if err := m.Restore(other.Checkpoint()); err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"store.diverged", func(kt *kit, m *payout.Memory) {
			n, head, err := m.LastSlot(kt.tb.Context())
			if err == nil {
				err = m.PutSlot(kt.tb.Context(), payout.Manifest{Number: n + 1, Prev: head, Head: [32]byte{9}, Bytes: []byte("not ours")})
			}
			if err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"store.diverged", func(kt *kit, m *payout.Memory) {
			head, _, err := m.Head(kt.tb.Context())
			if err == nil {
				_, err = m.Append(kt.tb.Context(), head, harness.StoreRecord(1))
			}
			if err != nil {
				kt.tb.Fatal(err)
			}
		}},
		{"store.diverged", func(kt *kit, m *payout.Memory) { // half of the next batch, from somebody else
			b := harness.StoreBatch(2, 3, 3, 1)
			if _, ok, err := m.Apply(kt.tb.Context(), b); err != nil || !ok {
				kt.tb.Fatal(ok, err)
			}
		}},
	} {
		t.Run(c.halt, func(t *testing.T) {
			m := payout.NewMemory(func() int64 { return 0 })
			kt := newKit(t, 3, m)
			kt.work(10, 1, 2)
			kt.close()
			if err := kt.k.Ship(t.Context()); err != nil {
				t.Fatal(err)
			}
			kt.cover()
			c.spoil(kt, m)
			kt.work(10, 1, 2)
			kt.close()
			before := m.Checkpoint()
			if err := kt.k.Ship(t.Context()); err == nil || kt.k.Status().Ship != ShipStopped {
				t.Fatalf("%v, %s", err, kt.k.Status().Ship)
			}
			if string(before) != string(m.Checkpoint()) {
				t.Error("the store was written to")
			}
			if !slices.Equal(kt.k.Halts(), []string{c.halt}) {
				t.Errorf("halts %v", kt.k.Halts())
			}
			kt.work(10, 1)
			if kt.close() != 1 {
				t.Error("no slot is closed any more")
			}
			_, r := kt.block(50e8, pool.DefaultClass)
			if kt.cover(); len(kt.k.ledger.Blocks()) != 1 || r.Slot != 3 || len(r.Credits) != 2 || len(r.Settlement) != 1 {
				t.Errorf("mining did not go on: %+v", r)
			}
		})
	}
}

// TestBatchesOfALargeSlot: more sums than a batch may have are spread over
// shares of any ranges, contiguous and without loss.
func TestBatchesOfALargeSlot(t *testing.T) {
	for _, ranges := range [][]payout.Range{
		{{Edge: 1, Epoch: 1, First: 5, Last: 20_000}},
		{{Edge: 1, Epoch: 1, First: 7, Last: 7}, {Edge: 1, Epoch: 2, First: 1, Last: 1}, {Edge: 1, Epoch: 3, First: 1, Last: 9999}},
		{{Edge: 1, Epoch: 1, First: 1, Last: 10_000}, {Edge: 1, Epoch: 2, First: 1, Last: 1}},
	} {
		s := &payout.Slot{Number: 1, Ranges: ranges}
		for m := range 10_000 {
			s.Sums = append(s.Sums, payout.Sum{Member: uint16(m), WorkBits: 1, Difficulty: 1})
		}
		var sums []payout.Sum
		at := map[uint32]uint64{}
		for _, r := range ranges {
			at[r.Epoch] = r.First
		}
		for _, b := range Batches(s) {
			if err := b.Check(); err != nil || b.From != at[b.Epoch] {
				t.Fatalf("batch %d to %d of epoch %d: %v", b.From, b.To, b.Epoch, err)
			}
			at[b.Epoch] = b.To + 1
			sums = append(sums, b.Sums...)
		}
		for _, r := range ranges {
			if at[r.Epoch] != r.Last+1 {
				t.Errorf("epoch %d ends at %d", r.Epoch, at[r.Epoch]-1)
			}
		}
		if !slices.Equal(sums, s.Sums) {
			t.Errorf("%d of %d sums are shipped", len(sums), len(s.Sums))
		}
	}
}

// TestRunRidesOutAStoreThatIsAway: for an hour of its clock no slot is missed,
// and within 5 s of the store's return it has all.
func TestRunRidesOutAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away, wrong atomic.Bool
		away.Store(true)
		store := &faulty{Store: payout.NewMemory(func() int64 { return time.Now().UnixMilli() })}
		store.before = func(string) error {
			switch {
			case away.Load():
				return fmt.Errorf("port %d: %w", time.Now().Unix(), payout.ErrUnavailable) // never the same words
			case wrong.Load():
				return payout.ErrCorrupt
			}
			return nil
		}
		kt := newKit(t, 3, store)
		var log bytes.Buffer
		kt.k.log = zerolog.New(&log)
		kt.chain.foreign(kt.chain.tip, 2)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- kt.k.Run(ctx) }()
		time.Sleep(30 * time.Second)
		for range 60 {
			kt.work(5, 1, 2)
			kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if s := kt.k.Status(); s.Slot != 60 || s.Ship != ShipUnavailable || len(s.Halts) != 0 || !s.Draining || s.Members[0].Expected == 0 {
			t.Errorf("status %+v", s)
		}
		away.Store(false)
		time.Sleep(shipLatest)
		synctest.Wait()
		if s := kt.k.Status(); s.Ship != ShipCurrent || s.StoreSlot != s.Slot || len(s.Trouble) != 0 {
			t.Errorf("status %+v", s)
		}
		for _, event := range []string{"store.unavailable", "store.back"} {
			if n := strings.Count(log.String(), event); n != 1 {
				t.Errorf("the log has %s %d times:\n%s", event, n, log.String())
			}
		}
		wrong.Store(true)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		wrong.Store(false) // given back; a lift does not wait for the next try
		if err := kt.k.Lift("store.corrupt", "given back"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := kt.k.Status(); s.Ship != ShipCurrent || len(s.Halts) != 0 || len(s.Trouble) != 0 {
			t.Errorf("status after the lift: %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		kt.end() // its goroutines belong to the bubble
	})
}
