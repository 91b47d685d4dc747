package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the pages' zone, on machines that have no zone files
)

const (
	nbsp    = "\u00a0" // no-break space
	nnbsp   = "\u202f" // narrow no-break space
	missing = "—"      // never 0
)

// paris is the zone of the pages. JSON is in UTC.
var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic("internal error: the embedded zones lack Europe/Paris: " + err.Error())
	}
	return l
}()

// integer prints n with its thousands apart.
func integer(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "\u2212", digits[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(nnbsp)
		}
		b.WriteRune(d)
	}
	return b.String()
}

// sats prints an amount with its unit.
func sats(n int64) string { return integer(n) + nbsp + "sats" }

// btc prints an amount in BTC with all eight decimals, ungrouped.
func (l *language) btc(n int64) string {
	sign := ""
	if n < 0 {
		sign = "\u2212"
	}
	digits := strings.TrimPrefix(fmt.Sprintf("%09d", n), "-")
	if n < 0 && len(digits) < 9 {
		digits = "0" + digits
	}
	whole, part := digits[:len(digits)-8], digits[len(digits)-8:]
	return sign + whole + l.decimal + part + nbsp + "BTC"
}

// hashrate prints hashes per second, three digits, with its unit.
func (l *language) hashrate(h float64) string {
	units := []string{"H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"}
	i := 0
	for h >= 999.5 && i < len(units)-1 {
		h /= 1000
		i++
	}
	decimals := 2
	switch {
	case i == 0 || h >= 99.95:
		decimals = 0
	case h >= 9.995:
		decimals = 1
	}
	return strings.Replace(strconv.FormatFloat(h, 'f', decimals, 64), ".", l.decimal, 1) + nbsp + units[i]
}

// seconds prints a duration whole.
func seconds(s float64) string { return integer(int64(s)) + nbsp + "s" }

// date prints a moment in Paris, or that it is missing. Where the clock shows
// the same twice that night, it says which of the two.
func (l *language) date(t time.Time) string {
	if t.IsZero() {
		return missing
	}
	t = t.In(paris)
	day := strconv.Itoa(t.Day())
	if t.Day() == 1 {
		day = l.first
	}
	out := fmt.Sprintf("%s%s%s%s%d%s%s", day, nbsp, l.months[t.Month()-1], nbsp, t.Year(), l.comma, t.Format("15:04:05"))
	const wall = time.DateTime
	switch t.Format(wall) {
	case t.Add(time.Hour).Format(wall):
		out += nbsp + l.summer
	case t.Add(-time.Hour).Format(wall):
		out += nbsp + l.winter
	}
	return out
}
