package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"cordee/internal/harness"
	"cordee/internal/keeper"
	"cordee/internal/sandbox"
)

// nasty is what clients say where a name, a number or a version is asked for:
// markup, quotes, escapes of terminals, ends of lines, text that turns around,
// a key of the store, formats. mark finds it again.
const (
	mark  = "zq7"
	nasty = mark + "<b onload=\"x\">'&`\\\x1b[31m\x00\r\n\u202e\u2028\ufeff{cordee:demo}:meta *\r\nFLUSHALL\r\n%s%n${x}{{.}}é"
)

// nastyLines are all fields that a client can fill, each nasty in turn; %[1]s is
// the JSON of the nasty string. Those of a rig come after it has signed in.
var nastyLines = []struct {
	field, line string
	rig         bool
}{
	{"agent", `{"id":1,"method":"mining.subscribe","params":[%[1]s]}`, false},
	{"session id", `{"id":1,"method":"mining.subscribe","params":["x",%[1]s]}`, false},
	{"host", `{"id":1,"method":"mining.subscribe","params":["x",null,%[1]s,%[1]s]}`, false},
	{"user", `{"id":1,"method":"mining.authorize","params":[%[1]s,"x"]}`, false},
	{"user, percent-encoded", `{"id":1,"method":"mining.authorize","params":[%[2]s,"x"]}`, false},
	{"rig's name", `{"id":1,"method":"mining.authorize","params":["alpes.annecy.%[3]s","x"]}`, false},
	{"member nobody knows", `{"id":1,"method":"mining.authorize","params":["%[3]s.barn.r1","x"]}`, false},
	{"password", `{"id":1,"method":"mining.authorize","params":["alpes.annecy.rig",%[1]s]}`, false},
	{"option of the password", `{"id":1,"method":"mining.authorize","params":["alpes.annecy.rig","d=%[3]s,md=%[3]s,th=%[3]s,%[3]s=1"]}`, false},
	{"extension", `{"id":1,"method":"mining.configure","params":[[%[1]s,"version-rolling","minimum-difficulty","info"],{%[1]s:1,"version-rolling.mask":%[1]s,"minimum-difficulty.value":%[1]s,"info.hw-version":%[1]s}]}`, false},
	{"answer", `{"id":1,"result":%[1]s,"error":%[1]s}`, false},
	{"method", `{"id":1,"method":%[1]s,"params":[]}`, false},
	{"key", `{"id":1,%[1]s:%[1]s,"method":"mining.ping","params":[%[1]s]}`, false},
	{"id", `{"id":%[1]s,"method":"mining.ping","params":[]}`, false},
	{"no JSON", "\x1b[31m" + mark + "<b>\u202e%[1]s", false},
	{"no UTF-8", "\xff\xfe" + mark + "\xc3", false},
	{"suggested difficulty", `{"id":3,"method":"mining.suggest_difficulty","params":[%[1]s]}`, true},
	{"difficulty in the method", `{"id":3,"method":"mining.suggest_difficulty(%[3]s)","params":[]}`, true},
	{"suggested target", `{"id":3,"method":"mining.suggest_target","params":[%[1]s]}`, true},
	{"extranonce.subscribe", `{"id":3,"method":"mining.extranonce.subscribe","params":[%[1]s]}`, true},
	{"others", `{"id":3,"method":"mining.multi_version","params":[%[1]s]}` + "\n" + `{"id":4,"method":"mining.get_transactions","params":[%[1]s]}` + "\n" + `{"id":5,"method":"mining.capabilities","params":[%[1]s]}`, true},
	{"another name", `{"id":3,"method":"mining.authorize","params":[%[1]s,%[1]s]}`, true},
	{"user of a share", `{"id":3,"method":"mining.submit","params":[%[1]s,"1","0000000000000000","00000000","00000000"]}`, true},
	{"job", `{"id":3,"method":"mining.submit","params":["alpes.annecy.rig",%[1]s,"0000000000000000","00000000","00000000"]}`, true},
	{"extranonce2", `{"id":3,"method":"mining.submit","params":["alpes.annecy.rig","1",%[1]s,"00000000","00000000"]}`, true},
	{"ntime", `{"id":3,"method":"mining.submit","params":["alpes.annecy.rig","1","0000000000000000",%[1]s,"00000000"]}`, true},
	{"nonce", `{"id":3,"method":"mining.submit","params":["alpes.annecy.rig","1","0000000000000000","00000000",%[1]s]}`, true},
	{"version bits", `{"id":3,"method":"mining.submit","params":["alpes.annecy.rig","1","0000000000000000","00000000","00000000",%[1]s]}`, true},
}

