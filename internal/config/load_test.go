package config_test

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cordee/internal/config"
	"cordee/internal/tomlfile"
	"cordee/pool"
)

const minimal = `network = "regtest"
[edge]
id = 9
prefix = 255
[[node]]
url = "http://127.0.0.1"
cookie = "c/.cookie"
[payout]
treasury = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
`

// write puts text into a cordee.toml of its own directory.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), config.FileName)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadDefaults(t *testing.T) {
	path := write(t, minimal)
	dir := filepath.Dir(path)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := pool.NetworkByName("regtest")
	script, _ := n.Script(config.DemoTreasury)
	want := config.Config{
		Path: path, Network: n, DataDir: filepath.Join(dir, "data"), Tag: "/cordee/",
		Edge:      config.Edge{ID: 9, Prefix: 255},
		Nodes:     []config.Node{{Name: "127.0.0.1:18443", URL: "http://127.0.0.1:18443", Cookie: filepath.Join(dir, "c/.cookie")}},
		Listeners: []config.Listener{{Address: ":3333", Start: 1, Min: 1, SharesPerMinute: 10}},
		Limits:    config.Limits{PerIP: 4096, PerNetwork: 8192, StrangersPerIP: 512, ShareGap: 2 * time.Millisecond},
		Journal:   config.Journal{Dir: filepath.Join(dir, "data/journal"), SegmentSize: 64 << 20, MinGap: 5 * time.Millisecond},
		Web:       config.Web{Address: "127.0.0.1:8080"},
		Payout: config.Payout{
			TreasuryAddress: config.DemoTreasury, TreasuryScript: script, WindowBlocks: 4, MinPayout: 20_000,
		},
		MembersPath: filepath.Join(dir, "members.toml"), AddressesPath: filepath.Join(dir, "data/addresses"),
		SlotKeyPath: filepath.Join(dir, "slot.key"),
	}
	if config.Differ(c, &want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
}

