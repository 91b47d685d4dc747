package keeper

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/payout"
	"cordee/pool"
)

// coverDepth is how many blocks below the tip are looked at for blocks of ours
// that the ledger must have before carry is drained. One that is deeper was
// found by a run whose candidate is followed anyhow.
const coverDepth = maturity

// ancestor is a block of the chain whose coinbase was looked at.
type ancestor struct {
	prev   chainhash.Hash
	ours   bool
	height int32
}

// walk looks at the tip and the blocks below it, newest first, each only once
// in the keeper's life, and returns their hashes by height. Blocks of ours that
// no candidate told of become candidates: they are known by the receipt that
// their coinbase commits to.
func (k *Keeper) walk(ctx context.Context, tip pool.Tip) (map[int32]chainhash.Hash, error) {
	path := map[int32]chainhash.Hash{}
	hash := tip.Hash
	for h := tip.Height; h > 0 && h > tip.Height-coverDepth && hash != (chainhash.Hash{}); h-- {
		a, known := k.ancestors[hash]
		if !known {
			block, err := k.fetch(ctx, hash)
			if err != nil {
				return nil, fmt.Errorf("ancestor at height %d: %w", h, err)
			}
			a = ancestor{prev: block.Header.PrevBlock, height: h}
			if a.ours, err = k.isOurs(hash, h, block); err != nil {
				return nil, fmt.Errorf("ancestor at height %d: %w", h, err)
			}
			k.ancestors[hash] = a
		}
		path[h] = hash
		hash = a.prev
	}
	lowest := int32(math.MaxInt32)
	for h := range path {
		lowest = min(lowest, h)
	}
	for hash, a := range k.ancestors { // keep what a reorganisation could bring back
		if a.height < lowest {
			delete(k.ancestors, hash)
		}
	}
	return path, nil
}

// isOurs reports whether a block is one of ours: told as a candidate, in the
// ledger, or paying exactly what a receipt of ours says that its coinbase
// commits to. A commitment alone proves nothing: anybody can copy it.
func (k *Keeper) isOurs(hash chainhash.Hash, height int32, block *wire.MsgBlock) (bool, error) {
	k.mu.Lock()
	_, told := k.candidates[hash]
	k.mu.Unlock()
	k.writing.Lock()
	_, known := k.ledger.Block(hash)
	k.writing.Unlock()
	if told || known {
		return true, nil
	}
	if _, err := pool.ParseScriptSig(block.Transactions[0].TxIn[0].SignatureScript); err != nil {
		return false, nil // laid out as no coinbase of ours is
	}
	_, encoded, err := k.settle(block, nil)
	switch {
	case errors.Is(err, ErrMismatch), errors.Is(err, ErrNoReceipt):
		return false, nil
	case err != nil:
		return false, err
	}
	k.learn(hash, height, encoded)
	return true, nil
}

// cover says that the ledger covers tip, if every block of ours in path is in
// it and stands.
func (k *Keeper) cover(tip pool.Tip, path map[int32]chainhash.Hash) {
	covered := len(path) > 0
	k.writing.Lock()
	for _, hash := range path {
		if !k.ancestors[hash].ours {
			continue
		}
		if b, known := k.ledger.Block(hash); !known || b.State == payout.Orphaned {
			covered = false
		}
	}
	k.writing.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if covered {
		k.covered = tip
	}
}
