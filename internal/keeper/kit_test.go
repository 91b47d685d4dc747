package keeper

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/harness"
	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

const testBits = 0x207fffff

func script(n byte) []byte { return append([]byte{0x00, 0x14, n}, make([]byte, 19)...) }

var (
	treasury = script(0xff)
	feeTo    = script(0xfe)
)

// people are the register: members 1 to n, of whom the last has no destination.
type people map[uint16]payout.Member

func (p people) Members() map[uint16]payout.Member { return p }

func register(n int) people {
	p := people{}
	for i := 1; i <= n; i++ {
		m := payout.Member{ID: string(rune('a'+i%26)) + string(rune('a'+i/26))}
		if i < n {
			m.Legs = []payout.Leg{{Script: script(byte(i)), BP: 10_000}}
		}
		p[uint16(i)] = m
	}
	return p
}

var testRules = payout.Rules{
	Version: payout.RuleUnitPPLNS, XMilli: 50_000, Scale: pool.RegtestScale,
	Fees: []payout.FeeRule{{Account: "pool", BP: 100, Script: feeTo}}, MinPayout: 1000,
}

// chain is a scripted node.
type chain struct {
	tip    chainhash.Hash
	blocks map[chainhash.Hash]*wire.MsgBlock
	height map[chainhash.Hash]int32
	err    error // of every question
	nonce  uint32
}

var errUnknown = errors.New("no node knows this block")

func newChain() *chain {
	return &chain{blocks: map[chainhash.Hash]*wire.MsgBlock{}, height: map[chainhash.Hash]int32{{}: 0}}
}

func (c *chain) Unknown(err error) bool { return errors.Is(err, errUnknown) }

func (c *chain) InChain(_ context.Context, hash chainhash.Hash) (int32, int64, error) {
	if c.err != nil {
		return 0, 0, c.err
	}
	if c.blocks[hash] == nil {
		return 0, 0, errUnknown
	}
	h := c.height[hash]
	for at := c.tip; ; at = c.blocks[at].Header.PrevBlock {
		if at == hash {
			return h, int64(c.height[c.tip]-h) + 1, nil
		}
		if c.height[at] <= h {
			return h, -1, nil
		}
	}
}

func (c *chain) Block(_ context.Context, hash chainhash.Hash) ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.blocks[hash] == nil {
		return nil, errUnknown
	}
	var b bytes.Buffer
	err := c.blocks[hash].Serialize(&b)
	return b.Bytes(), err
}

// put adds a block on prev with that coinbase; it becomes the tip where it is
// higher.
func (c *chain) put(prev chainhash.Hash, coinbase []byte) chainhash.Hash {
	tx := new(wire.MsgTx)
	if err := tx.DeserializeNoWitness(bytes.NewReader(coinbase)); err != nil {
		panic(err)
	}
	c.nonce++
	b := wire.NewMsgBlock(&wire.BlockHeader{PrevBlock: prev, Nonce: c.nonce, MerkleRoot: tx.TxHash()})
	if err := b.AddTransaction(tx); err != nil {
		panic(err)
	}
	h := b.BlockHash()
	c.blocks[h], c.height[h] = b, c.height[prev]+1
	if c.height[h] > c.height[c.tip] {
		c.tip = h
	}
	return h
}

// foreign mines n blocks of somebody else on prev.
func (c *chain) foreign(prev chainhash.Hash, n int) chainhash.Hash {
	for range n {
		tx := wire.NewMsgTx(1)
		tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&chainhash.Hash{}, 0xffffffff), []byte{1, 2, 3}, nil))
		tx.AddTxOut(wire.NewTxOut(50e8, script(0xee)))
		var b bytes.Buffer
		if err := tx.Serialize(&b); err != nil {
			panic(err)
		}
		prev = c.put(prev, b.Bytes())
	}
	return prev
}

// kit is a keeper with its journal and everything around it.
type kit struct {
	tb       testing.TB
	cfg      Config
	journal  *journal.Journal
	chain    *chain
	k        *Keeper
	tpls     uint32
	keepRec  bool // candidates carry their receipt
	ended    bool
	tolerate bool // damage in the journal
	segment  int64
}

