package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"

	"cordee/internal/bare"
	"cordee/internal/sandbox"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cordee-load": main})
}

// TestScripts runs testdata/*.txt: they read as a manual of the command.
func TestScripts(t *testing.T) {
	accepts := serve(t, "true")
	rejects := serve(t, `[21,"Stale share",null]`)
	refuses := serve(t, "")
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("ACCEPTS", accepts)
			e.Setenv("REJECTS", rejects)
			e.Setenv("REFUSES", refuses)
			e.Setenv("CLOSED", closedPort(t))
			e.Setenv("FLOOR", floor(t))
			e.Setenv("PID", strconv.Itoa(os.Getpid())) // where FLOOR is
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"shape": shape, "exits": exits},
	})
}

// exits CODE COMMAND...: the command ends with exactly this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s ended with %s, want %s", args[1], got, args[0])
	}
}

// shape FILE GOLDEN: the last line of FILE is one JSON object whose paths and
// types are GOLDEN's.
func shape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shape FILE GOLDEN")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
	var v any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &v))
	var paths []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(path+"."+k, e)
			}
		case []any:
			paths = append(paths, path+" list")
			if len(v) > 0 {
				walk(path+"[0]", v[0])
			}
		default:
			paths = append(paths, fmt.Sprintf("%s %T", path, v))
		}
	}
	walk("", v)
	slices.Sort(paths)
	if got, want := strings.Join(paths, "\n"), strings.TrimSpace(ts.ReadFile(args[1])); got != want {
		ts.Fatalf("the object has\n%s\nwant\n%s", got, want)
	}
}

// serve starts a server that gives work of difficulty 2^-24 and answers every
// share with verdict: true, or an error. "" refuses every name. It returns its
// address.
func serve(t *testing.T, verdict string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go talk(conn, verdict)
		}
	}()
	return l.Addr().String()
}

