package tomlfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cordee/internal/tomlfile"
)

type inner struct {
	A     int64             `toml:"a,required"`
	Wait  tomlfile.Duration `toml:"wait"`
	Room  tomlfile.Size     `toml:"room"`
	Money tomlfile.Sats     `toml:"money"`
	List  []string          `toml:"list"`
}

type outer struct {
	Name  string   `toml:"name"`
	Ratio *float64 `toml:"ratio"`
	On    bool     `toml:"on"`
	Table inner    `toml:"table"`
	Rows  []inner  `toml:"row"`
	Other string   // no tag: not a key
}

func parse(text string) (outer, *tomlfile.File) {
	dst := outer{Name: "default"}
	return dst, tomlfile.Parse("f.toml", []byte(text), &dst, nil)
}

func TestDecode(t *testing.T) {
	dst := outer{Name: "default", Other: "kept"}
	f := tomlfile.Parse("f.toml", []byte(`ratio = 2
on = true
table.a = 1
[[row]]
a = -5
wait = "1m30s"
room = "3 GiB"
money = 2_100_000_000_000_000
list = ["x", 'y']
[[row]]
a = 0x10
`), &dst, nil)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	want := outer{Name: "default", Other: "kept", On: true, Table: inner{A: 1}, Rows: []inner{
		{A: -5, Wait: tomlfile.Duration(90 * time.Second), Room: 3 << 30, Money: 21e14, List: []string{"x", "y"}},
		{A: 16},
	}}
	if dst.Ratio == nil || *dst.Ratio != 2 {
		t.Errorf("ratio %v", dst.Ratio)
	}
	dst.Ratio = nil
	if fmt.Sprintf("%+v", dst) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", dst, want)
	}
}

func TestPosition(t *testing.T) {
	text := strings.Join([]string{
		/* 1 */ `name = "x"`,
		/* 2 */ `# comment`,
		/* 3 */ `[table]`,
		/* 4 */ `  a = 1`,
		/* 5 */ `"odd.key" = 1`,
		/* 6 */ `list = [ # comment`,
		/* 7 */ `  "one",`,
		/* 8 */ `  # comment`,
		/* 9 */ `  "two", "three",`,
		/* 10 */ `]`,
		/* 11 */ `[[row]]`,
		/* 12 */ `a = 1`,
		/* 13 */ `  [[row.sub]]`,
		/* 14 */ `  k = { x = 1, y = [ { z = 1 } ] }`,
		/* 15 */ `[[row]]`,
		/* 16 */ `[[row.sub]]`,
		/* 17 */ `[[row.sub]]`,
		/* 18 */ `k.x = 1`,
		/* 19 */ `[row.last]`,
		/* 20 */ `v = 1`,
	}, "\r\n")
	_, f := parse(text)
	for path, want := range map[string]tomlfile.Position{
		"name":                   {1, 1},
		"table":                  {3, 2},
		"table.a":                {4, 3},
		`table."odd.key"`:        {5, 1},
		"table.list":             {6, 1},
		"table.list[0]":          {7, 3},
		"table.list[1]":          {9, 3},
		"table.list[2]":          {9, 10},
		"row":                    {11, 3},
		"row[0]":                 {11, 3},
		"row[0].a":               {12, 1},
		"row[0].sub[0]":          {13, 9}, // the key that names it
		"row[0].sub[0].k":        {14, 3},
		"row[0].sub[0].k.x":      {14, 9},
		"row[0].sub[0].k.y":      {14, 16},
		"row[0].sub[0].k.y[0].z": {14, 24},
		"row[1]":                 {15, 3},
		"row[1].sub[0]":          {16, 7},
		"row[1].sub[1]":          {17, 7},
		"row[1].sub[1].k.x":      {18, 3},
		"row[1].last.v":          {20, 1},
		// Absent: the nearest table around it.
		"row[1].sub[1].none": {17, 7},
		"row[0].none.none":   {11, 3},
		"row[9]":             {11, 3},
		"table.none":         {3, 2},
		"none":               {1, 1},
		"":                   {1, 1},
	} {
		if got := f.Position(path); got != want {
			t.Errorf("%s stands at %v, want %v", path, got, want)
		}
	}
	if f.Has("row[1].sub[1].none") || !f.Has("row[1].last.v") || f.Line("row[1].last.v") != 20 {
		t.Error("Has or Line disagrees with Position")
	}
}

