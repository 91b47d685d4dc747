package cordee_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	eventCall  = regexp.MustCompile(`Str\("event", "([\w.]+)"\)`)
	eventTable = regexp.MustCompile(`eventNames = [^{]*\{([^}]*)\}`)
	eventText  = regexp.MustCompile(`\\?"event\\?":\\?"([\w.]+)\\?"`)
	dotted     = regexp.MustCompile(`"([a-z]+\.[a-z_]+)"`)
	levels     = regexp.MustCompile(`^ (debug|info|warn|error)`)
	eventRow   = regexp.MustCompile("`([a-z]+\\.[a-z_]+)`")
	anchorless = regexp.MustCompile(`[^a-z0-9 -]`)
)

// TestEveryEventIsExplained: docs/operating.md explains every event that the
// program can log, and none that it cannot.
func TestEveryEventIsExplained(t *testing.T) {
	events := map[string]bool{}
	for _, root := range []string{"cmd", "internal", "stratum"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, re := range []*regexp.Regexp{eventCall, eventText} {
				for _, m := range re.FindAllSubmatch(b, -1) {
					events[string(m[1])] = true
				}
			}
			for _, table := range eventTable.FindAllSubmatch(b, -1) {
				for _, m := range dotted.FindAllSubmatch(table[1], -1) {
					events[string(m[1])] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(events) < 40 {
		t.Fatalf("found %d events only: %v", len(events), events)
	}
	var explained []string
	for line := range strings.Lines(readFile(t, "docs/operating.md")) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !levels.MatchString(cells[2]) { // event, level, text
			continue
		}
		for _, m := range eventRow.FindAllStringSubmatch(cells[1], -1) {
			explained = append(explained, m[1])
			if !events[m[1]] {
				t.Errorf("docs/operating.md explains %s, which nothing logs", m[1])
			}
		}
	}
	for e := range events {
		if !slices.Contains(explained, e) {
			t.Errorf("%s is not in the table of docs/operating.md", e)
		}
	}
}

// A merge can leave a section twice, and then one of the two grows old.
func TestEverySectionOnce(t *testing.T) {
	text, seen := readFile(t, "docs/operating.md"), map[string]bool{}
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimSpace(line), "## ")
		if !ok {
			continue
		}
		if seen[title] {
			t.Errorf("docs/operating.md has %q twice", title)
		}
		seen[title] = true
		anchor := strings.ReplaceAll(anchorless.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
		if !strings.Contains(text, "(#"+anchor+")") {
			t.Errorf("the list at the head does not link to %q", title)
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d sections", len(seen))
	}
}
