package payout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sort"

	"cordee/pool"
)

// markEvery is the distance in slots between two stored running sums. A query
// reads at most that many slots on either end of its window.
const markEvery = 64

// ErrWindow reports slots or records that do not fit together, or a cut that
// the window no longer or not yet covers.
var ErrWindow = errors.New("window cannot be computed")

// Window answers what every member's work weighs at a cut, from the sums of
// closed slots and the records of one slot. It takes slots in order, keeps them
// packed (about 7 bytes per member and slot) and gives any cut between the
// oldest it still covers and the newest.
//
// A running sum per (member, work_bits) is stored every markEvery slots, and
// each slot knows the weight of all work up to it: the slot in which the window
// ends is found by binary search, and the sums between it and the cut are one
// subtraction per member and epoch.
//
//	slots   ..|......E....|...........|......C..
//	marks     ^           ^           ^            run(C) - run(E), then
//	                 └ edge slot: its records      the edge slot's newest records
//
// One goroutine at a time may use it.
type Window struct {
	capacity *big.Int
	first    uint32 // number of slots[0]
	slots    []closed
	base     *big.Int // weight before slots[0]
	whole    bool     // nothing is older than slots[0]

	bits    []uint32 // every work_bits seen, by index
	targets []*big.Int
	run     sums   // work up to the newest slot
	shared  []bool // by index of bits: run[i] is a mark's too
	marks   []mark // ascending
}

// sums is work by index of bits, then by member.
type sums [][]wide

type closed struct {
	weight *big.Int // of all work up to this slot and in it
	packed []byte   // the slot's sums
}

// mark is the work before slot number.
type mark struct {
	number uint32
	run    sums
}

// NewWindow returns a window of r's size that knows no slot.
func NewWindow(r *Rules) (*Window, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return &Window{capacity: r.Capacity(), base: new(big.Int)}, nil
}

// Newest returns the number of the newest slot, 0 before the first.
func (w *Window) Newest() uint32 { return w.first + uint32(len(w.slots)) - min(w.first, 1) }

// AddSlot takes the sums of slot number, ascending by (member, work_bits) as a
// manifest has them. Slots come in order; the first may have any number, and
// where that is not 1 older work is known to exist: cuts whose window would
// need it are refused. On an error nothing has changed.
func (w *Window) AddSlot(number uint32, work []Sum) error {
	switch {
	case number == 0:
		return fmt.Errorf("slot 0 has no manifest: %w", ErrWindow)
	case len(w.slots) > 0 && number != w.Newest()+1:
		return fmt.Errorf("slot %d does not follow %d: %w", number, w.Newest(), ErrWindow)
	}
	for i, d := range work {
		if d.Difficulty == 0 {
			return fmt.Errorf("slot %d: sum %d is zero: %w", number, i, ErrWindow)
		}
		if i > 0 && compareSums(work[i-1], d) >= 0 {
			return fmt.Errorf("slot %d: member %d nBits %08x does not ascend: %w", number, d.Member, d.WorkBits, ErrWindow)
		}
		if _, err := w.index(d.WorkBits); err != nil {
			return fmt.Errorf("slot %d: member %d: %w: %w", number, d.Member, err, ErrWindow)
		}
	}
	if len(w.slots) == 0 {
		w.first, w.whole = number, number == 1
	}
	if len(w.slots) == 0 || number%markEvery == 0 {
		w.marks = append(w.marks, mark{number, slices.Clone(w.run)})
		for i := range w.shared {
			w.shared[i] = true
		}
	}
	packed := make([]byte, 0, 8*len(work))
	totals := make([]wide, len(w.bits))
	var last uint16
	for _, d := range work {
		i, _ := w.index(d.WorkBits)
		v := wide{lo: d.Difficulty}
		w.add(i, d.Member, v)
		totals[i] = totals[i].plus(v)
		packed = binary.AppendUvarint(packed, uint64(d.Member-last))
		packed = binary.AppendUvarint(packed, uint64(i))
		packed = binary.AppendUvarint(packed, d.Difficulty)
		last = d.Member
	}
	weight := new(big.Int).Set(w.weightTo(len(w.slots) - 1))
	for i, t := range totals {
		if t != (wide{}) {
			weight.Add(weight, t.times(w.targets[i]))
		}
	}
	w.slots = append(w.slots, closed{weight, slices.Clip(packed)})
	return nil
}

