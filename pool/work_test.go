package pool_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/pool"
)

// randomHash returns 32 bytes that only n decides.
func randomHash(n uint64) chainhash.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("random"), n))
}

// p2wpkh returns an output script that nobody can spend.
func p2wpkh(n uint64) []byte {
	h := randomHash(n)
	return append([]byte{0x00, 0x14}, h[:20]...)
}

// regtestTemplate returns a template of these transactions and value on
// regtest's easiest target.
func regtestTemplate(t testing.TB, height int32, value int64, txs []pool.Tx) *pool.Template {
	t.Helper()
	tpl, err := pool.NewTemplate(&pool.Template{
		Height: height, Version: 0x3fffffff, PrevHash: randomHash(7), Bits: 0x207fffff,
		MinTime: 1_700_000_000, CurTime: 1_700_000_600, Value: value, Txs: txs,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// evenPayout splits value over outputs scripts, the rest to the first.
func evenPayout(value int64, outputs int) pool.Payout {
	p := pool.Payout{Slot: 3, Commitment: randomHash(99)}
	each := value / int64(outputs)
	for i := range outputs {
		sats := each
		if i == 0 {
			sats += value - each*int64(outputs)
		}
		p.Outputs = append(p.Outputs, pool.Output{Sats: sats, Script: p2wpkh(uint64(i))})
	}
	return p
}

func regtestWork(t testing.TB, outputs int) *pool.Work {
	t.Helper()
	const value = 50e8 + 12345
	job, err := pool.NewJob(regtestTemplate(t, 101, value, nil), evenPayout(value, outputs),
		pool.Class{ID: 2, Name: "large", MaxCoinbase: 100_000}, "/cordee/", 5, 77)
	if err != nil {
		t.Fatal(err)
	}
	return job.Work(4, 1)
}

// wireTx returns a transaction that nobody could sign, with or without witness,
// as a node would serialise it.
func wireTx(n uint64, witness bool) (*wire.MsgTx, pool.Tx) {
	tx := wire.NewMsgTx(2)
	in := wire.NewTxIn(wire.NewOutPoint(new(randomHash(n)), uint32(n)), nil, nil)
	if witness {
		in.Witness = wire.TxWitness{bytes.Repeat([]byte{byte(n)}, 71), bytes.Repeat([]byte{2}, 33)}
	} else {
		in.SignatureScript = bytes.Repeat([]byte{0x51}, 40)
	}
	tx.AddTxIn(in)
	tx.AddTxOut(wire.NewTxOut(int64(n%1000)+1, p2wpkh(n)))
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		panic(err) // a buffer does not fail
	}
	return tx, pool.Tx{
		Raw: raw.Bytes(), TxID: tx.TxHash(), WTxID: tx.WitnessHash(),
		Weight: int64(3*tx.SerializeSizeStripped() + tx.SerializeSize()),
	}
}
