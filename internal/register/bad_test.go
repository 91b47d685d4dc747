package register_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cordee/internal/register"
)

var update = flag.Bool("update", false, "write the golden messages anew")

// lineFirst is how every line of an error starts.
var lineFirst = regexp.MustCompile(`^[^:\n]+\.toml:[1-9][0-9]*:[1-9][0-9]*: \S`)

// TestBadFiles holds each file of testdata/bad against the messages beside it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".toml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = register.Parse(name, data, regtest(t))
			if err == nil {
				t.Fatal("accepted")
			}
			got := err.Error() + "\n"
			for line := range strings.Lines(got) {
				if !lineFirst.MatchString(line) {
					t.Errorf("names no line: %s", line)
				}
			}
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}
