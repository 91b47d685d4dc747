package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/payout"
	"cordee/pool"
)

// maturity is how many confirmations a coinbase needs to be spent.
const maturity = 100

// Chain is what an audit asks of a node.
type Chain interface {
	// InChain returns height and confirmations of a block; confirmations are -1
	// for one off the active chain. A block that no node knows is an error for
	// which Unknown is true.
	InChain(ctx context.Context, hash chainhash.Hash) (height int32, confirmations int64, err error)
	Unknown(err error) bool
	// Block returns a block in wire form.
	Block(ctx context.Context, hash chainhash.Hash) ([]byte, error)
}

// Config says what to recompute, and by which rules. All is needed but Address.
type Config struct {
	Journal  string            // directory of the journal
	Slots    string            // directory of the slot manifests
	Key      ed25519.PublicKey // that slots are signed with; nil checks no signature, and notes it
	Rules    payout.Rules
	Treasury []byte // output script
	// Members is asked once, when the slots are read: whoever has work in them is
	// in the register by then, which in an open pool goes on growing.
	Members func() (map[uint16]payout.Member, error)
	Classes []pool.Class
	Chain   Chain
	Address func(script []byte) string // for people; nil or "" leaves it out
}

// Run recomputes every block of ours on the active chain. Where the journal no
// longer has the shares of a block's window, its outputs are compared with its
// receipt alone, and it is said not to be covered. The error is about
// what cannot be read or recomputed at all; what differs is in the report.
func Run(ctx context.Context, cfg *Config) (*Report, error) {
	if cfg.Key != nil && len(cfg.Key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("audit: the key that slots are signed with has %d bytes, ed25519 needs %d", len(cfg.Key), ed25519.PublicKeySize)
	}
	b, err := readBook(cfg)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	mined, err := minedBlocks(ctx, cfg.Chain, b)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	r := &Report{Shares: len(b.shares), Slots: len(b.slots), Missing: b.missing, Found: len(b.hashes), Blocks: []Block{}, Notes: []string{}, Members: []Member{}, Mismatches: []Mismatch{}}
	w := walker{cfg: cfg, book: b, owed: map[string]*debt{}}
	for _, m := range mined {
		if err := w.block(m, r); err != nil {
			return nil, fmt.Errorf("audit: block %s at height %d: %w", m.hash, m.height, err)
		}
	}
	w.totals(r)
	r.Notes = notes(r.Blocks)
	if cfg.Key == nil {
		r.Notes = append(r.Notes, "the slot key is not here: who signed the slots was not checked")
	}
	r.OK = len(r.Mismatches) == 0
	return r, nil
}

// mined is a block of ours on the active chain.
type mined struct {
	hash          chainhash.Hash
	height        int32
	confirmations int64
	block         *wire.MsgBlock
	script        pool.ScriptSig
}

// minedBlocks returns those of the found blocks that stand on the active chain,
// by height. The others pay nobody.
func minedBlocks(ctx context.Context, chain Chain, b *book) ([]*mined, error) {
	var list []*mined
	for _, hash := range b.hashes {
		height, confirmations, err := chain.InChain(ctx, hash)
		if err != nil && chain.Unknown(err) || err == nil && confirmations <= 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		raw, err := chain.Block(ctx, hash)
		if err != nil {
			return nil, err
		}
		m := &mined{hash: hash, height: height, confirmations: confirmations, block: new(wire.MsgBlock)}
		if err := m.block.Deserialize(bytes.NewReader(raw)); err != nil {
			return nil, fmt.Errorf("block %s: the node's bytes are no block: %w", hash, err)
		}
		if got := m.block.BlockHash(); got != hash || len(m.block.Transactions) == 0 {
			return nil, fmt.Errorf("block %s: the node gave block %s", hash, got)
		}
		if m.script, err = pool.ParseScriptSig(m.block.Transactions[0].TxIn[0].SignatureScript); err != nil {
			return nil, fmt.Errorf("block %s: %w", hash, err)
		}
		if int(m.script.Place.Slot) > len(b.slots) {
			return nil, fmt.Errorf("block %s is split by slot %d, the newest on disk is %d: %w", hash, m.script.Place.Slot, len(b.slots), ErrLog)
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *mined) int { return cmp.Compare(a.height, b.height) })
	return list, nil
}

