package keeper

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// TestSlotsTakeEveryShareOnce: slots follow one another, count what is durable,
// are not closed empty, and shares that an ended epoch left are in the next.
func TestSlotsTakeEveryShareOnce(t *testing.T) {
	kt := newKit(t, 3, nil)
	if n := kt.close(); n != 0 {
		t.Errorf("%d empty slots were closed", n)
	}
	kt.work(5, 1, 2, 0)
	kt.close()
	kt.work(7, 1)
	kt.restart()
	kt.work(11, 2)
	if n := kt.close(); n != 1 || kt.close() != 0 {
		t.Errorf("closed %d slots", n)
	}
	one, err := kt.k.Slot(1)
	if err != nil {
		t.Fatal(err)
	}
	two, err := kt.k.Slot(2)
	if err != nil {
		t.Fatal(err)
	}
	if two.Prev != one.Head() || !slices.Equal(one.Ranges, []payout.Range{{Edge: 1, Epoch: 1, First: 1, Last: 3}}) ||
		!slices.Equal(two.Ranges, []payout.Range{{Edge: 1, Epoch: 1, First: 4, Last: 4}, {Edge: 1, Epoch: 2, First: 1, Last: 1}}) {
		t.Errorf("slots %+v, %+v", one, two)
	}
	if want := []payout.Sum{{Member: 1, WorkBits: testBits, Difficulty: 7}, {Member: 2, WorkBits: testBits, Difficulty: 11}}; !slices.Equal(two.Sums, want) {
		t.Errorf("slot 2 sums to %v", two.Sums)
	}
	var bodies [][]byte
	for _, r := range two.Ranges {
		err := journal.ReadShares(kt.cfg.Journal, r.Epoch, r.First, r.Last, func(b []byte, _ *journal.Share) error {
			bodies = append(bodies, bytes.Clone(b))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if payout.RecordRoot(bodies) != two.RecordRoot {
		t.Error("record root differs")
	}
	leaves := []payout.SumLeaf{{Member: 1, Difficulty: 7, Salt: salt(kt.cfg.Secret, 2, 1)}, {Member: 2, Difficulty: 11, Salt: salt(kt.cfg.Secret, 2, 2)}}
	if root, _, err := payout.SumRoot(leaves); err != nil || root != two.SumRoot {
		t.Errorf("sum root differs, %v", err)
	}
}

// TestFilesAreTornOrRefused: an unfinished file goes by its name, a damaged,
// missing or foreign one is refused by its name.
func TestFilesAreTornOrRefused(t *testing.T) {
	kt := newKit(t, 3, nil)
	for range 3 {
		kt.work(1, 1, 2)
		kt.close()
	}
	if err := kt.k.Halt("test", "why"); err != nil {
		t.Fatal(err)
	}
	torn := kt.k.slots.path(4) + temporary
	if err := os.WriteFile(torn, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	kt.restart()
	if _, err := os.Stat(torn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
	if !slices.Equal(kt.k.Halts(), []string{"test"}) {
		t.Errorf("halts after a restart: %v", kt.k.Halts())
	}
	for _, name := range []string{kt.k.slots.path(3), kt.k.slots.path(1), kt.k.events.path(1)} {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			broken := bytes.Clone(whole)
			broken[at] ^= 4
			if err := os.WriteFile(name, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(kt.cfg); !errors.Is(err, ErrDamaged) || !bytes.Contains([]byte(err.Error()), []byte(name)) {
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
		}
		if err := os.WriteFile(name, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(kt.cfg); !errors.Is(err, ErrDamaged) {
			t.Errorf("half of %s: %v", name, err)
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(kt.k.slots.path(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(kt.cfg); !errors.Is(err, ErrDamaged) {
		t.Errorf("slot 2 is gone: %v", err)
	}
}

// TestPayoutFollowsTheCut: before the first slot all goes to the treasury; then
// members are paid by the newest slot, carry only where the ledger covers the
// parent.
func TestPayoutFollowsTheCut(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.chain.foreign(kt.chain.tip, 3)
	if _, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass); r.Rule != payout.RuleTreasury {
		t.Errorf("rule %d before any work", r.Rule)
	}
	kt.work(10, 1, 2, 3)
	kt.close()
	_, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
	if r.Rule != payout.RuleUnitPPLNS || r.Slot != 1 || r.SlotHead != kt.k.head || len(r.Credits) != 3 || r.Drain {
		t.Errorf("receipt %+v", r)
	}
	kt.follow()
	if _, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass); !r.Drain {
		t.Error("no drain on a tip whose ancestors are all somebody else's")
	}
	// A block of ours: its child drains nothing until it is in the ledger.
	_, first := kt.block(50e8, pool.DefaultClass)
	if _, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass); r.Drain {
		t.Error("the child of an unsettled block drains")
	}
	kt.follow()
	_, r = kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
	if !r.Drain || r.LedgerHead != kt.k.book.Load().head || r.LedgerHead == first.LedgerHead {
		t.Errorf("drain %v by head %x", r.Drain, r.LedgerHead)
	}
	if err := kt.k.Halt("test", "why"); err != nil {
		t.Fatal(err)
	}
	_, r = kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
	if r.Drain || len(r.Settlement) != 1 || r.Settlement[0].Kind != payout.ToTreasury || len(r.Credits) != 3 {
		t.Errorf("while halted: %+v", r)
	}
	if err := kt.k.Lift("test", "found"); err != nil {
		t.Fatal(err)
	}
	if _, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass); len(r.Settlement) < 3 {
		t.Errorf("after the halt: %+v", r.Settlement)
	}
	if err := kt.k.Lift("test", "again"); err == nil {
		t.Error("a halt was lifted twice")
	}
}

// TestBlocksToMaturity: found, orphaned, restored, matured, each once however
// often the chain is looked at and whoever restarts between.
func TestBlocksToMaturity(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2, 3, 3)
	kt.close()
	state := func() (payout.BlockState, int) {
		kt.follow()
		kt.restart()
		kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
		kt.follow()
		kt.follow()
		b := kt.k.ledger.Blocks()
		if len(b) == 0 {
			return 0, 0
		}
		return b[0].State, int(b[0].Turn)
	}
	fork := kt.chain.tip
	ours, r := kt.block(50e8, pool.DefaultClass)
	if s, turn := state(); s != payout.Active || turn != 0 {
		t.Fatalf("state %d, turn %d", s, turn)
	}
	if b := kt.k.ledger.Balance(payout.Owner{Member: 3}); b.Immature != r.Credits[2].Sats || b.Immature == 0 {
		t.Errorf("member 3 has %+v", b)
	}
	kt.chain.foreign(fork, 2)
	if s, turn := state(); s != payout.Orphaned || turn != 1 || kt.k.ledger.Treasury() != 0 {
		t.Fatalf("state %d, turn %d", s, turn)
	}
	kt.chain.foreign(ours, 2)
	if s, turn := state(); s != payout.Active || turn != 2 {
		t.Fatalf("state %d, turn %d", s, turn)
	}
	kt.chain.foreign(kt.chain.tip, maturity-4)
	if s, _ := state(); s != payout.Active {
		t.Fatal("mature too early")
	}
	kt.chain.foreign(kt.chain.tip, 1)
	if s, _ := state(); s != payout.Mature {
		t.Fatal("not mature with 100 confirmations")
	}
	if len(kt.k.heads) != 4 || len(kt.k.Halts()) != 0 {
		t.Errorf("%d events, halts %v", len(kt.k.heads), kt.k.Halts())
	}
	kt.chain.foreign(fork, maturity+1)
	kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
	kt.follow()
	if !slices.Equal(kt.k.Halts(), []string{"block.mature-orphaned"}) {
		t.Errorf("a mature block left the chain: %v", kt.k.Halts())
	}
	if err := kt.k.Lift("block.mature-orphaned", "members were told"); err != nil {
		t.Fatal(err)
	}
	if kt.follow(); len(kt.k.Halts()) != 0 {
		t.Errorf("it halts again for what people have decided: %v", kt.k.Halts())
	}
}

// TestTwoOfOurs: two blocks of ours in a row, and two at one height, of which
// one is in the chain.
func TestTwoOfOurs(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2, 3)
	kt.close()
	kt.cover()
	job, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
	a := kt.mine(job, r)
	b := kt.mine(job, r) // the same job, another hash
	childJob, childR := kt.job(a, 50e8, pool.DefaultClass)
	if childR.Drain {
		t.Error("a child of our unsettled block drains")
	}
	kt.mine(childJob, childR)
	kt.cover()
	if n := len(kt.k.ledger.Blocks()); n != 2 {
		t.Fatalf("%d blocks in the ledger", n)
	}
	if _, known := kt.k.ledger.Block(b); known {
		t.Error("a block off the chain is in the ledger")
	}
	kt.chain.foreign(b, 3)
	kt.cover()
	kt.cover()
	in, _ := kt.k.ledger.Block(b)
	if out, _ := kt.k.ledger.Block(a); in.State != payout.Active || out.State != payout.Orphaned {
		t.Errorf("states %d, %d", in.State, out.State)
	}
	if err := kt.k.ledger.Check(); err != nil || len(kt.k.Halts()) != 0 {
		t.Errorf("%v, halts %v", err, kt.k.Halts())
	}
	if v := kt.k.ledger.Balance(payout.Owner{Member: 1}).Paid; v != paidTo(kt.chain.blocks[b])[string(script(1))] {
		t.Errorf("member 1 was paid %d", v)
	}
}

// TestLostCandidateIsFound: a block whose candidate file is lost is known by
// the receipt that its coinbase commits to; one that only copies a commitment is
// somebody else's and halts nothing.
func TestLostCandidateIsFound(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2, 3)
	kt.close()
	kt.cover()
	job, _ := kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
	w := job.Work(1, 0)
	coinbase := w.Coinbase(nil, &pool.Submission{Work: w, Extranonce2Size: 8})
	before := kt.chain.tip
	copied := bytes.Replace(coinbase, script(1), script(0xdd), 1)
	kt.chain.put(before, copied)
	kt.restart()
	kt.cover()
	if len(kt.k.ledger.Blocks()) != 0 || len(kt.k.Halts()) != 0 {
		t.Fatalf("a copied commitment: %v", kt.k.Halts())
	}
	kt.chain.foreign(kt.chain.put(before, coinbase), 3)
	kt.restart()
	kt.cover()
	kt.cover()
	if b := kt.k.ledger.Blocks(); len(b) != 1 || b[0].State != payout.Active {
		t.Errorf("blocks %+v", b)
	}
}

// TestMismatchHaltsPayouts: a block of ours that does not pay what its receipt
// says stops payouts by name and no mining.
func TestMismatchHaltsPayouts(t *testing.T) {
	for name, spoil := range map[string]func(*payout.Receipt, *wire.MsgBlock){
		"amount":  func(_ *payout.Receipt, b *wire.MsgBlock) { b.Transactions[0].TxOut[0].Value++ },
		"script":  func(_ *payout.Receipt, b *wire.MsgBlock) { b.Transactions[0].TxOut[0].PkScript[5] ^= 1 },
		"missing": func(_ *payout.Receipt, b *wire.MsgBlock) { b.Transactions[0].TxOut = b.Transactions[0].TxOut[1:] },
		"more": func(_ *payout.Receipt, b *wire.MsgBlock) {
			b.Transactions[0].AddTxOut(wire.NewTxOut(1, script(9)))
		},
		"parent": func(_ *payout.Receipt, b *wire.MsgBlock) {},
		"commitment": func(_ *payout.Receipt, b *wire.MsgBlock) {
			b.Transactions[0].TxIn[0].SignatureScript[40] ^= 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			kt := newKit(t, 3, nil)
			parent := kt.chain.foreign(kt.chain.tip, 2)
			kt.work(10, 1, 2, 3)
			kt.close()
			job, r := kt.job(parent, 50e8, pool.DefaultClass)
			hash := kt.mine(job, r)
			b := kt.chain.blocks[hash]
			prev := b.Header.PrevBlock
			if name == "parent" {
				prev = kt.chain.foreign(kt.chain.blocks[parent].Header.PrevBlock, 1)
			}
			spoil(r, b)
			var coinbase bytes.Buffer
			if err := b.Transactions[0].Serialize(&coinbase); err != nil {
				t.Fatal(err)
			}
			receipt, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			spoilt := kt.chain.put(prev, coinbase.Bytes())
			kt.chain.tip = spoilt
			kt.k.Candidate(journal.Candidate{Hash: spoilt, Height: r.Height, Receipt: receipt})
			kt.cover()
			if !slices.Equal(kt.k.Halts(), []string{"block.mismatch"}) || len(kt.k.ledger.Blocks()) != 0 {
				t.Errorf("halts %v, %d blocks", kt.k.Halts(), len(kt.k.ledger.Blocks()))
			}
			if _, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass); r.Drain || len(r.Settlement) != 1 {
				t.Errorf("jobs pay %+v", r.Settlement)
			}
		})
	}
}