// floor starts a bare server with a new job every 600 ms and returns its address.
func floor(t *testing.T) string {
	t.Helper()
	s, err := bare.New(bare.Config{Difficulty: leastDifficulty, NotifyEvery: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func talk(conn net.Conn, verdict string) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var in struct {
			ID     json.RawMessage
			Method string
		}
		if json.Unmarshal(lines.Bytes(), &in) != nil {
			return
		}
		result, fault, push := "true", "null", ""
		switch in.Method {
		case "mining.configure":
			result = `{"version-rolling":true,"version-rolling.mask":"1fffe000"}`
		case "mining.subscribe":
			result = `[[["mining.set_difficulty","1"],["mining.notify","1"]],"0a0b0c0d",8]`
		case "mining.authorize":
			if verdict == "" {
				result, fault = "null", `[24,"Unknown member",null]`
				break
			}
			push = `{"id":null,"method":"mining.set_difficulty","params":[0.000000059604644775390625]}` + "\n" +
				`{"id":null,"method":"mining.notify","params":["1","` + strings.Repeat("00", 32) + `","0100","ffff",[],"20000000","1d00ffff","64b3f3ec",true]}` + "\n"
		case "mining.submit":
			if verdict != "true" {
				result, fault = "null", verdict
			}
		}
		fmt.Fprintf(conn, `{"id":%s,"result":%s,"error":%s}`+"\n%s", in.ID, result, fault, push)
	}
}

// closedPort returns an address nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	a, err := sandbox.FreeAddress() // nobody is given it: one of port 0 might be somebody's a moment later
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]float64{
		"1": 1, "1e6": 1e6, "500k": 5e5, "500K": 5e5, "1.5M": 1.5e6, "2G": 2e9, "0.5k": 500,
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "k", "1T", "1kk", "NaN", "Inf", "1e400", "1 M", "1e308G"} {
		if v, err := parseRate(text); err == nil || !strings.Contains(err.Error(), "500k") {
			t.Errorf("%q: %v, error %v, want one that shows how", text, v, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:3333": "127.0.0.1:3333", "stratum+tcp://pool.example:3333": "pool.example:3333",
		"Stratum+TCP://[::1]:1/": "[::1]:1", "stratum+ssl://pool.example:3443": "pool.example:3443",
	} {
		got, secure, err := parseURL(text)
		if err != nil || got != want || secure != strings.Contains(text, "ssl") {
			t.Errorf("%q: %q, TLS %t (%v), want %q", text, got, secure, err, want)
		}
	}
	for _, text := range []string{"", "pool", ":3333", "pool:", "pool:0", "pool:65536", "pool:x", "http://a:1", "a:1/b", "::1:3"} {
		if got, _, err := parseURL(text); err == nil {
			t.Errorf("%q was read as %q", text, got)
		}
	}
}

func TestRound(t *testing.T) {
	if got := round(1234567 * time.Nanosecond); got.String() != "1.235ms" {
		t.Errorf("%v", got)
	}
	if got := rate(1234567); got != "1.23 MH/s" {
		t.Errorf("%v", got)
	}
}

// TestUserNumbers: each rig has its own name and an even part of the rate.
func TestUserNumbers(t *testing.T) {
	var out strings.Builder
	if code := run(t.Context(), []string{"cordee-load", "--help"}, &out, os.Stderr); code != 0 || !strings.Contains(out.String(), "--hashrate") {
		t.Fatalf("help ends with %d: %s", code, out.String())
	}
	app := newApp(&out, &out)
	var p *plan
	app.Action = func(c *cli.Context) (err error) {
		p, err = planOf(c)
		return err
	}
	if err := app.Run([]string{"x", "--url", "a:1", "--user", "m.s.r%d", "--rigs", "4", "--hashrate", "2M", "--version-rolling"}); err != nil {
		t.Fatal(err)
	}
	if len(p.fleet.Rigs) != 4 || p.fleet.Rigs[0].User != "m.s.r1" || p.fleet.Rigs[3].User != "m.s.r4" ||
		p.fleet.Rigs[2].Hashrate != 5e5 || !p.fleet.Rigs[1].VersionRolling {
		t.Errorf("%+v", p.fleet.Rigs)
	}
}

// TestFloorMode: the server tells where it listens, sends a new job on SIGUSR1,
// and ends with its context.
func TestFloorMode(t *testing.T) {
	out, told := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"cordee-load", "floor", "--listen", "127.0.0.1:0"}, io.Discard, told)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	_, addr, found := strings.Cut(line, " listens on ")
	addr, _, _ = strings.Cut(addr, ",")
	if err != nil || !found {
		t.Fatalf("%q, %v", line, err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, `{"id":1,"method":"mining.authorize","params":["a","x"]}`)
	rig := bufio.NewScanner(conn)
	for n := 0; n < 4 && rig.Scan(); n++ {
		if n == 2 { // has its first job
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
		}
		if n == 3 && !strings.Contains(rig.Text(), `"mining.notify","params":["00000002"`) {
			t.Error(rig.Text())
		}
	}
	cancel()
	if got := <-code; got != 0 || rig.Err() != nil {
		t.Errorf("exit %d, %v", got, rig.Err())
	}
	// What it cannot listen on is told.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var said strings.Builder
	if got := run(t.Context(), []string{"cordee-load", "floor", "--listen", l.Addr().String()}, io.Discard, &said); got != 1 || !strings.Contains(said.String(), "address already in use") {
		t.Errorf("exit %d: %s", got, said.String())
	}
}

// TestHostileMode: a run against a server that takes everything is well, and says
// so in one object; one that refuses every share is not.
func TestHostileMode(t *testing.T) {
	for verdict, want := range map[string]int{"true": 0, `[23,"Low difficulty share",null]`: 1} {
		var out, errOut strings.Builder
		code := run(t.Context(), []string{
			"cordee-load", "hostile", "--url", serve(t, verdict), "--user", "m.s.r%d",
			"--rigs", "4", "--rate", "40", "--phase", "300ms", "--hostile", "1", "--json",
		}, &out, &errOut)
		var r hostileReport
		if err := json.Unmarshal([]byte(out.String()), &r); err != nil || code != want || r.OK != (want == 0) || r.With.Sent == 0 || len(r.Hostile) != 7 {
			t.Errorf("%s: exit %d, %v\n%s%s", verdict, code, err, out.String(), errOut.String())
		}
	}
	for _, args := range [][]string{{}, {"--url", "a:1"}, {"--url", "a:1", "--user", "x", "--rate", "0"}, {"--url", "a:1", "--user", "x", "more"}} {
		var out, errOut strings.Builder
		if code := run(t.Context(), append([]string{"cordee-load", "hostile"}, args...), &out, &errOut); code != 2 {
			t.Errorf("%q: exit %d: %s", args, code, errOut.String())
		}
	}
}
