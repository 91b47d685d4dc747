package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordee/internal/config"
	"cordee/internal/doctor"
	"cordee/internal/harness"
	"cordee/internal/journal"
	"cordee/internal/register"
	"cordee/pool"
)

// house is a directory of an operator: good files, and a good node.
type house struct {
	t    *testing.T
	dir  string
	node *harness.FakeCore
	opts doctor.Options
}

// treasuries are addresses of a key that everybody knows.
var treasuries = map[string]string{
	"regtest": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
	"main":    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
}

// homes are addresses of a member.
var homes = map[string]string{
	"regtest": "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry",
	"main":    "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
}

func newHouse(t *testing.T, network string, nodes ...harness.FakeCoreConfig) *house {
	t.Helper()
	h := &house{t: t, dir: filepath.Join(t.TempDir(), "house")}
	if err := config.WriteExample(h.dir, config.InitOptions{Network: network, Treasury: treasuries[network]}); err != nil {
		t.Fatal(err)
	}
	n, err := pool.NetworkByName(network)
	if err != nil {
		t.Fatal(err)
	}
	if nodes == nil {
		nodes = []harness.FakeCoreConfig{{}}
	}
	text := h.read("cordee.toml")
	head, rest, _ := strings.Cut(text, "\n[[node]]")
	_, tail, _ := strings.Cut(rest, "\n[[listener]]")
	var tables strings.Builder
	for i, c := range nodes {
		c.Network = n
		if c.Height == 0 {
			c.Height = 120
		}
		f := harness.StartFakeCore(t, c)
		f.Fail("getmininginfo", harness.Fault{Result: json.RawMessage(`{"currentblockweight": 8000, "currentblocktx": 0}`)})
		fmt.Fprintf(&tables, "[[node]]\nname = \"n%d\"\nurl = %q\ncookie = %q\n", i, f.URL(), f.Cookie())
		if i == 0 {
			h.node = f
		}
	}
	h.replace("members.toml", treasuries[network], homes[network])
	h.write("cordee.toml", head+"\n"+tables.String()+"[[listener]]"+tail)
	h.opts = doctor.Options{
		Classes:   []pool.Class{pool.DefaultClass},
		Config:    filepath.Join(h.dir, "cordee.toml"),
		Disk:      func(string) (uint64, uint64, error) { return 50e9, 100e9, nil },
		OpenFiles: func() (uint64, error) { return 65536, nil },
	}
	return h
}

