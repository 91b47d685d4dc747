package pool

import (
	"errors"
	"fmt"
	"math"
)

// Output is one coinbase output: sats to a script.
type Output struct {
	Sats   int64
	Script []byte
}

// Payout is a split to be paid by one coinbase: outputs in their order, and the
// 32 bytes that commit to how it was computed. The witness commitment output
// is not part of it; NewJob appends that.
type Payout struct {
	Slot       uint32 // the cut: last closed slot the split counts (0 before the first)
	Outputs    []Output
	Commitment [32]byte
	Receipt    []byte // explains the split; opaque here, kept with a block (ADR 0004)
}

// ErrPayoutSum reports outputs that do not sum to the template's value.
var ErrPayoutSum = errors.New("payout does not sum to the template's coinbase value")

// ErrPayoutScript reports an output without a script: anyone could spend it.
var ErrPayoutScript = errors.New("payout has an output without a script")

// Sum returns the sats of all outputs, or an error for a negative output or an
// overflow.
func (p *Payout) Sum() (int64, error) {
	var sum int64
	for i, o := range p.Outputs {
		if o.Sats < 0 {
			return 0, fmt.Errorf("output %d has %d sats: %w", i, o.Sats, ErrPayoutSum)
		}
		if sum > math.MaxInt64-o.Sats {
			return 0, fmt.Errorf("output %d overflows: %w", i, ErrPayoutSum)
		}
		sum += o.Sats
	}
	return sum, nil
}
