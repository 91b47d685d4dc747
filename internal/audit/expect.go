package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/wire/v2"

	"cordee/payout"
	"cordee/payout/verify"
	"cordee/pool"
)

// witnessCommitment begins the one output that no receipt lists (BIP141).
var witnessCommitment = []byte{0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}

// debt is what a member is owed by the blocks up to here, and since when.
type debt struct{ sats, since, credited, paid int64 }

// walker goes through the blocks by height, and keeps what is owed.
type walker struct {
	cfg     *Config
	book    *book
	owed    map[string]*debt
	lastCut uint32
}

// expected is what a block must be: a receipt without heights and heads that
// are not compared.
type expected struct {
	value   int64
	receipt *payout.Receipt
	kept    bool  // every sat left in the treasury
	waiting int64 // sats that it could have paid to members, were it not for kept or drain
}

// expect recomputes a block from its cut, value and parent. Of told it takes
// whether carry was drained and whether every sat was kept, which are matters of
// when the job was built, and the heads that the commitment does not need.
func (w *walker) expect(m *mined, told *payout.Receipt) (*expected, error) {
	e := &expected{receipt: &payout.Receipt{Class: m.script.Place.Class}}
	for _, o := range m.block.Transactions[0].TxOut {
		e.value += o.Value
	}
	r := e.receipt
	if m.script.Place.Slot == 0 { // before the first slot: nobody's yet, in the treasury's care
		r.Settlement = []payout.Payment{{Kind: payout.ToTreasury, Sats: e.value, Script: w.cfg.Treasury}}
		return e, nil
	}
	cut := w.book.slots[m.script.Place.Slot-1]
	r.Rule, r.Slot, r.SlotHead = w.cfg.Rules.Version, m.script.Place.Slot, cut.head
	prev := m.block.Header.PrevBlock.String()
	split := verify.NaiveCredits(w.params(), w.book.nbits, w.book.shares, cut.last, prev, e.value)
	for _, f := range w.cfg.Rules.Fees {
		r.Fees = append(r.Fees, payout.Fee{Account: f.Account, Sats: split.Fees[f.Account]})
	}
	if split.Unallocated != 0 {
		r.Fees = append(r.Fees, payout.Fee{Account: payout.UnallocatedAccount, Sats: split.Unallocated})
	}
	for member, who := range w.book.members {
		if sats := split.Credits[who.ID]; sats != 0 {
			r.Credits = append(r.Credits, payout.Credit{Member: member, Sats: sats})
		}
	}
	slices.SortFunc(r.Credits, func(a, b payout.Credit) int { return cmp.Compare(a.Member, b.Member) })
	if told != nil && len(told.Settlement) == 1 && told.Settlement[0].Kind == payout.ToTreasury {
		e.kept = true
		e.waiting = w.waiting(r.Credits)
		r.Settlement = []payout.Payment{{Kind: payout.ToTreasury, Sats: e.value, Script: w.cfg.Treasury}}
		return e, nil
	}
	drain := told != nil && told.Drain
	if !drain {
		e.waiting = w.waiting(nil)
	}
	return e, w.settle(e, m, prev, drain)
}

// waiting returns what members with a destination are owed that is worth an
// output, by the blocks so far and these credits.
func (w *walker) waiting(credits []payout.Credit) (sats int64) {
	own := map[uint16]int64{}
	for _, c := range credits {
		own[c.Member] = c.Sats
	}
	for index, who := range w.book.members {
		owed := own[index]
		if d := w.owed[who.ID]; d != nil {
			owed += d.sats
		}
		if len(who.Legs) > 0 && owed >= w.least(&who) {
			sats += max(owed, 0)
		}
	}
	return sats
}

// least is what an output for a member is worth at least.
func (w *walker) least(who *payout.Member) int64 {
	least := w.cfg.Rules.MinPayout
	for _, l := range who.Legs {
		least = max(least, dust(l.Script))
	}
	return least
}

