package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"

	"cordee/internal/config"
)

// The consortium of the demo: three members, four sites, twelve rigs.
var demoSites = []struct {
	member, site string
	rigs         int
}{
	{"alpes", "annecy", 3},
	{"alpes", "chamonix", 3},
	{"jura", "dole", 3},
	{"vosges", "gerardmer", 3},
}

// demoTreasury is a regtest address whose key is the number 1: it is published
// in BIP173's examples, and nothing of value can reach it.
const demoTreasury = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"

// demoDestinations are a member's own addresses; the first member has two.
func demoDestinations(member string) []string {
	if member == demoSites[0].member {
		return []string{
			fmt.Sprintf("{ address = %q, bp = 7000 }", demoAddress(member)),
			fmt.Sprintf("{ address = %q, bp = 3000 }", demoAddress(member+" reserve")),
		}
	}
	return []string{fmt.Sprintf("{ address = %q, bp = 10000 }", demoAddress(member))}
}

// demoAddress returns a regtest address for which nobody has a key.
func demoAddress(name string) string {
	h := sha256.Sum256([]byte("cordee demo: " + name))
	a, err := address.NewAddressWitnessPubKeyHash(h[:20], &chaincfg.RegressionNetParams)
	if err != nil { // 20 bytes always are one
		return demoTreasury
	}
	return a.EncodeAddress()
}

// demoSetup is what the demo's pool is configured with.
type demoSetup struct {
	dir               string
	node              string // what the pool calls it
	url, cookie, zmq  string
	user, password    string // password is a file
	stratum, web      string
	redis             string // its address; "" keeps credits in memory
	regtestDifficulty float64
	startDifficulty   float64
}

// write puts cordee.toml and members.toml into d.dir and returns the path of
// the first.
func (d demoSetup) write() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by `cordee demo`. A real pool starts with `cordee init`.\n")
	fmt.Fprintf(&b, "network = \"regtest\"\ndata_dir = %q\ntag = \"/Cordee demo/\"\n", filepath.Join(d.dir, "pool"))
	store, table := storeLines(d.redis)
	fmt.Fprintf(&b, "%smembers = \"members.toml\"\nregtest_difficulty = %g\n\n", store, d.regtestDifficulty)
	fmt.Fprintf(&b, "[edge]\nid = 1\nprefix = 1\n\n[[node]]\nname = %q\nurl = %q\n", cmp.Or(d.node, "demo"), d.url)
	if d.cookie != "" {
		fmt.Fprintf(&b, "cookie = %q\n", d.cookie)
	} else {
		fmt.Fprintf(&b, "user = %q\npassword_file = %q\n", d.user, d.password)
	}
	if d.zmq != "" {
		fmt.Fprintf(&b, "zmq = %q\n", d.zmq)
	}
	fmt.Fprintf(&b, "\n[[listener]]\naddress = %q\nstart_difficulty = %s\nmin_difficulty = %s\n", d.stratum, decimal(d.startDifficulty), decimal(d.startDifficulty/16))
	fmt.Fprintf(&b, "%s\n[web]\naddress = %q\n\n[payout]\ntreasury = %q\n", table, d.web, demoTreasury)
	path := filepath.Join(d.dir, "cordee.toml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return "", err
	}

	key := filepath.Join(d.dir, config.SlotKeyFileName)
	if err := config.WriteSlotKey(key); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	b.Reset()
	index := 0
	for i, s := range demoSites {
		if i == 0 || demoSites[i-1].member != s.member {
			index++
			fmt.Fprintf(&b, "[[member]]\nid = %q\nindex = %d\nname = %q\n", s.member, index, "Mineurs de "+s.member)
			fmt.Fprintf(&b, "destinations = [%s]\n", strings.Join(demoDestinations(s.member), ", "))
		}
		fmt.Fprintf(&b, "  [[member.site]]\n  id = %q\n", s.site)
	}
	return path, os.WriteFile(filepath.Join(d.dir, "members.toml"), []byte(b.String()), 0o600)
}

// decimal prints a small number for TOML, without an exponent.
func decimal(v float64) string {
	return strings.TrimRight(fmt.Sprintf("%.20f", v), "0")
}
