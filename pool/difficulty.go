package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// Difficulty is an integer count of 1/Scale of the field's difficulty 1
// ("bdiff", target 0xFFFF * 2^208). With Scale 1024 the value 1024 is what a
// rig knows as difficulty 1.
type Difficulty uint64

// Scale is the number of Difficulty units in difficulty 1.
type Scale uint64

// The two scales in use. Regtest's own difficulty is 4.7e-10, so it needs the
// finer one: there one unit is about one hash.
const (
	MainScale    Scale = 1 << 10 // main, testnet4, signet
	RegtestScale Scale = 1 << 32
)

// Target is a 256-bit unsigned integer, least significant limb first, that a
// header hash must not exceed.
type Target [4]uint64

// diff1 is 0xFFFF * 2^208, the target of difficulty 1.
var diff1 = new(big.Int).Lsh(big.NewInt(0xFFFF), 208)

// ErrBadBits reports a compact target that is negative, zero or wider than 256
// bits.
var ErrBadBits = errors.New("compact target is zero, negative or above 256 bits")

// ErrBadDifficulty reports a difficulty text or number that is not a finite
// number above zero within range.
var ErrBadDifficulty = errors.New("difficulty must be a finite number above 0")

// Target returns floor(diff1 * scale / d), the largest hash that meets d.
// d = 0 is read as 1, so that no value can make every hash fail or divide by
// zero. Both scales fit: 0xFFFF * 2^208 * 2^32 < 2^256.
func (d Difficulty) Target(scale Scale) Target {
	d = max(d, 1)
	num := Target{3: 0xFFFF << 16} // 0xFFFF << 208
	if scale > 1 {
		num = num.shl(uint(bits.TrailingZeros64(uint64(scale))))
	}
	var t Target
	var rem uint64
	for i := 3; i >= 0; i-- {
		t[i], rem = bits.Div64(rem, num[i], uint64(d))
	}
	return t
}

// shl returns t << n for n < 64; the bits shifted out are lost.
func (t Target) shl(n uint) Target {
	if n == 0 {
		return t
	}
	return Target{
		t[0] << n,
		t[1]<<n | t[0]>>(64-n),
		t[2]<<n | t[1]>>(64-n),
		t[3]<<n | t[2]>>(64-n),
	}
}

// Met reports whether hash, read as a little-endian 256-bit number, is at most
// t.
func (t *Target) Met(hash *chainhash.Hash) bool {
	for i := 3; i >= 0; i-- {
		w := binary.LittleEndian.Uint64(hash[i*8:])
		if w != t[i] {
			return w < t[i]
		}
	}
	return true
}