// told is what a block must be by its receipt, where its shares are gone: all
// but the place that its coinbase names and the head of its slot.
func (w *walker) told(m *mined, receipt *payout.Receipt) *expected {
	e := &expected{receipt: &payout.Receipt{}}
	for _, o := range m.block.Transactions[0].TxOut {
		e.value += o.Value
	}
	if receipt == nil {
		return e
	}
	r := *receipt
	r.Class, r.Slot = m.script.Place.Class, m.script.Place.Slot
	if r.Slot > 0 {
		r.SlotHead = w.book.slots[r.Slot-1].head
	}
	e.receipt = &r
	e.kept = len(r.Settlement) == 1 && r.Settlement[0].Kind == payout.ToTreasury
	return e
}

func (w *walker) params() *verify.Params {
	p := &verify.Params{XMilli: w.cfg.Rules.XMilli, Scale: uint64(w.cfg.Rules.Scale), Underfill: "normalize"}
	for _, f := range w.cfg.Rules.Fees {
		p.Fees = append(p.Fees, verify.VectorFee{Account: f.Account, BP: int64(f.BP)})
	}
	return p
}

// settle fills in the outputs: members by index, fees, treasury.
func (w *walker) settle(e *expected, m *mined, prev string, drain bool) error {
	class, limit, err := w.room(m)
	if err != nil {
		return err
	}
	var fees []payout.Payment
	if !class.KeepFees {
		fees = w.fees(e.receipt, limit)
	}
	var left int64
	owed := map[string]int64{}
	for _, c := range e.receipt.Credits {
		owed[w.book.members[c.Member].ID] = c.Sats
		left += c.Sats
	}
	var claims []verify.NaiveClaim
	members := map[string]uint16{}
	for index, who := range w.book.members {
		members[who.ID] = index
		since := int64(m.height)
		if before := w.owed[who.ID]; before != nil && before.sats > 0 {
			since = before.since
			if drain {
				owed[who.ID] += before.sats
			}
		}
		if len(who.Legs) == 0 {
			continue
		}
		claims = append(claims, verify.NaiveClaim{ID: who.ID, Owed: owed[who.ID], Since: since, Least: w.least(&who)})
	}
	most := len(claims)
	if w.cfg.Rules.MaxOutputs > 0 {
		most = min(most, w.cfg.Rules.MaxOutputs)
	}
	var chosen []verify.NaiveClaim
	for ; most > 0; most-- { // the largest number whose outputs fit
		chosen = verify.NaiveChoice(claims, most, prev)
		outs := slices.Clone(fees)
		for _, c := range chosen {
			for _, l := range w.book.members[members[c.ID]].Legs {
				outs = append(outs, payout.Payment{Script: l.Script})
			}
		}
		if w.size(outs) <= limit {
			break
		}
		chosen = nil
	}
	paid, _ := verify.NaivePay(chosen, left)
	var out []payout.Payment
	for _, p := range paid {
		out = append(out, w.legs(members[p.To], p.Sats, prev)...)
	}
	slices.SortStableFunc(out, func(a, b payout.Payment) int { return cmp.Compare(a.Member, b.Member) })
	out = append(out, fees...)
	rest := e.value
	for _, p := range out {
		rest -= p.Sats
	}
	if rest != 0 || len(out) == 0 {
		out = append(out, payout.Payment{Kind: payout.ToTreasury, Sats: rest, Script: w.cfg.Treasury})
	}
	e.receipt.Settlement = out
	return nil
}

// legs divides what a member gets over his destinations, in their order.
func (w *walker) legs(member uint16, sats int64, prev string) []payout.Payment {
	scripts, least := map[string][]byte{}, map[string]int64{}
	var legs []verify.Destination
	for _, l := range w.book.members[member].Legs {
		scripts[l.Address], least[l.Address] = l.Script, dust(l.Script)
		legs = append(legs, verify.Destination{Address: l.Address, Type: l.Address, BP: int64(l.BP)})
	}
	var out []payout.Payment
	for _, a := range verify.NaiveLegs(sats, legs, least, prev) {
		out = append(out, payout.Payment{Kind: payout.ToMember, Member: member, Sats: a.Sats, Script: scripts[a.To]})
	}
	return out
}

