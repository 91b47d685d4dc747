package verify

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/payout"
	"cordee/pool"
)

// receipt makes block n's receipt over ledger.
func (p *production) receipt(n int, split *payout.Split, ledger *payout.Ledger, members map[uint16]payout.Member) (*payout.Receipt, error) {
	b := &p.v.Blocks[n]
	prev, err := chainhash.NewHashFromStr(b.PrevHash)
	if err != nil {
		return nil, err
	}
	return p.rules.Receipt(&payout.Order{
		Template: &pool.Template{Height: int32(b.Height), PrevHash: *prev, Bits: b.bits, WorkBits: b.bits, Value: b.Value},
		Class:    roomy, ScriptSig: pool.MaxScriptSig, Split: split, Slot: p.cuts[b.CutSeq], Drain: true,
		LedgerHead: ledger.Head(), Carry: ledger.Carry(), Members: members, Treasury: scriptOf("p2wsh", "treasury"),
	})
}

// found enters block n with that receipt.
func (p *production) found(n int, r *payout.Receipt, ledger *payout.Ledger) error {
	hash, err := chainhash.NewHashFromStr(p.v.Blocks[n].Hash)
	if err != nil {
		return err
	}
	if err := ledger.Apply(&payout.Event{Kind: payout.BlockFound, Block: *hash, Receipt: r}); err != nil {
		return err
	}
	return ledger.Check()
}

// settlements pays every block by its receipt, and takes carry from the ledger.
func (p *production) settlements(splits []*payout.Split) ([]Settlement, error) {
	ledger := payout.NewLedger()
	members := make(map[uint16]payout.Member)
	for i, name := range p.names[1:] {
		script := scriptOf(p.v.MemberTypes[name], name)
		members[uint16(i+1)] = payout.Member{ID: name, Legs: []payout.Leg{{Address: name, Script: script, BP: 10000}}}
	}
	var all []Settlement
	for n, split := range splits {
		r, err := p.receipt(n, split, ledger, members)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", n+1, err)
		}
		carry := ledger.Carry()
		s := Settlement{Outputs: []LegAmount{}, Carry: map[string][2]int64{}}
		paid := map[uint16]int64{}
		// The treasury output also holds what is no member's; the file's is
		// what stays of members' credits.
		for _, f := range r.Fees {
			s.Treasury -= f.Sats
		}
		for _, y := range r.Settlement {
			switch y.Kind {
			case payout.ToMember:
				paid[y.Member] += y.Sats
			case payout.ToTreasury, payout.ToFee:
				s.Treasury += y.Sats
			}
		}
		// The receipt lists members by index: the order of payment is asked of
		// the selection itself.
		for _, y := range p.order(n, split, carry, members) {
			if sats := paid[y.Member]; sats == y.Sats {
				s.Outputs = append(s.Outputs, LegAmount{p.names[y.Member], sats})
			} else {
				return nil, fmt.Errorf("block %d: %s gets %d sats of the coinbase, %d of the selection", n+1, p.names[y.Member], sats, y.Sats)
			}
			delete(paid, y.Member)
		}
		if len(paid) != 0 {
			return nil, fmt.Errorf("block %d: the coinbase pays members that were not selected: %v", n+1, paid)
		}
		if err := p.found(n, r, ledger); err != nil {
			return nil, fmt.Errorf("block %d: %w", n+1, err)
		}
		for m, c := range ledger.Carry() {
			s.Carry[p.names[m]] = [2]int64{c.Sats, int64(c.Since)}
		}
		all = append(all, s)
	}
	return all, nil
}

// order returns whom the selection pays, in payment order.
func (p *production) order(n int, split *payout.Split, carry map[uint16]payout.Carry, members map[uint16]payout.Member) []payout.Paid {
	var claims []payout.Claim
	var left int64
	for _, c := range split.Credits {
		have, waits := carry[c.Member]
		if !waits {
			have.Since = int32(p.v.Blocks[n].Height)
		}
		delete(carry, c.Member)
		claims = append(claims, p.claim(c.Member, have.Sats+c.Sats, have.Since, members))
		left += c.Sats
	}
	for m, c := range carry {
		claims = append(claims, p.claim(m, c.Sats, c.Since, members))
	}
	prev, _ := chainhash.NewHashFromStr(p.v.Blocks[n].PrevHash)
	paid, _ := payout.Pay(payout.NewCandidates(*prev, claims).Choose(p.v.Policy.MaxOutputs), left)
	return paid
}

