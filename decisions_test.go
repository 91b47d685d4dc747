package cordee_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var (
	decisionCited  = regexp.MustCompile(`\bdecisions?[\s/]+(\d+(?:, \d+)*)`)
	decisionListed = regexp.MustCompile(`(?m)^- \*\*(\d+)\.\*\*`)
	number         = regexp.MustCompile(`\d+`)
)

// TestEveryDecisionIsListed: who reads "(decision 15)" finds it in
// docs/decisions.md, and that list holds no other.
func TestEveryDecisionIsListed(t *testing.T) {
	listed := map[string]bool{} // by number: whether it is cited
	for _, m := range decisionListed.FindAllStringSubmatch(readFile(t, "docs/decisions.md"), -1) {
		listed[m[1]] = false
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".cache"):
			return filepath.SkipDir
		case path == "decisions_test.go", path == filepath.Join("docs", "decisions.md"):
			return nil
		case filepath.Ext(path) != ".go" && filepath.Ext(path) != ".md":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range decisionCited.FindAllSubmatch(b, -1) {
			for _, n := range number.FindAllString(string(m[1]), -1) {
				if _, ok := listed[n]; !ok {
					t.Errorf("%s cites decision %s, which docs/decisions.md does not list", path, n)
				}
				listed[n] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, cited := range listed {
		if !cited {
			t.Errorf("docs/decisions.md lists decision %s, which nothing cites", n)
		}
	}
}
