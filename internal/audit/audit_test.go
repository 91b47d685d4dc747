package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"pgregory.net/rapid"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

var slotKey = ed25519.NewKeyFromSeed(make([]byte, 32))

// fakePool pays as the pool does, by package payout, and leaves on disk what the
// pool leaves.
type fakePool struct {
	members map[uint16]payout.Member
	t       *rapid.T
	dir     string
	cfg     Config
	class   pool.Class
	blocks  map[chainhash.Hash]*wire.MsgBlock
	window  *payout.Window
	ledger  *payout.Ledger
	slots   [][]payout.Record
	head    [32]byte
	tip     chainhash.Hash
	height  int32
	paid    int // members' outputs that drained carry

	segment int64 // of the journal, bytes
	told    bool  // each block has its candidate file, with the receipt
}

// InChain implements Chain: all blocks are on it.
func (p *fakePool) InChain(_ context.Context, h chainhash.Hash) (int32, int64, error) {
	b, known := p.blocks[h]
	if !known {
		return 0, 0, errors.New("unknown")
	}
	s, err := pool.ParseScriptSig(b.Transactions[0].TxIn[0].SignatureScript)
	return s.Height, int64(p.height-s.Height) + 1, err
}

func (p *fakePool) Unknown(err error) bool { return err != nil }

func (p *fakePool) Block(_ context.Context, h chainhash.Hash) ([]byte, error) {
	var b bytes.Buffer
	err := p.blocks[h].Serialize(&b)
	return b.Bytes(), err
}

func (p *fakePool) check(err error) {
	if err != nil {
		p.t.Fatalf("%+v", err)
	}
}

func script(t *rapid.T, n byte) []byte {
	if rapid.Bool().Draw(t, "taproot") {
		return append([]byte{0x51, 32}, bytes.Repeat([]byte{n}, 32)...)
	}
	return append([]byte{0, 20}, bytes.Repeat([]byte{n}, 20)...)
}

func newFakePool(t *rapid.T, dir string) *fakePool {
	p := &fakePool{t: t, dir: dir, members: map[uint16]payout.Member{0: {ID: "parked"}}, class: pool.DefaultClass, blocks: map[chainhash.Hash]*wire.MsgBlock{}, ledger: payout.NewLedger(), height: 1, segment: 1 << 16}
	p.cfg = Config{
		Key:     slotKey.Public().(ed25519.PublicKey),
		Journal: filepath.Join(dir, "journal"), Slots: filepath.Join(dir, "slots"), Treasury: script(t, 200), Chain: p,
		Members: func() (map[uint16]payout.Member, error) { return p.members, nil }, Classes: slices.Clone(pool.Classes),
		Rules: payout.Rules{
			Version: payout.RuleUnitPPLNS, XMilli: rapid.SampledFrom([]uint64{300, 1000, 4000}).Draw(t, "window"), Scale: 1 << 32,
			MinPayout: rapid.SampledFrom([]int64{0, 20_000, 8_000_000, 90_000_000}).Draw(t, "minimum"),
			Fees: []payout.FeeRule{
				{Account: "tools", BP: rapid.IntRange(0, 200).Draw(t, "fee"), Script: script(t, 201)},
				{Account: "pool", BP: rapid.IntRange(0, 200).Draw(t, "kept fee")},
			},
		},
	}
	for m := range rapid.IntRange(1, 20).Draw(t, "members") {
		id := fmt.Sprintf("m%d", m)
		who := payout.Member{ID: id}
		switch rapid.IntRange(0, 5).Draw(t, "legs of "+id) {
		case 0: // not payable by coinbase
		case 1:
			bp := rapid.IntRange(1, 9999).Draw(t, "bp")
			who.Legs = []payout.Leg{{Address: id + "a", Script: script(t, byte(m)), BP: bp}, {Address: id + "b", Script: script(t, byte(100+m)), BP: 10000 - bp}}
		default:
			who.Legs = []payout.Leg{{Address: id, Script: script(t, byte(m)), BP: 10000}}
		}
		p.members[uint16(m+1)] = who
	}
	for i := range p.cfg.Classes { // so small that there is a choice to make
		p.cfg.Classes[i].MaxCoinbase = rapid.IntRange(300, 900).Draw(t, "bytes of class "+p.cfg.Classes[i].Name)
	}
	var err error
	p.window, err = payout.NewWindow(&p.cfg.Rules)
	p.check(err)
	p.check(os.MkdirAll(p.cfg.Slots, 0o700))
	return p
}

