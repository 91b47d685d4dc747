package stratum

import (
	"bytes"
	"strconv"
	"strings"

	"cordee/pool"
)

// trimHex removes a 0x in front.
func trimHex(s []byte) []byte {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		return s[2:]
	}
	return s
}

// hexUint32 reads 1 to 8 hex digits in any case: NerdMiner leaves leading zeros
// out.
func hexUint32(s []byte) (v uint32, ok bool) {
	s = trimHex(s)
	if len(s) == 0 || len(s) > 8 {
		return 0, false
	}
	for _, c := range s {
		d := hexDigit(c)
		if d < 0 {
			return 0, false
		}
		v = v<<4 | uint32(d)
	}
	return v, true
}

// wordOf reads a 32-bit field of a submit: a hex string, or a JSON number as
// some firmware sends it.
func wordOf(raw []byte) (uint32, bool) {
	if len(raw) == 0 {
		return 0, false
	}
	if raw[0] == '"' {
		return hexUint32(plain(raw))
	}
	if len(raw) > 10 {
		return 0, false
	}
	var v uint64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return uint32(v), v < 1<<32
}

// hexBytes reads exactly 2*len(dst) hex digits.
func hexBytes(dst, s []byte) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := hexDigit(s[2*i]), hexDigit(s[2*i+1])
		if hi < 0 || lo < 0 {
			return false
		}
		dst[i] = byte(hi<<4 | lo)
	}
	return true
}

// wireIDSize is the length of a job id: %08x of the job's counter, %02x of the
// variant.
const wireIDSize = 10

func wireKey(counter uint32, variant uint8) uint64 { return uint64(counter)<<8 | uint64(variant) }

// parseWireID reads a job id of ours, in any case.
func parseWireID(s []byte) (key uint64, ok bool) {
	if len(s) != wireIDSize {
		return 0, false
	}
	for _, c := range s {
		d := hexDigit(c)
		if d < 0 {
			return 0, false
		}
		key = key<<4 | uint64(d)
	}
	return key, true
}

// difficultyOf reads a difficulty as rigs send it: a JSON number of any form, or
// a string with one in it. False for anything that is not a number above 0.
func difficultyOf(raw []byte, scale pool.Scale) (pool.Difficulty, bool) {
	if len(raw) == 0 || len(raw) > maxPassword {
		return 0, false
	}
	if raw[0] == '"' {
		raw = plain(raw)
	}
	return parseDifficulty(string(bytes.TrimSpace(raw)), scale)
}

func parseDifficulty(s string, scale pool.Scale) (pool.Difficulty, bool) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	d, err := pool.DifficultyFromFloat(v, scale)
	return d, err == nil
}

// targetDifficulty reads the 64 hex digits of suggest_target.
func targetDifficulty(raw []byte, scale pool.Scale) (pool.Difficulty, bool) {
	var b [32]byte
	if !hexBytes(b[:], trimHex(plain(raw))) {
		return 0, false
	}
	var t pool.Target
	for i, c := range b {
		t[3-i/8] = t[3-i/8]<<8 | uint64(c)
	}
	if t == (pool.Target{}) {
		return 0, false
	}
	return pool.NetworkDifficulty(t, scale), true
}

// password is what the options of a password ask for; 0 is nothing.
type password struct{ start, floor pool.Difficulty }

// parsePassword reads d= (also sd=, diff=), md= and th= from a password: options
// are separated by comma, semicolon or space, and what is not understood is
// ignored, since most passwords are "x". d is where the rig starts, no limit; th
// is its hashrate in TH/s, from which follows a start, where there is no d.
func parsePassword(s string, scale pool.Scale, perMinute float64) (p password) {
	if len(s) > maxPassword {
		s = s[:maxPassword]
	}
	var declared pool.Difficulty
	for o := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		key, value, _ := strings.Cut(o, "=")
		if key == "th" {
			th, _ := strconv.ParseFloat(value, 64)
			declared, _ = pool.DifficultyFromFloat(th*1e12*60/perMinute/(1<<32), scale)
			continue
		}
		d, ok := parseDifficulty(value, scale)
		if !ok {
			continue
		}
		switch key {
		case "d", "sd", "diff":
			p.start = d
		case "md":
			p.floor = d
		}
	}
	if p.start == 0 {
		p.start = declared
	}
	return p
}