func newKit(tb testing.TB, members int, store payout.Store) *kit {
	tb.Helper()
	dir, err := os.MkdirTemp(scratch(tb), "keeper") //nolint:usetesting // see scratch
	if err != nil {
		tb.Fatal(err)
	}
	return newKitIn(tb, dir, 16384, members, store)
}

// newKitIn is newKit in a directory that it takes away at the end, with journal
// segments of that many bytes.
func newKitIn(tb testing.TB, dir string, segment int64, members int, store payout.Store) *kit {
	tb.Helper()
	if store == nil {
		store = payout.NewMemory(func() int64 { return 0 })
	}
	t := &kit{tb: tb, chain: newChain(), keepRec: true, segment: segment}
	t.cfg = Config{
		Dir: dir, Journal: filepath.Join(dir, "journal"), Edge: 1, Store: store, Meta: harness.StoreMeta(1),
		Rules: testRules, Treasury: treasury, Members: register(members), Chain: t.chain,
		Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Secret: [32]byte{1},
	}
	t.start()
	tb.Cleanup(t.end)
	return t
}

// end takes the kit away, once.
func (t *kit) end() {
	if t.ended {
		return
	}
	t.ended = true
	if err := errors.Join(t.journal.Close(), os.RemoveAll(t.cfg.Dir)); err != nil {
		t.tb.Error(err)
	}
}

// scratch is a folder that the test empties, in memory where the machine has
// one: thousands of fsyncs of a slow disk prove nothing here.
func scratch(tb testing.TB) string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return tb.TempDir()
}

func (t *kit) start() {
	t.tb.Helper()
	j, rec, err := journal.Open(journal.Config{Dir: t.cfg.Journal, Edge: 1, Prefix: 1, SegmentSize: t.segment, TolerateDamage: t.tolerate})
	if err != nil {
		t.tb.Fatal(err)
	}
	t.journal, t.cfg.Log, t.cfg.Recovery = j, j, rec
	if t.k, err = New(t.cfg); err != nil {
		t.tb.Fatal(err)
	}
}

// restart is a process that ended and begins again with a new epoch.
func (t *kit) restart() {
	t.tb.Helper()
	if err := t.journal.Close(); err != nil {
		t.tb.Fatal(err)
	}
	t.start()
}

// work appends one share of difficulty d for each member given.
func (t *kit) work(d uint64, members ...uint16) {
	t.tb.Helper()
	var list []journal.Share
	for _, m := range members {
		list = append(list, journal.Share{Member: m, WorkBits: testBits, Difficulty: pool.Difficulty(d)})
	}
	tk, err := t.journal.AppendShares(list)
	if err == nil {
		err = tk.Wait()
	}
	if err != nil {
		t.tb.Fatal(err)
	}
}

func (t *kit) close() int {
	t.tb.Helper()
	n, err := t.k.CloseSlots()
	if err != nil {
		t.tb.Fatal(err)
	}
	return n
}

func (t *kit) follow() {
	t.tb.Helper()
	if err := t.k.Follow(t.tb.Context()); err != nil {
		t.tb.Fatal(err)
	}
}

// template returns the next template on prev.
func (t *kit) template(prev chainhash.Hash, value int64) *pool.Template {
	t.tb.Helper()
	t.tpls++
	tpl, err := pool.NewTemplate(&pool.Template{
		Height: t.chain.height[prev] + 1, PrevHash: prev, Bits: testBits, MinTime: 1, CurTime: 1 + t.tpls, Value: value,
	}, nil)
	if err != nil {
		t.tb.Fatal(err)
	}
	return tpl
}

// job asks for a receipt and journals it as the edge does.
func (t *kit) job(prev chainhash.Hash, value int64, class pool.Class) (*pool.Job, *payout.Receipt) {
	t.tb.Helper()
	return t.jobOn(t.template(prev, value), class)
}

// jobOn is job on that template.
func (t *kit) jobOn(tpl *pool.Template, class pool.Class) (*pool.Job, *payout.Receipt) {
	t.tb.Helper()
	p, b, err := t.k.Payout(tpl, class)
	if err != nil {
		t.tb.Fatal(err)
	}
	job, err := pool.NewJob(tpl, p, class, "/cordee/", 1, t.tpls)
	if err != nil {
		t.tb.Fatal(err)
	}
	r, err := payout.DecodeReceipt(b)
	if err != nil {
		t.tb.Fatal(err)
	}
	tk, err := t.journal.Append(journal.Receipt{Bytes: b})
	if err == nil {
		err = tk.Wait() // a hundred blocks take no time here: let the disk keep up
	}
	if err != nil {
		t.tb.Fatal(err)
	}
	return job, r
}

