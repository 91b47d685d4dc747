package fleet

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"

	"cordee/pool"
	"cordee/pool/sha256d"
)

// call is a line a rig sent.
type call struct {
	ID     json.RawMessage
	Method string
	Params []any
}

// judged is one share as the server saw it.
type judged struct {
	key    ShareKey
	jobID  string
	answer string // "true" or the error sent
}

// server is a small Stratum V1 server for tests. It judges shares by building
// headers from text, apart from the code it tests.
type server struct {
	// Set before the first connection.
	en2size    int
	mask       string // granted; "" refuses configure
	difficulty float64
	// override, when it returns true, took care of c itself.
	override func(s *server, c *client, call call) bool

	mu      sync.Mutex
	clients []*client
	shares  []judged
	seen    map[string]bool
	jobs    map[string]issued // on all connections
	nextJob int
}

type issued struct {
	client     *client
	params     []any
	difficulty float64 // in force when it was sent
	stale      bool
}

// client is one connection of the server.
type client struct {
	conn       net.Conn
	en1        string
	calls      []call // as they came; guarded by server.mu
	out        chan string
	difficulty float64
}

func newServer() *server {
	return &server{
		en2size: 8, mask: "1fffe000", difficulty: 1.0 / (1 << 24), // one share in 256 hashes
		seen: map[string]bool{}, jobs: map[string]issued{},
	}
}

// dial connects a rig through an in-memory pipe.
func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go s.serve(here)
	return there, nil
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	c := &client{conn: conn, en1: fmt.Sprintf("%08x", 0xc0de0000+len(s.clients)), out: make(chan string, 1024), difficulty: s.difficulty}
	s.clients = append(s.clients, c)
	s.mu.Unlock()
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		for {
			select {
			case line := <-c.out:
				if line == "" { // the server hangs up
					conn.Close()
					return
				}
				if _, err := conn.Write([]byte(line + "\n")); err != nil {
					return
				}
			case <-gone:
				return
			}
		}
	}()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var in call
		if err := json.Unmarshal(lines.Bytes(), &in); err != nil {
			panic(fmt.Sprintf("a rig sent %q: %v", lines.Text(), err))
		}
		s.mu.Lock()
		c.calls = append(c.calls, in)
		s.mu.Unlock()
		if s.override != nil && s.override(s, c, in) {
			continue
		}
		s.answer(c, in)
	}
}

// result sends an answer of result, or an error when fault is not "".
func (c *client) result(id json.RawMessage, result, fault string) {
	if fault == "" {
		fault = "null"
	}
	c.out <- fmt.Sprintf(`{"id":%s,"result":%s,"error":%s}`, id, result, fault)
}

func (s *server) answer(c *client, in call) {
	switch in.Method {
	case "mining.configure":
		if s.mask == "" {
			c.result(in.ID, "null", `[20,"Unknown method",null]`)
			return
		}
		c.result(in.ID, fmt.Sprintf(`{"version-rolling":true,"version-rolling.mask":%q}`, s.mask), "")
	case "mining.subscribe":
		c.result(in.ID, fmt.Sprintf(`[[["mining.set_difficulty","1"],["mining.notify","1"]],%q,%d]`, c.en1, s.en2size), "")
	case "mining.authorize":
		c.result(in.ID, "true", "")
		s.setDifficulty(c, s.difficulty)
		s.notify(c, true)
	case "mining.submit":
		fault := s.judge(c, in)
		if fault == "" {
			c.result(in.ID, "true", "")
		} else {
			c.result(in.ID, "null", fault)
		}
	default:
		c.result(in.ID, "true", "")
	}
}

func (s *server) setDifficulty(c *client, d float64) {
	s.mu.Lock()
	c.difficulty = d
	s.mu.Unlock()
	c.out <- fmt.Sprintf(`{"id":null,"method":"mining.set_difficulty","params":[%s]}`, strconv.FormatFloat(d, 'f', -1, 64))
}