func TestLoadOpen(t *testing.T) {
	c, err := config.Load(write(t, "identity = \"open\"\n"+minimal))
	if err != nil || !c.Open || filepath.Base(c.AddressesPath) != "addresses" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestLoadEveryKey(t *testing.T) {
	text := `network = "main"
data_dir = "/srv/cordee"
tag = "/x/"
members = "/etc/m.toml"
firmware = "f.toml"
slot_key = "k"
store = "memory"
[edge]
id = 65535
prefix = 0
[[node]]
name = "a"
url = "https://Node.Example"
user = "u"
password_file = "p"
zmq = "tcp://127.0.0.1:28332"
[[node]]
url = "http://[::1]:8332/"
cookie = "/c"
[[listener]]
address = "10.0.0.1:3333"
start_difficulty = 1000
min_difficulty = 100.5
shares_per_minute = 4
[[listener]]
address = "10.0.0.2:3333"
min_difficulty = 5000
max_difficulty = 10000
proxy_from = ["10.0.0.0/24", "2001:db8::7/128"]
[limits]
per_ip = 2000
share_gap = "0s"
per_network = 2500
strangers_per_ip = 100
trusted = ["203.0.113.7/32"]
[journal]
dir = "/fast/journal"
segment_size = "1GiB"
min_gap = "2ms"
ack = "written"
ack_written_on_main = true
[web]
address = "0.0.0.0:0"
allow_non_loopback = true
[payout]
treasury = "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN"
window_blocks = 8
min_payout = 100_000
fees = [
  { account = "ops", bp = 9999 },
  { account = "energy", bp = 1, address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4" },
]
`
	path := write(t, text)
	dir := filepath.Dir(path)
	if err := os.WriteFile(filepath.Join(dir, "p"), []byte("secret\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := pool.NetworkByName("main")
	treasury, _ := n.Script("3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN")
	energy, _ := n.Script("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
	want := config.Config{
		Path: path, Network: n, DataDir: "/srv/cordee", Tag: "/x/", Edge: config.Edge{ID: 65535},
		Nodes: []config.Node{
			{Name: "a", URL: "https://node.example:8332", User: "u", PasswordFile: filepath.Join(dir, "p"), ZMQ: "tcp://127.0.0.1:28332"},
			{Name: "[::1]:8332", URL: "http://[::1]:8332", Cookie: "/c"},
		},
		Listeners: []config.Listener{
			{Address: "10.0.0.1:3333", Start: 512 * 1024, Min: 128 * 1024, SharesPerMinute: 4},
			{
				Address: "10.0.0.2:3333", Start: 8192 * 1024, Min: 8192 * 1024, Max: 8192 * 1024, SharesPerMinute: 10,
				ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8::7/128")},
			},
		},
		Limits: config.Limits{
			PerIP: 2000, PerNetwork: 2500, StrangersPerIP: 100,
			Trusted: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")},
		},
		Journal: config.Journal{Dir: "/fast/journal", SegmentSize: 1 << 30, MinGap: 2 * time.Millisecond, Written: true},
		Web:     config.Web{Address: "0.0.0.0:0"},
		Payout: config.Payout{
			TreasuryAddress: "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN", TreasuryScript: treasury, WindowBlocks: 8, MinPayout: 100_000,
			Fees: []config.Fee{
				{Account: "ops", BP: 9999},
				{Account: "energy", BP: 1, Address: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Script: energy},
			},
		},
		MembersPath: "/etc/m.toml", AddressesPath: "/srv/cordee/addresses", FirmwarePath: filepath.Join(dir, "f.toml"),
		SlotKeyPath: filepath.Join(dir, "k"),
	}
	if config.Differ(c, &want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
}

func TestChainKeys(t *testing.T) {
	regtest, err := config.Parse("c.toml", []byte("regtest_difficulty = 0.5\n"+minimal))
	if err != nil || regtest.WorkBits != 0x1d01fffe { // twice the target of difficulty 1
		t.Errorf("work bits %08x, %v", regtest.WorkBits, err)
	}
	if l := regtest.Listeners[0]; l.Start.Float(pool.RegtestScale) != 1.0/64 || l.Min != 1 {
		t.Errorf("a start for 32 shares to a block: %+v", l)
	}
	text := strings.NewReplacer(`"regtest"`, `"signet"`, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", treasuries["signet"]).Replace(minimal)
	signet, err := config.Parse("c.toml", []byte("signet_challenge = \"51\"\n"+text))
	if err != nil || string(signet.SignetChallenge) != "\x51" {
		t.Errorf("signet: %+v, %v", signet, err)
	}
}

// TestDifficultyLaws: whatever pair of numbers is accepted, what comes out can
// be issued: powers of two, the start not below the floor.
func TestDifficultyLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Float64Range(1e-4, 1e16).Draw(t, "start")
		least := rapid.Float64Range(1e-4, 1e16).Draw(t, "min")
		network := rapid.SampledFrom([]string{"main", "testnet4", "signet", "regtest"}).Draw(t, "network")
		text := strings.NewReplacer(`"regtest"`, `"`+network+`"`, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", treasuries[network]).Replace(minimal)
		text += fmt.Sprintf("[[listener]]\nstart_difficulty = %v\nmin_difficulty = %v\n", start, least)
		c, err := config.Parse("c.toml", []byte(text))
		if start < least != (err != nil) && start < 1<<29 && least < 1<<29 && least > 0.001 && start > 0.001 {
			t.Fatalf("start %v, min %v: %v", start, least, err)
		}
		if err != nil {
			return
		}
		l := c.Listeners[0]
		if bits.OnesCount64(uint64(l.Start)) != 1 || bits.OnesCount64(uint64(l.Min)) != 1 || l.Start < l.Min {
			t.Fatalf("start %v, min %v gave %d, %d", start, least, l.Start, l.Min)
		}
		if got := l.Min.Float(c.Network.Scale); got < least*(1-1e-9)-1/float64(c.Network.Scale) {
			t.Fatalf("min %v came out as %v", least, got)
		}
	})
}

func TestPasswordFile(t *testing.T) {
	text := strings.Replace(minimal, `cookie = "c/.cookie"`, "user = \"u\"\npassword_file = \"pw\"", 1)
	for _, c := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"missing", func(string) error { return nil }, "does not exist"},
		{"empty", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "is empty"},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o700) }, "is not a file"},
		{"world-readable", func(p string) error { return errors.Join(os.WriteFile(p, []byte("x"), 0o600), os.Chmod(p, 0o604)) }, "chmod 600"},
		{"world-writable", func(p string) error { return errors.Join(os.WriteFile(p, []byte("x"), 0o600), os.Chmod(p, 0o602)) }, "chmod 600"},
		{"good", func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) }, ""},
	} {
		path := write(t, text)
		if err := c.make(filepath.Join(filepath.Dir(path), "pw")); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(path)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "cordee.toml:8:1: node[0].password_file: ") {
			t.Errorf("%s: error %v, want %q at line 8", c.name, err, c.want)
		}
	}
}