// Cmp compares t and u as numbers: -1, 0 or +1.
func (t Target) Cmp(u Target) int {
	for i := 3; i >= 0; i-- {
		if t[i] != u[i] {
			if t[i] < u[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// Big returns t as a new big integer.
func (t Target) Big() *big.Int {
	var b [32]byte
	for i := range t {
		binary.BigEndian.PutUint64(b[24-8*i:], t[i])
	}
	return new(big.Int).SetBytes(b[:])
}

// String returns t as 64 hex digits, most significant first.
func (t Target) String() string {
	return fmt.Sprintf("%016x%016x%016x%016x", t[3], t[2], t[1], t[0])
}

// TargetFromBig returns v as a Target; above 2^256-1 it is capped there, and
// below zero it is 0.
func TargetFromBig(v *big.Int) Target {
	if v.Sign() <= 0 {
		return Target{}
	}
	if v.BitLen() > 256 {
		return Target{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	}
	var b [32]byte
	v.FillBytes(b[:])
	var t Target
	for i := range t {
		t[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return t
}

// TargetFromBits expands a compact target as consensus does (arith_uint256
// SetCompact): mantissa * 256^(exponent-3). It returns ErrBadBits for a
// negative, zero or overflowing one.
func TargetFromBits(nbits uint32) (Target, error) {
	mantissa := int64(nbits & 0x007fffff)
	exponent := uint(nbits >> 24)
	if nbits&0x00800000 != 0 || mantissa == 0 {
		return Target{}, fmt.Errorf("nBits %08x: %w", nbits, ErrBadBits)
	}
	v := big.NewInt(mantissa)
	if exponent <= 3 {
		v.Rsh(v, 8*(3-exponent))
	} else {
		v.Lsh(v, 8*(exponent-3))
	}
	if v.Sign() == 0 || v.BitLen() > 256 {
		return Target{}, fmt.Errorf("nBits %08x: %w", nbits, ErrBadBits)
	}
	return TargetFromBig(v), nil
}

// Bits returns the compact form of t as consensus does (arith_uint256
// GetCompact), rounding down to what a 23-bit mantissa can hold.
func (t Target) Bits() uint32 {
	v := t.Big()
	size := uint((v.BitLen() + 7) / 8)
	var mantissa uint32
	if size <= 3 {
		mantissa = uint32(v.Uint64()) << (8 * (3 - size))
	} else {
		mantissa = uint32(new(big.Int).Rsh(v, 8*(size-3)).Uint64())
	}
	if mantissa&0x00800000 != 0 { // would read as the sign bit
		mantissa >>= 8
		size++
	}
	return uint32(size)<<24 | mantissa
}

// NetworkDifficulty returns floor(diff1 * scale / target), at least 1: the
// difficulty of a block in units of scale. A share never needs more.
func NetworkDifficulty(t Target, scale Scale) Difficulty {
	v := t.Big()
	if v.Sign() == 0 {
		return math.MaxUint64
	}
	n := new(big.Int).Mul(diff1, new(big.Int).SetUint64(uint64(scale)))
	n.Div(n, v)
	if !n.IsUint64() {
		return math.MaxUint64
	}
	return Difficulty(max(n.Uint64(), 1))
}

// HashDifficulty returns the difficulty that hash achieved, for "best share"
// displays. It never decides anything.
func HashDifficulty(hash *chainhash.Hash) float64 {
	var v float64
	for i := 3; i >= 0; i-- {
		v = v*(1<<64) + float64(binary.LittleEndian.Uint64(hash[i*8:]))
	}
	return math.Ldexp(0xFFFF, 208) / v // +Inf for a hash of zero
}

// BitsFromDifficulty returns the compact target of a set_difficulty number, as
// regtest_difficulty asks (decision 42): floor(diff1 / difficulty), exact for
// any float64, rounded down to compact form.
func BitsFromDifficulty(difficulty float64) (uint32, error) {
	if math.IsNaN(difficulty) || math.IsInf(difficulty, 0) || difficulty <= 0 {
		return 0, fmt.Errorf("%v: %w", difficulty, ErrBadDifficulty)
	}
	r := new(big.Rat).SetFloat64(difficulty)
	q := new(big.Rat).Quo(new(big.Rat).SetInt(diff1), r)
	t := TargetFromBig(new(big.Int).Quo(q.Num(), q.Denom()))
	if t == (Target{}) {
		return 0, fmt.Errorf("%v is above what 256 bits can express: %w", difficulty, ErrBadDifficulty)
	}
	return t.Bits(), nil
}

// DifficultyFromFloat converts a number as rigs speak it to units of scale,
// rounded down and at least 1. NaN, infinities, zero and negatives are
// ErrBadDifficulty; what exceeds 2^63 units is capped there.
func DifficultyFromFloat(v float64, scale Scale) (Difficulty, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
		return 0, fmt.Errorf("%v: %w", v, ErrBadDifficulty)
	}
	u := v * float64(scale) // scale is a power of two: the product is exact
	if u >= 1<<63 {
		return 1 << 63, nil
	}
	return max(Difficulty(u), 1), nil
}

// PowerOfTwo returns the largest power of two that is at most d, and 1 for 0.
func (d Difficulty) PowerOfTwo() Difficulty {
	if d == 0 {
		return 1
	}
	return 1 << (63 - bits.LeadingZeros64(uint64(d)))
}

// Float returns d as rigs speak it, for display and logs only.
func (d Difficulty) Float(scale Scale) float64 { return float64(d) / float64(scale) }

// AppendText appends d as mining.set_difficulty wants it: a plain integer at
// or above 1, else a plain decimal, never an exponent (NerdQAxe reads only
// integers, cgminer fails on 0). Both scales are powers of two, so the decimal
// is exact.
func (d Difficulty) AppendText(dst []byte, scale Scale) []byte {
	d = max(d, 1)
	if uint64(d)%uint64(scale) == 0 {
		return strconv.AppendUint(dst, uint64(d)/uint64(scale), 10)
	}
	return append(dst, d.Text(scale)...)
}

// Text returns what AppendText appends.
func (d Difficulty) Text(scale Scale) string {
	r := new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(max(d, 1))), new(big.Int).SetUint64(uint64(scale)))
	return strings.TrimRight(strings.TrimRight(r.FloatString(bits.TrailingZeros64(uint64(scale))), "0"), ".")
}
