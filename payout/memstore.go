package payout

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
)

// Memory is a Store in memory, with the rules of the others. What it holds dies
// with the process but for what Checkpoint gave: it is rebuilt from that and
// the shares of the journal behind it.
type Memory struct {
	now func() int64 // Unix milliseconds

	mu     sync.Mutex
	opened *Meta // by Open; nil until then
	memoryState
	leases map[string]memoryLease
}

// memoryState is what a checkpoint holds.
type memoryState struct {
	meta    *Meta // nil: empty
	hwm     map[edgeEpoch]uint64
	run     workSums
	deltas  map[uint32]workSums // of open slots and the last closed one
	slots   []Manifest          // slot n at n-1
	records []LedgerRecord
	fence   uint64 // the last token given

	keys map[string]int // of records: their place
}

type (
	edgeEpoch struct {
		edge  uint16
		epoch uint32
	}
	memberBits struct {
		member   uint16
		workBits uint32
	}
	workSums    map[memberBits]uint64
	memoryLease struct {
		holder string
		token  uint64
		until  int64
	}
)

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store whose leases run by now, in Unix
// milliseconds.
func NewMemory(now func() int64) *Memory {
	m := &Memory{now: now}
	m.wipe()
	return m
}

func (m *Memory) wipe() {
	m.memoryState = memoryState{
		hwm: map[edgeEpoch]uint64{}, run: workSums{}, deltas: map[uint32]workSums{},
		keys: map[string]int{},
	}
	m.leases = map[string]memoryLease{}
}

// Wipe empties m as FLUSHALL would: until it is given a state again, every call
// is ErrIncarnationMissing.
func (m *Memory) Wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wipe()
}

// Open is Store's.
func (m *Memory) Open(ctx context.Context, meta Meta, mayInit bool) error {
	if err := meta.Check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.meta == nil {
		if !mayInit {
			return fmt.Errorf("it is empty: %w", ErrIncarnationMissing)
		}
		m.meta = &meta
	}
	if err := sameMeta(meta, *m.meta); err != nil {
		return err
	}
	m.opened = &meta
	return nil
}

// sameMeta returns ErrForeign with the first difference.
func sameMeta(want, have Meta) error {
	switch {
	case want.Network != have.Network || want.Genesis != have.Genesis:
		return fmt.Errorf("it is of network %q, genesis %x, not %q, %x: %w",
			have.Network, have.Genesis, want.Network, want.Genesis, ErrForeign)
	case want.Incarnation != have.Incarnation:
		return fmt.Errorf("it is incarnation %x, not %x: %w", have.Incarnation, want.Incarnation, ErrForeign)
	case want.Schema != have.Schema:
		return fmt.Errorf("it has schema %d, this program writes %d: %w", have.Schema, want.Schema, ErrForeign)
	}
	return nil
}

// enter takes the lock and returns what gives it back; every method but Open
// begins with it.
func (m *Memory) enter(ctx context.Context) (leave func(), err error) {
	m.mu.Lock()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case m.opened == nil:
		err = ErrNotOpen
	case m.meta == nil:
		err = ErrIncarnationMissing
	default:
		err = sameMeta(*m.opened, *m.meta)
	}
	if err != nil {
		m.mu.Unlock()
		return nil, err
	}
	return m.mu.Unlock, nil
}

// Health is Store's: memory has no settings.
func (m *Memory) Health(ctx context.Context) ([]Problem, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return nil, nil
}

// Apply is Store's.
func (m *Memory) Apply(ctx context.Context, b Batch) (hwm uint64, applied bool, err error) {
	if err := b.Check(); err != nil {
		return 0, false, err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return 0, false, err
	}
	defer leave()
	at := edgeEpoch{b.Edge, b.Epoch}
	hwm = m.hwm[at]
	if b.From != hwm+1 {
		return hwm, false, nil
	}
	if uint64(b.Slot) <= uint64(len(m.slots)) {
		return hwm, false, fmt.Errorf("batch for slot %d, the last closed is %d: %w", b.Slot, len(m.slots), ErrSlotClosed)
	}
	for _, s := range b.Sums {
		if have := m.run[memberBits{s.Member, s.WorkBits}]; s.Difficulty > math.MaxInt64-have {
			return hwm, false, fmt.Errorf("member %d, nBits %08x: %d + %d: %w", s.Member, s.WorkBits, have, s.Difficulty, ErrOverflow)
		}
	}
	if m.deltas[b.Slot] == nil {
		m.deltas[b.Slot] = workSums{}
	}
	for _, s := range b.Sums {
		m.run[memberBits{s.Member, s.WorkBits}] += s.Difficulty
		m.deltas[b.Slot][memberBits{s.Member, s.WorkBits}] += s.Difficulty
	}
	m.hwm[at] = b.To
	return b.To, true, nil
}

