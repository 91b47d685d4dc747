package payout

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// wide is an unsigned 128-bit count of pool.Difficulty units, modulo 2^128.
// One epoch of the whole network at scale 1024 is above 2^64.
type wide struct{ hi, lo uint64 }

func (w wide) plus(v wide) wide {
	lo, carry := bits.Add64(w.lo, v.lo, 0)
	hi, _ := bits.Add64(w.hi, v.hi, carry)
	return wide{hi, lo}
}

func (w wide) minus(v wide) wide {
	lo, borrow := bits.Sub64(w.lo, v.lo, 0)
	hi, _ := bits.Sub64(w.hi, v.hi, borrow)
	return wide{hi, lo}
}

// below reports whether w is less than v.
func (w wide) below(v wide) bool {
	return w.hi < v.hi || w.hi == v.hi && w.lo < v.lo
}

func (w wide) big() *big.Int {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.hi)
	binary.BigEndian.PutUint64(b[8:], w.lo)
	return new(big.Int).SetBytes(b[:])
}

// times returns w * target.
func (w wide) times(target *big.Int) *big.Int { return new(big.Int).Mul(w.big(), target) }

// wideOf returns v, or the largest wide where v exceeds it.
func wideOf(v *big.Int) wide {
	if v.BitLen() > 128 {
		return wide{^uint64(0), ^uint64(0)}
	}
	var b [16]byte
	v.FillBytes(b[:])
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}