// index returns the place of workBits in w.bits, which it makes where there is
// none: a handful a year.
func (w *Window) index(workBits uint32) (int, error) {
	if i := slices.Index(w.bits, workBits); i >= 0 {
		return i, nil
	}
	target, err := pool.TargetFromBits(workBits)
	if err != nil {
		return 0, err
	}
	w.bits = append(w.bits, workBits)
	w.targets = append(w.targets, target.Big())
	w.run = append(w.run, nil)
	w.shared = append(w.shared, false)
	return len(w.bits) - 1, nil
}

// add adds v to the running sum, which it copies first where a mark holds it.
func (w *Window) add(i int, member uint16, v wide) {
	if w.shared[i] {
		w.run[i], w.shared[i] = slices.Clone(w.run[i]), false
	}
	w.run.grow(i, member)
	w.run[i][member] = w.run[i][member].plus(v)
}

func (s sums) grow(i int, member uint16) {
	if n := int(member) + 1 - len(s[i]); n > 0 {
		s[i] = append(s[i], make([]wide, n)...)
	}
}

// weightTo returns the weight of all work up to slots[i], for i = -1 before it.
func (w *Window) weightTo(i int) *big.Int {
	if i < 0 {
		return w.base
	}
	return w.slots[i].weight
}

// Trim forgets slots that no window of a cut from slot cut on can reach. What
// it frees it frees at once: no slot is read.
func (w *Window) Trim(cut uint32) {
	at := int(int64(cut) - int64(w.first))
	if at < 0 || at >= len(w.slots) {
		return
	}
	edge, full := w.edge(at)
	if !full {
		return
	}
	m := w.markBefore(w.first + uint32(edge))
	n := int(w.marks[m].number - w.first)
	if n == 0 {
		return
	}
	w.base = w.slots[n-1].weight
	clear(w.slots[:n])
	clear(w.marks[:m])
	w.slots, w.marks = w.slots[n:], w.marks[m:]
	w.first, w.whole = w.first+uint32(n), false
}

// edge returns the index of the slot in which the window of the cut at index
// at ends, and whether the window is full.
func (w *Window) edge(at int) (i int, full bool) {
	start := new(big.Int).Sub(w.weightTo(at), w.capacity) // where the window begins, in weight
	if start.Cmp(w.base) < 0 {
		return 0, false
	}
	// The first slot that ends behind start; at itself does.
	return sort.Search(at, func(i int) bool { return w.slots[i].weight.Cmp(start) > 0 }), true
}

// markBefore returns the index of the newest mark at or before slot number.
func (w *Window) markBefore(number uint32) int {
	return sort.Search(len(w.marks), func(i int) bool { return w.marks[i].number > number }) - 1
}

// between returns the work in slots[from] to slots[to], both included.
func (w *Window) between(from, to int) sums {
	acc := make(sums, len(w.bits))
	w.accumulate(acc, to+1, wide.plus)
	w.accumulate(acc, from, wide.minus)
	return acc
}

// accumulate joins the work before slots[i] to acc by op.
func (w *Window) accumulate(acc sums, i int, op func(wide, wide) wide) {
	start, run := len(w.slots), w.run
	if i < len(w.slots) {
		m := w.marks[w.markBefore(w.first+uint32(i))]
		start, run = int(m.number-w.first), m.run
	}
	for b, members := range run {
		if len(members) == 0 {
			continue
		}
		acc.grow(b, uint16(len(members)-1))
		for m, v := range members {
			acc[b][m] = op(acc[b][m], v)
		}
	}
	for ; start < i; start++ {
		unpack(w.slots[start].packed, func(b int, member uint16, d uint64) {
			acc.grow(b, member)
			acc[b][member] = op(acc[b][member], wide{lo: d})
		})
	}
}

// unpack calls each with the sums of a slot as AddSlot packed them.
func unpack(packed []byte, each func(b int, member uint16, d uint64)) {
	var member uint16
	for len(packed) > 0 {
		gap, n := binary.Uvarint(packed)
		b, k := binary.Uvarint(packed[n:])
		d, l := binary.Uvarint(packed[n+k:])
		packed = packed[n+k+l:]
		member += uint16(gap)
		each(int(b), member, d)
	}
}
