package keeper

import (
	"maps"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/payout"
	"cordee/pool"
)

// keepReceipts is how many heights a job's receipt is remembered for in memory;
// the journal has them all.
const keepReceipts = 12

// Payout returns how t's value leaves for class, and the receipt's bytes. Work
// counts up to the newest closed slot. Carry is drained only where the ledger
// covers t's parent (decision 15), and never by an empty template (decision
// 20). Before the first slot, and where a split cannot be computed, all goes to
// the treasury by a receipt that says so; the latter is logged.
func (k *Keeper) Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	return k.pay(t, class, false)
}

// Kept is Payout with the same credits and every sat left in the treasury: what
// is mined while the node has not called the shape of Payout's coinbase valid.
func (k *Keeper) Kept(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	return k.pay(t, class, true)
}

func (k *Keeper) pay(t *pool.Template, class pool.Class, kept bool) (pool.Payout, []byte, error) {
	drain := k.seen(t)
	c, b := k.cut.Load(), k.book.Load()
	// A block may have left the chain since: what it had paid is in this book's
	// carry again, and on this template's parent it would be paid twice.
	drain = drain && k.covers(t)
	r, err := k.receipt(t, class, c, b, drain, kept)
	if k.note("payout", err) {
		k.log.Error().Str("event", "payout.failed").Int32("height", t.Height).Err(err).
			Msg("this template's split cannot be computed: its whole value goes to the treasury, unallocated")
	}
	k.expect(t, class, r)
	if err != nil || r == nil {
		p, encoded, err := payout.Treasury{Script: k.cfg.Treasury}.Payout(t, class)
		if err == nil {
			k.remember(receiptKey{p.Commitment, t.PrevHash}, t.Height, encoded)
		}
		return p, encoded, err
	}
	encoded, err := r.Encode()
	if err != nil {
		return pool.Payout{}, nil, err
	}
	p := r.Payout()
	k.remember(receiptKey{p.Commitment, t.PrevHash}, t.Height, encoded)
	return p, encoded, nil
}

// receipt returns the split of t's value, nil where nothing was worked yet.
func (k *Keeper) receipt(t *pool.Template, class pool.Class, c *cut, b *book, drain, kept bool) (*payout.Receipt, error) {
	if c == nil || c.slot == 0 {
		return nil, nil
	}
	members := k.cfg.Members.Members()
	split, err := k.splitOf(t, c, members)
	if err != nil {
		return nil, err
	}
	order := payout.Order{
		Template: t, Class: class, ScriptSig: pool.MaxScriptSig, Split: split,
		Slot: c.slot, SlotHead: c.head, LedgerHead: b.head, Drain: drain && len(b.halts) == 0,
		Carry: b.carry, Members: members, Treasury: k.cfg.Treasury,
	}
	if kept || len(b.halts) > 0 {
		order.KeepFees = true
		order.Members = withoutLegs(members)
	}
	return k.cfg.Rules.Receipt(&order)
}

// splitOf is a split by the template and the cut that it is of.
type splitOf struct {
	t     *pool.Template
	c     *cut
	split *payout.Split
}

// splitOf returns who earned what of t's value by cut c. It is common to all
// classes (decision 13), so they do not each compute it.
func (k *Keeper) splitOf(t *pool.Template, c *cut, members map[uint16]payout.Member) (*payout.Split, error) {
	k.mu.Lock()
	last := k.split
	k.mu.Unlock()
	if last.t == t && last.c == c {
		return last.split, nil
	}
	split, err := k.cfg.Rules.Split(t.Value, t.PrevHash, c.weights, func(m uint16) string { return members[m].ID })
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.split = splitOf{t, c, split}
	k.mu.Unlock()
	return split, nil
}

// expected is what pages say would be credited and paid if a block were found
// now: by the newest template's receipt for the largest class in use, by whose
// rigs most is paid directly. receipt is nil where there is no split.
type expected struct {
	t       *pool.Template
	class   pool.Class
	receipt *payout.Receipt
}

// expect notes r, unless what is expected already is of the same template and
// cut and of a larger class.
func (k *Keeper) expect(t *pool.Template, class pool.Class, r *payout.Receipt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := &k.expected; e.t == t && r != nil && e.receipt != nil && e.receipt.Slot == r.Slot && class.MaxCoinbase < e.class.MaxCoinbase {
		return
	}
	k.expected = expected{t, class, r}
}

func withoutLegs(members map[uint16]payout.Member) map[uint16]payout.Member {
	out := maps.Clone(members)
	for m, who := range out {
		out[m] = payout.Member{ID: who.ID}
	}
	return out
}

// seen notes t's parent as the tip and reports whether carry may be drained on
// it. The book must be read after that: what covers the parent is in it.
func (k *Keeper) seen(t *pool.Template) (drain bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	tip := pool.Tip{Hash: t.PrevHash, Height: t.Height - 1}
	if tip != k.tip {
		k.tip = tip
		poke(k.pokeChain)
		for c, r := range k.receipts {
			if r.height < t.Height-keepReceipts {
				delete(k.receipts, c)
			}
		}
	}
	return k.covered == tip && tip.Hash != chainhash.Hash{} && !t.Empty
}

// covers reports whether the ledger still covers t's parent.
func (k *Keeper) covers(t *pool.Template) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.covered == pool.Tip{Hash: t.PrevHash, Height: t.Height - 1}
}

func (k *Keeper) remember(key receiptKey, height int32, receipt []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.receipts[key] = known{height, receipt}
}
