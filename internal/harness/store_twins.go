package harness

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"cordee/payout"
)

func isHeadMoved(err error) bool { return errors.Is(err, payout.ErrHeadMoved) }

// StoreTwin is a store that can lose and get back what it holds.
type StoreTwin struct {
	payout.Store
	Wipe     func()
	Snapshot func() (restore func())
}

// MemoryTwin returns an empty memory store whose clock stands still.
func MemoryTwin(tb testing.TB) StoreTwin {
	m := payout.NewMemory(func() int64 { return 0 })
	return StoreTwin{Store: m, Wipe: m.Wipe, Snapshot: func() func() {
		b := m.Checkpoint()
		return func() {
			if err := m.Restore(b); err != nil {
				tb.Fatal(err)
			}
		}
	}}
}

// CompareStores does the same to two empty stores, step by step, and wants the
// same answers and the same contents.
func CompareStores(t *testing.T, open func() (a, b StoreTwin)) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := open()
		m := &twins{ctx: t.Context(), a: a, b: b}
		m.both(rt, "Open", func(s payout.Store) []any { return []any{s.Open(m.ctx, StoreMeta(1), true)} })
		rt.Repeat(map[string]func(*rapid.T){
			"batch": m.batch, "slot": m.slot, "append": m.append, "lease": m.lease,
			"snapshot": m.snapshot, "restore": m.restore, "wipe": m.wipe, "open": m.open, "": m.contents,
		})
	})
}

type twins struct {
	ctx  context.Context
	a, b StoreTwin

	snapshots []func()
}

// both wants the same answers of both stores. Errors are the same if they are
// of one kind.
func (m *twins) both(t *rapid.T, what string, do func(payout.Store) []any) []any {
	x, y := do(m.a.Store), do(m.b.Store)
	for i := range x {
		if errX, isErr := x[i].(error); isErr {
			x[i] = kindOf(errX)
		}
		if errY, isErr := y[i].(error); isErr {
			y[i] = kindOf(errY)
		}
	}
	if !reflect.DeepEqual(x, y) {
		t.Fatalf("%s:\n%v\n%v", what, x, y)
	}
	return x
}

func kindOf(err error) string {
	for _, kind := range []error{
		payout.ErrForeign, payout.ErrIncarnationMissing, payout.ErrNotOpen, payout.ErrInvalid, payout.ErrOverflow,
		payout.ErrSlotClosed, payout.ErrConflict, payout.ErrHeadMoved, payout.ErrHeld,
	} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return "unexpected: " + err.Error()
}

func (m *twins) batch(t *rapid.T) {
	b := payout.Batch{
		Edge: rapid.SampledFrom([]uint16{1, 2}).Draw(t, "edge"), Epoch: rapid.Uint32Range(1, 2).Draw(t, "epoch"),
	}
	hwm, _ := m.a.HWM(m.ctx, b.Edge, b.Epoch)
	last, _, _ := m.a.LastSlot(m.ctx)
	b.Slot = uint32(max(0, int(last)+rapid.SampledFrom([]int{1, 1, 1, 2, 0, -1}).Draw(t, "slot")))
	b.From = uint64(max(0, int(hwm)+rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2, -3}).Draw(t, "from")))
	b.To = b.From + rapid.Uint64Range(0, 9).Draw(t, "shares")
	of := func(s payout.Sum) string { return fmt.Sprint(s.Member, s.WorkBits) }
	b.Sums = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) payout.Sum {
		return payout.Sum{
			Member:     rapid.Uint16Range(0, 4).Draw(t, "member"),
			WorkBits:   rapid.SampledFrom([]uint32{0x207fffff, 0x1d00ffff, 1}).Draw(t, "bits"),
			Difficulty: rapid.OneOf(rapid.Uint64Range(1, 1000), rapid.Uint64Range(1, 1<<62)).Draw(t, "difficulty"),
		}
	}), 0, 8, of).Draw(t, "sums")
	payout.SortSums(b.Sums)
	m.both(t, "Apply", func(s payout.Store) []any {
		hwm, applied, err := s.Apply(m.ctx, b)
		if err != nil {
			hwm = 0 // means nothing beside an error
		}
		return []any{hwm, applied, err}
	})
}

