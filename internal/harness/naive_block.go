package harness

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// NaiveBlock assembles the block of an accepted header with wire's types: the
// coinbase of (job, submission) with the reserved witness value of BIP141,
// then txs in their order. It fails where the header's merkle root is not the
// one of these transactions, or the coinbase commits to other witnesses.
func NaiveBlock(job *NaiveJob, s *NaiveSubmission, header wire.BlockHeader, txs []*wire.MsgTx) (*wire.MsgBlock, error) {
	var coinbase wire.MsgTx
	raw := naiveBytes(job.Coinb1 + job.Extranonce1 + s.Extranonce2 + job.Coinb2)
	if err := coinbase.DeserializeNoWitness(bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	coinbase.TxIn[0].Witness = wire.TxWitness{make([]byte, 32)}
	block := wire.NewMsgBlock(&header)
	for _, tx := range append([]*wire.MsgTx{&coinbase}, txs...) {
		if err := block.AddTransaction(tx); err != nil {
			return nil, err
		}
	}
	return block, NaiveCheckBlock(block)
}

// NaiveCheckBlock compares a block's merkle root and witness commitment with
// its own transactions.
func NaiveCheckBlock(block *wire.MsgBlock) error {
	var ids, witnesses []chainhash.Hash
	for i, tx := range block.Transactions {
		ids = append(ids, tx.TxHash())
		if i == 0 {
			witnesses = append(witnesses, chainhash.Hash{})
		} else {
			witnesses = append(witnesses, tx.WitnessHash())
		}
	}
	if root := naiveTree(ids); root != block.Header.MerkleRoot {
		return fmt.Errorf("merkle root is %v, the transactions have %v", block.Header.MerkleRoot, root)
	}
	if len(block.Transactions) == 0 || len(block.Transactions[0].TxIn) != 1 {
		return fmt.Errorf("block has no coinbase")
	}
	coinbase := block.Transactions[0]
	stack := coinbase.TxIn[0].Witness
	if len(stack) != 1 || len(stack[0]) != 32 {
		return fmt.Errorf("coinbase witness is not one item of 32 bytes")
	}
	root := naiveTree(witnesses)
	want := chainhash.DoubleHashB(append(root.CloneBytes(), stack[0]...))
	want = append([]byte{0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}, want...)
	for _, out := range slices.Backward(coinbase.TxOut) { // the last one counts
		if script := out.PkScript; len(script) >= 38 && bytes.Equal(script[:6], want[:6]) {
			if !bytes.Equal(script[:38], want) {
				return fmt.Errorf("witness commitment is %x, the transactions have %x", script, want)
			}
			return nil
		}
	}
	return fmt.Errorf("coinbase has no witness commitment")
}

// naiveTree returns the root of Bitcoin's merkle tree by its definition.
func naiveTree(leaves []chainhash.Hash) chainhash.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	var parents []chainhash.Hash
	for i := 0; i < len(leaves); i += 2 {
		left, right := leaves[i], leaves[i]
		if i+1 < len(leaves) {
			right = leaves[i+1]
		}
		parents = append(parents, chainhash.DoubleHashH(append(left.CloneBytes(), right.CloneBytes()...)))
	}
	return naiveTree(parents)
}
