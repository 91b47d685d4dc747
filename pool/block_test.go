package pool_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"pgregory.net/rapid"

	"cordee/internal/harness"
	"cordee/pool"
)

// A block that a job of ours leads to parses under wire, has the hash that was
// judged, pays what the payout says, keeps the transactions in their order, and
// commits to their witnesses.
func TestBlocksAreWireBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var txs []pool.Tx
		var wtxs []*wire.MsgTx
		for i := range rapid.IntRange(0, 20).Draw(t, "transactions") {
			w, p := wireTx(rapid.Uint64().Draw(t, "tx")+uint64(i), rapid.Bool().Draw(t, "witness"))
			txs, wtxs = append(txs, p), append(wtxs, w)
		}
		value := rapid.Int64Range(0, 50e8).Draw(t, "value")
		height := rapid.Int32Range(1, 1<<31-1).Draw(t, "height")
		tpl, err := pool.NewTemplate(&pool.Template{
			Height: height, Version: 0x20000000, PrevHash: randomHash(1), Bits: 0x207fffff,
			MinTime: 1, CurTime: 1_700_000_000, Value: value, Txs: txs,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		payout := evenPayout(value, rapid.IntRange(1, 30).Draw(t, "outputs"))
		class := pool.Class{ID: 9, Name: "test", MaxCoinbase: 2000}
		tag := rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "tag")
		job, err := pool.NewJob(tpl, payout, class, tag, 1, rapid.Uint32().Draw(t, "counter"))
		if err != nil {
			t.Fatal(err)
		}
		member, variant := rapid.Uint16().Draw(t, "member"), rapid.Uint8().Draw(t, "variant")
		work := job.Work(member, variant)
		sub := pool.Submission{
			Work: work, Extranonce1: [4]byte{1, 2, 3, 4}, Extranonce2: [8]byte{5, 6, 7, 8, 9, 10, 11, 12}, Extranonce2Size: 8,
			NTime: rapid.Uint32().Draw(t, "ntime"), Nonce: rapid.Uint32().Draw(t, "nonce"), Version: rapid.Uint32().Draw(t, "version"),
		}
		h := pool.Hash(nil, []pool.Submission{sub})[0]
		coinbase := work.Coinbase(nil, &sub)
		if len(coinbase) != job.CoinbaseSize() {
			t.Fatalf("coinbase has %d bytes, the job says %d", len(coinbase), job.CoinbaseSize())
		}
		raw := tpl.Block(&h.Header, coinbase)

		var block wire.MsgBlock
		r := bytes.NewReader(raw)
		if err := block.Deserialize(r); err != nil || r.Len() != 0 {
			t.Fatalf("%v, %d bytes left", err, r.Len())
		}
		if block.BlockHash() != h.Hash {
			t.Fatalf("block hash %v, share hash %v", block.BlockHash(), h.Hash)
		}
		if err := harness.NaiveCheckBlock(&block); err != nil {
			t.Fatal(err)
		}
		for i, tx := range block.Transactions[1:] {
			if tx.WitnessHash() != wtxs[i].WitnessHash() {
				t.Fatalf("transaction %d is another", i)
			}
		}
		cb := block.Transactions[0]
		if cb.Version != 2 || cb.LockTime != uint32(height-1) || cb.TxIn[0].Sequence != 0xfffffffe || cb.TxHash() != chainhash.DoubleHashH(coinbase) {
			t.Fatalf("coinbase %+v", cb)
		}
		var sum int64
		for i, out := range cb.TxOut {
			sum += out.Value
			if i < len(payout.Outputs) && (out.Value != payout.Outputs[i].Sats || !bytes.Equal(out.PkScript, payout.Outputs[i].Script)) {
				t.Fatalf("output %d pays %d", i, out.Value)
			}
		}
		if sum != value || len(cb.TxOut) != len(payout.Outputs)+1 {
			t.Fatalf("%d outputs pay %d, want %d", len(cb.TxOut), sum, value)
		}
		script, err := pool.ParseScriptSig(cb.TxIn[0].SignatureScript)
		if err != nil {
			t.Fatal(err)
		}
		want := pool.ScriptSig{
			Height: height, Tag: tag, Place: job.Place(member, variant), Commitment: payout.Commitment,
			Extranonce1: sub.Extranonce1, Extranonce2: sub.Extranonce2,
		}
		if script != want {
			t.Fatalf("script says %+v, want %+v", script, want)
		}

		// The naive path from the notify fields gives the same block.
		job2 := &harness.NaiveJob{
			Coinb1: hex.EncodeToString(work.Coinb1), Coinb2: hex.EncodeToString(work.Coinb2), Extranonce1: "01020304",
		}
		naive, err := harness.NaiveBlock(job2, &harness.NaiveSubmission{Extranonce2: "05060708090a0b0c"}, block.Header, wtxs)
		if err != nil {
			t.Fatal(err)
		}
		var naiveRaw bytes.Buffer
		if err := naive.Serialize(&naiveRaw); err != nil || !bytes.Equal(naiveRaw.Bytes(), raw) {
			t.Fatalf("naive block differs: %v", err)
		}
		if weight := int64(3*block.SerializeSizeStripped() + block.SerializeSize()); weight > tpl.Weight()+332+36+4*int64(len(coinbase)) {
			t.Fatalf("block weighs %d, more than was reckoned", weight)
		}
	})
}