// fees pays the fees that have an address, up to the first that has none or is
// dust, and none where they do not fit.
func (w *walker) fees(r *payout.Receipt, limit int) []payout.Payment {
	var out []payout.Payment
	for i, f := range w.cfg.Rules.Fees {
		sats := r.Fees[i].Sats
		if sats == 0 {
			continue
		}
		if len(f.Script) == 0 || sats < dust(f.Script) {
			break
		}
		out = append(out, payout.Payment{Kind: payout.ToFee, Sats: sats, Script: f.Script})
	}
	if w.size(out) > limit {
		return nil
	}
	return out
}

// room returns m's class and the bytes that it allows, or that the block's other
// transactions leave (decision 18).
func (w *walker) room(m *mined) (pool.Class, int, error) {
	i := slices.IndexFunc(w.cfg.Classes, func(c pool.Class) bool { return c.ID == m.script.Place.Class })
	if i < 0 {
		return pool.Class{}, 0, fmt.Errorf("class %d is unknown", m.script.Place.Class)
	}
	others := 0
	for _, tx := range m.block.Transactions[1:] {
		others += 3*tx.SerializeSizeStripped() + tx.SerializeSize()
	}
	// 332: header and count of transactions; 36: the coinbase's witness.
	return w.cfg.Classes[i], min(w.cfg.Classes[i].MaxCoinbase, (4_000_000-others-332-36)/4), nil
}

// size returns the bytes of a coinbase with outs, the treasury and the witness
// commitment, and the longest script that our coinbases have.
func (w *walker) size(outs []payout.Payment) int {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{SignatureScript: make([]byte, pool.MaxScriptSig)})
	for _, o := range outs {
		tx.AddTxOut(wire.NewTxOut(0, o.Script))
	}
	tx.AddTxOut(wire.NewTxOut(0, w.cfg.Treasury))
	tx.AddTxOut(wire.NewTxOut(0, make([]byte, 38)))
	return tx.SerializeSizeStripped()
}

// dust is what nodes relay at least to such a script, in sats, at 3 sat/vB.
func dust(script []byte) int64 {
	switch {
	case len(script) == 22 && bytes.HasPrefix(script, []byte{0, 20}):
		return 294
	case len(script) == 34 && (script[0] == 0 || script[0] == 0x51) && script[1] == 32:
		return 330
	case len(script) == 23 && script[0] == 0xa9:
		return 540
	}
	return 546
}

// enter adds a block to what is owed: recomputed credits less what the chain
// paid. As long as nothing is owed nobody waits; a payment begins a new wait.
func (w *walker) enter(height int32, e *expected, found []payout.Payment) {
	credited, paid := map[string]int64{}, map[string]int64{}
	for _, c := range e.receipt.Credits {
		credited[w.book.members[c.Member].ID] += c.Sats
	}
	for _, p := range found {
		if p.Kind == payout.ToMember {
			paid[w.book.members[p.Member].ID] += p.Sats
		}
	}
	for _, who := range w.book.members {
		c, p := credited[who.ID], paid[who.ID]
		if c == 0 && p == 0 {
			continue
		}
		d := w.owed[who.ID]
		if d == nil {
			d = new(debt)
			w.owed[who.ID] = d
		}
		if p > 0 || d.sats == 0 {
			d.since = int64(height)
		}
		d.sats += c - p
		d.credited += c
		d.paid += p
	}
}

func (w *walker) totals(r *Report) {
	for id, d := range w.owed {
		r.Members = append(r.Members, Member{id, d.credited, d.paid, d.sats})
	}
	slices.SortFunc(r.Members, func(a, b Member) int { return cmp.Compare(a.Member, b.Member) })
}