func (p *production) claim(m uint16, owed int64, since int32, members map[uint16]payout.Member) payout.Claim {
	least := max(p.rules.MinPayout, payout.Dust(members[m].Legs[0].Script))
	return payout.Claim{Member: m, ID: p.names[m], Owed: owed, Since: since, Least: least}
}

// legs divides the first block's credits over destinations.
func (p *production) legs(split *payout.Split) (map[string][]LegAmount, error) {
	prev, err := chainhash.NewHashFromStr(p.v.Blocks[0].PrevHash)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]LegAmount)
	for _, c := range split.Credits {
		name := p.names[c.Member]
		var legs []payout.Leg
		for _, l := range p.v.Legs[name] {
			legs = append(legs, payout.Leg{Address: l.Address, Script: scriptOf(l.Type, l.Address), BP: int(l.BP)})
		}
		if legs == nil {
			continue
		}
		sats, err := payout.Destinations(c.Sats, *prev, legs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, v := range sats {
			if v > 0 {
				out[name] = append(out[name], LegAmount{legs[i].Address, v})
			}
		}
	}
	return out, nil
}

// ledger replays the events; no coinbase pays a member.
func (p *production) ledger(splits []*payout.Split) ([]Balances, error) {
	ledger := payout.NewLedger()
	nowhere := make(map[uint16]payout.Member)
	for i, name := range p.names[1:] {
		nowhere[uint16(i+1)] = payout.Member{ID: name}
	}
	turns := make(map[chainhash.Hash]uint16)
	var all []Balances
	for i, e := range p.v.Events {
		var err error
		if e.Type == "payout" {
			err = p.pay(i, e.Amounts, ledger)
		} else {
			var hash *chainhash.Hash
			if hash, err = chainhash.NewHashFromStr(p.v.Blocks[*e.Block].Hash); err != nil {
				return nil, err
			}
			switch e.Type {
			case "block":
				var r *payout.Receipt
				if r, err = p.receipt(*e.Block, splits[*e.Block], ledger, nowhere); err == nil {
					err = p.found(*e.Block, r, ledger)
				}
			case "orphan":
				turns[*hash]++
				err = ledger.Apply(&payout.Event{Kind: payout.BlockOrphaned, Block: *hash, Turn: turns[*hash]})
			case "mature":
				err = ledger.Apply(&payout.Event{Kind: payout.BlockMatured, Block: *hash})
			}
		}
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		if err := ledger.Check(); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		b := Balances{After: e, Immature: map[string]int64{}, Mature: map[string]int64{}}
		for _, o := range ledger.Owners() {
			if o.Account != "" {
				continue
			}
			if x := ledger.Balance(o); x.Immature != 0 {
				b.Immature[p.names[o.Member]] = x.Immature
			}
			if x := ledger.Balance(o); x.Mature != 0 {
				b.Mature[p.names[o.Member]] = x.Mature
			}
		}
		all = append(all, b)
	}
	return all, nil
}

// pay pays a batch at once.
func (p *production) pay(n int, amounts map[string]int64, ledger *payout.Ledger) error {
	e := &payout.Event{Kind: payout.BatchReserved, Batch: sha256.Sum256(fmt.Appendf(nil, "event %d", n))}
	for name, sats := range amounts {
		m, known := p.index[name]
		if !known {
			return fmt.Errorf("%s did no work", name)
		}
		e.Lines = append(e.Lines, payout.Line{Owner: payout.Owner{Member: m}, Sats: sats})
	}
	slices.SortFunc(e.Lines, func(a, b payout.Line) int { return a.Owner.Compare(b.Owner) })
	if err := ledger.Apply(e); err != nil {
		return err
	}
	return ledger.Apply(&payout.Event{Kind: payout.BatchPaid, Batch: e.Batch, Turn: 1, Height: 1})
}
