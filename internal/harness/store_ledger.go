package harness

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"

	"cordee/payout"
)

func storeEmpty(t *testing.T, s payout.Store) {
	ctx := t.Context()
	wantSame(t, "run", run(t, s), []payout.Sum{})
	number, head, err := s.LastSlot(ctx)
	if number != 0 || head != [32]byte{} || err != nil {
		t.Fatalf("last slot: %d, %x, %v", number, head, err)
	}
	head, count, err := s.Head(ctx)
	if count != 0 || head != [32]byte{} || err != nil {
		t.Fatalf("head: %d, %x, %v", count, head, err)
	}
	slots, err := s.Slots(ctx, 0, 10)
	if len(slots) != 0 || err != nil {
		t.Fatalf("slots: %v, %v", slots, err)
	}
	problems, err := s.Health(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Fatal {
			t.Errorf("a store that Open took has a fatal problem: %v", p)
		}
	}
}

func storeCancelled(t *testing.T, s payout.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Apply(ctx, StoreBatch(1, 1, 5, 3))
	wantErr(t, "Apply", err, context.Canceled)
	_, err = s.Run(ctx)
	wantErr(t, "Run", err, context.Canceled)
	hwm, err := s.HWM(t.Context(), 1, 1)
	if err != nil || hwm != 0 {
		t.Fatalf("a cancelled batch was applied: %d, %v", hwm, err)
	}
}

func storeSlots(t *testing.T, s payout.Store) {
	ctx := t.Context()
	for n := uint32(1); n <= 5; n++ {
		apply(t, s, StoreBatch(n, uint64(n)*10-9, uint64(n)*10, 2), uint64(n)*10, true)
		wantErr(t, "a gap", s.PutSlot(ctx, StoreManifest(n+1, 1)), payout.ErrConflict)
		for range 2 {
			wantErr(t, "PutSlot", s.PutSlot(ctx, StoreManifest(n, 1)), nil)
		}
		wantErr(t, "another chain", s.PutSlot(ctx, StoreManifest(n, 2)), payout.ErrConflict)
		if n > 1 {
			wantErr(t, "an old one", s.PutSlot(ctx, StoreManifest(n-1, 1)), nil)
			wantErr(t, "another prev", s.PutSlot(ctx, StoreManifest(n+1, 2)), payout.ErrConflict)
		}
		changed := StoreManifest(n, 1)
		changed.Bytes[0]++
		wantErr(t, "other bytes", s.PutSlot(ctx, changed), payout.ErrConflict)
		number, head, err := s.LastSlot(ctx)
		if number != n || head != StoreManifest(n, 1).Head || err != nil {
			t.Fatalf("last slot: %d, %x, %v", number, head, err)
		}
	}
	// A repeated batch is told its mark, a new one that its slot is closed.
	apply(t, s, StoreBatch(5, 41, 50, 2), 50, false)
	_, _, err := s.Apply(ctx, StoreBatch(5, 51, 60, 2))
	wantErr(t, "a batch for a closed slot", err, payout.ErrSlotClosed)
	apply(t, s, StoreBatch(6, 51, 60, 2), 60, true)

	for from, want := range map[uint32]int{0: 5, 1: 5, 3: 3, 5: 1, 6: 0, 1 << 31: 0} {
		slots, err := s.Slots(ctx, from, 100)
		if err != nil || len(slots) != want {
			t.Fatalf("slots from %d: %d of %d, %v", from, len(slots), want, err)
		}
		for i, m := range slots {
			wantSame(t, "manifest", m, StoreManifest(max(from, 1)+uint32(i), 1))
		}
	}
	for limit, want := range map[int]int{-1: 0, 0: 0, 2: 2, math.MaxInt: 4} {
		if slots, err := s.Slots(ctx, 2, limit); err != nil || len(slots) != want {
			t.Fatalf("slots, at most %d: %v, %v", limit, slots, err)
		}
	}
	for n, want := range map[uint32]int{4: 0, 5: 2, 6: 2} {
		deltas, err := s.Deltas(ctx, n)
		if err != nil || len(deltas) != want {
			t.Fatalf("deltas of slot %d: %v, %v", n, deltas, err)
		}
	}
	for name, m := range map[string]payout.Manifest{
		"slot 0": {Head: [32]byte{1}, Bytes: []byte{1}}, "no bytes": {Number: 6, Prev: [32]byte{1}, Head: [32]byte{2}},
		"no head": {Number: 6, Prev: [32]byte{1}, Bytes: []byte{1}}, "first with prev": {Number: 1, Prev: [32]byte{1}, Head: [32]byte{2}, Bytes: []byte{1}},
	} {
		wantErr(t, name, s.PutSlot(ctx, m), payout.ErrInvalid)
	}
}

