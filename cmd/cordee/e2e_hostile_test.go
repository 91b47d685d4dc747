package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

// stranger is a connection that owes nobody anything.
type stranger struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func (p *testPool) stranger(t *testing.T) *stranger {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", p.stratum)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &stranger{t, conn, bufio.NewReader(conn)}
}

// send writes as much as the pool takes: it may close in the middle.
func (s *stranger) send(b string) {
	s.t.Helper()
	if _, err := io.WriteString(s.Conn, b); err != nil {
		s.t.Logf("the pool closed while we wrote: %v", err)
	}
}

// answer reads a line, which must hold all of want.
func (s *stranger) answer(want ...string) {
	s.t.Helper()
	line, err := s.lines.ReadString('\n')
	if err != nil {
		s.t.Fatalf("no answer: %v", err)
	}
	var v map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		s.t.Errorf("the answer is not JSON: %v: %q", err, line)
	}
	for _, w := range want {
		if !strings.Contains(line, w) {
			s.t.Errorf("answer %q, want %q in it", line, w)
		}
	}
}

// closed waits until the pool closed the connection.
func (s *stranger) closed() {
	s.t.Helper()
	if _, err := io.Copy(io.Discard, s.lines); err != nil {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			s.t.Fatal("the pool keeps the connection")
		}
	}
}

// closes is what `cordee status --closes --json` prints.
func (p *testPool) closes() []web.Close {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "status", "--closes", "--json", "-c", p.config)
	var c web.Closes
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != 0 {
		p.t.Fatalf("status --closes: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	return c.Closes
}

// memory returns the resident bytes of the pool's process, 0 where there is no
// /proc to read them from.
func (p *testPool) memory() int {
	p.t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				p.t.Fatal(err)
			}
			return kb << 10
		}
	}
	p.t.Fatal("no VmRSS")
	return 0
}

const (
	hello     = `{"id":1,"method":"mining.subscribe","params":["stranger/1"]}` + "\n"
	authorize = `{"id":2,"method":"mining.authorize","params":[%s,"x"]}` + "\n"
)

