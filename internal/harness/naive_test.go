package harness_test

import (
	"math/big"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/harness"
)

// An oracle that accepts anything proves nothing: it must refuse a block whose
// parts do not belong together.
func TestNaiveCheckBlockRefuses(t *testing.T) {
	genesis := chaincfg.MainNetParams.GenesisBlock
	if err := harness.NaiveCheckBlock(genesis); err == nil {
		t.Error("a coinbase without witness passes")
	}
	build := func() *wire.MsgBlock {
		job := &harness.NaiveJob{
			Coinb1: "02000000" + "01" + "0000000000000000000000000000000000000000000000000000000000000000" + "ffffffff" + "0e" + "5100",
			Coinb2: "feffffff" + "01" + "0000000000000000" + "26" + "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9" + "00000000",

			Extranonce1: "01020304", Extranonce2Size: 8,
		}
		sub := &harness.NaiveSubmission{Extranonce2: "0506070809101112"}
		block, err := harness.NaiveBlock(job, sub, wire.BlockHeader{}, nil)
		if err == nil {
			t.Error("a header without merkle root passes")
		}
		block.Header.MerkleRoot = block.Transactions[0].TxHash()
		return block
	}
	if err := harness.NaiveCheckBlock(build()); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*wire.MsgBlock){
		"another merkle root": func(b *wire.MsgBlock) { b.Header.MerkleRoot[0]++ },
		"no reserved value":   func(b *wire.MsgBlock) { b.Transactions[0].TxIn[0].Witness = nil },
		"another reserved value": func(b *wire.MsgBlock) {
			b.Transactions[0].TxIn[0].Witness = wire.TxWitness{append(make([]byte, 31), 1)}
		},
		"another commitment": func(b *wire.MsgBlock) {
			b.Transactions[0].TxOut[0].PkScript[37]++
			b.Header.MerkleRoot = b.Transactions[0].TxHash()
		},
		"no commitment": func(b *wire.MsgBlock) {
			b.Transactions[0].TxOut[0].PkScript = []byte{0x6a}
			b.Header.MerkleRoot = b.Transactions[0].TxHash()
		},
		"a transaction more": func(b *wire.MsgBlock) { b.Transactions = append(b.Transactions, genesis.Transactions[0]) },
	} {
		block := build()
		spoil(block)
		if err := harness.NaiveCheckBlock(block); err == nil {
			t.Errorf("%s passes", what)
		}
	}
}

func TestNaiveNumbers(t *testing.T) {
	one := harness.NaiveCompact(0x1d00ffff)
	if harness.NaiveTarget(big.NewRat(1, 1)).Cmp(one) != 0 {
		t.Error("difficulty 1 is not the target of the genesis block")
	}
	if got := harness.NaiveTarget(big.NewRat(1, 1<<40)); got.BitLen() != 256 {
		t.Errorf("an easy target has %d bits", got.BitLen())
	}
	if got := harness.NaiveCompact(0x02123456); got.Int64() != 0x1234 {
		t.Errorf("a short target is %x", got)
	}
}
