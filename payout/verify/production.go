package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"strconv"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/payout"
	"cordee/pool"
)

// production computes a vector by package payout, as the pool does: shares in
// closed slots, cumulative sums, receipts, ledger events.
type production struct {
	v     *Vector
	rules *payout.Rules
	names []string          // by index; entry 0 is parked work and unused
	index map[string]uint16 // of names
	slots [][]payout.Record // slots[i] is slot i+1
	first []int             // index in v.Shares of the first share of each slot
	cuts  map[uint64]uint32 // slot that ends with the newest share up to a cut_seq
}

// newProduction puts v's shares into slots of size shares at most. A slot also
// ends at every cut, since only a closed slot can be one.
func newProduction(v *Vector, size int) (*production, error) {
	p := &production{v: v, names: []string{""}, index: map[string]uint16{}, cuts: map[uint64]uint32{}}
	p.rules = &payout.Rules{Version: payout.RuleUnitPPLNS, XMilli: v.Params.XMilli, Scale: pool.Scale(v.Params.Scale)}
	if v.Params.Underfill == "reserve" {
		p.rules.Underfill = payout.ReserveMissed
	}
	for _, f := range v.Params.Fees {
		p.rules.Fees = append(p.rules.Fees, payout.FeeRule{Account: f.Account, BP: int(f.BP), Script: scriptOf("p2wpkh", "fee "+f.Account)})
	}
	if v.Policy != nil {
		p.rules.MinPayout, p.rules.MaxOutputs = v.Policy.MinPayout, v.Policy.MaxOutputs
	}
	if err := p.rules.Check(); err != nil {
		return nil, err
	}
	ends := make(map[int]bool) // shares behind which a slot must end
	at := make(map[uint64]int)
	for _, b := range v.Blocks {
		n := sort.Search(len(v.Shares), func(i int) bool { return v.Shares[i].Seq > b.CutSeq })
		ends[n], at[b.CutSeq] = true, n
	}
	for i, s := range v.Shares {
		if _, known := p.index[s.Member]; !known {
			if len(p.names) > 1<<16-1 {
				return nil, errors.New("more than 65535 members")
			}
			p.index[s.Member] = uint16(len(p.names))
			p.names = append(p.names, s.Member)
		}
		if last := len(p.slots) - 1; last < 0 || len(p.slots[last]) >= size || ends[i] {
			p.slots, p.first = append(p.slots, nil), append(p.first, i)
		}
		last := len(p.slots) - 1
		p.slots[last] = append(p.slots[last], payout.Record{Member: p.index[s.Member], WorkBits: v.epochs[s.Epoch], Difficulty: s.Difficulty})
	}
	for cut, n := range at {
		p.cuts[cut] = uint32(sort.SearchInts(p.first, n))
	}
	return p, nil
}

// sumsOf returns a slot's sums as its manifest has them.
func sumsOf(records []payout.Record) ([]payout.Sum, error) {
	type key struct {
		member uint16
		bits   uint32
	}
	byKey := make(map[key]uint64)
	for _, r := range records {
		k := key{r.Member, r.WorkBits}
		if byKey[k]+r.Difficulty < r.Difficulty {
			return nil, errors.New("a slot's difficulties exceed 64 bits")
		}
		byKey[k] += r.Difficulty
	}
	var sums []payout.Sum
	for k, d := range byKey {
		sums = append(sums, payout.Sum{Member: k.member, WorkBits: k.bits, Difficulty: d})
	}
	slices.SortFunc(sums, func(a, b payout.Sum) int {
		if a.Member != b.Member {
			return int(a.Member) - int(b.Member)
		}
		return int(int64(a.WorkBits) - int64(b.WorkBits))
	})
	return sums, nil
}

// window returns the window over p's slots; where bits is not 0, all shares are
// measured against it (the "work" rule, which the pool does not offer).
func (p *production) window(bits uint32) (*payout.Window, payout.Records, error) {
	measured := func(records []payout.Record) []payout.Record {
		if bits == 0 {
			return records
		}
		out := slices.Clone(records)
		for i := range out {
			out[i].WorkBits = bits
		}
		return out
	}
	w, err := payout.NewWindow(p.rules)
	if err != nil {
		return nil, nil, err
	}
	for i, records := range p.slots {
		sums, err := sumsOf(measured(records))
		if err != nil {
			return nil, nil, err
		}
		if err := w.AddSlot(uint32(i)+1, sums); err != nil {
			return nil, nil, err
		}
	}
	return w, func(slot uint32) ([]payout.Record, error) { return measured(p.slots[slot-1]), nil }, nil
}

