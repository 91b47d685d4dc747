package payout

import (
	"bytes"
	"cmp"
	"fmt"
	"math/big"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// Claim is what a member could be paid by one coinbase.
type Claim struct {
	Member uint16
	ID     string // name in the register, for ties
	Owed   int64  // sats
	Since  int32  // height at which the oldest of it came to be, or of the last payment
	Least  int64  // sats; less is not worth an output
}

// Paid is what a member gets of one coinbase.
type Paid struct {
	Member uint16
	Sats   int64
}

// Candidates orders claims that are worth an output for Choose: the most owed
// first, and the longest waiting first.
type Candidates struct {
	owed, waiting []candidate
}

type candidate struct {
	Claim
	key [32]byte
}

// NewCandidates drops claims below their Least and orders the others; ties are
// broken by prev.
func NewCandidates(prev chainhash.Hash, claims []Claim) *Candidates {
	var all []candidate
	key := tieKeys(prev)
	for _, c := range claims {
		if c.Owed > 0 && c.Owed >= c.Least {
			all = append(all, candidate{c, key(c.ID)})
		}
	}
	mostOwed := func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.Owed, a.Owed), bytes.Compare(a.key[:], b.key[:]))
	}
	c := &Candidates{owed: all, waiting: slices.Clone(all)}
	slices.SortFunc(c.owed, mostOwed)
	slices.SortFunc(c.waiting, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), mostOwed(a, b))
	})
	return c
}

// Len returns how many are worth an output.
func (c *Candidates) Len() int { return len(c.owed) }

// Choose returns who gets one of m outputs, in payment order: m - m/4 most owed
// and m/4 longest waiting (decision 17), the smallest first. Either queue alone
// would starve someone: the small ones never reach the top of the first, and
// with the second alone the treasury ends up holding most of the pool.
func (c *Candidates) Choose(m int) []Claim {
	m = max(min(m, len(c.owed)), 0)
	chosen := slices.Clone(c.owed[:m-m/4])
	taken := make(map[uint16]bool, m)
	for _, x := range chosen {
		taken[x.Member] = true
	}
	for _, x := range c.waiting {
		if len(chosen) == m {
			break
		}
		if !taken[x.Member] {
			chosen = append(chosen, x)
		}
	}
	slices.SortFunc(chosen, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Owed, b.Owed), bytes.Compare(a.key[:], b.key[:]))
	})
	out := make([]Claim, len(chosen))
	for i, x := range chosen {
		out[i] = x.Claim
	}
	return out
}

// Pay pays chosen in their order out of left sats, each what it is owed or what
// is left, and nothing below its Least. So the largest, last, bears what is
// missing when older claims are paid, whose sats lie in the treasury. The rest
// goes there too.
func Pay(chosen []Claim, left int64) (paid []Paid, rest int64) {
	for _, c := range chosen {
		if v := min(c.Owed, left); v > 0 && v >= c.Least {
			paid = append(paid, Paid{c.Member, v})
			left -= v
		}
	}
	return paid, left
}

// Leg is one destination of a member.
type Leg struct {
	Address string // for ties
	Script  []byte
	BP      int // basis points of what the member gets; all legs together 10000
}

// checkLegs returns ErrRules for legs that do not add up or cannot be paid.
func checkLegs(legs []Leg) error {
	sum := 0
	for i, l := range legs {
		if l.BP < 0 || l.BP > basis || len(l.Script) == 0 {
			return fmt.Errorf("destination %d: %d basis points to a script of %d bytes: %w", i+1, l.BP, len(l.Script), ErrRules)
		}
		if slices.ContainsFunc(legs[:i], func(o Leg) bool { return o.Address == l.Address || bytes.Equal(o.Script, l.Script) }) {
			return fmt.Errorf("destination %d: %q stands twice: %w", i+1, l.Address, ErrRules)
		}
		sum += l.BP
	}
	if sum != basis {
		return fmt.Errorf("destinations of %d basis points, not 10000: %w", sum, ErrRules)
	}
	return nil
}

// Destinations divides sats over legs with the rounding of Split. Legs below
// what their script makes worth spending fold into the largest leg, the first
// of equals. An entry of the result is 0 where its leg gets no output.
func Destinations(sats int64, prev chainhash.Hash, legs []Leg) ([]int64, error) {
	if err := checkLegs(legs); err != nil {
		return nil, err
	}
	parts := make([]part, len(legs))
	for i, l := range legs {
		parts[i] = part{id: l.Address, weight: big.NewInt(int64(l.BP))}
	}
	if err := apportion(sats, parts, prev); err != nil {
		return nil, err
	}
	largest := 0
	for i := range parts {
		if parts[i].sats > parts[largest].sats {
			largest = i
		}
	}
	out := make([]int64, len(legs))
	for i := range parts {
		if i != largest && parts[i].sats < Dust(legs[i].Script) {
			out[largest] += parts[i].sats
		} else {
			out[i] += parts[i].sats
		}
	}
	return out, nil
}

// Dust returns the sats below which an output of script costs more to spend
// than it is worth, by the policy of nodes at 3 sat/vB (Core: GetDustThreshold).
// It does not bind a coinbase.
func Dust(script []byte) int64 {
	switch n := len(script); {
	case n == 22 && script[0] == 0x00 && script[1] == 20: // P2WPKH
		return 294
	case n == 34 && script[0] == 0x00 && script[1] == 32, // P2WSH
		n == 34 && script[0] == 0x51 && script[1] == 32: // P2TR
		return 330
	case n == 23 && script[0] == 0xa9 && script[22] == 0x87: // P2SH
		return 540
	}
	return 546 // P2PKH, and the most careful answer for what is none of these
}