// TestPositionProperty writes keys at known places and asks for them again.
func TestPositionProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		line := 1
		nl := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "newline")
		newline := func() { text.WriteString(nl); line++ }
		want := map[string]tomlfile.Position{}
		for row := range rapid.IntRange(0, 6).Draw(t, "rows") {
			for range rapid.IntRange(0, 3).Draw(t, "noise") {
				text.WriteString(rapid.SampledFrom([]string{"", "# a = 1", "   # [row]"}).Draw(t, "line"))
				newline()
			}
			text.WriteString("[[row]]")
			want[fmt.Sprintf("row[%d]", row)] = tomlfile.Position{Line: line, Column: 3}
			newline()
			for key := range rapid.IntRange(0, 5).Draw(t, "keys") {
				indent := rapid.IntRange(0, 5).Draw(t, "indent")
				want[fmt.Sprintf("row[%d].k%d", row, key)] = tomlfile.Position{Line: line, Column: indent + 1}
				value := rapid.SampledFrom([]string{"1", `"a"`, `"[[row]]"`, "[\n1,\n[2],\n]", "\"\"\"\nk0 = 1\n\"\"\"", "{ k0 = 1 }"}).Draw(t, "value")
				fmt.Fprintf(&text, "%sk%d = %s", strings.Repeat(" ", indent), key, value)
				line += strings.Count(value, "\n")
				newline()
			}
		}
		_, f := parse(text.String())
		if f.Broken() {
			t.Fatalf("%v in\n%s", f.Err(), text.String())
		}
		for path, at := range want {
			if got := f.Position(path); got != at {
				t.Fatalf("%s at %v, want %v in\n%s", path, got, at, text.String())
			}
		}
	})
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nam = 1", "f.toml:1:1: nam: unknown key: did you mean name?"},
		{"Name = 'x'", "f.toml:1:1: Name: unknown key: did you mean name?"},
		{"a = 1", "f.toml:1:1: a: unknown key here: a belongs in [table] or [[row]]"},
		{"[table]\na = 1\nratio = 1", "f.toml:3:1: table.ratio: unknown key here: ratio belongs at the top of the file, above the first [table]"},
		{"'' = 1", `f.toml:1:1: "": unknown key: known here are name, on, ratio, row, table`},
		{"[table]", "f.toml:1:2: table.a: is missing"},
		{"[table]\naa = 1", "f.toml:2:1: table.aa: unknown key: did you mean a?"},
		{"Other = 'x'", "f.toml:1:1: Other: unknown key: known here are name, on, ratio, row, table"},
		{"table = 5", "f.toml:1:1: table: must be a table, not 5"},
		{"row = [1]", "f.toml:1:8: row[0]: must be a table, not 1"},
		{"[table]\na = 1.0", "f.toml:2:1: table.a: must be a whole number, not 1.0"},
		{"[table]\na = 1\nwait = '5'", `f.toml:3:1: table.wait: "5" is not a duration: write it like "2s", "250ms" or "1h30m"`},
		{"[table]\na = 1\nroom = '9999999999GiB'", `f.toml:3:1: table.room: "9999999999GiB" is not a size: write a whole number with KiB, MiB or GiB, like "64MiB"`},
		{"[table]\na = 1\nroom = '-1KiB'", `f.toml:3:1: table.room: "-1KiB" is not a size: write a whole number with KiB, MiB or GiB, like "64MiB"`},
		{"[table]\na = 1\nmoney = 0.5", "f.toml:3:1: table.money: must be a whole number of satoshis without quotes, not 0.5 (1 BTC is 100000000)"},
		{"[table]\na = 1\nlist = ['a', 1, 'b', 1979-05-27]", "f.toml:3:14: table.list[1]: must be text in quotes, not 1\nf.toml:3:22: table.list[3]: must be text in quotes, not a date or time"},
		{"ratio = true", "f.toml:1:1: ratio: must be a number, not true"},
		{"on = 1", "f.toml:1:1: on: must be true or false, without quotes, not 1"},
		{"name = 1\n[[row]]\nx = 1\n[[row]]\na = 'y'", "f.toml:1:1: name: must be text in quotes, not 1\nf.toml:3:1: row[0].x: unknown key: did you mean a?\nf.toml:5:1: row[1].a: must be a whole number, not the text \"y\""},
		{"on = yes", `f.toml:1:6: unexpected character U+0079 'y' at start of value (text stands in quotes: "yes")`},
	} {
		_, f := parse(c.text)
		err := f.Err()
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestErrorfKeepsTheFirst(t *testing.T) {
	_, f := parse("name = 'x'\non = true\n")
	if f.Err() != nil {
		t.Fatal(f.Err())
	}
	f.Errorf("on", "second line")
	f.Errorf("name", "first %s", "line")
	f.Errorf("name", "again")
	f.Errorf("", "the file")
	f.Errorf("", "the file, twice")
	want := "f.toml:1:1: name: first line\nf.toml:1:1: the file\nf.toml:1:1: the file, twice\nf.toml:2:1: on: second line"
	if got := f.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !f.Failed("name") || f.Failed("table") || f.Failed("") {
		t.Error("Failed is wrong")
	}
	if again := f.Again(); again.Err() != nil || again.Line("on") != 2 {
		t.Error("Again keeps the places and drops the problems")
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f.toml")
	if err := os.WriteFile(name, []byte("name = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var dst outer
	f, err := tomlfile.Read(name, &dst, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(f.Err()); !strings.HasPrefix(got, name+":1:1: ") {
		t.Error(got)
	}
	for in, want := range map[string]string{"": "", "/abs/x": "/abs/x", "x": filepath.Join(dir, "x"), "../x": filepath.Join(filepath.Dir(dir), "x")} {
		if got := f.Rel(in); got != want {
			t.Errorf("Rel(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestDeepKeys: a key of very many dots must not cost a path for each.
func TestDeepKeys(t *testing.T) {
	deep := strings.Repeat("a.", 5000) + "a"
	for _, text := range []string{deep + " = 1", "[" + deep + "]\nb = 1", "x = " + strings.Repeat("{a=", 50) + "1" + strings.Repeat("}", 50)} {
		_, f := parse(text)
		if f.Err() == nil {
			t.Errorf("%.20q accepted", text)
		}
		if f.Has("a.a.a.a.a.a.a.a.a") || strings.HasPrefix(text, "a") && !f.Has("a.a.a.a.a.a.a.a") {
			t.Errorf("%.20q is not located to depth 8", text)
		}
	}
}

func TestSizeString(t *testing.T) {
	for z, want := range map[tomlfile.Size]string{0: "0 bytes", 5: "5 bytes", 1 << 10: "1KiB", 3 << 20: "3MiB", 1<<30 + 1<<20: "1025MiB", 1 << 30: "1GiB"} {
		if z.String() != want {
			t.Errorf("%d: %s, want %s", int64(z), z, want)
		}
	}
}
