package harness

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"

	"cordee/payout"
)

// StoreMeta returns an identity for tests; another n is another incarnation.
func StoreMeta(n byte) payout.Meta {
	return payout.Meta{
		Network: "regtest", Genesis: [32]byte{0x0f, 0x91}, Schema: payout.SchemaVersion,
		Incarnation: [16]byte{1, n},
	}
}

// StoreBatch returns a batch of shares from to to by members 1 to members, each
// with work 1000·member against one block target.
func StoreBatch(slot uint32, from, to uint64, members int) payout.Batch {
	b := payout.Batch{Edge: 1, Epoch: 1, Slot: slot, From: from, To: to}
	for m := range members {
		b.Sums = append(b.Sums, payout.Sum{Member: uint16(m + 1), WorkBits: 0x207fffff, Difficulty: uint64(m+1) * 1000})
	}
	return b
}

// StoreManifest returns a manifest for slot n in the chain that salt makes.
func StoreManifest(n uint32, salt byte) payout.Manifest {
	head := func(n uint32) [32]byte {
		if n == 0 {
			return [32]byte{}
		}
		return [32]byte{salt, byte(n), byte(n >> 8), 1}
	}
	return payout.Manifest{Number: n, Prev: head(n - 1), Head: head(n), Bytes: fmt.Appendf(nil, "manifest %d \x00\xff of %d", n, salt)}
}

// StoreRecord returns the n-th record of a ledger for tests.
func StoreRecord(n int) payout.LedgerRecord {
	return payout.LedgerRecord{Key: fmt.Sprintf("%064x:found", n), Head: [32]byte{0xaa, byte(n), byte(n >> 8)}, Data: []byte{0, byte(n), 0xff}}
}

// TestStore is the contract of a payout.Store. open returns an empty one that
// Open was not called on, at each call another.
func TestStore(t *testing.T, open func(testing.TB) payout.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, payout.Store)
	}{
		{"Batches", storeBatches},
		{"BatchRefusals", storeBatchRefusals},
		{"Overflow", storeOverflow},
		{"Appliers", storeAppliers},
		{"Slots", storeSlots},
		{"Ledger", storeLedger},
		{"LedgerRace", storeLedgerRace},
		{"Leases", storeLeases},
		{"Empty", storeEmpty},
		{"Slices", storeSlices},
		{"Largest", storeLargest},
		{"Cancelled", storeCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if err := s.Open(t.Context(), StoreMeta(1), true); err != nil {
				t.Fatal(err)
			}
			c.test(t, s)
		})
	}
	t.Run("Identity", func(t *testing.T) { t.Parallel(); storeIdentity(t, open(t)) })
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

