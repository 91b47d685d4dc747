package firmware

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordee/pool"
	"cordee/stratum"
)

func network(t testing.TB, name string) *pool.Network {
	t.Helper()
	n, err := pool.NetworkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The table that the program brings along is sound on every network, and puts
// the agents of the field where they belong. Difficulties are those that rigs
// are told, on main.
func TestDefaultTable(t *testing.T) {
	for _, name := range []string{"main", "testnet4", "signet", "regtest"} {
		if n := len(Default(network(t, name)).Rows()); n < 15 {
			t.Errorf("%s: %d rows", name, n)
		}
	}
	main := network(t, "main")
	table := Default(main)
	for _, c := range []struct {
		agent      string
		class      pool.Class
		min, start string
	}{
		{"NerdMinerV2/V1.8.3", pool.TinyClass, "", "0.0009765625"},
		{"NiceHash/1.0.0", pool.DefaultClass, "524288", "524288"},
		{"cpuminer/2.5.1", pool.DefaultClass, "", "0.0078125"},
		{"bitaxe/BM1368/v2.9.0", pool.LargeClass, "", "1024"},
		{"NerdQAxe++/BM1370/v1.0.35", pool.DefaultClass, "", "4096"},
		{"NerdAxe/BM1366/1", pool.DefaultClass, "", "4096"},
		{"cgminer/4.11.1 avalon", pool.DefaultClass, "", "16384"},
		{"whatsminer/v1.1", pool.LargeClass, "", "65536"},
		{"Antminer S21/Mon", pool.MediumClass, "", "65536"},
		{"Antminer S19 Pro/Mon", pool.DefaultClass, "", "65536"},
		{"Braiins OS 24.09/bosminer-plus-tuner 0.9", pool.MediumClass, "", "65536"},
		{"bosminer-plus-tuner 0.2.0-36c5", pool.MediumClass, "", "65536"},
		{"Braiins OS 24.09", pool.DefaultClass, "", "65536"},
		{"LUXminer 2024", pool.DefaultClass, "", "65536"},
		{"PowerPlay-BM/1.14", pool.HugeClass, "", "65536"},
		{"xminer-1.2.6", pool.HugeClass, "", "65536"},
		{"cgminer/4.11.1", pool.Class{}, "", ""},
		{"", pool.Class{}, "", ""},
	} {
		r := table.Find(c.agent)
		if r == nil {
			if c.class != (pool.Class{}) {
				t.Errorf("%s: no row", c.agent)
			}
			continue
		}
		text := func(d pool.Difficulty) string {
			if d == 0 {
				return ""
			}
			return d.Text(main.Scale)
		}
		if r.Class != c.class || text(r.MinDifficulty) != c.min || text(r.StartDifficulty) != c.start {
			t.Errorf("%s: class %s, floor %q, start %q, by %s", c.agent, r.Class.Name, text(r.MinDifficulty), text(r.StartDifficulty), r.Source)
		}
	}
	if got := Classes(table); len(got) != 5 || got[0] != pool.DefaultClass {
		t.Errorf("classes %v", got)
	}
	if got := Classes(nil); len(got) != 1 {
		t.Errorf("classes of no table %v", got)
	}
}

// Rows of the file go before those of the program, and nothing else changes.
func TestFileGoesFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "firmware.toml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := network(t, "signet")
	write("[[firmware]]\nexact = \"bitaxe/our own\"\nclass = \"huge\"\n[[firmware]]\ncontains = \"S21\"\nclass = \"default\"\nmin_difficulty = 0.1\n")
	table, err := Load(path, n)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(table.Rows()), len(Default(n).Rows())+2; got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
	for agent, want := range map[string]string{
		"bitaxe/our own": path + ":1", "bitaxe/other": "default.toml:", "Antminer S21/x": path + ":4", "PowerPlay-BM/1": "default.toml:",
	} {
		if r := table.Find(agent); r == nil || !strings.HasPrefix(r.Source, want) {
			t.Errorf("%s: %+v, want a row of %s", agent, r, want)
		}
	}
	if r := table.Find("antminer s21 xp"); r.MinDifficulty != 102 || r.Match != stratum.MatchContains {
		t.Errorf("%+v", r)
	}
	write("")
	if table, err = Load(path, n); err != nil || len(table.Rows()) != len(Default(n).Rows()) {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml"), n); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

// Every mistake is named with file and line, all of a file at once.
func TestBadRows(t *testing.T) {
	const row = "[[firmware]]\nprefix = \"a\"\nclass = \"tiny\"\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"syntax":            {"[[firmware]\n", []string{"f.toml:1:"}},
		"nothing to match":  {"[[firmware]]\nclass = \"tiny\"\n", []string{"f.toml:1:", "firmware[0]: has 0 of prefix, contains and exact"}},
		"two to match":      {"[[firmware]]\nclass = \"tiny\"\nprefix = \"a\"\nexact = \"b\"\n", []string{"f.toml:1:", "has 2 of"}},
		"no class":          {"[[firmware]]\nprefix = \"a\"\n", []string{"f.toml:1:", "class"}},
		"empty class":       {"[[firmware]]\nprefix = \"a\"\nclass = \"\"\n", []string{"f.toml:3:", "must not be empty"}},
		"unknown class":     {"[[firmware]]\nprefix = \"a\"\nclass = \"6500\"\n", []string{"f.toml:3:", `"6500" is no class`, "large (6500 bytes)"}},
		"empty text":        {"[[firmware]]\nprefix = \"\"\nclass = \"tiny\"\n", []string{"f.toml:2:", "every rig's"}},
		"long text":         {"[[firmware]]\nprefix = \"" + strings.Repeat("x", 129) + "\"\nclass = \"tiny\"\n", []string{"f.toml:2:", "128"}},
		"space at an end":   {"[[firmware]]\nprefix = \"a \"\nclass = \"tiny\"\n", []string{"f.toml:2:", "space"}},
		"control character": {"[[firmware]]\nprefix = \"a\\u0000b\"\nclass = \"tiny\"\n", []string{"f.toml:2:", "printable"}},
		"twice":             {row + "[[firmware]]\nclass = \"huge\"\nprefix = \"A\"\n", []string{"f.toml:6:", "stands in line 2"}},
		"zero":              {row + "min_difficulty = 0\n", []string{"f.toml:4:", "min_difficulty"}},
		"negative":          {row + "start_difficulty = -1.0\n", []string{"f.toml:4:", "start_difficulty"}},
		"not a number":      {row + "start_difficulty = nan\n", []string{"f.toml:4:", "start_difficulty"}},
		"too much":          {row + "start_difficulty = 1e300\n", []string{"f.toml:4:", "above every rig"}},
		"text":              {row + "start_difficulty = \"1\"\n", []string{"f.toml:4:", "start_difficulty"}},
		"below the floor":   {row + "min_difficulty = 8\nstart_difficulty = 4\n", []string{"f.toml:5:", "below min_difficulty 8 (line 4)"}},
		"unknown key":       {row + "classs = 1\n", []string{"f.toml:4:", "did you mean class?"}},
		"hint":              {row + "sends_ping = true\n", []string{"f.toml:4:", "nothing depends on it"}},
		"two mistakes":      {row + "min_difficulty = 0\n[[firmware]]\nclass = \"x\"\nprefix = \"b\"\n", []string{"f.toml:4:", "\nf.toml:6:"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("f.toml", []byte(c.text), network(t, "main"))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
		})
	}
	if _, err := parse("f.toml", []byte(row), network(t, "main")); err != nil {
		t.Error(err)
	}
}
