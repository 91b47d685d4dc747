package tomlfile

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span written as Go writes them: "1s", "250ms". A bare
// number is refused, for nobody can tell its unit.
type Duration time.Duration

func (d *Duration) set(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf(`%s has no unit: write it like "%ss" or "%sms", in quotes`, show(v), digits(v), digits(v))
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`%q is not a duration: write it like "2s", "250ms" or "1h30m"`, s)
	}
	if parsed < 0 {
		return fmt.Errorf("%q is negative", s)
	}
	*d = Duration(parsed)
	return nil
}

// Size is a number of bytes, written with a binary unit: "64MiB".
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

func (z *Size) set(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf(`%s has no unit: write it like "%sMiB", in quotes`, show(v), digits(v))
	}
	for _, u := range sizeUnits {
		number, found := strings.CutSuffix(s, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		*z = Size(n * u.bytes)
		return nil
	}
	return fmt.Errorf(`%q is not a size: write a whole number with KiB, MiB or GiB, like "64MiB"`, s)
}

// String returns z with the largest unit that divides it.
func (z Size) String() string {
	for _, u := range slices.Backward(sizeUnits) {
		if z != 0 && int64(z)%u.bytes == 0 {
			return strconv.FormatInt(int64(z)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(z), 10) + " bytes"
}

// Sats is an amount of money in satoshis, a whole number and never a float.
type Sats int64

func (s *Sats) set(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("must be a whole number of satoshis without quotes, not %s (1 BTC is 100000000)", show(v))
	}
	*s = Sats(n)
	return nil
}

// digits returns v where it is a number, and an example elsewhere.
func digits(v any) string {
	if n, ok := v.(int64); ok && n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return "5"
}

var (
	unquotedUnit = regexp.MustCompile(`=\s*([0-9.]+\s*(?:ns|us|µs|ms|s|m|h|KiB|MiB|GiB))\s*(?:#.*)?$`)
	unquotedWord = regexp.MustCompile(`^[^=#"']+=\s*([A-Za-z~/][^\s"'#]*)\s*(?:#.*)?$`)
)

// syntaxHint says what to do about the commonest ways to write a line that is
// not TOML, or "".
func syntaxHint(line string) string {
	line = strings.TrimRight(line, "\r")
	if m := unquotedUnit.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf(" (a value with a unit stands in quotes: %q)", m[1])
	}
	if m := unquotedWord.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf(" (text stands in quotes: %q)", m[1])
	}
	return ""
}
