package edge

import (
	"maps"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// templates names the templates that candidates without a final answer need.
func (b *blocks) templates() map[chainhash.Hash]bool {
	needed := map[*pool.Template]bool{}
	b.mu.Lock()
	for _, c := range b.order {
		if !c.final {
			needed[c.template] = true
		}
	}
	b.mu.Unlock()
	ids := map[chainhash.Hash]bool{}
	for t := range needed { // an ID hashes all transactions: not under the lock
		ids[t.ID()] = true
	}
	return ids
}

// submitting reports whether a submit is under way.
func (b *blocks) submitting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inFlight > 0
}

// list returns copies of the known blocks, newest first.
func (b *blocks) list() []pool.Block {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]pool.Block, 0, len(b.order))
	for _, c := range slices.Backward(b.order) {
		block := c.Block
		block.Answers = maps.Clone(c.Answers)
		out = append(out, block)
	}
	return out
}
