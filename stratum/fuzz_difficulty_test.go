package stratum

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cordee/pool"
)

// decimal is what a difficulty looks like where a rig writes one on purpose.
var decimal = regexp.MustCompile(`^[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?$`)

// naiveDifficulty reads text exactly: floor(value * scale), 1 to 2^63.
func naiveDifficulty(text string, scale pool.Scale) (pool.Difficulty, bool) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, false
	}
	v, _ := r.Float64() // what a rig means is what a float64 holds
	if v <= 0 || math.IsInf(v, 0) {
		return 0, false
	}
	r.SetFloat64(v)
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).SetUint64(uint64(scale))))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	switch {
	case n.Sign() == 0:
		return 1, true
	case n.BitLen() > 63:
		return 1 << 63, true
	}
	return pool.Difficulty(n.Uint64()), true
}

// FuzzDifficultyText holds every way to write a difficulty against exact
// arithmetic, and what the server sends against both.
func FuzzDifficultyText(f *testing.F) {
	for _, s := range []string{
		"64", "1.5e-05", "0.00015", "10000.0000", "-1", "0", "-0", "NaN", "inf", "1e999", "1e-999", "0x1p-2", "1_000", "9223372036854775808", "4294967295.9",
		"9007199254740993", ".5", "5.", "+3", "1e+2", "٣", " 2 ", "", "th", "00ff", strings.Repeat("9", 300), "00000000ffff0000000000000000000000000000000000000000000000000000",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	sent := regexp.MustCompile(`^([1-9][0-9]*|(0|[1-9][0-9]*)\.[0-9]*[1-9])$`)
	f.Fuzz(func(t *testing.T, text string, fine bool) {
		scale := pool.MainScale
		if fine {
			scale = pool.RegtestScale
		}
		d, ok := parseDifficulty(text, scale)
		if decimal.MatchString(text) {
			if want, wantOK := naiveDifficulty(text, scale); ok != wantOK || d != want {
				t.Fatalf("%q is %d %v, want %d %v", text, d, ok, want, wantOK)
			}
		}
		if ok && (d < 1 || d > 1<<63) || !ok && d != 0 {
			t.Fatalf("%q is %d %v", text, d, ok)
		}
		if raw, err := json.Marshal(text); err == nil && len(raw) <= maxPassword && strings.TrimSpace(text) == text && !strings.ContainsRune(text, '\ufffd') {
			if got, gotOK := difficultyOf(raw, scale); gotOK != ok || got != d {
				t.Fatalf("the string %s is %d %v, want %d %v", raw, got, gotOK, d, ok)
			}
		}
		if !strings.ContainsAny(text, ",; ") && len(text) < maxPassword-2 {
			if got := parsePassword("d="+text, scale, 10); got.start != d || got.floor != 0 {
				t.Fatalf("the password d=%s is %+v, want %d", text, got, d)
			}
		}
		_ = parsePassword(text, scale, 10)
		if target, targetOK := targetDifficulty([]byte(strconv.Quote(text)), scale); targetOK && target < 1 {
			t.Fatalf("the target %q is difficulty %d", text, target)
		}
		if !ok {
			return
		}
		for _, v := range []pool.Difficulty{d, d.PowerOfTwo()} {
			out := string(v.AppendText(nil, scale))
			if !sent.MatchString(out) {
				t.Fatalf("%d is sent as %q", v, out)
			}
			if back, backOK := parseDifficulty(out, scale); v < 1<<53 && (!backOK || back != v) {
				t.Fatalf("%d is sent as %q, which is %d", v, out, back)
			}
		}
	})
}