// TestNothingUnescaped: whatever a client fills a field with reaches no key and no
// value of the store, no label of a metric and no page, and log and lists only as
// plain text, in both forms of the log. Rigs that nobody knows are parked, for
// then most is kept of what they say.
func TestNothingUnescaped(t *testing.T) {
	for _, form := range []string{"json", "console"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			r := harness.StartRedis(t)
			p := newPool(t, poolOptions{nodes: []*sandbox.Node{realNode(t)}, redis: r.Addr, hashesPerBlock: 1e12, hashesPerShare: 5000})
			members := filepath.Join(p.dir, "members.toml")
			known, err := os.ReadFile(members)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(members, slices.Concat([]byte("unknown = \"park\"\n"), known), 0o600); err != nil {
				t.Fatal(err)
			}
			p.flags = []string{"--log", form, "--log-level", "debug"}
			p.start()
			_, stop := p.fleet([]string{"alpes.annecy.rig-1", "nobody.barn.r1"}, 20_000, nil)

			for _, n := range nastyLines {
				p.sayNasty(t, n.field, n.line, n.rig)
			}
			eventually(t, patience, "shares in the store", func() error {
				if s := p.status(); s.Credited < 4 {
					return fmt.Errorf("%d shares", s.Credited)
				}
				return nil
			})
			p.awaitStore(keeper.ShipCurrent, p.status().Store.Slot+2)

			for _, path := range []string{"/", "/?lang=en", "/api/pool", "/api/members", "/api/blocks", "/metrics"} {
				if code, page, err := p.get(path); err != nil || code != 200 || strings.Contains(page, mark) {
					t.Errorf("%s: %d, %v, or it says what a client said:\n%s", path, code, err, page)
				}
			}
			seen := 0
			for _, args := range [][]string{{"rigs"}, {"rigs", "--json"}, {"status", "--closes"}, {"status", "--closes", "--json"}, {"member", "parked"}, {"status"}} {
				out, errOut, code := cordee(t, append(args, "-c", p.config)...)
				if code != 0 {
					t.Errorf("cordee %s: exit %d\n%s", args, code, errOut)
				}
				seen += strings.Count(out, mark)
				isPlain(t, "cordee "+strings.Join(args, " "), out)
				for line := range strings.Lines(out) {
					if !slices.Contains(args, "--json") && strings.ContainsAny(line, "<>&\"'`\\") {
						t.Errorf("cordee %s prints markup: %q", args, line)
					}
				}
			}
			if seen == 0 {
				t.Error("no list shows any of it: what was to be cleaned did not arrive")
			}
			stop()
			p.stop()

			log := p.log()
			if !strings.Contains(log, mark) {
				t.Error("nothing of it is in the log: what was to be cleaned did not arrive")
			}
			isPlain(t, "the log", log)
			if (form == "json") != strings.HasPrefix(log, "{") {
				t.Errorf("the log begins with %.20q", log)
			}
			if form == "json" {
				for _, l := range p.logLines() { // each is one object with an event of ours
					for key, v := range l {
						if s, ok := v.(string); ok {
							isPlain(t, key+" in the log", s)
						}
						if strings.Contains(key, mark) || key == "event" && strings.Contains(fmt.Sprint(v), mark) {
							t.Errorf("a client named %s: %v", key, v)
						}
					}
				}
			}
			keyName := regexp.MustCompile(`^\{cordee:demo\}:(meta|state|hwm|runs|slot|ledger|ledgerkey|run:[0-9a-f]{8}|delta:\d+|lease:[a-z]+)$`)
			keys := redisKeys(t, r.Addr)
			for _, k := range keys {
				if !keyName.MatchString(k) {
					t.Errorf("the store has a key %q", k)
				}
			}
			if len(keys) < 4 {
				t.Errorf("the store has %q only", keys)
			}
			r.Kill() // and all is in its files
			for _, dir := range []string{r.Dir, p.dataDir()} {
				if name := fileWith(t, dir, mark); name != "" {
					t.Errorf("%s holds what a client said", name)
				}
			}
		})
	}
}

// sayNasty fills one field on a connection of its own, and hangs up once it was
// answered or closed; who filled in its agent stays, to be listed.
func (p *testPool) sayNasty(t *testing.T, field, line string, rig bool) {
	t.Helper()
	quoted, err := json.Marshal(nasty)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(url.PathEscape(nasty))
	if err != nil {
		t.Fatal(err)
	}
	inner := string(quoted[1 : len(quoted)-1])
	said := strings.NewReplacer("%[1]s", string(quoted), "%[2]s", string(encoded), "%[3]s", inner).Replace(line) + "\n"
	if rig {
		said = hello + fmt.Sprintf(authorize, `"alpes.annecy.rig"`) + said
	}
	conn, err := net.Dial("tcp", p.stratum)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, said+`{"id":"last","method":"mining.ping","params":[]}`+"\n") // it may be closed before
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if !json.Valid(lines.Bytes()) {
			t.Errorf("%s is answered with %q", field, lines.Bytes())
		}
		if strings.Contains(lines.Text(), `"id":"last"`) {
			break
		}
	}
	if field == "agent" {
		t.Cleanup(func() { _ = conn.Close() })
		return
	}
	_ = conn.Close() // whoever hears of it
}

// isPlain checks that text may be shown on a terminal.
func isPlain(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8", what)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s holds %s", what, strconv.QuoteRune(r))
		}
	}
}

// redisKeys are the names of all keys of a server.
func redisKeys(t *testing.T, addr string) (keys []string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "KEYS *\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	number := func(kind byte) int {
		line, err := in.ReadString('\n')
		if err != nil || line[0] != kind {
			t.Fatalf("%q, %v", line, err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range number('*') {
		b := make([]byte, number('$')+2)
		if _, err := io.ReadFull(in, b); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(b[:len(b)-2]))
	}
	return keys
}

// fileWith returns a file below dir that holds text, "" for none.
func fileWith(t *testing.T, dir, text string) (found string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			found = path
		}
		files++
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%s: %d files, %v", dir, files, err)
	}
	return found
}
