package pool_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/internal/harness"
	"cordee/pool"
)

var scales = rapid.SampledFrom([]pool.Scale{pool.MainScale, pool.RegtestScale})

// drawDifficulty draws any difficulty, small and large ones alike.
func drawDifficulty(t *rapid.T, label string) pool.Difficulty {
	return pool.Difficulty(max(rapid.Uint64().Draw(t, label)>>rapid.IntRange(0, 63).Draw(t, label+" shift"), 1))
}

func drawTarget(t *rapid.T, label string) pool.Target {
	b := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, label)
	v := new(big.Int).SetBytes(b)
	return pool.TargetFromBig(v.Rsh(v, uint(rapid.IntRange(0, 255).Draw(t, label+" shift"))))
}

// hashOf returns the hash whose value is t.
func hashOf(t pool.Target) (h chainhash.Hash) {
	for i := range t {
		binary.LittleEndian.PutUint64(h[8*i:], t[i])
	}
	return h
}

func ratOf(d pool.Difficulty, scale pool.Scale) *big.Rat {
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(d)), new(big.Int).SetUint64(uint64(scale)))
}

// Targets are exact against rational arithmetic, and fall as difficulty rises.
func TestTargetIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale, d, e := scales.Draw(t, "scale"), drawDifficulty(t, "d"), drawDifficulty(t, "e")
		target := d.Target(scale)
		if want := harness.NaiveTarget(ratOf(d, scale)); target.Big().Cmp(want) != 0 {
			t.Fatalf("difficulty %d: target %v, want %x", d, target, want)
		}
		if d < e && target.Cmp(e.Target(scale)) < 0 {
			t.Fatalf("target of %d is below that of %d", d, e)
		}
		if back := pool.TargetFromBig(target.Big()); back != target {
			t.Fatalf("%v through big.Int is %v", target, back)
		}
		// The target's own hash meets it, the next does not.
		h := hashOf(target)
		next := hashOf(pool.TargetFromBig(new(big.Int).Add(target.Big(), big.NewInt(1))))
		if !target.Met(&h) || target.Met(&next) {
			t.Fatalf("the bound of %v is not sharp", target)
		}
		// The network difficulty of a target is the highest that still takes
		// every hash at it, so that no block fails as a share.
		n := pool.NetworkDifficulty(target, scale)
		if n < d || n.Target(scale).Cmp(target) < 0 || n < math.MaxUint64 && (n+1).Target(scale).Cmp(target) > 0 {
			t.Fatalf("network difficulty of the target of %d is %d", d, n)
		}
		if zero := pool.Difficulty(0).Target(scale); zero != pool.Difficulty(1).Target(scale) {
			t.Fatalf("difficulty 0 has target %v", zero)
		}
	})
}

// A share never needs more than a block: any block meets the difficulty that
// clamps its share, at any target that a chain may have.
func TestNetworkDifficultyNeverRefusesABlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale, target := scales.Draw(t, "scale"), drawTarget(t, "target")
		if target.Cmp(pool.Difficulty(1).Target(scale)) > 0 {
			t.Skip("easier than one unit: no chain of that scale is")
		}
		d := pool.NetworkDifficulty(target, scale)
		for _, d := range []pool.Difficulty{d, d.PowerOfTwo()} {
			if d.Target(scale).Cmp(target) < 0 {
				t.Fatalf("target %v: difficulty %d refuses a block", target, d)
			}
		}
	})
	for _, c := range []struct {
		network string
		bits    uint32
	}{{"main", 0x1d00ffff}, {"testnet4", 0x1d00ffff}, {"signet", 0x1e0377ae}, {"regtest", 0x207fffff}} {
		n, err := pool.NetworkByName(c.network)
		if err != nil {
			t.Fatal(err)
		}
		easiest, err := pool.TargetFromBits(c.bits)
		if err != nil {
			t.Fatal(err)
		}
		if easiest.Bits() != n.Params.PowLimitBits {
			t.Errorf("%s: limit %08x, chain parameters say %08x", c.network, c.bits, n.Params.PowLimitBits)
		}
		if d := pool.NetworkDifficulty(easiest, n.Scale); d.PowerOfTwo().Target(n.Scale).Cmp(easiest) < 0 {
			t.Errorf("%s: at its easiest, difficulty %d refuses blocks", c.network, d)
		}
	}
}

