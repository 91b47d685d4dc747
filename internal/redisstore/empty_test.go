package redisstore_test

import (
	"errors"
	"slices"
	"testing"

	"cordee/internal/harness"
	"cordee/payout"
)

// TestEmpty: all keys of one pool go at once, and no other's; another
// incarnation's stay.
func TestEmpty(t *testing.T) {
	r := harness.StartRedis(t)
	s, c := fresh(t, r.Addr)
	other, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	openStore(t, other, true)
	if _, _, err := s.Apply(t.Context(), payout.Batch{
		Edge: 1, Epoch: 1, Slot: 1, From: 1, To: 1, Sums: []payout.Sum{{Member: 1, WorkBits: 0x207fffff, Difficulty: 5}},
	}); err != nil {
		t.Fatal(err)
	}
	admin := r.Admin()
	if err := admin.Set(t.Context(), "{cordee:"+c.Name+"}x:meta", 1, 0).Err(); err != nil { // nearly ours
		t.Fatal(err)
	}
	keys, err := s.Keys(t.Context())
	if err != nil || len(keys) < 5 || !slices.Contains(keys, "{cordee:"+c.Name+"}:run:207fffff") {
		t.Fatalf("%q, %v", keys, err)
	}
	meta, foreign := harness.StoreMeta(1), harness.StoreMeta(1)
	foreign.Incarnation[0] ^= 1
	if err := s.Empty(t.Context(), foreign, keys); !errors.Is(err, payout.ErrForeign) {
		t.Errorf("another's: %v", err)
	}
	if again, err := s.Keys(t.Context()); err != nil || !slices.Equal(keys, again) {
		t.Errorf("refused, and %q are left, %v", again, err)
	}
	if err := s.Empty(t.Context(), meta, keys); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Keys(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("%q are left, %v", left, err)
	}
	if _, _, err := s.LastSlot(t.Context()); !errors.Is(err, payout.ErrNotOpen) {
		t.Errorf("an emptied store answers: %v", err)
	}
	if _, _, err := other.LastSlot(t.Context()); err != nil || admin.Exists(t.Context(), "{cordee:"+c.Name+"}x:meta").Val() != 1 {
		t.Errorf("another pool's keys went too: %v", err)
	}
	if err := s.Open(t.Context(), meta, false); !errors.Is(err, payout.ErrIncarnationMissing) {
		t.Errorf("%v", err)
	}
}