// blocks computes every block's window and split.
func (p *production) blocks() ([]Expected, []*payout.Split, error) {
	w, records, err := p.window(0)
	if err != nil {
		return nil, nil, err
	}
	var all []Expected
	var splits []*payout.Split
	for i := range p.v.Blocks {
		b := &p.v.Blocks[i]
		if p.v.Params.WindowRule == "work" {
			if w, records, err = p.window(b.bits); err != nil {
				return nil, nil, err
			}
		}
		weights, err := w.Weights(p.cuts[b.CutSeq], records)
		if err != nil {
			return nil, nil, fmt.Errorf("block %d: %w", i+1, err)
		}
		prev, err := chainhash.NewHashFromStr(b.PrevHash)
		if err != nil {
			return nil, nil, err
		}
		split, err := p.rules.Split(b.Value, *prev, weights, p.name)
		if err != nil {
			return nil, nil, fmt.Errorf("block %d: %w", i+1, err)
		}
		all = append(all, p.expected(weights, split))
		splits = append(splits, split)
	}
	return all, splits, nil
}

func (p *production) name(member uint16) string { return p.names[member] }

func (p *production) expected(w *payout.Weights, s *payout.Split) Expected {
	e := Expected{
		Capacity: w.Capacity.String(), Weight: w.Total.String(), Distributable: s.Distributable,
		Unallocated: s.Unallocated, Reserve: s.Reserve,
		Weights: map[string]string{}, Fees: map[string]int64{}, Credits: map[string]int64{},
	}
	ppm := new(big.Int).Mul(w.Total, big.NewInt(1_000_000))
	e.FilledPPM = ppm.Div(ppm, w.Capacity).Int64()
	if w.First > 0 {
		oldest := p.first[w.First-1]
		if w.Edge != nil {
			oldest += w.Edge.Record
		}
		end := len(p.v.Shares)
		if int(w.Cut) < len(p.first) {
			end = p.first[w.Cut]
		}
		e.Counted, e.OldestSeq = end-oldest, &p.v.Shares[oldest].Seq
		if w.Edge != nil && w.Edge.Counted.Cmp(w.Edge.Full) != 0 {
			e.Partial = Partial{strconv.FormatUint(*e.OldestSeq, 10), w.Edge.Counted.String(), w.Edge.Full.String()}
		}
	}
	for _, m := range w.Members {
		e.Weights[p.names[m.Member]] = m.Units.String()
	}
	for _, f := range s.Fees {
		e.Fees[f.Account] = f.Sats
	}
	for _, c := range s.Credits {
		e.Credits[p.names[c.Member]] = c.Sats
	}
	return e
}

// scriptOf returns an output script of a type, different for every id.
func scriptOf(kind, id string) []byte {
	h := sha256.Sum256([]byte(id))
	switch kind {
	case "p2pkh":
		return slices.Concat([]byte{0x76, 0xa9, 0x14}, h[:20], []byte{0x88, 0xac})
	case "p2sh":
		return slices.Concat([]byte{0xa9, 0x14}, h[:20], []byte{0x87})
	case "p2wpkh":
		return slices.Concat([]byte{0x00, 0x14}, h[:20])
	case "p2wsh":
		return slices.Concat([]byte{0x00, 0x20}, h[:])
	case "p2tr":
		return slices.Concat([]byte{0x51, 0x20}, h[:])
	}
	return nil
}

// roomy is a class that never limits outputs.
var roomy = pool.Class{ID: 255, Name: "vectors", MaxCoinbase: 900_000}

// dustTable returns the thresholds that package payout has for the types of a
// file.
func dustTable(types map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(types))
	for kind := range types {
		if script := scriptOf(kind, ""); !bytes.Equal(script, nil) {
			out[kind] = payout.Dust(script)
		}
	}
	return out
}