func wantSame(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// apply applies b and checks what is answered.
func apply(t testing.TB, s payout.Store, b payout.Batch, hwm uint64, applied bool) {
	t.Helper()
	got, did, err := s.Apply(t.Context(), b)
	if err != nil || got != hwm || did != applied {
		t.Fatalf("batch %d to %d: %d, %v, %v; want %d, %v", b.From, b.To, got, did, err, hwm, applied)
	}
}

func run(t testing.TB, s payout.Store) []payout.Sum {
	t.Helper()
	sums, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func storeIdentity(t *testing.T, s payout.Store) {
	ctx := t.Context()
	_, _, err := s.Apply(ctx, StoreBatch(1, 1, 1, 1))
	wantErr(t, "before Open", err, payout.ErrNotOpen)
	_, err = s.Run(ctx)
	wantErr(t, "before Open", err, payout.ErrNotOpen)
	wantErr(t, "empty with history expected", s.Open(ctx, StoreMeta(1), false), payout.ErrIncarnationMissing)
	wantErr(t, "still empty", s.Open(ctx, StoreMeta(1), false), payout.ErrIncarnationMissing)
	wantErr(t, "fresh", s.Open(ctx, StoreMeta(1), true), nil)
	wantErr(t, "again", s.Open(ctx, StoreMeta(1), true), nil)
	wantErr(t, "later", s.Open(ctx, StoreMeta(1), false), nil)
	apply(t, s, StoreBatch(1, 1, 10, 2), 10, true)

	other := StoreMeta(1)
	other.Genesis[0]++
	for _, mayInit := range []bool{true, false} {
		wantErr(t, "another incarnation", s.Open(ctx, StoreMeta(2), mayInit), payout.ErrForeign)
		wantErr(t, "another chain", s.Open(ctx, other, mayInit), payout.ErrForeign)
	}
	unknown := StoreMeta(1)
	unknown.Schema++
	wantErr(t, "another schema", s.Open(ctx, unknown, true), payout.ErrInvalid)
	wantErr(t, "no incarnation", s.Open(ctx, payout.Meta{Network: "main", Schema: payout.SchemaVersion}, true), payout.ErrInvalid)
	wantErr(t, "ours", s.Open(ctx, StoreMeta(1), false), nil)
	apply(t, s, StoreBatch(1, 11, 20, 2), 20, true)
}

func storeBatches(t *testing.T, s payout.Store) {
	first := StoreBatch(1, 1, 10, 3)
	apply(t, s, StoreBatch(1, 2, 10, 3), 0, false) // a gap
	apply(t, s, first, 10, true)
	sums := run(t, s)
	wantSame(t, "run", sums, first.Sums)
	for _, b := range []payout.Batch{first, StoreBatch(1, 5, 15, 3), StoreBatch(1, 12, 15, 3), StoreBatch(1, 10, 11, 3)} {
		apply(t, s, b, 10, false)
	}
	wantSame(t, "run after a duplicate, overlaps and a gap", run(t, s), sums)

	// Edges and epochs are apart; work targets too; other slots are others.
	next := StoreBatch(2, 11, 11, 2)
	next.Sums = append(next.Sums, payout.Sum{Member: 2, WorkBits: 0x207ffffe, Difficulty: 5})
	payout.SortSums(next.Sums)
	apply(t, s, next, 11, true)
	other := StoreBatch(2, 1, 7, 1)
	other.Edge, other.Epoch = 700, math.MaxUint32
	apply(t, s, other, 7, true)
	nothing := payout.Batch{Edge: 1, Epoch: 2, Slot: 3, From: 1, To: 9}
	apply(t, s, nothing, 9, true)

	wantSame(t, "run", run(t, s), []payout.Sum{
		{Member: 1, WorkBits: 0x207fffff, Difficulty: 3000},
		{Member: 2, WorkBits: 0x207ffffe, Difficulty: 5},
		{Member: 2, WorkBits: 0x207fffff, Difficulty: 4000},
		{Member: 3, WorkBits: 0x207fffff, Difficulty: 3000},
	})
	deltas, err := s.Deltas(t.Context(), 2)
	wantErr(t, "deltas", err, nil)
	wantSame(t, "deltas of slot 2", deltas, []payout.Sum{
		{Member: 1, WorkBits: 0x207fffff, Difficulty: 2000},
		{Member: 2, WorkBits: 0x207ffffe, Difficulty: 5},
		{Member: 2, WorkBits: 0x207fffff, Difficulty: 2000},
	})
	marks, err := s.HWMs(t.Context())
	wantErr(t, "marks", err, nil)
	wantSame(t, "marks", marks, []payout.Mark{{Edge: 1, Epoch: 1, Seq: 11}, {Edge: 1, Epoch: 2, Seq: 9}, {Edge: 700, Epoch: math.MaxUint32, Seq: 7}})
	hwm, err := s.HWM(t.Context(), 700, math.MaxUint32)
	if err != nil || hwm != 7 {
		t.Fatalf("mark of edge 700: %d, %v", hwm, err)
	}
}

func storeBatchRefusals(t *testing.T, s payout.Store) {
	for name, change := range map[string]func(*payout.Batch){
		"slot 0":        func(b *payout.Batch) { b.Slot = 0 },
		"from 0":        func(b *payout.Batch) { b.From = 0 },
		"empty":         func(b *payout.Batch) { b.To = b.From - 1 },
		"zero sum":      func(b *payout.Batch) { b.Sums[1].Difficulty = 0 },
		"twice":         func(b *payout.Batch) { b.Sums[1] = b.Sums[0] },
		"descending":    func(b *payout.Batch) { b.Sums[0], b.Sums[1] = b.Sums[1], b.Sums[0] },
		"too many sums": func(b *payout.Batch) { b.Sums = make([]payout.Sum, payout.MaxBatchSums+1) },
	} {
		b := StoreBatch(1, 1, 5, 3)
		change(&b)
		_, _, err := s.Apply(t.Context(), b)
		wantErr(t, name, err, payout.ErrInvalid)
	}
	apply(t, s, StoreBatch(1, 1, 5, 3), 5, true)
}

// storeOverflow ends in numbers a double cannot hold.
func storeOverflow(t *testing.T, s payout.Store) {
	big := func(from uint64, difficulty ...uint64) payout.Batch {
		b := payout.Batch{Edge: 1, Epoch: 1, Slot: 1, From: from, To: from}
		for i, d := range difficulty {
			b.Sums = append(b.Sums, payout.Sum{Member: uint16(i), WorkBits: 0x1d00ffff, Difficulty: d})
		}
		return b
	}
	_, _, err := s.Apply(t.Context(), big(1, 1<<63))
	wantErr(t, "a work of 2^63", err, payout.ErrOverflow)
	apply(t, s, big(1, 1<<53, math.MaxInt64-9), 1, true)
	_, _, err = s.Apply(t.Context(), big(2, 7, 10))
	wantErr(t, "2^63 by member 1", err, payout.ErrOverflow)
	_, _, err = s.Apply(t.Context(), big(2, 7, math.MaxInt64))
	wantErr(t, "2^64-11 by member 1", err, payout.ErrOverflow)
	wantSame(t, "run after the refusals", run(t, s), big(1, 1<<53, math.MaxInt64-9).Sums)
	apply(t, s, big(2, 1, 9), 2, true)
	want := big(1, 1<<53+1, math.MaxInt64).Sums
	wantSame(t, "run", run(t, s), want)
	deltas, err := s.Deltas(t.Context(), 1)
	wantErr(t, "deltas", err, nil)
	wantSame(t, "deltas", deltas, want)
}

// storeAppliers lets many ship the same shares, cut differently, as a dead
// shipper's twin would.
func storeAppliers(t *testing.T, s payout.Store) {
	const shares, appliers = 200, 8
	work := func(seq uint64) uint64 { return seq * seq }
	var group sync.WaitGroup
	for a := range uint64(appliers) {
		group.Go(func() {
			for hwm := uint64(0); hwm < shares; {
				b := payout.Batch{Edge: 3, Epoch: 4, Slot: 1, From: hwm + 1, To: min(shares, hwm+1+a)}
				sum := payout.Sum{Member: 7, WorkBits: 0x207fffff}
				for seq := b.From; seq <= b.To; seq++ {
					sum.Difficulty += work(seq)
				}
				b.Sums = []payout.Sum{sum}
				var err error
				if hwm, _, err = s.Apply(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	var want uint64
	for seq := uint64(1); seq <= shares; seq++ {
		want += work(seq)
	}
	wantSame(t, "run", run(t, s), []payout.Sum{{Member: 7, WorkBits: 0x207fffff, Difficulty: want}})
}

// storeSlices changes what it passed in and what it got.
func storeSlices(t *testing.T, s payout.Store) {
	ctx := t.Context()
	m, r := StoreManifest(1, 1), StoreRecord(1)
	wantErr(t, "PutSlot", s.PutSlot(ctx, m), nil)
	_, err := s.Append(ctx, [32]byte{}, r)
	wantErr(t, "Append", err, nil)
	clear(m.Bytes)
	clear(r.Data)
	for range 2 {
		slots, err := s.Slots(ctx, 1, 10)
		wantErr(t, "Slots", err, nil)
		records, err2 := s.Records(ctx, 1, 10)
		wantErr(t, "Records", err2, nil)
		if len(slots) != 1 || !bytes.Equal(slots[0].Bytes, StoreManifest(1, 1).Bytes) ||
			len(records) != 1 || !bytes.Equal(records[0].Data, StoreRecord(1).Data) {
			t.Fatalf("the store kept a slice of its caller: %v, %v", slots, records)
		}
		clear(slots[0].Bytes)
		clear(records[0].Data)
	}
}

// storeLargest gives every call all it may take.
func storeLargest(t *testing.T, s payout.Store) {
	ctx := t.Context()
	b := payout.Batch{Edge: 1, Epoch: 1, Slot: math.MaxUint32, From: 1, To: math.MaxInt64}
	for i := range uint32(payout.MaxBatchSums) {
		b.Sums = append(b.Sums, payout.Sum{Member: uint16(i / 64), WorkBits: math.MaxUint32 - 64 + i%64, Difficulty: uint64(i) + 1})
	}
	apply(t, s, b, math.MaxInt64, true)
	wantSame(t, "run", run(t, s), b.Sums)

	m := StoreManifest(1, 1)
	m.Bytes = bytes.Repeat([]byte{0xfe}, payout.MaxValueBytes)
	wantErr(t, "PutSlot", s.PutSlot(ctx, m), nil)
	slots, err := s.Slots(ctx, 1, 1)
	if err != nil || len(slots) != 1 || !bytes.Equal(slots[0].Bytes, m.Bytes) {
		t.Fatalf("%d slots, %v", len(slots), err)
	}
	var records []payout.LedgerRecord
	for n := range payout.MaxAppend {
		r := StoreRecord(n + 1)
		r.Key = fmt.Sprintf("%0*d", payout.MaxKeyBytes, n)
		records = append(records, r)
	}
	_, err = s.Append(ctx, [32]byte{}, records...)
	wantErr(t, "Append", err, nil)
	got, err := s.Records(ctx, 1, payout.MaxPage)
	wantErr(t, "Records", err, nil)
	wantSame(t, "records", got, records)
	b = StoreBatch(2, 1, 1, 1)
	b.To = math.MaxInt64 + 1
	_, _, err = s.Apply(ctx, b)
	wantErr(t, "a seq above 63 bits", err, payout.ErrInvalid)
}
