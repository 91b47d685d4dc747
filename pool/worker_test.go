package pool_test

import (
	"errors"
	"strings"
	"testing"

	"cordee/pool"
)

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{
		"anna.cave.s19-1": "anna.cave.s19-1",
		"Anna.CAVE.S19":   "anna.cave.s19",
		"anna.cave":       "anna.cave.default",
		"0.-.x":           "0.-.x",
		strings.Repeat("a", 16) + "." + strings.Repeat("b", 16) + "." + strings.Repeat("c", 24): strings.Repeat("a", 16) + "." + strings.Repeat("b", 16) + "." + strings.Repeat("c", 24),
		"anna":                             "",
		"":                                 "",
		"..":                               "",
		"anna..rig":                        "",
		"anna.cave.":                       "",
		"a.b.c.d":                          "",
		"an na.cave.x":                     "",
		"anna.cave.\"":                     "",
		"anna.cave.r\u00e9":                "",
		"\u212aim.cave.x":                  "", // the Kelvin sign lowers to k
		"a.b.\x00":                         "",
		strings.Repeat("a", 17) + ".b.c":   "",
		"a." + strings.Repeat("b", 17):     "",
		"a.b." + strings.Repeat("c", 25):   "",
		strings.Repeat(".", 1<<16) + "a.b": "",
	} {
		n, err := pool.ParseName(in)
		if want == "" {
			if !errors.Is(err, pool.ErrName) {
				t.Errorf("ParseName(%.40q) = %v, %v; want ErrName", in, n, err)
			}
			continue
		}
		if err != nil || n.String() != want {
			t.Errorf("ParseName(%q) = %v, %v; want %s", in, n, err, want)
		}
	}
}

// One name has one canonical form, and that form parses to itself.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"anna.cave.s19", "A.b", "a.b.c.d", "\u212a.b.c", "..", "a.b.\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := pool.ParseName(s)
		if err != nil {
			return
		}
		again, err := pool.ParseName(n.String())
		if err != nil || again != n {
			t.Errorf("%q gives %v, which gives %v, %v", s, n, again, err)
		}
		if !strings.HasPrefix(n.String(), strings.ToLower(s)) || len(n.String()) > len(s)+len(".default") {
			t.Errorf("%q became %v", s, n)
		}
	})
}
