package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"cordee/internal/journal"
	"cordee/pool"
)

// TestScripts runs testdata/script: each file is a page of the manual, with
// what the program says.
func TestScripts(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	closed := freeAddrs(t, 1)[0]
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("BUSY", busy.Addr().String()) // somebody listens there
			e.Setenv("CLOSED", closed)             // nobody does
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "replace": replace, "set": set, "flip": flip, "write-journal": writeJournal, "object": object,
			// pool-files DIR: cordee.toml and members.toml for a node on regtest.
			"pool-files": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: pool-files DIR")
				}
				dir := ts.MkAbs(args[0])
				ts.Check(os.MkdirAll(dir, 0o700))
				ports := freeAddrs(t, 2)
				_, err := demoSetup{
					dir: dir, url: n.URL, cookie: n.Cookie, user: n.User, password: n.PasswordFile, zmq: n.ZMQ,
					stratum: ports[0], web: ports[1],
					regtestDifficulty: 1e6 / math.Exp2(32), startDifficulty: 1e4 / math.Exp2(32),
				}.write()
				ts.Check(err)
			},
		},
	})
}

// exits CODE COMMAND...: the command ends with exactly this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s ended with %s, want %s", args[1], got, args[0])
	}
}

// replace FILE OLD NEW: edits a file in which OLD stands exactly once.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if strings.Count(text, args[1]) != 1 {
		ts.Fatalf("%q stands %d times in %s", args[1], strings.Count(text, args[1]), args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// set FILE KEY[|KEY...] VALUE: KEY = "VALUE" on the first line that has one of
// the keys.
func set(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: set FILE KEY VALUE")
	}
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	for i, l := range lines {
		key, _, ok := strings.Cut(l, " = ")
		if !ok || !slices.Contains(strings.Split(args[1], "|"), key) {
			continue
		}
		lines[i] = key + " = " + strconv.Quote(args[2])
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "\n")), 0o600))
		return
	}
	ts.Fatalf("no line of %s sets %s", args[0], args[1])
}

// flip FILE OFFSET: damages one byte.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := []byte(ts.ReadFile(args[0]))
	b[at] ^= 0x40
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// object: the last line of the command before is one JSON object, whose "ok"
// says whether there is anything on stderr.
func object(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: object")
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(lastLine(ts.ReadFile("stdout"))), &v); err != nil {
		ts.Fatalf("the last line is not one JSON object: %v", err)
	}
	if ok, is := v["ok"].(bool); !is || ok != (ts.ReadFile("stderr") == "") {
		ts.Fatalf("ok is %v, and stderr is %q", v["ok"], ts.ReadFile("stderr"))
	}
}

// writeJournal DIR SHARES: a journal of one epoch that ended cleanly.
func writeJournal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: write-journal DIR SHARES")
	}
	shares, err := strconv.Atoi(args[1])
	ts.Check(err)
	network, err := pool.NetworkByName("regtest")
	ts.Check(err)
	j, _, err := journal.Open(journal.Config{
		Dir: ts.MkAbs(args[0]), Edge: 1, Prefix: 1, Genesis: *network.Params.GenesisHash, Program: "script", SegmentSize: 1 << 20,
	})
	ts.Check(err)
	rig, err := j.RigNumber(1, "alpes.annecy.rig-1")
	ts.Check(err)
	for i := range shares {
		ticket, err := j.AppendShares([]journal.Share{{Rig: rig, Member: 1, Difficulty: 1, Nonce: uint32(i), WorkBits: 0x207fffff}})
		ts.Check(err)
		ts.Check(ticket.Wait())
	}
	ts.Check(j.Close())
	fmt.Fprintf(ts.Stdout(), "%d shares\n", shares)
}
