package payout_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordee/internal/harness"
	"cordee/payout"
)

var update = os.Getenv("UPDATE_GOLDEN") != ""

func never() int64 { return 0 }

func TestMemoryStore(t *testing.T) {
	harness.TestStore(t, func(testing.TB) payout.Store { return payout.NewMemory(never) })
}

// TestMemoryTwins proves that the comparison is fair: a store equals itself.
func TestMemoryTwins(t *testing.T) {
	harness.CompareStores(t, func() (a, b harness.StoreTwin) {
		return harness.MemoryTwin(t), harness.MemoryTwin(t)
	})
}

// sample returns a store with something of everything.
func sample(tb testing.TB) *payout.Memory {
	m := payout.NewMemory(never)
	ctx := tb.Context()
	_, err := m.Acquire(ctx, "x", "y", 1)
	errs := []error{m.Open(ctx, harness.StoreMeta(1), true)}
	if !errors.Is(err, payout.ErrNotOpen) {
		tb.Fatal(err)
	}
	for n := uint32(1); n <= 3; n++ {
		_, _, err := m.Apply(ctx, harness.StoreBatch(n, uint64(n), uint64(n), int(n)))
		errs = append(errs, err)
		if n < 3 {
			errs = append(errs, m.PutSlot(ctx, harness.StoreManifest(n, 1)))
		}
	}
	_, err1 := m.Append(ctx, [32]byte{}, harness.StoreRecord(1), harness.StoreRecord(2))
	_, err2 := m.Acquire(ctx, "accountant", "a", 1000)
	if err := errors.Join(append(errs, err1, err2)...); err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestCheckpointGolden(t *testing.T) {
	file := filepath.Join("testdata", "golden", "checkpoint.txt")
	got := hex.EncodeToString(sample(t).Checkpoint())
	if update {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(text))
	if got != want {
		t.Fatalf("got %s\nwant %s", got, want)
	}
	b, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	m := payout.NewMemory(never)
	if err := m.Restore(b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Checkpoint(), b) {
		t.Fatal("restored, it makes another checkpoint")
	}
	// What was restored goes on where it stood.
	ctx := t.Context()
	if err := m.Open(ctx, harness.StoreMeta(2), true); !errors.Is(err, payout.ErrForeign) {
		t.Fatalf("another incarnation: %v", err)
	}
	if err := m.Open(ctx, harness.StoreMeta(1), false); err != nil {
		t.Fatal(err)
	}
	if hwm, applied, err := m.Apply(ctx, harness.StoreBatch(3, 3, 4, 1)); hwm != 3 || applied || err != nil {
		t.Fatalf("an overlap: %d, %v, %v", hwm, applied, err)
	}
	if token, err := m.Acquire(ctx, "accountant", "b", 1000); token != 2 || err != nil {
		t.Fatalf("the token after 1 is %d, %v", token, err)
	}
}

func TestCheckpointDamage(t *testing.T) {
	m := sample(t)
	good := m.Checkpoint()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if err := m.Restore(bad); !errors.Is(err, payout.ErrCorrupt) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if err := m.Restore(good[:i]); !errors.Is(err, payout.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if !bytes.Equal(m.Checkpoint(), good) {
		t.Fatal("a refused checkpoint changed the store")
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(sample(f).Checkpoint())
	f.Add(payout.NewMemory(never).Checkpoint())
	f.Fuzz(func(t *testing.T, b []byte) {
		m := payout.NewMemory(never)
		// The checksum is repaired, or nothing behind it would be tried.
		for _, b := range [][]byte{b, payout.SealCheckpoint(b)} {
			if err := m.Restore(b); err == nil && !bytes.Equal(m.Checkpoint(), b) {
				t.Fatalf("%x has another encoding", b)
			}
		}
	})
}

func TestLeaseEnds(t *testing.T) {
	now := int64(1000)
	m := payout.NewMemory(func() int64 { return now })
	ctx := t.Context()
	if err := m.Open(ctx, harness.StoreMeta(1), true); err != nil {
		t.Fatal(err)
	}
	first, err := m.Acquire(ctx, "accountant", "a", 100)
	if err != nil {
		t.Fatal(err)
	}
	now += 99
	if _, err := m.Acquire(ctx, "accountant", "b", 100); !errors.Is(err, payout.ErrHeld) {
		t.Fatalf("before its end: %v", err)
	}
	if err := m.Renew(ctx, "accountant", "a", first, 100); err != nil {
		t.Fatal(err)
	}
	now += 100
	if err := m.Renew(ctx, "accountant", "a", first, 100); !errors.Is(err, payout.ErrHeld) {
		t.Fatalf("Renew at its end: %v", err)
	}
	second, err := m.Acquire(ctx, "accountant", "b", 100)
	if err != nil || second <= first {
		t.Fatalf("token %d after %d, %v", second, first, err)
	}
}
