package keeper

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// mineWith mines job, and gives its candidate file another receipt.
func (t *kit) mineWith(job *pool.Job, receipt *payout.Receipt) chainhash.Hash {
	t.tb.Helper()
	encoded, err := receipt.Encode()
	if err != nil {
		t.tb.Fatal(err)
	}
	w := job.Work(1, 0)
	coinbase := w.Coinbase(nil, &pool.Submission{Work: w, Extranonce2Size: 8})
	hash := t.chain.put(job.Template.PrevHash, coinbase)
	var header bytes.Buffer
	if err := t.chain.blocks[hash].Header.Serialize(&header); err != nil {
		t.tb.Fatal(err)
	}
	c := journal.Candidate{
		Hash: hash, Header: [80]byte(header.Bytes()), Coinbase: coinbase, TemplateID: job.Template.ID(), WorkBits: testBits,
		Height: job.Template.Height, Receipt: encoded,
	}
	if err := t.journal.PutCandidate(c); err != nil {
		t.tb.Fatal(err)
	}
	t.k.Candidate(c)
	return hash
}

// TestLiftedMismatch: a halt lasts until it is lifted for a reason. Then the
// journal's receipt decides: where it is the block's the block is credited and
// carry is drained again; where there is none the block is set aside, across a
// restart too, and other blocks still halt.
func TestLiftedMismatch(t *testing.T) {
	for _, mended := range []bool{true, false} {
		kt := newKit(t, 3, nil)
		kt.chain.foreign(kt.chain.tip, 2)
		kt.work(10, 1, 2, 3)
		kt.close()
		_, other := kt.job(kt.chain.tip, 40e8, pool.DefaultClass)
		var job *pool.Job
		if mended {
			job, _ = kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
		} else { // a receipt that never reached the journal
			tpl := kt.template(kt.chain.tip, 50e8)
			p, _, err := kt.k.Payout(tpl, pool.DefaultClass)
			if err == nil {
				job, err = pool.NewJob(tpl, p, pool.DefaultClass, "/cordee/", 1, 77)
			}
			if err != nil {
				t.Fatal(err)
			}
			kt.restart() // and that no memory holds
		}
		hash := kt.mineWith(job, other)
		kt.cover()
		if !slices.Equal(kt.k.Halts(), []string{"block.mismatch"}) {
			t.Fatalf("halts %v", kt.k.Halts())
		}
		kt.restart()
		kt.cover()
		if n := len(kt.k.HaltLog()); n != 1 || !strings.Contains(kt.k.HaltLog()[0].Text, hash.String()) {
			t.Fatalf("%+v", kt.k.HaltLog())
		}
		if err := kt.k.Lift("store.foreign", "a guess"); !errors.Is(err, ErrNoHalt) || !strings.Contains(err.Error(), "there is block.mismatch") {
			t.Errorf("another name: %v", err)
		}
		if err := kt.k.Lift("block.mismatch", "candidate file restored"); err != nil {
			t.Fatal(err)
		}
		if err := kt.k.Lift("block.mismatch", "again"); !errors.Is(err, ErrNoHalt) || !strings.Contains(err.Error(), "not halted") {
			t.Errorf("lifted twice: %v", err)
		}
		for range 2 {
			kt.cover()
			b, known := kt.k.ledger.Block(hash)
			if known != mended || len(kt.k.Halts()) != 0 || mended && b.Receipt.Reward != 50e8 {
				t.Errorf("mended %t: in the ledger %t, halts %v", mended, known, kt.k.Halts())
			}
			if _, r := kt.job(kt.chain.tip, 50e8, pool.DefaultClass); r.Drain != mended || len(r.Settlement) < 3 {
				t.Errorf("mended %t: drains %t, pays %+v", mended, r.Drain, r.Settlement)
			}
			kt.restart()
		}
		log := kt.k.HaltLog()
		if len(log) != 2 || !log[1].Lifted || log[1].Text != "candidate file restored" || len(InForce(log)) != 0 {
			t.Errorf("%+v", log)
		}
		// The next one that differs is another doubt.
		next, _ := kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
		kt.mineWith(next, other)
		kt.cover()
		if !slices.Equal(kt.k.Halts(), []string{"block.mismatch"}) {
			t.Errorf("a second block differs, halts %v", kt.k.Halts())
		}
	}
}

// TestLiftedForBoth: a lift ends the halt of the block it was about. Another
// that differs, and waited behind it, halts under its own text.
func TestLiftedForBoth(t *testing.T) {
	kt := newKit(t, 3, nil)
	kt.chain.foreign(kt.chain.tip, 2)
	kt.work(10, 1, 2, 3)
	kt.close()
	_, other := kt.job(kt.chain.tip, 40e8, pool.DefaultClass)
	for range 2 {
		job, _ := kt.job(kt.chain.tip, 50e8, pool.DefaultClass)
		kt.mineWith(job, other)
		kt.cover()
	}
	for n := range 2 {
		if !slices.Equal(kt.k.Halts(), []string{"block.mismatch"}) || len(kt.k.ledger.Blocks()) != n {
			t.Fatalf("after %d lifts: halts %v, %d blocks", n, kt.k.Halts(), len(kt.k.ledger.Blocks()))
		}
		if err := kt.k.Lift("block.mismatch", "looked"); err != nil {
			t.Fatal(err)
		}
		kt.cover()
	}
	if len(kt.k.Halts()) != 0 || len(kt.k.ledger.Blocks()) != 2 {
		t.Errorf("halts %v, %d blocks", kt.k.Halts(), len(kt.k.ledger.Blocks()))
	}
}
