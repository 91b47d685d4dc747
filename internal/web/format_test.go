package web

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plain takes a printed number back to what strconv reads.
func plain(s, unit string) (string, bool) {
	s, ok := strings.CutSuffix(s, nbsp+unit)
	return strings.NewReplacer(nnbsp, "", "\u2212", "-", ",", ".").Replace(s), ok
}

// Whatever is printed reads back as the same amount, and no line may break in
// it.
func TestAmounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "sats")
		digits, ok := plain(sats(n), "sats")
		if got, err := strconv.ParseInt(digits, 10, 64); !ok || err != nil || got != n {
			t.Fatalf("%d is printed %q: %v", n, sats(n), err)
		}
		for _, l := range languages {
			digits, ok := plain(l.btc(n), "BTC")
			whole, part, dot := strings.Cut(digits, ".")
			if got, err := strconv.ParseInt(whole+part, 10, 64); !ok || !dot || len(part) != 8 || err != nil || got != n {
				t.Fatalf("%d is printed %q: %v", n, l.btc(n), err)
			}
			if !strings.Contains(l.btc(n), l.decimal) || strings.Contains(l.btc(n)+sats(n), " ") {
				t.Fatalf("%q, %q", l.btc(n), sats(n))
			}
		}
		for i, group := range strings.Split(strings.TrimPrefix(strings.TrimSuffix(sats(n), nbsp+"sats"), "\u2212"), nnbsp) {
			if len(group) > 3 || i > 0 && len(group) != 3 {
				t.Fatalf("%d is printed %q", n, sats(n))
			}
		}
	})
	for n, want := range map[int64]string{
		0: "0,00000000", 1: "0,00000001", -1: "\u22120,00000001", 1_234_567: "0,01234567", -123_456_789_012: "\u22121234,56789012",
		21e14: "21000000,00000000", math.MinInt64: "\u221292233720368,54775808",
	} {
		if got := french.btc(n); got != want+nbsp+"BTC" {
			t.Errorf("%d: %q", n, got)
		}
	}
}

// A hashrate has three digits, and its unit is the largest that keeps them.
func TestHashrate(t *testing.T) {
	for h, want := range map[float64]string{
		0: "0|H/s", 999: "999|H/s", 1000: "1,00|kH/s", 999_600: "1,00|MH/s", 12_345: "12,3|kH/s", 571.44e15: "571|PH/s", 9.999e12: "10,0|TH/s", 5e21: "5000|EH/s",
	} {
		if got := french.hashrate(h); got != strings.Replace(want, "|", nbsp, 1) {
			t.Errorf("%v: %q", h, got)
		}
	}
	if got := english.hashrate(1500); got != "1.50"+nbsp+"kH/s" {
		t.Error(got)
	}
}

func TestDate(t *testing.T) {
	for _, c := range []struct{ utc, fr, en string }{
		{"2026-11-22T02:15:04Z", "22 nov. 2026 à 03:15:04", "22 Nov 2026, 03:15:04"},
		{"2026-07-01T22:00:00Z", "2 juil. 2026 à 00:00:00", "2 Jul 2026, 00:00:00"},
		{"2026-12-31T23:00:00Z", "1er janv. 2027 à 00:00:00", "1 Jan 2027, 00:00:00"},
		{"2026-10-25T00:30:00Z", "25 oct. 2026 à 02:30:00 (été)", "25 Oct 2026, 02:30:00 (summer time)"},
		{"2026-10-25T01:30:00Z", "25 oct. 2026 à 02:30:00 (hiver)", "25 Oct 2026, 02:30:00 (winter time)"},
		{"2026-10-25T02:00:00Z", "25 oct. 2026 à 03:00:00", "25 Oct 2026, 03:00:00"},
		{"2026-03-29T01:00:00Z", "29 mars 2026 à 03:00:00", "29 Mar 2026, 03:00:00"},
	} {
		at, err := time.Parse(time.RFC3339, c.utc)
		if err != nil {
			t.Fatal(err)
		}
		spaces := func(s string) string { return strings.ReplaceAll(s, nbsp, " ") }
		if fr, en := spaces(french.date(at)), spaces(english.date(at)); fr != c.fr || en != c.en {
			t.Errorf("%s: %q, %q", c.utc, fr, en)
		}
	}
	if french.date(time.Time{}) != missing {
		t.Error("no time is a date")
	}
}

// Both languages say everything: no text is empty, no name has a word in one
// language only.
func TestWords(t *testing.T) {
	for _, l := range languages {
		v := reflect.ValueOf(l.T)
		for i := range v.NumField() {
			if v.Field(i).String() == "" {
				t.Errorf("%s: %s is empty", l.Code, v.Type().Field(i).Name)
			}
		}
	}
	for name, pair := range map[string][2]map[string]string{
		"condition": {french.condition, english.condition}, "part": {french.part, english.part}, "store": {french.store, english.store},
		"node": {french.node, english.node}, "states": {french.states, english.states},
	} {
		if len(pair[0]) != len(pair[1]) {
			t.Errorf("%s has %d and %d words", name, len(pair[0]), len(pair[1]))
		}
		for k := range pair[0] {
			if pair[1][k] == "" {
				t.Errorf("%s: %q has no English word", name, k)
			}
		}
	}
}

func TestCondition(t *testing.T) {
	good := func() (Status, Accounts) {
		return Status{Height: 1, Nodes: []Node{{Healthy: true}}}, Accounts{Store: "current"}
	}
	for want, breaks := range map[string][]func(*Status, *Accounts){
		conditionNormal: {
			func(*Status, *Accounts) {},
			func(s *Status, a *Accounts) { a.Store = "behind" },
			func(s *Status, a *Accounts) { s.TemplateAge = staleTemplate },
		},
		conditionWatch: {
			func(s *Status, a *Accounts) { a.Store = "unavailable" },
			func(s *Status, a *Accounts) { a.Trouble = []string{"chain: x"} },
			func(s *Status, a *Accounts) { s.Nodes = append(s.Nodes, Node{}) },
			func(s *Status, a *Accounts) { s.Canary.Refused = 1 },
		},
		conditionAlert: {
			func(s *Status, a *Accounts) { a.Halts = []string{"sums"} },
			func(s *Status, a *Accounts) { s.Height = 0 },
			func(s *Status, a *Accounts) { s.TemplateAge = staleTemplate + 1 },
			func(s *Status, a *Accounts) { s.NoJob = "no space left on device" },
			func(s *Status, a *Accounts) { s.Nodes[0].Healthy = false },
			func(s *Status, a *Accounts) { s.Lost = 1 },
			func(s *Status, a *Accounts) { s.Journal.Poisoned = true },
		},
	} {
		for i, change := range breaks {
			s, a := good()
			change(&s, &a)
			if got := conditionOf(&s, &a); got != want {
				t.Errorf("%s %d: %s", want, i, got)
			}
		}
	}
}
