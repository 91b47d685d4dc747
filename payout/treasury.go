package payout

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"cordee/pool"
)

// ErrTreasury reports a treasury that cannot be paid.
var ErrTreasury = errors.New("treasury script must have 1 to 65535 bytes")

// Treasury pays every block whole to one script: rule 0, the first half of the
// path (decision 44).
type Treasury struct {
	Script []byte // output script
}

// Payout returns the split of t's value for class, and the bytes of the
// receipt it commits to (ADR 0004). A value of 0, as on a regtest whose
// subsidy has ended, pays one output of 0 sats.
func (y Treasury) Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	if len(y.Script) == 0 || len(y.Script) > math.MaxUint16 {
		return pool.Payout{}, nil, fmt.Errorf("it has %d: %w", len(y.Script), ErrTreasury)
	}
	script := bytes.Clone(y.Script)
	r := &Receipt{
		Rule:       RuleTreasury,
		Height:     t.Height,
		PrevHash:   t.PrevHash,
		WorkBits:   t.WorkBits,
		Reward:     t.Value,
		Class:      class.ID,
		Settlement: []Payment{{Kind: ToTreasury, Sats: t.Value, Script: script}},
	}
	b, err := r.Encode()
	if err != nil {
		return pool.Payout{}, nil, err
	}
	return r.Payout(), b, nil
}

// Kept is Payout: nothing leaves the treasury either way.
func (y Treasury) Kept(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	return y.Payout(t, class)
}

// Payout returns what a job needs of r: slot, outputs in coinbase order,
// commitment. The outputs share r's scripts.
func (r *Receipt) Payout() pool.Payout {
	p := pool.Payout{Slot: r.Slot, Outputs: make([]pool.Output, len(r.Settlement)), Commitment: r.Commitment()}
	for i, y := range r.Settlement {
		p.Outputs[i] = pool.Output{Sats: y.Sats, Script: y.Script}
	}
	return p
}