func TestRedis(t *testing.T) {
	for _, c := range []struct{ table, wrong, want string }{
		{"mode = \"single\"\naddresses = [\"10.0.0.1:6379\"]", "", ""},
		{"mode = \"single\"\naddresses = [\"10.0.0.1:6379\"]\npassword_file = \"pw\"", "pw", "cordee.toml:14:1: redis.password_file: "},
		{"mode = \"sentinel\"\nmaster = \"m\"\naddresses = [\"[::1]:26379\", \"b:26379\"]\nsentinel_password_file = \"pw\"", "pw", "cordee.toml:15:1: redis.sentinel_password_file: "},
	} {
		path := write(t, "store = \"redis\"\n"+strings.TrimSuffix(minimal, "\n")+"\n[redis]\n"+c.table+"\n")
		loaded, err := config.Load(path)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.want+filepath.Join(filepath.Dir(path), c.wrong)+" does not exist") {
				t.Fatalf("%s: error %v, want %q", c.table, err, c.want)
			}
			secret := filepath.Join(filepath.Dir(path), c.wrong)
			if err := errors.Join(os.WriteFile(secret, []byte("x"), 0o600), os.Chmod(secret, 0o644)); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("%s: error %v, want %q", c.table, err, c.want)
			}
			if err := os.Chmod(secret, 0o600); err != nil {
				t.Fatal(err)
			}
			loaded, err = config.Load(path)
		}
		if err != nil {
			t.Errorf("%s: %v", c.table, err)
			continue
		}
		if r := loaded.Redis; r == nil || r.Name != "cordee" || r.Timeout != 5*time.Second || r.Sentinel != strings.Contains(c.table, "sentinel") || len(r.Addresses) == 0 {
			t.Errorf("%s: %+v", c.table, r)
		}
	}
}

func TestLoadNoFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	huge := write(t, strings.Repeat("# a long comment\n", tomlfile.MaxSize/17+1))
	if _, err := config.Load(huge); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	path := write(t, "data_dir = \"d\"\n"+minimal)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(c.Journal.Dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("journal directory: %v %v", st, err)
	}
	if left, _ := os.ReadDir(c.DataDir); len(left) != 1 {
		t.Errorf("Check left %v", left)
	}
	if err := os.WriteFile(c.SlotKeyPath, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "slot_key: ") {
		t.Errorf("open slot key: %v", err)
	}
	// A file where the directory should be: works for root too, whom modes do
	// not stop.
	if err := errors.Join(os.RemoveAll(c.DataDir), os.Remove(c.SlotKeyPath), os.WriteFile(c.DataDir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "cordee.toml:1:1: data_dir: cannot be used") {
		t.Errorf("data_dir is a file: %v", err)
	}
}

// FuzzConfig: no text makes Parse panic, and every refusal names a line that
// the text has.
func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Add([]byte("\xef\xbb\xbfnetwork = \"main\"\r\n"))
	f.Add([]byte("a.b.c.d.e.f.g.h.i.j.k = {l = [[[[[[[[[[{m = 1}]]]]]]]]]]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("cordee.toml", data)
		if err == nil {
			if c.Network == nil || len(c.Nodes) == 0 || len(c.Listeners) == 0 || c.Payout.TreasuryScript == nil || c.Edge.ID == 0 {
				t.Fatalf("accepted but unfit: %+v", c)
			}
			return
		}
		wrong, ok := errors.AsType[*tomlfile.Error](err)
		if !ok || len(wrong.Problems) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, p := range wrong.Problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Text == "" {
				t.Fatalf("problem out of place: %+v of %d lines", p, lines)
			}
		}
	})
}
