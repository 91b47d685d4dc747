package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// slotSizes are the numbers of shares per slot with which the production path
// runs. One share per slot never reads records; one slot for all always does.
var slotSizes = []int{1, 2, 97, 1 << 30}

// Difference is one field where not all agree.
type Difference struct {
	Vector     string `json:"vector"`          // name; "" for the file itself
	Block      int    `json:"block,omitempty"` // from 1; 0 where no block is meant
	Field      string `json:"field"`
	Expected   string `json:"expected"`
	Naive      string `json:"naive"`
	Production string `json:"production"` // with the slot size that disagrees
}

// String returns one line: vector, block, field, what was expected and what
// came out.
func (d Difference) String() string {
	where := d.Field
	if d.Block > 0 {
		where = fmt.Sprintf("block %d, %s", d.Block, d.Field)
	}
	if d.Vector != "" {
		where = d.Vector + ", " + where
	}
	s := where + ": expected " + d.Expected
	if d.Naive != d.Expected || d.Production == d.Expected {
		s += ", naive " + d.Naive
	}
	if d.Production != d.Expected && d.Production != d.Naive {
		s += ", production " + d.Production
	}
	return s
}

// Result is what Check found.
type Result struct {
	Vectors     int          `json:"vectors"`
	Negative    int          `json:"negative"`
	Blocks      int          `json:"blocks"`
	Values      int          `json:"values"` // compared, per path
	Differences []Difference `json:"differences"`
}

