package register_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"cordee/internal/register"
	"cordee/pool"
)

// addressOf is the i-th of as many addresses as a test wants.
func addressOf(i int) string {
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		panic(err)
	}
	var hash [20]byte
	hash[0], hash[1], hash[2] = byte(i), byte(i>>8), byte(i>>16)
	return n.Address(append([]byte{0, 20}, hash[:]...))
}

func open(t testing.TB, path string) *register.Open {
	t.Helper()
	o, err := register.OpenAddresses(path, regtest(t))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// signIn is a rig that comes; it fails the test when it is refused.
func signIn(t testing.TB, o *register.Open, user string) pool.Worker {
	t.Helper()
	w, why, ok := o.Resolve(user)
	if !ok || why != "" || w.Member == 0 {
		t.Fatalf("%s: %+v %q", user, w, why)
	}
	return w
}

func keep(t testing.TB, o *register.Open, member uint16) {
	t.Helper()
	if err := o.Keep(member); err != nil {
		t.Fatal(err)
	}
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "addresses") }

// An address has one index however it is spelt, gives it back when it leaves
// without a share, and has it for ever after one.
func TestOpen(t *testing.T) {
	path := file(t)
	o := open(t, path)
	first := signIn(t, o, address+".a")
	if again := signIn(t, o, strings.ToUpper(address)+"_b"); again.Member != first.Member || again.Name != address+".b" {
		t.Errorf("%+v, then %+v", first, again)
	}
	second := signIn(t, o, addressOf(2)+"%2ew")
	if second.Member == first.Member || second.Name != addressOf(2)+".w" {
		t.Errorf("%+v, %+v", first, second)
	}
	for user, want := range map[string]string{
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4":          "this pool is on regtest, that address is of main",
		"alpes.annecy.rig":                                    "name must begin with an address to pay to",
		address + "." + strings.Repeat("w", 128-len(address)): "name is too long: at most 128 bytes",
		address + "%252ew":                                    "name must begin with an address to pay to", // decoded once, not twice
	} {
		if _, why, ok := o.Resolve(user); ok || why != want {
			t.Errorf("%q: %q", user, why)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || len(o.Members()) != 0 {
		t.Errorf("a bare authorize left something: %v %v", err, o.Members())
	}

	keep(t, o, second.Member)
	keep(t, o, second.Member)
	o.Leave(first.Member)
	if w := signIn(t, o, addressOf(3)); w.Member == first.Member {
		t.Error("an index was given away while a rig had it")
	}
	o.Leave(first.Member)
	o.Leave(second.Member)
	o.Leave(first.Member) // once too often
	if w := signIn(t, o, addressOf(4)); w.Member != first.Member {
		t.Errorf("%d, want the free index %d", w.Member, first.Member)
	}
	if err := o.Keep(first.Member + 100); err == nil {
		t.Error("an index of nobody is kept")
	}

	o = open(t, path)
	members := o.Members()
	if len(members) != 1 || members[0].ID != addressOf(2) || members[0].Index != second.Member ||
		len(members[0].Destinations) != 1 || members[0].Destinations[0].BP != 10000 || !bytes.Equal(members[0].Destinations[0].Script, script(t, addressOf(2))) {
		t.Errorf("%+v", members)
	}
	if w := signIn(t, o, addressOf(9)); w.Member == second.Member {
		t.Error("two addresses have one index")
	}
	if w := signIn(t, o, addressOf(2)+".x"); w.Member != second.Member {
		t.Errorf("index %d is now %d", second.Member, w.Member)
	}
}

// What the journal says of an index must be what the file says.
func TestOpenCheck(t *testing.T) {
	o := open(t, file(t))
	w := signIn(t, o, address)
	keep(t, o, w.Member)
	if err := o.Check(w.Member, address+".rig.1"); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		member uint16
		text   string
	}{
		addressOf(1) + ".rig": {w.Member, fmt.Sprintf("gives index %d to %s, and %s worked under it", w.Member, address, addressOf(1))},
		addressOf(2) + ".rig": {w.Member + 1, fmt.Sprintf("index %d is missing, %s worked under it", w.Member+1, addressOf(2))},
	} {
		if err := o.Check(c.member, name); !errors.Is(err, register.ErrAddresses) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, want %q", err, c.text)
		}
	}
	r := register.New(parse(t, member("alpin", 7, "gap")))
	if err := errors.Join(r.Check(7, "alpin.gap.rig1"), r.Check(8, "nobody.x.y"), r.Check(0, "parked.x.y")); err != nil {
		t.Error(err)
	}
	if err := r.Check(7, address+".rig"); err == nil || !strings.Contains(err.Error(), "members.toml:3:1: member[0].index: 7 belongs to "+address) {
		t.Error(err)
	}
}

