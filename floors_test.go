// Package cordee_test holds what is true of the module as a whole.
package cordee_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "cordee"

// floors is the table of docs/adr/0001-the-house.md. An import goes from a
// higher number to a lower one, never to an equal one. A name that ends in a
// slash stands for every package below it.
var floors = map[string]int{
	"": 7, // this test

	"cmd/": 6,

	"internal/audit":  5,
	"internal/doctor": 5,
	"internal/edge":   5,
	"internal/keeper": 5,
	"internal/web":    5,

	"internal/bare":       4,
	"internal/bitcoind":   4,
	"internal/journal":    4,
	"internal/redisstore": 4,
	"internal/register":   4,
	"internal/config":     4,
	"internal/firmware":   4,
	"internal/fleet":      4,
	"internal/sandbox":    4,

	"payout/verify": 4,

	"stratum": 3,
	"payout":  3,

	"pool": 2,

	"pool/sha256d":       1,
	"internal/certfile":  1,
	"internal/tomlfile":  1,
	"stratum/proxyproto": 1,
}

// harness may import anything, and only tests may import it.
const harness = "internal/harness"

// pure packages compute: what they need of the world comes in as an argument.
// Only direct imports are looked at, for btcd's wire imports net itself.
var pure = []string{"pool", "pool/sha256d", "payout", "payout/verify"}

// granted is what a pure package may import all the same: payout.Store's
// methods take a context, which brings no world with it; sha256d reads which
// kernel the environment names, so that every test binary obeys, and nothing
// that it computes depends on the answer (ADR 0013).
var granted = map[string][]string{"payout": {"context"}, "pool/sha256d": {"os"}}

// worldly packages, each with all below it, are what a pure one may not import.
var worldly = []string{
	"net", "os", "io/fs", "syscall", "time", "context", "log", "math/rand", "crypto/rand", "database/sql", "plugin",
	"golang.org/x/sys/unix", "golang.org/x/sync", "github.com/rs/zerolog", "github.com/prometheus/client_golang",
	"github.com/redis", "github.com/lightninglabs/gozmq",
}

// room is one package: its path inside the module and the paths it imports
// outside of tests.
type room struct {
	path    string
	imports []string
}

func TestImportsPointDown(t *testing.T) {
	for _, v := range violations(listRooms(t)) {
		t.Error(v)
	}
}

// TestFloorsCanFail breaks each rule once.
func TestFloorsCanFail(t *testing.T) {
	for _, c := range []struct {
		room room
		want string
	}{
		{room{"pool", []string{"cordee/stratum"}}, "imports cordee/stratum (floor 3), which is above it"},
		{room{"internal/journal", []string{"cordee/internal/bitcoind"}}, "its own floor"},
		{room{"internal/util", nil}, "has no floor"},
		{room{"internal/edge", []string{"cordee/internal/harness/fault"}}, "only tests may import"},
		{room{"pool", []string{"math/rand/v2"}}, "must stay pure"},
		{room{"pool/sha256d", []string{"time"}}, "must stay pure"},
		{room{"pool", []string{"os"}}, "must stay pure"},
		{room{"payout", []string{"cordee/payout/verify"}}, "which is above it"},
		{room{"payout/verify", []string{"os"}}, "must stay pure"},
		{room{"payout", []string{"time"}}, "must stay pure"},
		{room{"pool", []string{"context"}}, "must stay pure"},
		{room{"payout", []string{"github.com/redis/go-redis/v9"}}, "must stay pure"},
	} {
		got := violations([]room{c.room})
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%v: %q does not say %q", c.room, got, c.want)
		}
	}
	sound := []room{
		{"cmd/cordee", []string{"os", "cordee/internal/edge", "cordee/pool"}},
		{"internal/harness", []string{"cordee/cmd/cordee", "net"}},
		{"pool", []string{"cordee/pool/sha256d", "math/big", "timeless.example/os"}},
		{"payout", []string{"context"}},
	}
	if got := violations(sound); len(got) != 0 {
		t.Errorf("nothing is wrong with %v, yet: %q", sound, got)
	}
}

// violations says of each broken rule what is wrong and what to do.
func violations(rooms []room) []string {
	var list []string
	for _, r := range rooms {
		if under(r.path, harness) {
			continue
		}
		from, known := floorOf(r.path)
		if !known {
			list = append(list, fmt.Sprintf("%s has no floor: give it one in docs/adr/0001-the-house.md and in floors_test.go",
				r.path))
			continue
		}
		for _, path := range r.imports {
			if fault := judge(r.path, from, path); fault != "" {
				list = append(list, fmt.Sprintf("%s (floor %d) %s", r.path, from, fault))
			}
		}
	}
	return list
}

func judge(room string, from int, path string) string {
	if inner, ours := strings.CutPrefix(path, module+"/"); ours {
		to, known := floorOf(inner)
		switch {
		case under(inner, harness):
			return fmt.Sprintf("imports %s, which only tests may import: move the use into a _test.go file", path)
		case !known:
			return "" // said once, for the package itself
		case to > from:
			return fmt.Sprintf("imports %s (floor %d), which is above it: declare an interface here, "+
				"where it is consumed, and let cmd wire the two", path, to)
		case to == from:
			return fmt.Sprintf("imports %s, which is on its own floor: declare an interface here, "+
				"or move what both need one floor down", path)
		}
		return ""
	}
	if slices.Contains(pure, room) && !slices.Contains(granted[room], path) && slices.ContainsFunc(worldly, func(w string) bool { return under(path, w) }) {
		return fmt.Sprintf("imports %s and must stay pure: take the value as an argument from internal/edge", path)
	}
	return ""
}

func floorOf(path string) (floor int, known bool) {
	if floor, known = floors[path]; known {
		return floor, true
	}
	for name, floor := range floors {
		if strings.HasSuffix(name, "/") && strings.HasPrefix(path, name) {
			return floor, true
		}
	}
	return 0, false
}

// under reports whether path is root or below it.
func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func listRooms(t *testing.T) []room {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaint)
	}
	var rooms []room
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		path := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		rooms = append(rooms, room{path, fields[1:]})
	}
	if len(rooms) < len(pure) {
		t.Fatalf("go list knows of %d packages only: %v", len(rooms), rooms)
	}
	return rooms
}