func (h *house) read(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// replace edits a file in which old stands.
func (h *house) replace(name, old, text string) {
	h.t.Helper()
	b := h.read(name)
	if !strings.Contains(b, old) {
		h.t.Fatalf("%q is not in %s", old, name)
	}
	h.write(name, strings.Replace(b, old, text, 1))
}

func (h *house) run() doctor.Report {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	return doctor.Run(ctx, h.opts)
}

// only expects that this check alone is not ok, and that it says words.
func (h *house) only(state doctor.State, name string, words ...string) doctor.Check {
	h.t.Helper()
	r := h.run()
	if r.OK != (state != doctor.Fail) || r.OK != (r.Failed() == 0) {
		h.t.Errorf("ok %t with %d failed checks: %+v", r.OK, r.Failed(), r.Checks)
	}
	var found doctor.Check
	bad := 0
	for _, c := range r.Checks {
		if c.State == doctor.Good {
			continue
		}
		bad++
		found = c
	}
	if bad != 1 || found.Name != name || found.State != state {
		h.t.Fatalf("want %s %q alone, got %+v", state, name, r.Checks)
	}
	if found.Do == "" {
		h.t.Errorf("%+v does not say what to do", found)
	}
	for _, w := range words {
		if !strings.Contains(found.Text, w) {
			h.t.Errorf("%q does not say %q", found.Text, w)
		}
	}
	return found
}

// tipAge sets the age of the node's tip.
func (h *house) tipAge(age time.Duration) {
	h.node.Clear("getblockheader")
	h.node.Fail("getblockheader", harness.Fault{Result: json.RawMessage(
		fmt.Sprintf(`{"hash": %q, "height": 120, "time": %d}`, h.node.Tip().Hash, time.Now().Add(-age).Unix()))})
}

func TestHealthy(t *testing.T) {
	for _, network := range []string{"regtest", "main"} {
		h := newHouse(t, network)
		h.tipAge(5 * time.Minute)
		r := h.run()
		if !r.OK {
			t.Errorf("%s: %+v", network, r.Checks)
		}
		names := map[string]bool{}
		for _, c := range r.Checks {
			names[c.Name] = true
			if c.State != doctor.Good || c.Do != "" {
				t.Errorf("%s: %+v", network, c)
			}
		}
		for _, want := range []string{
			"configuration", "members", "data directory", "disk", "open files", "pool", "journal",
			"node n0", "node n0: tip", "node n0: template", "node n0: reserved weight", "node n0: clock",
		} {
			if !names[want] {
				t.Errorf("%s: %q was not looked at", network, want)
			}
		}
		if _, err := os.Stat(filepath.Join(h.dir, "data")); err == nil {
			t.Error("the doctor made a directory")
		}
	}
}

func TestFiles(t *testing.T) {
	t.Run("the member that init writes", func(t *testing.T) {
		h := newHouse(t, "main")
		h.tipAge(time.Minute)
		h.replace("members.toml", homes["main"], treasuries["main"])
		h.only(doctor.Warn, "member first", "the treasury's address")
	})
	t.Run("members", func(t *testing.T) {
		h := newHouse(t, "regtest")
		h.replace("members.toml", "bp = 10000 }", "bp = 9999 }")
		h.only(doctor.Fail, "members", "members.toml:", "10000")
	})
	t.Run("no members", func(t *testing.T) {
		h := newHouse(t, "regtest")
		h.write("members.toml", "")
		h.only(doctor.Warn, "members", "none")
	})
	t.Run("addresses", func(t *testing.T) {
		h := newHouse(t, "regtest")
		h.replace("cordee.toml", `# identity = "consortium"`, `identity = "open"`)
		if r := h.run(); !r.OK || !slices.ContainsFunc(r.Checks, func(c doctor.Check) bool { return c.Name == "members" && strings.Contains(c.Text, "0 of 4096") }) {
			t.Errorf("%+v", r.Checks)
		}
		if err := os.MkdirAll(filepath.Join(h.dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		h.write("data/addresses", "cordee addresses 1 main\n")
		h.only(doctor.Fail, "members", "data/addresses", "another network")
		h.write("data/addresses", "cordee addresses 1 regtest\n")
		fillAddresses(t, filepath.Join(h.dir, "data/addresses"), 3100)
		h.only(doctor.Warn, "members", "3100 of 4096")
	})
	t.Run("every line of a broken file", func(t *testing.T) {
		h := newHouse(t, "regtest")
		h.replace("cordee.toml", `network = "regtest"`, `nework = "regtest"`)
		h.replace("cordee.toml", `id = 1`, `id = 0`)
		r := h.run()
		if r.OK || len(r.Checks) < 2 {
			t.Fatalf("%+v", r)
		}
		for _, c := range r.Checks {
			if c.State != doctor.Fail || !strings.Contains(c.Text, "cordee.toml:") {
				t.Errorf("%+v", c)
			}
		}
	})
	t.Run("no file", func(t *testing.T) {
		h := newHouse(t, "regtest")
		h.opts.Config = filepath.Join(h.dir, "nowhere.toml")
		h.only(doctor.Fail, "configuration", "nowhere.toml", "cordee init")
	})
	t.Run("data directory", func(t *testing.T) {
		h := newHouse(t, "regtest")
		data := filepath.Join(h.dir, "data")
		for mode, want := range map[os.FileMode]doctor.State{0o750: doctor.Warn, 0o707: doctor.Fail} {
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(data, mode); err != nil {
				t.Fatal(err)
			}
			h.only(want, "data directory", fmt.Sprintf("%04o", mode))
		}
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		h.write("data", "a file")
		r := h.run()
		if r.OK {
			t.Errorf("a file for a directory: %+v", r.Checks)
		}
	})
	t.Run("slot key", func(t *testing.T) {
		h := newHouse(t, "regtest")
		if err := os.Chmod(filepath.Join(h.dir, "slot.key"), 0o644); err != nil {
			t.Fatal(err)
		}
		h.only(doctor.Fail, "slot key", "0644")
	})
	t.Run("open files", func(t *testing.T) {
		h := newHouse(t, "regtest")
		h.opts.OpenFiles = func() (uint64, error) { return 1024, nil }
		h.only(doctor.Warn, "open files", "1024", "886 rigs")
		h.opts.OpenFiles = func() (uint64, error) { return 138, nil }
		h.only(doctor.Fail, "open files", "138")
		h.opts.OpenFiles = func() (uint64, error) { return 0, errors.New("no") }
		h.only(doctor.Unknown, "open files")
	})
}

func TestDisk(t *testing.T) {
	h := newHouse(t, "regtest")
	for _, c := range []struct {
		free uint64
		want doctor.State
	}{{0, doctor.Fail}, {9_999_999_999, doctor.Fail}, {10e9, doctor.Warn}, {19_999_999_999, doctor.Warn}, {20e9, doctor.Good}, {100e9, doctor.Good}} {
		h.opts.Disk = func(string) (uint64, uint64, error) { return c.free, 100e9, nil }
		if c.want == doctor.Good {
			if r := h.run(); !r.OK {
				t.Errorf("%d free: %+v", c.free, r.Checks)
			}
			continue
		}
		h.only(c.want, "disk", "free", "less than")
	}
	h.opts.Disk = func(string) (uint64, uint64, error) { return 0, 0, errors.New("no") }
	h.only(doctor.Unknown, "disk")

	// The journal on a disk of its own is looked at too.
	h.opts.Disk = func(dir string) (uint64, uint64, error) {
		if strings.HasPrefix(dir, filepath.Join(h.dir, "..", "other")) {
			return 1, 100, nil
		}
		return 50, 100, nil
	}
	other := filepath.Join(filepath.Dir(h.dir), "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	h.replace("cordee.toml", `# dir = "data/journal"`, fmt.Sprintf("dir = %q", other))
	h.only(doctor.Fail, "journal disk", "1 %")

	// The real disk answers too.
	h = newHouse(t, "regtest")
	h.opts.Disk = nil
	for _, c := range h.run().Checks {
		if c.Name == "disk" && (c.State == doctor.Unknown || !strings.Contains(c.Text, "GB free")) {
			t.Errorf("%+v", c)
		}
	}
}

func TestJournal(t *testing.T) {
	h := newHouse(t, "regtest")
	dir := filepath.Join(h.dir, "data", "journal")
	network, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // two epochs, sealed
		j, _, err := journal.Open(journal.Config{
			Dir: dir, Edge: 1, Prefix: 1, Genesis: *network.Params.GenesisHash, Program: "test", SegmentSize: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, deep := range []bool{false, true} {
		h.opts.Deep = deep
		if r := h.run(); !r.OK {
			t.Errorf("%+v", r.Checks)
		}
	}
	segments, err := filepath.Glob(filepath.Join(dir, "seg-*.cj"))
	if err != nil || len(segments) != 2 {
		t.Fatalf("%v, %v", segments, err)
	}
	damage := func(path string, at int) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 0x40
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Inside of an older file only the long look finds it.
	damage(segments[0], 120)
	h.opts.Deep = false
	if r := h.run(); !r.OK {
		t.Errorf("%+v", r.Checks)
	}
	h.opts.Deep = true
	h.only(doctor.Fail, "journal", segments[0])
	damage(segments[0], 120)
	damage(segments[1], 120)
	h.opts.Deep = false
	h.only(doctor.Fail, "journal", segments[1])
	damage(segments[1], 120)

	h.replace("cordee.toml", "prefix = 1", "prefix = 9")
	h.only(doctor.Fail, "journal", "prefix 1", "9")
}

// fillAddresses keeps n addresses in the file at path.
func fillAddresses(t *testing.T, path string, n int) {
	regtest, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	o, err := register.OpenAddresses(path, regtest)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { // together, so that they share writes
			script := append([]byte{0, 20}, make([]byte, 20)...)
			script[2], script[3] = byte(i), byte(i>>8)
			w, why, ok := o.Resolve(regtest.Address(script))
			if !ok {
				t.Error(why)
			} else if err := o.Keep(w.Member); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