// Strangers who sign in and leave, or stay and send nothing, leave no file, and
// take no more memory than there are connections.
func TestOpenFlood(t *testing.T) {
	path := file(t)
	o := open(t, path)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const crowd = 1000
	held := make([]uint16, crowd)
	round := func(from int) {
		for i := range held {
			held[i] = signIn(t, o, addressOf(from+i)).Member
		}
		for _, m := range held {
			if m > crowd {
				t.Fatalf("index %d for %d addresses", m, crowd)
			}
			o.Leave(m)
		}
	}
	round(0)
	before := heap()
	for i := range 10 {
		round((i + 1) * crowd)
	}
	if after := heap(); after > before+64<<10 {
		t.Errorf("%d bytes more after 10 000 other addresses", after-before)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

// When as many are kept as a receipt can credit, those go on and others are told
// why not; whoever came before is not kept either. Names alone fill nothing.
func TestOpenFull(t *testing.T) {
	path := file(t)
	o := open(t, path)
	crowd := make([]pool.Worker, register.MaxAddresses+100)
	for i := range crowd {
		crowd[i] = signIn(t, o, addressOf(i))
	}
	var wg sync.WaitGroup
	var refused atomic.Int64
	for _, w := range crowd {
		wg.Go(func() {
			if err := o.Keep(w.Member); errors.Is(err, register.ErrFull) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 2 {
		if n := len(o.Members()); n != register.MaxAddresses || refused.Load() != 100 {
			t.Errorf("%d are kept, %d refused", n, refused.Load())
		}
		if _, why, ok := o.Resolve(address); ok || why != register.ErrFull.Error() {
			t.Errorf("%t %q", ok, why)
		}
		signIn(t, o, o.Members()[17].ID+".second")
		o = open(t, path)
	}
}

// Every index can be held, and comes back.
func TestOpenIndexes(t *testing.T) {
	o := open(t, file(t))
	for i := range 65535 {
		signIn(t, o, addressOf(i))
	}
	if _, why, ok := o.Resolve(address); ok || why != register.ErrFull.Error() {
		t.Errorf("%t %q", ok, why)
	}
	w := signIn(t, o, addressOf(17)+".second")
	o.Leave(w.Member)
	o.Leave(w.Member)
	if got := signIn(t, o, address); got.Member != w.Member {
		t.Errorf("%d, want %d", got.Member, w.Member)
	}
}

// Many first shares at once share writes, and all are there afterwards.
func TestKeepTogether(t *testing.T) {
	path := file(t)
	o := open(t, path)
	const rigs = 200
	var want [rigs]uint16
	var wg sync.WaitGroup
	for i := range rigs {
		wg.Go(func() {
			w, _, _ := o.Resolve(addressOf(i))
			want[i] = w.Member
			if err := o.Keep(w.Member); err != nil {
				t.Error(err)
			}
			o.Leave(w.Member)
		})
	}
	wg.Wait()
	o = open(t, path)
	if n := len(o.Members()); n != rigs {
		t.Fatalf("%d members", n)
	}
	for i, m := range want {
		if w := signIn(t, o, addressOf(i)); w.Member != m {
			t.Errorf("%d is now %d", m, w.Member)
		}
	}
}

// A write that fails keeps nobody, and nobody after him; those before go on.
func TestKeepFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := open(t, filepath.Join(dir, "addresses"))
	w := signIn(t, o, addressOf(1))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := o.Keep(w.Member); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := o.Keep(w.Member); err == nil || len(o.Members()) != 0 {
		t.Errorf("kept after a write that failed: %v", o.Members())
	}
}

// TestOpenMachine: whatever comes, leaves, has shares and dies, an index that had
// a share is one address's for ever, and no two addresses hold one at a time.
func TestOpenMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := file(t)
		o := open(t, path)
		kept := map[string]uint16{}
		here := map[string][]uint16{} // an entry for each rig
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			id := addressOf(rapid.IntRange(1, 6).Draw(rt, "who"))
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				w := signIn(t, o, id)
				if was, ok := kept[id]; ok && was != w.Member {
					rt.Fatalf("%s had %d, has %d", id, was, w.Member)
				}
				here[id] = append(here[id], w.Member)
			case 3:
				if n := len(here[id]); n > 0 {
					o.Leave(here[id][n-1])
					here[id] = here[id][:n-1]
				}
			case 4, 5:
				if len(here[id]) > 0 {
					keep(t, o, here[id][0])
					kept[id] = here[id][0]
				}
			default: // kill -9
				o = open(t, path)
				clear(here)
			}
			owner := map[uint16]string{}
			claim := func(m uint16, id string) {
				if other, ok := owner[m]; ok && other != id {
					rt.Fatalf("index %d is of %s and of %s", m, other, id)
				}
				owner[m] = id
			}
			for id, m := range kept {
				claim(m, id)
			}
			for id, list := range here {
				for _, m := range list {
					claim(m, id)
				}
			}
			if len(o.Members()) != len(kept) {
				rt.Fatalf("%d members, kept %v", len(o.Members()), kept)
			}
		}
	})
}

// What a rig's authorize and end cost, of an address that is new each time.
func BenchmarkResolve(b *testing.B) {
	o := open(b, file(b))
	b.ReportAllocs()
	for b.Loop() {
		w, _, _ := o.Resolve(address + ".rig")
		o.Leave(w.Member)
	}
}

// Keep is asked for every share: for one who is kept it takes no lock and no
// memory.
func BenchmarkKept(b *testing.B) {
	o := open(b, file(b))
	w := signIn(b, o, address)
	keep(b, o, w.Member)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o.Keep(w.Member) != nil {
				b.Fail()
			}
		}
	})
}

// What a start and a split cost once the register is full.
func BenchmarkFull(b *testing.B) {
	path := file(b)
	o := open(b, path)
	var wg sync.WaitGroup
	for i := range register.MaxAddresses {
		wg.Go(func() {
			w, _, _ := o.Resolve(addressOf(i))
			if err := o.Keep(w.Member); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			open(b, path)
		}
	})
}