// block recomputes m and compares.
func (w *walker) block(m *mined, r *Report) error {
	coinbase := m.block.Transactions[0]
	receipt := w.book.receipts[receiptKey{m.script.Commitment, m.block.Header.PrevBlock}]
	covered := m.script.Place.Slot == 0 || w.book.covers(m.script.Place.Slot, w.cfg.Rules.Capacity())
	e := w.told(m, receipt)
	if covered {
		var err error
		if e, err = w.expect(m, receipt); err != nil {
			return err
		}
	}
	v := Block{
		Covered: covered,
		Height:  m.height, Hash: m.hash.String(), Confirmations: m.confirmations, Mature: m.confirmations >= maturity,
		Slot: m.script.Place.Slot, Value: e.value, Drained: receipt != nil && receipt.Drain, Credits: []Credit{},
	}
	for _, c := range e.receipt.Credits {
		v.Credits = append(v.Credits, Credit{w.book.members[c.Member].ID, c.Sats})
	}
	for _, p := range e.receipt.Settlement {
		v.Expected = append(v.Expected, w.output(p))
	}
	found := make([]payout.Payment, 0, len(coinbase.TxOut))
	for _, o := range coinbase.TxOut {
		if o.Value == 0 && bytes.HasPrefix(o.PkScript, witnessCommitment) {
			continue
		}
		found = append(found, payout.Payment{Sats: o.Value, Script: o.PkScript})
	}
	name(found, e.receipt.Settlement, receipt)
	for _, p := range found {
		v.Outputs = append(v.Outputs, w.output(p))
	}
	before := len(r.Mismatches)
	add := func(what, who string, want, got int64, text string) {
		r.Mismatches = append(r.Mismatches, Mismatch{m.height, v.Hash, what, who, want, got, text})
	}
	compareOutputs(v.Expected, v.Outputs, add)
	switch {
	case receipt == nil:
		add("receipt", "", 0, 0, "no receipt in journal or candidates has its parent and the commitment of its coinbase")
	case e.receipt.Slot < w.lastCut:
		add("cut", "", int64(w.lastCut), int64(e.receipt.Slot), "an earlier block on the chain was split by a newer slot")
	default:
		compareCredits(w.book.members, e.receipt, receipt, add)
	}
	if !covered && receipt != nil && receipt.Reward != e.value {
		add("value", "", receipt.Reward, e.value, "the outputs do not sum to the receipt's reward")
	}
	if job, told := w.book.values[m.script.Commitment]; told && job != e.value {
		add("value", "", job, e.value, "the outputs do not sum to the template's value")
	}
	if got := m.script.Commitment; e.receipt.Commitment() != got && len(r.Mismatches) == before {
		add("commitment", "", 0, 0, fmt.Sprintf("its coinbase commits to %x, the recomputation to %x", got, e.receipt.Commitment()))
	}
	if !covered {
		r.Uncovered++
	}
	v.Kept, v.Waiting = e.kept, e.waiting
	v.Agree = len(r.Mismatches) == before
	r.Blocks = append(r.Blocks, v)
	if v.Mature {
		r.Mature++
	}
	if v.PaysMembers() {
		r.Paying++
	}
	w.lastCut = max(w.lastCut, e.receipt.Slot)
	w.enter(m.height, e, found)
	return nil
}

func (w *walker) output(p payout.Payment) Output {
	o := Output{To: "unknown", Script: hex.EncodeToString(p.Script), Sats: p.Sats}
	switch p.Kind {
	case payout.ToMember:
		o.To, o.Member = "member", w.book.members[p.Member].ID
	case payout.ToFee:
		o.To = "fee"
	case payout.ToTreasury:
		o.To = "treasury"
	}
	if w.cfg.Address != nil {
		o.Address = w.cfg.Address(p.Script)
	}
	return o
}

// name says to whom the outputs of a coinbase go: as the recomputation has it
// where the script at that place is the same, else as the receipt says.
func name(found, expected []payout.Payment, receipt *payout.Receipt) {
	for i := range found {
		f := &found[i]
		switch {
		case i < len(expected) && bytes.Equal(expected[i].Script, f.Script):
			f.Kind, f.Member = expected[i].Kind, expected[i].Member
		case receipt != nil && i < len(receipt.Settlement) && bytes.Equal(receipt.Settlement[i].Script, f.Script):
			f.Kind, f.Member = receipt.Settlement[i].Kind, receipt.Settlement[i].Member
		}
	}
}