// closeSlot journals shares and closes them into a slot.
func (p *fakePool) closeSlot(j *journal.Journal, first uint64) uint64 {
	var list []payout.Record
	sums := map[[2]uint32]uint64{}
	n := rapid.IntRange(1, 30).Draw(p.t, "shares")
	s := &payout.Slot{Number: uint32(len(p.slots)) + 1, Prev: p.head, Ranges: []payout.Range{{Edge: 1, Epoch: j.Epoch(), First: first, Last: first + uint64(n) - 1}}}
	for range n {
		r := payout.Record{
			Member:     uint16(rapid.IntRange(0, len(p.members)-1).Draw(p.t, "member")),
			WorkBits:   rapid.SampledFrom([]uint32{0x1e0fffff, 0x1e1abcde}).Draw(p.t, "bits"),
			Difficulty: 1 << rapid.IntRange(8, 18).Draw(p.t, "difficulty"),
		}
		list = append(list, r)
		sums[[2]uint32{uint32(r.Member), r.WorkBits}] += r.Difficulty
		shares := []journal.Share{{Member: r.Member, WorkBits: r.WorkBits, Difficulty: pool.Difficulty(r.Difficulty)}, {Member: r.Member, WorkBits: r.WorkBits}}
		_, err := j.AppendShares(shares[:rapid.IntRange(1, 2).Draw(p.t, "with an answer")])
		p.check(err)
	}
	ticket, err := j.Append(journal.Receipt{Bytes: p.treasuryReceipt()})
	p.check(err)
	p.check(ticket.Wait())
	for k, v := range sums {
		s.Sums = append(s.Sums, payout.Sum{Member: uint16(k[0]), WorkBits: k[1], Difficulty: v})
	}
	payout.SortSums(s.Sums)
	var bodies [][]byte
	p.check(journal.ReadShares(p.cfg.Journal, j.Epoch(), first, first+uint64(n)-1, func(b []byte, _ *journal.Share) error {
		bodies = append(bodies, bytes.Clone(b))
		return nil
	}))
	s.RecordRoot = payout.RecordRoot(bodies)
	b, err := s.Sign(slotKey)
	p.check(err)
	p.check(os.WriteFile(filepath.Join(p.cfg.Slots, fmt.Sprintf("%010d.slot", s.Number)), b, 0o600))
	p.check(p.window.AddSlot(s.Number, s.Sums))
	p.slots, p.head = append(p.slots, list), s.Head()
	return first + uint64(n)
}

func (p *fakePool) treasuryReceipt() []byte {
	_, b, err := payout.Treasury{Script: p.cfg.Treasury}.Payout(p.template(), p.class)
	p.check(err)
	return b
}

func (p *fakePool) template() *pool.Template {
	return &pool.Template{Height: p.height + 1, PrevHash: p.tip, WorkBits: 0x1e0fffff, Value: 123_456_789}
}

