package register_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordee/internal/register"
)

// TestAnyEnd cuts the file anywhere, as a crash may, and spoils its end. What
// was durable is read, in what is cut nobody was answered, and the next address
// stands where it belongs.
func TestAnyEnd(t *testing.T) {
	path := file(t)
	o := open(t, path)
	var ends []int64 // of the file behind the head and each line
	for i := range 3 {
		keep(t, o, signIn(t, o, addressOf(i)).Member)
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, st.Size())
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.IndexByte(whole, '\n') + 1
	for n := head; n <= len(whole); n++ {
		lines := 0
		for _, end := range ends {
			if end <= int64(n) {
				lines++
			}
		}
		for _, torn := range []string{"", "\x00\x00", "\n", "7 7 7 7 7\n\n"} {
			if err := os.WriteFile(path, append(bytes.Clone(whole[:n]), torn...), 0o600); err != nil {
				t.Fatal(err)
			}
			o := open(t, path)
			// A newline completes a line of which nothing else is missing.
			if got := len(o.Members()); got != lines && !(got == lines+1 && strings.HasPrefix(torn, "\n")) {
				t.Fatalf("%d bytes and %q: %d members, want %d", n, torn, got, lines)
			}
			if n%8 != 0 && n != len(whole) {
				continue // what is written behind it takes its time
			}
			had := len(o.Members())
			keep(t, o, signIn(t, o, addressOf(100)).Member)
			if got := open(t, path).Members(); len(got) != had+1 || got[had].ID != addressOf(100) {
				t.Fatalf("%d bytes and %q: then %+v", n, torn, got)
			}
		}
	}
}

// A byte that changed is told by its line, unless it may be the end of a write
// that nobody was answered for; no address ever gets another's index by it.
func TestAnyFlip(t *testing.T) {
	path := file(t)
	o := open(t, path)
	for i := range 4 {
		keep(t, o, signIn(t, o, addressOf(i)).Member)
	}
	good := o.Members()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for at := range whole {
		for _, bit := range []byte{1, 0x20} {
			bad := bytes.Clone(whole)
			bad[at] ^= bit
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := register.OpenAddresses(path, regtest(t))
			if at >= last {
				if err != nil || fmt.Sprint(o.Members()) != fmt.Sprint(good[:3]) {
					t.Fatalf("byte %d of the last line: %v", at, err)
				}
				continue
			}
			if !errors.Is(err, register.ErrAddresses) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Fatalf("byte %d: %v", at, err)
			}
		}
	}
}

func TestBadAddresses(t *testing.T) {
	path := file(t)
	o := open(t, path)
	keep(t, o, signIn(t, o, addressOf(1)).Member)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := register.OpenAddresses(filepath.Dir(path), regtest(t)); err == nil {
		t.Error("a directory is read")
	}
	for what, text := range map[string]string{
		"another network": strings.Replace(string(good), "regtest", "main", 1),
		"a newer program": strings.Replace(string(good), "addresses 1", "addresses 2", 1),
		"empty":           "",
		"no head":         string(good[bytes.IndexByte(good, '\n')+1:]),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := register.OpenAddresses(path, regtest(t)); !errors.Is(err, register.ErrAddresses) || !strings.Contains(err.Error(), "another network or program") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
