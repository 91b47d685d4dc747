package payout

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// ErrSplit reports a split that did not come out to the satoshi. It is never
// paid.
var ErrSplit = errors.New("split is wrong")

// part is one claimant of an amount.
type part struct {
	id     string // for the tie-break; unique
	weight *big.Int
	sats   int64
}

// apportion fills in sats: amount by weight, rounded down, and what is left one
// sat each to the largest remainders. Ties go to the smaller tieKey. Nobody of
// weight 0 gets anything, nobody is a whole sat away from the exact share, and
// the sum is exact or the error is ErrSplit.
func apportion(amount int64, parts []part, prev chainhash.Hash) error {
	total := new(big.Int)
	for i := range parts {
		if parts[i].weight.Sign() < 0 {
			return fmt.Errorf("%q has a negative weight: %w", parts[i].id, ErrSplit)
		}
		total.Add(total, parts[i].weight)
	}
	if amount < 0 || total.Sign() == 0 {
		return fmt.Errorf("%d sats over a weight of %s: %w", amount, total, ErrSplit)
	}
	type rest struct {
		at        int
		remainder *big.Int
		key       [32]byte
	}
	rests := make([]rest, len(parts))
	left, big1, key := amount, big.NewInt(amount), tieKeys(prev)
	for i := range parts {
		q, r := new(big.Int), new(big.Int)
		q.DivMod(r.Mul(big1, parts[i].weight), total, r)
		parts[i].sats = q.Int64()
		left -= parts[i].sats
		rests[i] = rest{i, r, key(parts[i].id)}
	}
	if left < 0 || left >= int64(len(parts)) {
		return fmt.Errorf("%d of %d sats are left over for %d: %w", left, amount, len(parts), ErrSplit)
	}
	slices.SortFunc(rests, func(a, b rest) int {
		if c := b.remainder.Cmp(a.remainder); c != 0 {
			return c
		}
		return bytes.Compare(a.key[:], b.key[:])
	})
	for _, r := range rests[:left] {
		parts[r.at].sats++
	}
	var sum int64
	for i := range parts {
		if parts[i].weight.Sign() == 0 && parts[i].sats != 0 {
			return fmt.Errorf("%q did no work and gets %d sats: %w", parts[i].id, parts[i].sats, ErrSplit)
		}
		sum += parts[i].sats
	}
	if sum != amount {
		return fmt.Errorf("parts sum to %d sats of %d: %w", sum, amount, ErrSplit)
	}
	return nil
}