// strangers are what comes in on an open port. Each says what it must hear, or
// the names of closes that are right for it; "" is its own hangup.
var strangers = []struct {
	name    string
	act     func(s *stranger)
	reasons []string
}{
	{"text", func(s *stranger) { s.send("hello there\n"); s.closed() }, []string{"bad_line"}},
	{"a line of 1 MB", func(s *stranger) { s.send(strings.Repeat("x", 1<<20)); s.closed() }, []string{"long_line"}},
	{"1 MB of JSON", func(s *stranger) {
		s.send(`{"id":1,"method":"mining.subscribe","params":["` + strings.Repeat("x", 1<<20) + "\"]}\n")
		s.closed()
	}, []string{"long_line"}},
	{"1 MB from a rig", func(s *stranger) {
		s.send(hello + fmt.Sprintf(authorize, `"alpes.annecy.long"`))
		s.answer(`"id":1`)
		s.answer(`"id":2`, `"result":true`)
		s.send(strings.Repeat(" ", 1<<20))
		s.closed()
	}, []string{"long_line"}},
	{"submit before subscribe", func(s *stranger) {
		s.send(`{"id":7,"method":"mining.submit","params":["alpes.annecy.rig","1","00","00","00"]}` + "\n")
		s.answer(`"id":7`, `[25,"`)
	}, nil},
	{"submit before authorize", func(s *stranger) {
		s.send(hello)
		s.answer(`"id":1`)
		s.send(`{"id":7,"method":"mining.submit","params":["alpes.annecy.rig","1","0000000000000000","00000000","00000000"]}` + "\n")
		s.answer(`"id":7`, `[24,"`)
	}, nil},
	{"unknown method", func(s *stranger) {
		s.send(`{"id":8,"method":"mining.%s%n\u0000","params":[]}` + "\n")
		s.answer(`"id":8`, `"error":[`)
	}, nil},
	{"deep nesting", func(s *stranger) {
		s.send(`{"id":1,"method":"mining.subscribe","params":` + strings.Repeat("[", 2000) + "\n")
		s.closed()
	}, []string{"bad_line"}},
	{"deep and balanced", func(s *stranger) {
		s.send(`{"id":9,"method":"mining.authorize","params":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + "}\n")
		s.lineOrClose()
	}, []string{"", "bad_line"}},
	{"huge numbers", func(s *stranger) {
		s.send(hello + `{"id":3,"method":"mining.suggest_difficulty","params":[1e999999999]}` + "\n" +
			`{"id":4,"method":"mining.suggest_difficulty","params":[-` + strings.Repeat("9", 3000) + "]}\n" +
			`{"id":5,"method":"mining.suggest_target","params":["` + strings.Repeat("f", 3000) + "\"]}\n")
		s.answer(`"id":1`)
		s.answer(`"id":3`)
		s.answer(`"id":4`)
		s.answer(`"id":5`)
	}, nil},
	{"a huge id", func(s *stranger) {
		s.send(`{"id":` + strings.Repeat("9", 3000) + `,"method":"mining.ping","params":[]}` + "\n")
		s.lineOrClose()
	}, []string{"", "bad_line"}},
	{"a huge array", func(s *stranger) {
		s.send(`{"id":6,"method":"mining.configure","params":[[` + strings.Repeat(`"a",`, 900) + `"b"],{}]}` + "\n")
		s.answer(`"id":6`)
	}, nil},
	{"random bytes", func(s *stranger) {
		var seed [32]byte
		b := make([]byte, 64<<10)
		_, _ = rand.NewChaCha8(seed).Read(b) // never fails
		s.send(string(b))
		s.closed()
	}, []string{"bad_line", "long_line"}},
	{"TLS", func(s *stranger) {
		err := tls.Client(s.Conn, &tls.Config{ServerName: "pool", MinVersion: tls.VersionTLS12}).HandshakeContext(s.t.Context())
		if err == nil {
			s.t.Error("a TLS handshake worked on a plain port")
		}
	}, []string{"bad_line", "half_line", "long_line", ""}},
	{"HTTP", func(s *stranger) {
		s.send("GET /status HTTP/1.1\r\nHost: pool\r\nUser-Agent: curl/8\r\n\r\n")
		s.closed()
	}, []string{"bad_line"}},
	{"half a line", func(s *stranger) { s.send(`{"id":1,"method":"mining.subs`); s.closed() }, []string{"half_line"}},
	{"does not read", func(s *stranger) {
		s.send(hello + fmt.Sprintf(authorize, `"alpes.annecy.deaf"`))
		s.answer(`"id":1`)
		s.answer(`"id":2`, `"result":true`)
		_ = s.SetDeadline(time.Now().Add(20 * time.Second)) // it fails with the connection only; long enough to be read slowly
		ask := strings.Repeat(`{"id":3,"method":"mining.get_transactions","params":["`+strings.Repeat("z", 60)+`"]}`+"\n", 500)
		for range 400 { // 18 MB of questions and never an answer read
			if _, err := io.WriteString(s.Conn, ask); err != nil {
				return
			}
		}
		s.t.Error("the pool takes questions for ever from one who reads no answer")
	}, []string{"outbox_full", "slow_reader", ""}}, // or it is read as slowly as it may ask
	{"three wrong names", func(s *stranger) {
		for i, name := range []string{`"x' OR 1=1 --\".site"`, `"%s%d%n%x.%p"`, `"\u0000\u001b[31m\r\n{\"level\":\"error\"}.é☠"`} {
			s.send(fmt.Sprintf(authorize, name))
			if s.answer(`[24,"`); i == 2 {
				s.closed()
			}
		}
	}, []string{"denied"}},
	{"an agent full of quotes", func(s *stranger) {
		s.send(`{"id":1,"method":"mining.subscribe","params":["\"}{\"\\\n\t%s%!d(MISSING)\u2028\ud800 <script>"]}` + "\n")
		s.answer(`"id":1`, `"result":[[`)
		s.send(fmt.Sprintf(authorize, `"alpes.annecy.quotes"`))
		s.answer(`"id":2`, `"result":true`)
	}, nil},
}

// lineOrClose takes an answer, or a close.
func (s *stranger) lineOrClose() {
	s.t.Helper()
	if _, err := s.lines.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		s.t.Errorf("neither an answer nor a close: %v", err)
	}
}

// TestHostileClients: whatever comes in on the port is answered or closed by
// name, and no honest rig notices.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	const work = 10_000
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: work})
	heard := newPromises()
	_, stop := p.mine(6, 20_000, heard.on)
	heard.more(t, 6)
	// One crowd before: the runtime keeps a descriptor of each goroutine of the most
	// there ever were, and tables of addresses keep their size, 400 bytes a connection
	// in all. A second needs no more; a session that is not let go is 1.7 KiB.
	p.crowd(t, 500)
	before, series := p.held(t), p.series(t)
	if got := metric(t, p.metrics(t), "go_gc_gogc_percent"); os.Getenv("GOGC") == "" && got != garbagePercent {
		t.Errorf("garbage is collected at %g %% of what lives, want %d", got, garbagePercent)
	}

	for range 2 {
		p.crowd(t, 500)
	}

	from := make([]string, len(strangers)) // remote address of each
	t.Run("strangers", func(t *testing.T) {
		for i, c := range strangers {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s := p.stranger(t)
				from[i] = s.LocalAddr().String()
				c.act(s)
				_ = s.Close()
			})
		}
		t.Run("upper-case hex", func(t *testing.T) {
			t.Parallel()
			p.upperCase(t, work)
		})
	})

	eventually(t, patience, "closes", func() error {
		named := map[string]string{}
		for _, c := range slices.Backward(p.closes()) { // newest first, and a port may have been used before
			named[c.Remote] = c.Reason
		}
		for i, c := range strangers {
			got, want := named[from[i]], c.reasons
			if len(want) == 0 {
				want = []string{""}
			}
			ok := false
			for _, w := range want {
				ok = ok || got == w || (w == "" && got == "hangup")
			}
			if !ok {
				return fmt.Errorf("%s from %s was closed as %q, want one of %q", c.name, from[i], got, want)
			}
		}
		return nil
	})
	heard.more(t, 3)
	if rejected, ended := heard.complaints(); len(rejected)+len(ended) > 0 {
		t.Errorf("honest rigs were disturbed: rejects %q, ends %q", rejected, ended)
	}
	eventually(t, patience, "the pool lets go what hostile clients left", func() error { // what it is about just then counts too
		after := p.held(t)
		t.Logf("the pool held %d KiB and %d goroutines, then %d and %d", before.heap>>10, before.goroutines, after.heap>>10, after.goroutines)
		if after.heap-before.heap > 512<<10 || after.goroutines-before.goroutines > 10 {
			return fmt.Errorf("%+v, before %+v", after, before)
		}
		return nil
	})
	if code, page, err := p.get("/metrics"); err != nil || code != 200 || !strings.Contains(page, `cordee_panics_total{where="session"} 0`) {
		t.Errorf("metrics: %d, %v: no zero counter of panics in them", code, err)
	}
	if after := p.series(t); after != series || after > 2000 {
		t.Errorf("%d series of metrics, then %d", series, after)
	}
	stop()
	p.stop()
	heard.audit(t, p.journalDir())
	lines := p.logLines() // each one whole, whatever strangers call themselves
	bad := 0
	for _, l := range lines {
		if l["event"] == "conn.panic" {
			t.Errorf("%v", l)
		}
		if l["event"] == "conn.bad_line" {
			bad++
		}
	}
	if told := len(p.logged("conn.close")); told > 100 {
		t.Errorf("%d closes in the log: a crowd of strangers drowns what an operator has to read", told)
	}
	if bad == 0 {
		t.Error("no bad line is in the log")
	}
	if strings.ContainsFunc(p.log(), func(r rune) bool { return r < ' ' && r != '\n' }) {
		t.Error("the log holds control characters: a terminal would obey them")
	}
}