// HWM is Store's.
func (m *Memory) HWM(ctx context.Context, edge uint16, epoch uint32) (uint64, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	return m.hwm[edgeEpoch{edge, epoch}], nil
}

// HWMs is Store's.
func (m *Memory) HWMs(ctx context.Context) ([]Mark, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return m.marks(), nil
}

func (m *Memory) marks() []Mark {
	marks := make([]Mark, 0, len(m.hwm))
	for at, seq := range m.hwm {
		marks = append(marks, Mark{at.edge, at.epoch, seq})
	}
	SortMarks(marks)
	return marks
}

// SortMarks puts marks in the order of HWMs.
func SortMarks(marks []Mark) {
	slices.SortFunc(marks, func(a, b Mark) int {
		return cmp.Or(cmp.Compare(a.Edge, b.Edge), cmp.Compare(a.Epoch, b.Epoch))
	})
}

// Run is Store's.
func (m *Memory) Run(ctx context.Context) ([]Sum, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return m.run.sorted(), nil
}

// Deltas is Store's.
func (m *Memory) Deltas(ctx context.Context, slot uint32) ([]Sum, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return m.deltas[slot].sorted(), nil
}

func (s workSums) sorted() []Sum {
	list := make([]Sum, 0, len(s))
	for of, d := range s {
		list = append(list, Sum{of.member, of.workBits, d})
	}
	SortSums(list)
	return list
}

// PutSlot is Store's.
func (m *Memory) PutSlot(ctx context.Context, s Manifest) error {
	if err := s.Check(); err != nil {
		return err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	last := uint64(len(m.slots))
	if uint64(s.Number) <= last {
		if !sameManifest(m.slots[s.Number-1], s) {
			return fmt.Errorf("slot %d has another manifest: %w", s.Number, ErrConflict)
		}
		return nil
	}
	if uint64(s.Number) != last+1 {
		return fmt.Errorf("slot %d cannot follow slot %d: %w", s.Number, last, ErrConflict)
	}
	if head := m.lastHead(); s.Prev != head {
		return fmt.Errorf("slot %d follows %x, slot %d has head %x: %w", s.Number, s.Prev, last, head, ErrConflict)
	}
	s.Bytes = slices.Clone(s.Bytes)
	m.slots = append(m.slots, s)
	maps.DeleteFunc(m.deltas, func(n uint32, _ workSums) bool { return n < s.Number })
	return nil
}

func sameManifest(a, b Manifest) bool {
	return a.Number == b.Number && a.Prev == b.Prev && a.Head == b.Head && string(a.Bytes) == string(b.Bytes)
}

func (m *Memory) lastHead() [32]byte {
	if len(m.slots) == 0 {
		return [32]byte{}
	}
	return m.slots[len(m.slots)-1].Head
}

// LastSlot is Store's.
func (m *Memory) LastSlot(ctx context.Context) (number uint32, head [32]byte, err error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return 0, head, err
	}
	defer leave()
	return uint32(len(m.slots)), m.lastHead(), nil
}

// Slots is Store's.
func (m *Memory) Slots(ctx context.Context, from uint32, limit int) ([]Manifest, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	page := slices.Clone(pageOf(m.slots, uint64(from), limit))
	for i := range page {
		page[i].Bytes = slices.Clone(page[i].Bytes)
	}
	return page, nil
}

// pageOf returns up to limit entries of list from the from-th on, counted from 1.
func pageOf[T any](list []T, from uint64, limit int) []T {
	from = max(from, 1) - 1
	if from >= uint64(len(list)) {
		return nil
	}
	list = list[from:]
	return list[:min(len(list), Page(limit))]
}
