package payout

import (
	"fmt"
	"math/big"
	"slices"
)

// Record is what the window needs to know of one credited share.
type Record struct {
	Member     uint16 // index in the register
	WorkBits   uint32 // compact target that the share's job was measured against
	Difficulty uint64 // pool.Difficulty units the share is credited with, above 0
}

// Records returns the shares of a closed slot in the order of its manifest. An
// error of it is passed on.
type Records func(slot uint32) ([]Record, error)

// Weight is what one member's work in a window weighs: the sum of difficulty
// times block target.
type Weight struct {
	Member uint16
	Units  *big.Int
}

// Edge is the oldest share that a full window counts.
type Edge struct {
	Slot    uint32
	Record  int      // index in the slot's order
	Counted *big.Int // weight that still fits
	Full    *big.Int // weight of the whole share
}

// Weights is the window of one cut.
type Weights struct {
	Cut      uint32   // slot
	First    uint32   // oldest slot of which anything counts, 0 where nothing does
	Capacity *big.Int // weight of a full window
	Total    *big.Int // weight in it
	Members  []Weight // ascending, none zero
	Edge     *Edge    // nil where slot First counts whole
}

// Weights returns the window that ends with slot cut, walked newest first as
// far as it reaches, the oldest share being clipped. records is asked for one
// slot at most, and what it gives must sum to what that slot's manifest said:
// else, and for a cut that is not covered, the error is ErrWindow. Cut 0 is the
// window before the first slot.
func (w *Window) Weights(cut uint32, records Records) (*Weights, error) {
	out := &Weights{Cut: cut, Capacity: new(big.Int).Set(w.capacity), Total: new(big.Int)}
	if cut == 0 {
		return out, nil
	}
	at := int(int64(cut) - int64(w.first))
	if at < 0 || at >= len(w.slots) {
		return nil, fmt.Errorf("cut %d, slots %d to %d are known: %w", cut, w.first, w.Newest(), ErrWindow)
	}
	edge, full := w.edge(at)
	if !full && !w.whole {
		return nil, fmt.Errorf("cut %d needs slots before %d, the oldest known: %w", cut, w.first, ErrWindow)
	}
	weights := make(map[uint16]*big.Int)
	inside := edge // first slot that counts whole
	if full {
		fits := new(big.Int).Sub(w.weightTo(at), w.slots[edge].weight)
		fits.Sub(w.capacity, fits) // what of the edge slot still fits, above 0
		if size := new(big.Int).Sub(w.slots[edge].weight, w.weightTo(edge-1)); size.Cmp(fits) > 0 {
			var err error
			if out.Edge, err = w.clip(edge, fits, records, weights); err != nil {
				return nil, err
			}
			inside++
		}
	}
	w.addTo(weights, w.between(inside, at))
	for m := range 1 << 16 {
		if len(out.Members) == len(weights) {
			break
		}
		if v, ok := weights[uint16(m)]; ok {
			out.Members = append(out.Members, Weight{uint16(m), v})
			out.Total.Add(out.Total, v)
		}
	}
	want := new(big.Int).Sub(w.weightTo(at), w.base)
	if full {
		want.Set(w.capacity)
	}
	if out.Total.Cmp(want) != 0 {
		return nil, fmt.Errorf("cut %d: members' weights sum to %s, the slots to %s: %w", cut, out.Total, want, ErrWindow)
	}
	if out.Total.Sign() > 0 {
		out.First = w.first + uint32(edge)
	}
	return out, nil
}

func addWeight(weights map[uint16]*big.Int, member uint16, v *big.Int) {
	if sum, ok := weights[member]; ok {
		v.Add(v, sum)
	}
	weights[member] = v
}

// clip adds the newest records of slots[i] to weights as long as they fit, the
// last one in part.
func (w *Window) clip(i int, fits *big.Int, records Records, weights map[uint16]*big.Int) (*Edge, error) {
	number := w.first + uint32(i)
	list, err := records(number)
	if err != nil {
		return nil, fmt.Errorf("records of slot %d: %w", number, err)
	}
	if err := w.compare(i, list); err != nil {
		return nil, err
	}
	// While the target stays the same, whole shares fit by their difficulty
	// alone: room counts down, and big integers are needed at its changes only.
	counted := make(sums, len(w.bits))
	left := new(big.Int).Set(fits)
	var room, spent wide
	b, n := -1, len(list)-1
	for ; n >= 0; n-- {
		r := list[n]
		if b < 0 || w.bits[b] != r.WorkBits {
			if b >= 0 {
				left.Sub(left, spent.times(w.targets[b]))
			}
			b = slices.Index(w.bits, r.WorkBits)
			room, spent = wideOf(new(big.Int).Div(left, w.targets[b])), wide{}
		}
		d := wide{lo: r.Difficulty}
		if room.below(d) {
			left.Sub(left, spent.times(w.targets[b]))
			break
		}
		room, spent = room.minus(d), spent.plus(d)
		counted.grow(b, r.Member)
		counted[b][r.Member] = counted[b][r.Member].plus(d)
	}
	if n < 0 {
		return nil, fmt.Errorf("slot %d: the window reaches past its records: %w", number, ErrWindow)
	}
	w.addTo(weights, counted)
	if left.Sign() == 0 { // the share after it fitted exactly
		n++
	} else {
		addWeight(weights, list[n].Member, new(big.Int).Set(left))
	}
	full := wide{lo: list[n].Difficulty}.times(w.targets[slices.Index(w.bits, list[n].WorkBits)])
	if left.Sign() == 0 {
		left.Set(full)
	}
	return &Edge{Slot: number, Record: n, Counted: left, Full: full}, nil
}

// addTo adds what work weighs to weights.
func (w *Window) addTo(weights map[uint16]*big.Int, work sums) {
	for b, members := range work {
		for m, v := range members {
			if v != (wide{}) {
				addWeight(weights, uint16(m), v.times(w.targets[b]))
			}
		}
	}
}

// compare returns ErrWindow unless list sums to what slots[i] was added with:
// a split over other records than the manifest's must not come out.
func (w *Window) compare(i int, list []Record) error {
	number := w.first + uint32(i)
	found := make(sums, len(w.bits))
	b := -1
	for n, r := range list {
		if b < 0 || w.bits[b] != r.WorkBits {
			b = slices.Index(w.bits, r.WorkBits)
		}
		if r.Difficulty == 0 || b < 0 {
			return fmt.Errorf("slot %d: record %d, of difficulty %d at nBits %08x, is not in its manifest: %w",
				number, n, r.Difficulty, r.WorkBits, ErrWindow)
		}
		found.grow(b, r.Member)
		found[b][r.Member] = found[b][r.Member].plus(wide{lo: r.Difficulty})
	}
	unpack(w.slots[i].packed, func(b int, member uint16, d uint64) {
		found.grow(b, member)
		found[b][member] = found[b][member].minus(wide{lo: d})
	})
	for b, members := range found {
		for m, v := range members {
			if v != (wide{}) {
				return fmt.Errorf("slot %d: records of member %d at nBits %08x do not sum to what its manifest says: %w",
					number, m, w.bits[b], ErrWindow)
			}
		}
	}
	return nil
}