// metrics is what Prometheus would be given.
func (p *testPool) metrics(t *testing.T) string {
	t.Helper()
	code, page, err := p.get("/metrics")
	if err != nil || code != 200 {
		t.Fatalf("metrics: %d, %v", code, err)
	}
	return page
}

// series counts those of the pool's own metrics.
func (p *testPool) series(t *testing.T) (n int) {
	t.Helper()
	for line := range strings.Lines(p.metrics(t)) {
		if strings.HasPrefix(line, "cordee_") {
			n++
		}
	}
	return n
}

// metric returns the value of a series without labels.
func metric(t *testing.T, page, name string) float64 {
	t.Helper()
	_, rest, _ := strings.Cut(page, "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// held is what the pool's process holds on to. Its resident memory would not tell:
// that has garbage in it, of which there may be as much as lives before it is
// collected, and under the race detector a shadow of all it ever touched.
type held struct{ heap, goroutines int } // bytes; number

// held looks after three collections, for one may be under way and a sync.Pool keeps
// things over one more, and takes the least of the next five: what is allocated
// during one counts as alive. Asking makes the garbage that begins them.
func (p *testPool) held(t *testing.T) (h held) {
	t.Helper()
	began := -1.0
	for range 10_000 {
		page := p.metrics(t)
		collections, alive := metric(t, page, "go_gc_duration_seconds_count"), int(metric(t, page, "go_gc_heap_live_bytes"))
		switch {
		case began < 0:
			began = collections
		case collections < began+3:
		case h.heap == 0 || alive < h.heap:
			h.heap = alive
		}
		if began >= 0 && collections >= began+8 {
			h.goroutines = int(metric(t, page, "go_goroutines"))
			return h
		}
	}
	t.Fatal("the pool collects no garbage")
	return h
}

// crowd opens and drops n connections, some in the middle of a word.
func (p *testPool) crowd(t *testing.T, n int) {
	t.Helper()
	var wg sync.WaitGroup
	room := make(chan struct{}, 50)
	for i := range n {
		room <- struct{}{}
		from := &net.TCPAddr{IP: net.IPv4(127, 66, byte(i>>8), byte(i))}
		wg.Go(func() {
			defer func() { <-room }()
			conn, err := (&net.Dialer{Timeout: patience, LocalAddr: from}).DialContext(t.Context(), "tcp", p.stratum)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, hello[:i%len(hello)]) // whatever it takes
			_ = conn.Close()
		})
	}
	wg.Wait()
	eventually(t, patience, "the crowd is gone", func() error {
		if s := p.status(); s.Connections > 6 {
			return fmt.Errorf("%d connections", s.Connections)
		}
		return nil
	})
}

// upperCase submits a share in upper-case hex: the same share as in lower case.
func (p *testPool) upperCase(t *testing.T, work float64) {
	t.Helper()
	r := p.dialRig("alpes.annecy.upper")
	j := r.job(func(rawJob) error { return nil })
	// A little harder than asked for: difficulties are rounded to powers of two.
	bits, err := pool.BitsFromDifficulty(2 * work / (1 << 32))
	if err != nil {
		t.Fatal(err)
	}
	target, err := pool.TargetFromBits(bits)
	if err != nil {
		t.Fatal(err)
	}
	s := r.solve(&j, target)
	for bytes.Equal(bytes.ToUpper(fmt.Appendf(nil, "%016x%08x", s.En2, s.Nonce)), fmt.Appendf(nil, "%016x%08x", s.En2, s.Nonce)) {
		s = r.solve(&j, target) // one with letters in it
	}
	a := r.call("mining.submit", r.user, j.ID,
		fmt.Sprintf("%016X", s.En2), fmt.Sprintf("%08X", j.NTime), fmt.Sprintf("%08X", s.Nonce))
	if !a.OK {
		t.Errorf("upper case was answered %d %s", a.Code, a.Text)
	}
	if a := r.submit(&s); a.OK || a.Code != 22 {
		t.Errorf("the same in lower case was answered %t, code %d %s, want 22", a.OK, a.Code, a.Text)
	}
}