// Check recomputes every vector of a file by both paths and compares all that
// it expects. The error is ErrFile, for a file that cannot be read; what is
// wrong in a vector is a Difference.
func Check(data []byte) (*Result, error) {
	f, err := Decode(data)
	if err != nil {
		return nil, err
	}
	// What is expected is compared as it stands in the file, so that a missing
	// field differs from a zero.
	var raw struct {
		Dust    any              `json:"dust_thresholds"`
		Vectors []map[string]any `json:"vectors"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFile)
	}
	r := &Result{Vectors: len(f.Vectors), Negative: len(f.Negative), Differences: []Difference{}}
	dust := tree(dustTable(f.Dust))
	r.compare(Difference{Field: "dust_thresholds"}, raw.Dust, dust, []any{dust})
	for i := range f.Vectors {
		v := &f.Vectors[i]
		r.Blocks += len(v.Blocks)
		if err := r.vector(v, raw.Vectors[i], f.Dust); err != nil {
			r.fail(v.Name, "input", "a vector that can be computed", err)
		}
	}
	for i := range f.Negative {
		n := &f.Negative[i]
		if _, err := checkShares(n.Shares, n.EpochsNBits); err == nil {
			r.fail(n.Name, "error", n.Error, errors.New("no error"))
		} else if in, ok := errors.AsType[*InputError](err); !ok || in.Field != n.Error {
			r.fail(n.Name, "error", n.Error, err)
		}
		r.Values++
	}
	return r, nil
}

func (r *Result) fail(vector, field, want string, err error) {
	r.Differences = append(r.Differences, Difference{Vector: vector, Field: field, Expected: want, Naive: err.Error(), Production: err.Error()})
}

// outcome is all that one path says of a vector, as JSON trees.
type outcome struct {
	blocks                    []any
	split, settlement, ledger any
}

// vector computes v by both paths and compares with what the file expects, raw.
func (r *Result) vector(v *Vector, raw map[string]any, dust map[string]int64) error {
	naive, ours, err := outcomes(v, dust)
	if err != nil {
		return err
	}
	r.compareVector(v.Name, raw, naive, ours)
	return nil
}

func outcomes(v *Vector, dust map[string]int64) (naive outcome, ours []outcome, err error) {
	if err := v.prepare(dust); err != nil {
		return naive, nil, err
	}
	for _, size := range slotSizes {
		o, err := byProduction(v, size)
		if err != nil {
			return naive, nil, fmt.Errorf("slots of %d shares: %w", size, err)
		}
		ours = append(ours, o)
	}
	return byNaive(v, dust), ours, nil // the naive path takes rules for checked
}

func (r *Result) compareVector(name string, raw map[string]any, naive outcome, ours []outcome) {
	side := func(get func(outcome) any) (all []any) {
		for _, o := range ours {
			all = append(all, get(o))
		}
		return all
	}
	for n := range naive.blocks {
		r.compare(Difference{Vector: name, Block: n + 1}, entry(raw["expected"], n), naive.blocks[n], side(func(o outcome) any { return o.blocks[n] }))
	}
	if want, given := raw["expected_settlement"]; given {
		for n := range naive.blocks {
			at := Difference{Vector: name, Block: n + 1, Field: "settlement"}
			r.compare(at, entry(want, n), entry(naive.settlement, n), side(func(o outcome) any { return entry(o.settlement, n) }))
		}
	}
	if want, given := raw["expected_split"]; given {
		r.compare(Difference{Vector: name, Field: "expected_split"}, want, naive.split, side(func(o outcome) any { return o.split }))
	}
	if want, given := raw["expected_ledger"]; given {
		r.compare(Difference{Vector: name, Field: "expected_ledger"}, want, naive.ledger, side(func(o outcome) any { return o.ledger }))
	}
}

func byNaive(v *Vector, dust map[string]int64) outcome {
	var o outcome
	var credits []map[string]int64
	for n := range v.Blocks {
		e := naiveBlock(v, n)
		o.blocks, credits = append(o.blocks, tree(e)), append(credits, e.Credits)
	}
	if v.Legs != nil {
		split := make(map[string][]LegAmount)
		for id, legs := range v.Legs {
			if sats, earned := credits[0][id]; earned {
				split[id] = naiveLegs(sats, legs, dust, v.Blocks[0].PrevHash)
			}
		}
		o.split = tree(split)
	}
	if v.Policy != nil {
		o.settlement = tree(naiveSettlements(v, dust, credits))
	}
	if v.Events != nil {
		o.ledger = tree(naiveLedger(v, credits))
	}
	return o
}

func byProduction(v *Vector, size int) (o outcome, err error) {
	p, err := newProduction(v, size)
	if err != nil {
		return o, err
	}
	blocks, splits, err := p.blocks()
	if err != nil {
		return o, err
	}
	for _, e := range blocks {
		o.blocks = append(o.blocks, tree(e))
	}
	if v.Legs != nil {
		split, err := p.legs(splits[0])
		if err != nil {
			return o, err
		}
		o.split = tree(split)
	}
	if v.Policy != nil {
		s, err := p.settlements(splits)
		if err != nil {
			return o, err
		}
		o.settlement = tree(s)
	}
	if v.Events != nil {
		l, err := p.ledger(splits)
		if err != nil {
			return o, err
		}
		o.ledger = tree(l)
	}
	return o, nil
}

// tree returns v as encoding/json would read it back, numbers kept as text.
func tree(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("verify: a result that is no JSON: %v", err)) // our own types only
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		panic(fmt.Sprintf("verify: JSON that does not read back: %v", err))
	}
	return out
}

// compare descends into what three sides have at one place and notes every leaf
// on which they do not all agree.
func (r *Result) compare(at Difference, want, naive any, ours []any) {
	if m, is := want.(map[string]any); is {
		if n, both := naive.(map[string]any); both && allOf[map[string]any](ours) {
			keys := slices.Collect(maps.Keys(m))
			for _, side := range append([]any{n}, ours...) {
				keys = slices.AppendSeq(keys, maps.Keys(side.(map[string]any)))
			}
			slices.Sort(keys)
			for _, k := range slices.Compact(keys) {
				r.compare(at.in(k), child(m, k), child(n, k), each(ours, func(x any) any { return child(x.(map[string]any), k) }))
			}
			return
		}
	}
	if l, is := want.([]any); is {
		if n, both := naive.([]any); both && allOf[[]any](ours) {
			longest := max(len(l), len(n))
			for _, x := range ours {
				longest = max(longest, len(x.([]any)))
			}
			for i := range longest {
				r.compare(at.in(strconv.Itoa(i+1)), entry(l, i), entry(n, i), each(ours, func(x any) any { return entry(x, i) }))
			}
			return
		}
	}
	r.Values++
	at.Expected, at.Naive, at.Production = show(want), show(naive), show(want)
	for i, x := range ours {
		if s := show(x); s != at.Expected {
			at.Production = s
			if s != at.Naive {
				at.Production += fmt.Sprintf(" (slots of %d)", slotSizes[i])
			}
			break
		}
	}
	if at.Naive != at.Expected || at.Production != at.Expected {
		r.Differences = append(r.Differences, at)
	}
}

// in returns the place of a child.
func (d Difference) in(name string) Difference {
	if d.Field != "" {
		name = d.Field + "." + name
	}
	d.Field = name
	return d
}

// nothing stands for an entry that one side does not have.
type nothing struct{}

func child(m map[string]any, key string) any {
	if v, has := m[key]; has {
		return v
	}
	return nothing{}
}

func entry(l any, i int) any {
	if list, is := l.([]any); is && i < len(list) {
		return list[i]
	}
	return nothing{}
}

func each(list []any, get func(any) any) []any {
	out := make([]any, len(list))
	for i, x := range list {
		out[i] = get(x)
	}
	return out
}

func allOf[T any](list []any) bool {
	return !slices.ContainsFunc(list, func(x any) bool { _, is := x.(T); return !is })
}

func show(v any) string {
	if v == (nothing{}) {
		return "nothing"
	}
	if s, is := v.(string); is {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