// naiveSetCompact and naiveGetCompact follow Core's arith_uint256 line by line.
func naiveSetCompact(compact uint32) (v *big.Int, negative, overflow bool) {
	size, word := compact>>24, compact&0x007fffff
	if size <= 3 {
		word >>= 8 * (3 - size)
		v = big.NewInt(int64(word))
	} else {
		v = new(big.Int).Lsh(big.NewInt(int64(word)), uint(8*(size-3)))
	}
	negative = word != 0 && compact&0x00800000 != 0
	overflow = word != 0 && (size > 34 || word > 0xff && size > 33 || word > 0xffff && size > 32)
	return v, negative, overflow
}

func naiveGetCompact(v *big.Int) uint32 {
	size := uint32(len(v.Bytes()))
	var compact uint32
	if size <= 3 {
		compact = uint32(v.Uint64() << (8 * (3 - size)))
	} else {
		compact = uint32(new(big.Int).Rsh(v, uint(8*(size-3))).Uint64())
	}
	if compact&0x00800000 != 0 {
		compact >>= 8
		size++
	}
	return compact | size<<24
}

func TestBitsAreConsensus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.Uint32().Draw(t, "bits")
		if rapid.Bool().Draw(t, "plausible") {
			bits = uint32(rapid.IntRange(0, 36).Draw(t, "size"))<<24 | bits&0x00ffffff
		}
		want, negative, overflow := naiveSetCompact(bits)
		got, err := pool.TargetFromBits(bits)
		if negative || overflow || want.Sign() == 0 {
			if !errors.Is(err, pool.ErrBadBits) {
				t.Fatalf("nBits %08x: %v, %v", bits, got, err)
			}
			return
		}
		if err != nil || got.Big().Cmp(want) != 0 {
			t.Fatalf("nBits %08x: %v, %v; want %x", bits, got, err, want)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		target := drawTarget(t, "target")
		bits := target.Bits()
		if want := naiveGetCompact(target.Big()); bits != want {
			t.Fatalf("target %v: nBits %08x, want %08x", target, bits, want)
		}
		if target == (pool.Target{}) {
			return
		}
		back, err := pool.TargetFromBits(bits)
		if err != nil || back.Cmp(target) > 0 || back.Bits() != bits {
			t.Fatalf("target %v: nBits %08x read as %v, %v", target, bits, back, err)
		}
	})
}

// What rigs are told is the exact difficulty, in digits and at most one point.
func TestDifficultyTextIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale, d := scales.Draw(t, "scale"), drawDifficulty(t, "d")
		if rapid.Bool().Draw(t, "power of two") {
			d = d.PowerOfTwo()
		}
		text := d.Text(scale)
		if strings.Trim(text, "0123456789.") != "" || strings.HasPrefix(text, ".") || strings.HasSuffix(text, ".") ||
			strings.Count(text, ".") > 1 || len(text) > 1 && text[0] == '0' && text[1] != '.' {
			t.Fatalf("%d is spelt %q", d, text)
		}
		got, ok := new(big.Rat).SetString(text)
		if !ok || got.Cmp(ratOf(d, scale)) != 0 {
			t.Fatalf("%d is spelt %q", d, text)
		}
		if appended := string(d.AppendText([]byte("x"), scale)); appended != "x"+text {
			t.Fatalf("%d is appended as %q", d, appended)
		}
		if d < 1<<53 { // what a float64 holds, as rigs send it back
			if back, err := pool.DifficultyFromFloat(d.Float(scale), scale); err != nil || back != d {
				t.Fatalf("%d through a float is %d, %v", d, back, err)
			}
		}
		if p := d.PowerOfTwo(); p > d || p&(p-1) != 0 || p <= math.MaxUint64/2 && 2*p <= d {
			t.Fatalf("power of two of %d is %d", d, p)
		}
	})
	if got := pool.Difficulty(0).Text(pool.MainScale); got != "0.0009765625" {
		t.Errorf("difficulty 0 is spelt %s: cgminer fails on 0", got)
	}
	if got := pool.Difficulty(1).Text(pool.RegtestScale); got != "0.00000000023283064365386962890625" {
		t.Errorf("the smallest difficulty is spelt %s", got)
	}
	if got := pool.Difficulty(0).PowerOfTwo(); got != 1 {
		t.Errorf("power of two of 0 is %d", got)
	}
}