// mine makes job a block in the chain and tells the keeper.
func (t *kit) mine(job *pool.Job, r *payout.Receipt) chainhash.Hash {
	t.tb.Helper()
	w := job.Work(1, 0)
	s := pool.Submission{Work: w, Extranonce2Size: 8}
	coinbase := w.Coinbase(nil, &s)
	hash := t.chain.put(job.Template.PrevHash, coinbase)
	c := journal.Candidate{Hash: hash, Coinbase: coinbase, TemplateID: job.Template.ID(), WorkBits: testBits, Height: job.Template.Height}
	var header bytes.Buffer
	if err := t.chain.blocks[hash].Header.Serialize(&header); err != nil {
		t.tb.Fatal(err)
	}
	c.Header = [80]byte(header.Bytes())
	if t.keepRec {
		var err error
		if c.Receipt, err = r.Encode(); err != nil {
			t.tb.Fatal(err)
		}
	}
	if err := t.journal.PutCandidate(c); err != nil {
		t.tb.Fatal(err)
	}
	t.k.Candidate(c)
	return hash
}

var largeClass = pool.Class{ID: 99, Name: "larger than any", MaxCoinbase: 50_000}

// block mines a block of ours on the tip.
func (t *kit) block(value int64, class pool.Class) (chainhash.Hash, *payout.Receipt) {
	t.tb.Helper()
	job, r := t.job(t.chain.tip, value, class)
	return t.mine(job, r), r
}

// cover lets the keeper see the tip, so that the next job may drain.
func (t *kit) cover() {
	t.tb.Helper()
	t.job(t.chain.tip, 50e8, pool.DefaultClass)
	t.follow()
}

// same compares two stores in all that a rebuild must give again.
func same(tb testing.TB, a, b payout.Store) {
	tb.Helper()
	if err := sameStores(tb.Context(), a, b); err != nil {
		tb.Fatal(err)
	}
}

// paidTo sums the outputs of a block to each script.
func paidTo(b *wire.MsgBlock) map[string]int64 {
	out := map[string]int64{}
	for _, o := range b.Transactions[0].TxOut {
		out[string(o.PkScript)] += o.Value
	}
	maps.DeleteFunc(out, func(_ string, v int64) bool { return v == 0 })
	return out
}

// sameStores reports whether two stores hold the same sums, marks, manifests and
// events, and where they first differ.
func sameStores(ctx context.Context, a, b payout.Store) error {
	pages := []struct {
		name string
		read func(s payout.Store, from uint64) (page []byte, next uint64, err error)
	}{
		{"sums", func(s payout.Store, _ uint64) ([]byte, uint64, error) {
			v, err := s.Run(ctx)
			return fmt.Append(nil, v), 0, err
		}},
		{"marks", func(s payout.Store, _ uint64) ([]byte, uint64, error) {
			v, err := s.HWMs(ctx)
			return fmt.Append(nil, v), 0, err
		}},
		{"manifests", func(s payout.Store, from uint64) ([]byte, uint64, error) {
			v, err := s.Slots(ctx, uint32(from), payout.MaxPage)
			return fmt.Append(nil, v), nextPage(from, len(v)), err
		}},
		{"events", func(s payout.Store, from uint64) ([]byte, uint64, error) {
			v, err := s.Records(ctx, from, payout.MaxPage)
			return fmt.Append(nil, v), nextPage(from, len(v)), err
		}},
	}
	for _, p := range pages {
		for from := uint64(1); from != 0; {
			x, next, err := p.read(a, from)
			if err != nil {
				return err
			}
			y, _, err := p.read(b, from)
			if err != nil {
				return err
			}
			if !bytes.Equal(x, y) {
				return fmt.Errorf("the %s from %d on differ: %w", p.name, from, ErrDiverged)
			}
			from = next
		}
	}
	return nil
}

func nextPage(from uint64, n int) uint64 {
	if n < payout.MaxPage {
		return 0
	}
	return from + uint64(n)
}
