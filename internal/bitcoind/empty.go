package bitcoind

import (
	"math"
	"time"

	"cordee/pool"
)

// retargetInterval is the number of blocks between changes of difficulty.
const retargetInterval = 2016

// emptyTemplate returns the template of a block without transactions on top of
// h, or nil where nobody but the node can know what belongs in it: the tip is
// not the active one, it does not directly follow the tip that last was for, or
// the next block begins a new difficulty (decision 20). age is how long ago
// last was published.
//
// Version, nBits and rules are those of last: the same node's template of one
// block before, or an empty one made from that.
func emptyTemplate(cfg *Config, h *header, last *pool.Template, age time.Duration) *pool.Template {
	height := h.Height + 1
	switch {
	case h.Confirmations != 1, // a later block is here already, or it was reorganised away
		!h.PrevHash.set || h.PrevHash.Hash != last.PrevHash,
		h.Height != last.Height,
		height%retargetInterval == 0,
		h.MedianTime <= 0 || h.MedianTime >= math.MaxUint32:
		return nil
	}
	mintime := uint32(h.MedianTime) + 1
	t, err := pool.NewTemplate(&pool.Template{
		Node:      last.Node,
		Height:    height,
		Version:   last.Version,
		PrevHash:  h.Hash.Hash,
		Bits:      last.Bits,
		WorkBits:  cfg.WorkBits,
		MinTime:   mintime,
		CurTime:   max(mintime, last.CurTime+uint32(age/time.Second)),
		Value:     subsidy(cfg.Network.Params, height),
		Empty:     true,
		Challenge: last.Challenge,
	}, nil)
	if err != nil {
		return nil
	}
	return t
}