// mine builds a block on the newest cut, and enters it.
func (p *fakePool) mine(j *journal.Journal) {
	tpl, class := p.template(), rapid.SampledFrom(p.cfg.Classes).Draw(p.t, "class")
	cut := uint32(len(p.slots))
	weights, err := p.window.Weights(cut, func(n uint32) ([]payout.Record, error) { return p.slots[n-1], nil })
	p.check(err)
	split, err := p.cfg.Rules.Split(tpl.Value, tpl.PrevHash, weights, func(m uint16) string { return p.members[m].ID })
	p.check(err)
	drain := rapid.Bool().Draw(p.t, "drain")
	carry := p.ledger.Carry()
	r, err := p.cfg.Rules.Receipt(&payout.Order{
		Template: tpl, Class: class, ScriptSig: pool.MaxScriptSig, Split: split, Slot: cut, SlotHead: p.head,
		LedgerHead: p.ledger.Head(), Drain: drain, Carry: carry, Members: p.members, Treasury: p.cfg.Treasury,
	})
	p.check(err)
	for _, y := range r.Settlement {
		if c := carry[y.Member]; y.Kind == payout.ToMember && drain && c.Sats > 0 {
			p.paid++
		}
	}
	sig := pool.ScriptSig{Height: tpl.Height, Commitment: r.Commitment(), Place: pool.Place{Slot: cut, Class: class.ID, Member: 1}}
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{SignatureScript: sig.Append(nil)})
	for _, y := range r.Settlement {
		tx.AddTxOut(wire.NewTxOut(y.Sats, y.Script))
	}
	tx.AddTxOut(wire.NewTxOut(0, append(bytes.Clone(witnessCommitment), make([]byte, 32)...)))
	block := &wire.MsgBlock{Header: wire.BlockHeader{PrevBlock: p.tip, Nonce: uint32(p.height)}, Transactions: []*wire.MsgTx{tx}}
	encoded, err := r.Encode()
	p.check(err)
	if p.told {
		var header, coinbase bytes.Buffer
		p.check(block.Header.Serialize(&header))
		p.check(tx.SerializeNoWitness(&coinbase))
		p.check(j.PutCandidate(journal.Candidate{Hash: block.BlockHash(), Header: [80]byte(header.Bytes()), Coinbase: coinbase.Bytes(), Receipt: encoded}))
	}
	_, err = j.Append(journal.Receipt{Bytes: encoded}, journal.BlockRecord{Hash: block.BlockHash(), Height: tpl.Height, Event: journal.BlockCandidate})
	p.check(err)
	p.check(p.ledger.Apply(&payout.Event{Kind: payout.BlockFound, Block: block.BlockHash(), Receipt: r}))
	p.tip, p.height = block.BlockHash(), tpl.Height
	p.blocks[p.tip] = block
}

// play lets the pool live through some epochs, slots and blocks.
func (p *fakePool) play() {
	for range rapid.IntRange(1, 2).Draw(p.t, "epochs") {
		j, _, err := journal.Open(journal.Config{Dir: p.cfg.Journal, Edge: 1, Prefix: 1, SegmentSize: p.segment})
		p.check(err)
		first := uint64(1)
		for range rapid.IntRange(1, 3).Draw(p.t, "slots") {
			first = p.closeSlot(j, first)
			for range rapid.IntRange(0, 3).Draw(p.t, "blocks") {
				p.mine(j)
			}
		}
		p.check(j.Close())
	}
}

// TestAgreesWithPayout: two programs, one history: window, division, carry,
// choice of outputs and legs. And one satoshi moved in any block is told.
func TestAgreesWithPayout(t *testing.T) {
	dir := t.TempDir()
	n, drained, carried, many := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		p := newFakePool(t, filepath.Join(dir, fmt.Sprint(n)))
		p.play()
		r, err := Run(context.Background(), &p.cfg)
		p.check(err)
		if !r.OK || len(r.Blocks) != len(p.blocks) {
			t.Fatalf("%d of %d blocks, %v", len(r.Blocks), len(p.blocks), r.Mismatches)
		}
		drained += p.paid
		for _, m := range r.Members {
			if m.Carried > 0 {
				carried++
			}
		}
		for _, b := range r.Blocks {
			if len(b.Outputs) > 8 {
				many++
			}
		}
		if len(r.Blocks) == 0 {
			return
		}
		block := p.blocks[p.tip]
		outs := block.Transactions[0].TxOut
		if len(outs) < 3 {
			return
		}
		outs[0].Value++
		outs[1].Value--
		hash := block.BlockHash() // no merkle root is looked at here
		if r, err = Run(context.Background(), &p.cfg); err != nil {
			t.Fatal(err)
		}
		last := r.Blocks[len(r.Blocks)-1]
		if r.OK || last.Agree || last.Hash != hash.String() || len(r.Mismatches) != 2 ||
			!slices.ContainsFunc(r.Mismatches, func(m Mismatch) bool { return m.Found == m.Expected+1 && m.Height == last.Height }) ||
			!strings.Contains(r.Mismatches[0].String(), last.Expected[0].who()) {
			t.Fatalf("a satoshi was moved: %v", r.Mismatches)
		}
	})
	if drained == 0 || carried == 0 || many == 0 {
		t.Errorf("%d outputs drained carry, %d members waited, %d blocks were full: the test tests too little", drained, carried, many)
	}
}
