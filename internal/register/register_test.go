package register_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"text/template"

	"pgregory.net/rapid"

	"cordee/internal/register"
	"cordee/internal/tomlfile"
	"cordee/pool"
)

const address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"

func regtest(t testing.TB) *pool.Network {
	t.Helper()
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// member is one entry of a file: id, index and site ids.
func member(id string, index int, sites ...string) string {
	s := fmt.Sprintf("[[member]]\nid = %q\nindex = %d\ndestinations = [{ address = %q, bp = 10000 }]\n", id, index, address)
	for _, site := range sites {
		s += fmt.Sprintf("[[member.site]]\nid = %q\n", site)
	}
	return s
}

func parse(t testing.TB, text string) *register.File {
	t.Helper()
	f, err := register.Parse("members.toml", []byte(text), regtest(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members.toml")
	text := `unknown = "park"
[[member]]
id = "alpin"
index = 65535
name = "Hameau alpin"
note = "n"
destinations = [
  { address = "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r", bp = 1 },
  { address = "` + address + `", bp = 9999 },
]
[[member.site]]
id = "gap"
note = "s"
[[member.site]]
id = "gap-2"
` + member("retired", 2)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := register.Load(path, regtest(t))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v %+v", f.Park, f.Members)
	want := fmt.Sprintf("%v %+v", true, []register.Member{
		{
			ID: "alpin", Index: 65535, Name: "Hameau alpin", Note: "n",
			Destinations: []register.Destination{
				{Address: "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r", Script: script(t, "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"), BP: 1},
				{Address: address, Script: script(t, address), BP: 9999},
			},
			Sites: []register.Site{{ID: "gap", Note: "s"}, {ID: "gap-2"}},
		},
		{ID: "retired", Index: 2, Name: "retired", Destinations: []register.Destination{{Address: address, Script: script(t, address), BP: 10000}}},
	})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := register.Load(path+".none", regtest(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if none := parse(t, ""); len(none.Members) != 0 {
		t.Errorf("empty file: %+v", none.Members)
	}
}

func script(t *testing.T, addr string) []byte {
	t.Helper()
	s, err := regtest(t).Script(addr)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestExampleLoads renders the members.toml that cordee init writes, in place:
// config writes it and may not import this package, nor this one it.
func TestExampleLoads(t *testing.T) {
	tmpl, err := template.ParseFiles("../config/example/members.toml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, map[string]string{"Member": "first", "Treasury": address}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	r := register.New(parse(t, text))
	if w, why, ok := r.Resolve("first.home.rig1"); !ok || w.Member != 1 {
		t.Errorf("the example's rig: %+v %q", w, why)
	}
	for _, line := range []string{`note = "joined in spring, phone 555"`, `note = "the barn"`, `unknown = "refuse"`} {
		if !strings.Contains(text, "# "+line) {
			t.Fatalf("the example has no %q", line)
		}
		parse(t, strings.Replace(text, "# "+line, line, 1))
	}
}

func TestResolve(t *testing.T) {
	text := member("alpin", 7, "gap", "gap-2") + member("retired", 9)
	for _, c := range []struct {
		user, name, parked string // canonical name of a known or a parked worker
		member             uint16
		text               string // of the refusal where unknown = "refuse"
	}{
		{user: "alpin.gap.rig1", name: "alpin.gap.rig1", member: 7},
		{user: "Alpin.GAP.Rig1", name: "alpin.gap.rig1", member: 7},
		{user: "alpin.gap-2", name: "alpin.gap-2.default", member: 7},
		{user: "alpin%2egap%2Erig1", name: "alpin.gap.rig1", member: 7},
		{user: "alpin.gap.rig%31", name: "alpin.gap.rig1", member: 7},
		{user: "alpin.nord.rig1", parked: "alpin.nord.rig1", text: "member alpin has no site nord"},
		{user: "retired.gap.rig1", parked: "retired.gap.rig1", text: "member retired has no site gap"},
		{user: "Nobody.gap", parked: "nobody.gap.default", text: "member nobody is not registered here"},
		{user: "sixteen-bytes-id.sixteen-bytes-id.a", parked: "sixteen-bytes-id.sixteen-bytes-id.a", text: "member sixteen-bytes-id is not registered here"},
		// Refused everywhere: no canonical name, nothing to park under.
		{user: "", text: "name must be"},
		{user: "alpin", text: "name must be"},
		{user: "alpin.gap.rig.1", text: "name must be"},
		{user: "alpin..rig1", text: "name must be"},
		{user: "alpin.gap.", text: "name must be"},
		{user: "alpin%252egap%252erig1", text: "name must be"}, // decoded once, not twice
		{user: "alpin.gap.rig%2", text: "name must be"},
		{user: `alpin.gap."'<`, text: "name must be"},
		{user: "alpin.gap.rig1 ", text: "name must be"},
		{user: "alpin.gap.\u212aelvin", text: "name must be"}, // lower case of the Kelvin sign is k
		{user: strings.Repeat("a", 129), text: "name is too long"},
	} {
		for _, park := range []bool{false, true} {
			source := text
			if park {
				source = "unknown = \"park\"\n" + text
			}
			w, why, ok := register.New(parse(t, source)).Resolve(c.user)
			want := pool.Worker{Member: c.member, Name: c.name}
			if park && c.parked != "" {
				want.Name = c.parked
			}
			if ok != (want.Name != "") || w != want {
				t.Errorf("park %v, %q: %+v %q %v, want %+v", park, c.user, w, why, ok, want)
			}
			if !ok && (!strings.HasPrefix(why, c.text) || c.text == "") || ok && why != "" {
				t.Errorf("park %v, %q: text %q, want %q", park, c.user, why, c.text)
			}
		}
	}
}

var (
	canonical = regexp.MustCompile(`^[a-z0-9-]{1,16}\.[a-z0-9-]{1,16}\.[a-z0-9-]{1,24}$`)
	plainText = regexp.MustCompile(`^[ !#-&(-~]{1,59}$`) // ASCII without quotes
)

// FuzzName: whatever a rig calls itself, a name that is accepted is canonical,
// resolves to itself, and a refusal is fit for the wire.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a.b.c", "A.B", "a%2eb.c", "%", "a.b.%zz", "a.b.c.d", "x.y.z", "", "a..", "\xff.b.c", "a.b.\u212a", "sixteen-bytes-id.sixteen-bytes-id.z", "a.sixteen-bytes-id"} {
		f.Add(s)
	}
	text := member("a", 1, "b") + member("sixteen-bytes-id", 2)
	refusing, parking := register.New(parse(f, text)), register.New(parse(f, "unknown = \"park\"\n"+text))
	f.Fuzz(func(t *testing.T, user string) {
		for _, r := range []*register.Register{refusing, parking} {
			w, why, ok := r.Resolve(user)
			if !ok {
				if !plainText.MatchString(why) || w != (pool.Worker{}) {
					t.Fatalf("%q refused with %q and %+v", user, why, w)
				}
				continue
			}
			if !canonical.MatchString(w.Name) || w.Rig != 0 {
				t.Fatalf("%q became %+v", user, w)
			}
			if again, _, ok := r.Resolve(w.Name); !ok || again != w {
				t.Fatalf("%q became %+v, then %+v", user, w, again)
			}
			if known := strings.HasPrefix(w.Name, "a.b."); known != (w.Member == 1) || !known && w.Member != 0 {
				t.Fatalf("%q became %+v", user, w)
			}
		}
	})
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members.toml")
	first := member("a", 1, "x") + member("b", 2, "x")
	for _, c := range []struct{ name, text, want string }{
		{"same", first, ""},
		{"new member", first + member("c", 3, "y"), ""},
		{"other order", member("b", 2, "x") + member("a", 1, "x"), ""},
		{"retired", member("a", 1) + member("b", 2, "x"), ""},
		{"no longer TOML", first + "[[", "members.toml:"},
		{"a mistake", first + member("c", 2, "y"), "already the index of member[1]"},
		{"index moved", member("a", 1, "x") + member("b", 3, "x"), "members.toml:9:1: member[1].index: member b has index 2 for ever, not 3"},
		{"indexes swapped", member("a", 2, "x") + member("b", 1, "x"), "member a has index 1 for ever, not 2"},
		{"id changed", member("a", 1, "x") + member("bb", 2, "x"), "members.toml:8:1: member[1].id: index 2 belongs to member b for ever, not to bb"},
		{"removed", member("a", 1, "x"), "members.toml:1:1: member b (index 2) was removed: to retire"},
		{"removed and reused", member("a", 1, "x") + member("c", 2, "x"), "index 2 belongs to member b"},
		{"emptied", "", "member a (index 1) was removed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := register.New(parse(t, first))
			before := r.File()
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := r.Reload(path)
			if c.want == "" {
				if err != nil || r.File() == before {
					t.Fatalf("refused: %v", err)
				}
				if want := parse(t, c.text); fmt.Sprint(r.Members()) != fmt.Sprint(want.Members) {
					t.Errorf("members %v, want %v", r.Members(), want.Members)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, ok := errors.AsType[*tomlfile.Error](err); !ok {
				t.Errorf("error is a %T", err)
			}
			if r.File() != before {
				t.Error("a refused file is in force")
			}
		})
	}
	r := register.New(parse(t, first))
	if err := r.Reload(path + ".gone"); !errors.Is(err, os.ErrNotExist) || len(r.Members()) != 2 {
		t.Errorf("file gone: %v, members %v", err, r.Members())
	}
}

// TestReloadNeverMovesAnIndex: over any history of files, an id that was ever
// accepted keeps its index, and no index ever has two ids.
func TestReloadNeverMovesAnIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members.toml")
	rapid.Check(t, func(rt *rapid.T) {
		r := register.New(parse(t, ""))
		indexes, ids := map[string]uint16{}, map[uint16]string{}
		accepted := 0
		for range rapid.IntRange(1, 8).Draw(rt, "files") {
			var text strings.Builder
			for _, m := range r.Members() {
				if rapid.IntRange(0, 9).Draw(rt, "keep") > 0 {
					text.WriteString(member(m.ID, int(m.Index), "x"))
				}
			}
			for range rapid.IntRange(0, 2).Draw(rt, "more") {
				text.WriteString(member(rapid.StringMatching(`[a-d]`).Draw(rt, "id"), rapid.IntRange(1, 5).Draw(rt, "index")))
			}
			if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
				rt.Fatal(err)
			}
			if r.Reload(path) != nil {
				continue
			}
			accepted++
			for _, m := range r.Members() {
				if was, ok := indexes[m.ID]; ok && was != m.Index {
					rt.Fatalf("%s moved from %d to %d", m.ID, was, m.Index)
				}
				if was, ok := ids[m.Index]; ok && was != m.ID {
					rt.Fatalf("index %d went from %s to %s", m.Index, was, m.ID)
				}
				indexes[m.ID], ids[m.Index] = m.Index, m.ID
			}
			if len(r.Members()) != len(indexes) {
				rt.Fatalf("%d members, %d ever seen", len(r.Members()), len(indexes))
			}
		}
	})
}

// TestResolveDuringReload runs under -race: a rig sees the old file or the new
// one, never half of each.
func TestResolveDuringReload(t *testing.T) {
	dir := t.TempDir()
	files := [2]string{filepath.Join(dir, "0"), filepath.Join(dir, "1")}
	texts := [2]string{member("a", 1, "x"), member("a", 1, "x", "y") + member("b", 2, "x")}
	for i, f := range files {
		if err := os.WriteFile(f, []byte(texts[i]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := register.New(parse(t, texts[0]))
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 500 {
				if w, why, ok := r.Resolve("a.x.r"); !ok || w.Member != 1 {
					t.Errorf("%+v %q", w, why)
				}
				if w, _, ok := r.Resolve("b.x.r"); ok && w.Member != 2 {
					t.Errorf("%+v", w)
				}
			}
		})
	}
	for i := range 50 {
		err := r.Reload(files[(i+1)%2])
		if i == 0 && err != nil || i > 0 && i%2 == 1 && err == nil {
			t.Errorf("reload %d: %v", i, err) // the first file lacks b: refused from then on
		}
	}
	readers.Wait()
}

func TestResolveAllocations(t *testing.T) {
	r := register.New(parse(t, member("alpin", 7, "gap")))
	const rounds = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		if _, _, ok := r.Resolve("alpin.gap.rig1"); !ok {
			t.Fatal("refused")
		}
	}
	runtime.ReadMemStats(&after)
	// The canonical name, and the parts it is parsed into.
	if n := after.Mallocs - before.Mallocs; n > 2*rounds+100 {
		t.Errorf("%d allocations in %d calls", n, rounds)
	}
}
