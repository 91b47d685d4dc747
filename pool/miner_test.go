package pool_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"cordee/pool"
)

const (
	segwit  = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
	taproot = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
	legacy  = "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"
	script  = "2N3wh1eYqMeqoLxuKFv8PBsYR4f8gYn8dHm" // P2SH
)

func TestParseMiner(t *testing.T) {
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	p2sh := n.Address(append(append([]byte{0xa9, 20}, make([]byte, 20)...), 0x87))
	for user, want := range map[string]string{
		segwit:                         segwit + ".default",
		segwit + ".":                   segwit + ".default",
		segwit + "_":                   segwit + ".default",
		segwit + ".w":                  segwit + ".w",
		segwit + ".Site.w 1":           segwit + ".Site.w 1",
		segwit + "_w":                  segwit + ".w",
		segwit + "_w.1_2":              segwit + ".w.1_2",
		segwit + ".w~boost":            segwit + ".w~boost",
		segwit + ".w@mail.example":     segwit + ".w@mail.example",
		" " + segwit + " ":             segwit + ".default",
		strings.ToUpper(segwit):        segwit + ".default",
		strings.ToUpper(segwit + ".w"): segwit + ".W",
		taproot + ".w":                 taproot + ".w",
		strings.ToUpper(taproot):       taproot + ".default",
		legacy:                         legacy + ".default",
		p2sh + ".w":                    p2sh + ".w",
		segwit + ".\x1b[31m<b>'\"`\\\xff\u202ew\r\n": segwit + ".[31mbw",
		segwit + ".été":  segwit + ".été",
		segwit + ".\x00": segwit + ".default",

		"":                           "name must begin with an address to pay to",
		".w":                         "name must begin with an address to pay to",
		"_w":                         "name must begin with an address to pay to",
		"acct.w":                     "name must begin with an address to pay to",
		"alpes.annecy.rig":           "name must begin with an address to pay to",
		segwit[:len(segwit)-1] + "q": "name must begin with an address to pay to",
		strings.Replace(segwit, "w508", "W508", 1): "name must begin with an address to pay to", // mixed case
		strings.ToLower(legacy):                    "name must begin with an address to pay to", // base58 is exact
		segwit + "w":                               "name must begin with an address to pay to",
		"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798": "name must begin with an address to pay to",
		"bcrt1pfeesnyr2tx": "name must begin with an address to pay to", // pay to anchor
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.w": "this pool is on regtest, that address is of main",
		"1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH":           "this pool is on regtest, that address is of main",
		"tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx":   "this pool is on regtest, that address is of testnet4",
	} {
		m, err := n.ParseMiner(user)
		got := m.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", user, got, want)
		}
	}
	if _, err := n.ParseMiner("x"); !errors.Is(err, pool.ErrNoAddress) {
		t.Error(err)
	}
}

var forRigs = regexp.MustCompile(`^[ !#-&(-~]{1,59}$`) // ASCII without quotes

// FuzzParseMiner: a name that parses has one spelling, which parses to itself and
// pays the same script; nothing in it acts on a page or a terminal; a refusal is
// fit for the wire.
func FuzzParseMiner(f *testing.F) {
	for _, s := range []string{segwit, strings.ToUpper(taproot) + ".W", legacy + "_a.b", script, "x", "\xff", segwit + ".\u202e<"} {
		f.Add(s)
	}
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, user string) {
		m, err := n.ParseMiner(user)
		if err != nil {
			if !forRigs.MatchString(err.Error()) {
				t.Fatalf("%q: %q", user, err)
			}
			return
		}
		name := m.String()
		again, err := n.ParseMiner(name)
		if err != nil || again.String() != name || !bytes.Equal(again.Script, m.Script) || n.Address(m.Script) != m.Address {
			t.Fatalf("%q became %q, then %q (%v)", user, name, again.String(), err)
		}
		if len(name) > len(user)+len(".default") || strings.ContainsAny(name, "<>&\"'`\\") || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", user, name)
		}
	})
}

func BenchmarkParseMiner(b *testing.B) {
	n, err := pool.NetworkByName("main")
	if err != nil {
		b.Fatal(err)
	}
	for name, user := range map[string]string{
		"bech32": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.w", "base58": "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH.w",
		"foreign": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.w", "junk": strings.Repeat("a1", 64),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = n.ParseMiner(user)
			}
		})
	}
}