func (m *twins) slot(t *rapid.T) {
	last, _, _ := m.a.LastSlot(m.ctx)
	n := uint32(max(1, int(last)+rapid.SampledFrom([]int{1, 1, 1, 0, -1, 2}).Draw(t, "step")))
	salt := rapid.SampledFrom([]byte{1, 1, 1, 2}).Draw(t, "chain")
	m.both(t, "PutSlot", func(s payout.Store) []any { return []any{s.PutSlot(m.ctx, StoreManifest(n, salt))} })
}

func (m *twins) append(t *rapid.T) {
	_, count, _ := m.a.Head(m.ctx)
	first := max(1, int(count)+rapid.SampledFrom([]int{1, 1, 1, 0, -1, 2}).Draw(t, "first"))
	var expect [32]byte
	if first > 1 {
		expect = StoreRecord(first - 1).Head
	}
	var records []payout.LedgerRecord
	for i := range rapid.IntRange(1, 3).Draw(t, "records") {
		records = append(records, StoreRecord(first+i))
	}
	if rapid.IntRange(0, 4).Draw(t, "changed") == 0 {
		records[0].Data = []byte("changed")
	}
	m.both(t, "Append", func(s payout.Store) []any {
		head, err := s.Append(m.ctx, expect, records...)
		return []any{head, err}
	})
}

func (m *twins) lease(t *rapid.T) {
	const name, hour = "accountant", 3_600_000
	holder := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "holder")
	token := m.both(t, "Acquire", func(s payout.Store) []any {
		token, err := s.Acquire(m.ctx, name, holder, hour)
		return []any{token, err}
	})[0].(uint64)
	if rapid.Bool().Draw(t, "release") {
		m.both(t, "Release", func(s payout.Store) []any { return []any{s.Release(m.ctx, name, holder, token)} })
	}
	m.both(t, "Renew", func(s payout.Store) []any { return []any{s.Renew(m.ctx, name, holder, token, hour)} })
}

func (m *twins) snapshot(*rapid.T) {
	a, b := m.a.Snapshot(), m.b.Snapshot()
	m.snapshots = append(m.snapshots, func() { a(); b() })
}

func (m *twins) restore(t *rapid.T) {
	if len(m.snapshots) == 0 {
		t.Skip("there is no snapshot yet")
	}
	rapid.SampledFrom(m.snapshots).Draw(t, "snapshot")()
}

func (m *twins) wipe(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "really") != 0 {
		t.Skip("seldom")
	}
	m.a.Wipe()
	m.b.Wipe()
}

func (m *twins) open(t *rapid.T) {
	n := rapid.SampledFrom([]byte{1, 1, 2}).Draw(t, "incarnation")
	mayInit := rapid.Bool().Draw(t, "may init")
	m.both(t, "Open", func(s payout.Store) []any { return []any{s.Open(m.ctx, StoreMeta(n), mayInit)} })
}

// contents compares everything that can be read.
func (m *twins) contents(t *rapid.T) {
	m.both(t, "contents", func(s payout.Store) []any {
		var all []any
		add := func(v ...any) { all = append(all, v...) }
		runs, err := s.Run(m.ctx)
		add(runs, err)
		marks, err := s.HWMs(m.ctx)
		add(marks, err)
		number, head, err := s.LastSlot(m.ctx)
		add(number, head, err)
		for n := number; n <= number+2; n++ {
			deltas, err := s.Deltas(m.ctx, n)
			add(deltas, err)
		}
		slots, err := s.Slots(m.ctx, 1, 100)
		add(slots, len(slots), err)
		head, count, err := s.Head(m.ctx)
		add(head, count, err)
		records, err := s.Records(m.ctx, 1, 100)
		add(records, len(records), err)
		for i, v := range all { // an empty list is as good as none
			if r := reflect.ValueOf(v); r.Kind() == reflect.Slice && r.Len() == 0 {
				all[i] = nil
			}
		}
		return all
	})
}