func storeLedger(t *testing.T, s payout.Store) {
	ctx := t.Context()
	r := StoreRecord
	expect := func(what string, from [32]byte, records []payout.LedgerRecord, head [32]byte, want error) {
		t.Helper()
		got, err := s.Append(ctx, from, records...)
		wantErr(t, what, err, want)
		if got != head {
			t.Fatalf("%s: head %x, want %x", what, got, head)
		}
	}
	type list = []payout.LedgerRecord
	expect("behind nothing", r(9).Head, list{r(1)}, [32]byte{}, payout.ErrHeadMoved)
	expect("first", [32]byte{}, list{r(1)}, r(1).Head, nil)
	expect("first again", [32]byte{}, list{r(1)}, r(1).Head, nil)
	expect("two", r(1).Head, list{r(2), r(3)}, r(3).Head, nil)
	expect("two again", r(1).Head, list{r(2), r(3)}, r(3).Head, nil)
	expect("old again", [32]byte{}, list{r(1)}, r(3).Head, nil)
	expect("behind an old one", r(1).Head, list{r(4)}, r(3).Head, payout.ErrHeadMoved)
	expect("one known, one new", r(3).Head, list{r(1), r(4)}, r(3).Head, payout.ErrConflict)
	changed := r(2)
	changed.Data = []byte("other")
	expect("other contents", r(3).Head, list{changed}, r(3).Head, payout.ErrConflict)
	moved := r(2)
	moved.Head[31]++
	expect("other head", r(1).Head, list{moved, r(3)}, r(3).Head, payout.ErrConflict)
	bare := payout.LedgerRecord{Key: "k", Head: [32]byte{1}}
	expect("no data", r(3).Head, list{bare}, bare.Head, nil)

	for what, wrong := range map[string]list{
		"none": {}, "no key": {{Head: [32]byte{5}}}, "no head": {{Key: "a"}},
		"a key twice":  {{Key: "a", Head: [32]byte{5}}, {Key: "a", Head: [32]byte{6}}},
		"a head twice": {{Key: "a", Head: [32]byte{5}}, {Key: "b", Head: [32]byte{5}}},
	} {
		_, err := s.Append(ctx, bare.Head, wrong...)
		wantErr(t, what, err, payout.ErrInvalid)
	}
	head, count, err := s.Head(ctx)
	if head != bare.Head || count != 4 || err != nil {
		t.Fatalf("head %x, %d records, %v", head, count, err)
	}
	records, err := s.Records(ctx, 2, 2)
	wantErr(t, "Records", err, nil)
	wantSame(t, "records", records, list{r(2), r(3)})
	if records, err = s.Records(ctx, 5, 2); err != nil || len(records) != 0 {
		t.Fatalf("records behind the last: %v, %v", records, err)
	}
}

// storeLedgerRace lets many append behind the head they read: one wins.
func storeLedgerRace(t *testing.T, s payout.Store) {
	const each, writers = 10, 6
	ctx := t.Context()
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := range each {
				r := StoreRecord(1 + w*each + n)
				for {
					head, _, err := s.Head(ctx)
					if err == nil {
						_, err = s.Append(ctx, head, r)
					}
					if err == nil {
						break
					}
					if !isHeadMoved(err) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	records, err := s.Records(ctx, 1, 1000)
	wantErr(t, "Records", err, nil)
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.Key] = true
	}
	if len(records) != each*writers || len(seen) != len(records) {
		t.Fatalf("%d records, %d keys of %d", len(records), len(seen), each*writers)
	}
}

func storeLeases(t *testing.T, s payout.Store) {
	ctx := t.Context()
	const ttl = 60_000
	first, err := s.Acquire(ctx, "accountant", "a 1", ttl)
	wantErr(t, "Acquire", err, nil)
	again, err := s.Acquire(ctx, "accountant", "a 1", ttl)
	if err != nil || again != first {
		t.Fatalf("the holder's own again: token %d, %v; it was %d", again, err, first)
	}
	_, err = s.Acquire(ctx, "accountant", "b", ttl)
	wantErr(t, "another's", err, payout.ErrHeld)
	other, err := s.Acquire(ctx, "edge-1", "b", ttl)
	if err != nil || other <= first {
		t.Fatalf("another lease: token %d after %d, %v", other, first, err)
	}
	wantErr(t, "Renew", s.Renew(ctx, "accountant", "a 1", first, ttl), nil)
	wantErr(t, "Renew by another", s.Renew(ctx, "accountant", "b", first, ttl), payout.ErrHeld)
	wantErr(t, "Renew with another token", s.Renew(ctx, "accountant", "a 1", first+1, ttl), payout.ErrHeld)
	wantErr(t, "Release by another", s.Release(ctx, "accountant", "b", first), nil)
	wantErr(t, "still held", s.Renew(ctx, "accountant", "a 1", first, ttl), nil)
	for range 2 {
		wantErr(t, "Release", s.Release(ctx, "accountant", "a 1", first), nil)
	}
	wantErr(t, "Renew after Release", s.Renew(ctx, "accountant", "a 1", first, ttl), payout.ErrHeld)
	next, err := s.Acquire(ctx, "accountant", "b", ttl)
	if err != nil || next <= other {
		t.Fatalf("a new holder: token %d after %d, %v", next, other, err)
	}
	for what, try := range map[string][3]any{"no name": {"", "a", 1}, "no holder": {"a", "", 1}, "no time": {"a", "b", 0}} {
		_, err := s.Acquire(ctx, fmt.Sprint(try[0]), fmt.Sprint(try[1]), int64(try[2].(int)))
		wantErr(t, what, err, payout.ErrInvalid)
	}
}