// notify sends a new job; a clean one makes c's older jobs stale.
func (s *server) notify(c *client, clean bool) {
	s.mu.Lock()
	s.nextJob++
	id := fmt.Sprintf("%x", s.nextJob)
	params := []any{
		id, "171592f223740e92d223f6e68bff25279af7ac4f2246451e0000000200000000",
		"0200000001" + strings.Repeat("00", 32) + fmt.Sprintf("%08x", s.nextJob), "ffffffff00000000",
		[]string{strings.Repeat("ab", 32), strings.Repeat("cd", 32)},
		"20000000", "192495f8", "64b3f3ec", clean,
	}
	if clean {
		for _, k := range slices.Collect(maps.Keys(s.jobs)) {
			if j := s.jobs[k]; j.client == c {
				j.stale = true
				s.jobs[k] = j
			}
		}
	}
	s.jobs[id] = issued{client: c, params: params, difficulty: c.difficulty}
	s.mu.Unlock()
	line, err := json.Marshal(map[string]any{"id": nil, "method": "mining.notify", "params": params})
	if err != nil {
		panic(err)
	}
	c.out <- string(line)
}

// judge rules on a submit from its text and remembers the verdict.
func (s *server) judge(c *client, in call) (fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := make([]string, 6)
	for i := range in.Params {
		p[i] = in.Params[i].(string)
	}
	j, ok := s.jobs[p[1]]
	if !ok {
		return `[21,"Job not found",null]`
	}
	reversed := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != 4 {
			panic("a rig sent a bad word " + text)
		}
		slices.Reverse(b)
		return b
	}
	text := func(i int) string { return j.params[i].(string) }
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return b
	}
	root := sha256d.Sum(unhex(text(2) + c.en1 + p[2] + text(3)))
	for _, b := range j.params[4].([]string) {
		root = sha256d.Sum(append(root[:], unhex(b)...))
	}
	version := text(5)
	if p[5] != "" { // the base has no bit within the mask
		version = fmt.Sprintf("%08x", binary.BigEndian.Uint32(unhex(version))|binary.BigEndian.Uint32(unhex(p[5])))
	}
	header := reversed(version)
	for i := 0; i < 64; i += 8 {
		header = append(header, reversed(text(1)[i:i+8])...)
	}
	header = append(append(append(append(header, root[:]...), reversed(p[3])...), reversed(text(6))...), reversed(p[4])...)
	hash := sha256d.Sum(header)
	switch {
	case len(p[2]) != 2*s.en2size:
		fault = `[20,"Bad extranonce2 size",null]`
	case p[5] != "" && binary.BigEndian.Uint32(unhex(p[5]))&^binary.BigEndian.Uint32(unhex(s.mask)) != 0:
		fault = `[20,"Version bits outside the mask",null]`
	case s.seen[string(hash[:])]:
		fault = `[22,"Duplicate share",null]`
	case j.stale:
		fault = `[21,"Stale share",null]`
	case pool.HashDifficulty((*chainhash.Hash)(&hash)) < j.difficulty:
		fault = `[23,"Low difficulty share",null]`
	}
	s.seen[string(hash[:])] = true
	key := ShareKey{c.en1, p[2], binary.BigEndian.Uint32(unhex(p[3])), binary.BigEndian.Uint32(unhex(p[4])), binary.BigEndian.Uint32(unhex(version))}
	answer := "true"
	if fault != "" {
		answer = fault
	}
	s.shares = append(s.shares, judged{key, p[1], answer})
	return fault
}

// client returns the i-th connection ever made, -1 being the last.
func (s *server) client(t *testing.T, i int) *client {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < 0 {
		i += len(s.clients)
	}
	if i < 0 || i >= len(s.clients) {
		t.Fatalf("%d connections were made, want the one numbered %d", len(s.clients), i)
	}
	return s.clients[i]
}

func (s *server) methods(c *client) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, in := range c.calls {
		names = append(names, in.Method)
	}
	return names
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) of(kinds ...EventKind) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Event
	for _, e := range r.events {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			out = append(out, e)
		}
	}
	return out
}

// running is a fleet on a test server.
type running struct {
	*Fleet
	recorder
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs rigs on s. In a synctest bubble its time is the bubble's.
func start(t *testing.T, s *server, rigs []Rig, edit ...func(*Config)) *running {
	t.Helper()
	r := &running{done: make(chan struct{})}
	cfg := Config{Addr: "pool.test:3333", Rigs: rigs, Seed: 5, Log: zerolog.Nop(), Dial: s.dial, OnEvent: r.add}
	for _, e := range edit {
		e(&cfg)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Fleet = f
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return r
}

// stop ends the fleet and waits for it.
func (r *running) stop() {
	r.cancel()
	<-r.done
}

// wait lets the bubble's clock run.
func wait(d time.Duration) { <-time.After(d) }

var errDial = errors.New("connection refused")
