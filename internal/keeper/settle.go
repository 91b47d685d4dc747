package keeper

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// ErrMismatch reports a block of ours that does not pay what its receipt says.
var ErrMismatch = errors.New("the block is not what its receipt says")

// ErrNoReceipt reports a block of ours whose receipt is nowhere to be found.
var ErrNoReceipt = errors.New("the receipt is missing")

// witnessCommitment begins the one output that no receipt lists (BIP141).
var witnessCommitment = []byte{0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}

// settle returns the receipt of a block of ours, and its bytes, compared with
// its coinbase. Where encoded is nil it is looked for by the commitment.
func (k *Keeper) settle(block *wire.MsgBlock, encoded []byte) (*payout.Receipt, []byte, error) {
	coinbase := block.Transactions[0]
	if len(coinbase.TxIn) != 1 {
		return nil, nil, fmt.Errorf("its coinbase has %d inputs: %w", len(coinbase.TxIn), ErrMismatch)
	}
	script, err := pool.ParseScriptSig(coinbase.TxIn[0].SignatureScript)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrMismatch)
	}
	if encoded == nil {
		if encoded, err = k.findReceipt(receiptKey{script.Commitment, block.Header.PrevBlock}); err != nil {
			return nil, nil, err
		}
	}
	if encoded == nil {
		return nil, nil, fmt.Errorf("no receipt on this parent has commitment %x: %w", script.Commitment, ErrNoReceipt)
	}
	r, err := payout.DecodeReceipt(encoded)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrMismatch)
	}
	return r, encoded, compare(r, &script, block)
}

// compare returns ErrMismatch with the first difference.
func compare(r *payout.Receipt, script *pool.ScriptSig, block *wire.MsgBlock) error {
	outs := block.Transactions[0].TxOut
	switch {
	case script.Commitment != r.Commitment():
		return fmt.Errorf("its coinbase commits to %x, the receipt to %x: %w", script.Commitment, r.Commitment(), ErrMismatch)
	case script.Height != r.Height || script.Place.Slot != r.Slot || script.Place.Class != r.Class:
		return fmt.Errorf("its coinbase says height %d, slot %d, class %d, the receipt %d, %d, %d: %w",
			script.Height, script.Place.Slot, script.Place.Class, r.Height, r.Slot, r.Class, ErrMismatch)
	case block.Header.PrevBlock != r.PrevHash:
		return fmt.Errorf("it follows %s, the receipt %s: %w", block.Header.PrevBlock, r.PrevHash, ErrMismatch)
	case len(outs) < len(r.Settlement):
		return fmt.Errorf("it has %d outputs, the receipt %d payments: %w", len(outs), len(r.Settlement), ErrMismatch)
	}
	for i, p := range r.Settlement {
		if outs[i].Value != p.Sats || !bytes.Equal(outs[i].PkScript, p.Script) {
			return fmt.Errorf("output %d pays %d sats to %x, the receipt %d to %x: %w",
				i, outs[i].Value, outs[i].PkScript, p.Sats, p.Script, ErrMismatch)
		}
	}
	for i, o := range outs[len(r.Settlement):] {
		if i > 0 || o.Value != 0 || !bytes.HasPrefix(o.PkScript, witnessCommitment) {
			return fmt.Errorf("output %d, %d sats to %x, is in no receipt: %w", len(r.Settlement)+i, o.Value, o.PkScript, ErrMismatch)
		}
	}
	return nil
}

// findReceipt returns the receipt of that key, of a job of this run or
// any in the journal, or nil. Only a block whose candidate file has none, or was
// lost, needs the latter.
func (k *Keeper) findReceipt(key receiptKey) ([]byte, error) {
	k.mu.Lock()
	r, ok := k.receipts[key]
	k.mu.Unlock()
	if ok {
		return r.bytes, nil
	}
	var found []byte
	err := journal.NewTail(k.cfg.Journal).Read(k.cfg.Log.Durable(), func(r *journal.RecordInfo) error {
		if r.Kind != journal.KindReceipt {
			return nil
		}
		if rec, err := payout.DecodeReceipt(r.Body); err == nil && rec.PrevHash == key.prev && rec.Commitment() == key.commitment {
			found = bytes.Clone(r.Body)
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	return found, nil
}

var errFound = errors.New("found")