func TestDifficultyFromFloatBounds(t *testing.T) {
	for v, want := range map[float64]pool.Difficulty{
		1: 1024, 0.001: 1, 1e-300: 1, math.SmallestNonzeroFloat64: 1, 1.9999: 2047, 1e300: 1 << 63, math.MaxFloat64: 1 << 63, 1 << 53: 1 << 63,
	} {
		if got, err := pool.DifficultyFromFloat(v, pool.MainScale); err != nil || got != want {
			t.Errorf("%v: %d, %v; want %d", v, got, err, want)
		}
	}
	for _, v := range []float64{0, -1, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := pool.DifficultyFromFloat(v, pool.MainScale); !errors.Is(err, pool.ErrBadDifficulty) {
			t.Errorf("%v: %v", v, err)
		}
		if _, err := pool.BitsFromDifficulty(v); !errors.Is(err, pool.ErrBadDifficulty) {
			t.Errorf("bits of %v: %v", v, err)
		}
	}
}

func TestBitsFromDifficulty(t *testing.T) {
	for v, want := range map[float64]uint32{
		1: 0x1d00ffff, 16307.420938523983: 0x1b0404cb, 4.6565423739069247e-10: 0x207ffffe, 0.00001: 0x1f01869e, 1e-300: 0x2100ffff,
	} {
		if got, err := pool.BitsFromDifficulty(v); err != nil || got != want {
			t.Errorf("%v: %08x, %v; want %08x", v, got, err, want)
		}
	}
	if _, err := pool.BitsFromDifficulty(1e300); !errors.Is(err, pool.ErrBadDifficulty) {
		t.Errorf("1e300: %v", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := math.Ldexp(rapid.Float64Range(1, 2).Draw(t, "mantissa"), rapid.IntRange(-31, 200).Draw(t, "exponent"))
		got, err := pool.BitsFromDifficulty(v)
		if err != nil {
			t.Fatal(err)
		}
		if want := naiveGetCompact(harness.NaiveTarget(new(big.Rat).SetFloat64(v))); got != want {
			t.Fatalf("%v: %08x, want %08x", v, got, want)
		}
	})
}

// A hash of nothing but zeros is the best there is, one of ones the worst.
func TestExtremeHashes(t *testing.T) {
	var zero, ones chainhash.Hash
	for i := range ones {
		ones[i] = 0xff
	}
	hardest, widest := pool.Difficulty(math.MaxUint64).Target(pool.MainScale), pool.TargetFromBig(new(big.Int).Lsh(big.NewInt(1), 300))
	if !hardest.Met(&zero) || hardest.Met(&ones) || !widest.Met(&ones) || !new(pool.Target).Met(&zero) {
		t.Error("zeros or ones are compared wrongly")
	}
	if !math.IsInf(pool.HashDifficulty(&zero), 1) || pool.HashDifficulty(&ones) <= 0 {
		t.Errorf("difficulties %v and %v", pool.HashDifficulty(&zero), pool.HashDifficulty(&ones))
	}
	if d := pool.NetworkDifficulty(pool.Target{}, pool.MainScale); d != math.MaxUint64 {
		t.Errorf("network difficulty of target 0 is %d", d)
	}
	if negative := pool.TargetFromBig(big.NewInt(-1)); negative != (pool.Target{}) {
		t.Errorf("target of -1 is %v", negative)
	}
	rapid.Check(t, func(t *rapid.T) {
		target := drawTarget(t, "hash")
		if target == (pool.Target{}) {
			return
		}
		h := hashOf(target)
		one := new(big.Int).Lsh(big.NewInt(0xFFFF), 208)
		want, _ := new(big.Rat).SetFrac(one, target.Big()).Float64()
		if got := pool.HashDifficulty(&h); math.Abs(got/want-1) > 1e-14 {
			t.Fatalf("hash %v: difficulty %v, want %v", h, got, want)
		}
	})
}
