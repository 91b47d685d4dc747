package bare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// serve runs a server and returns it with its address.
func serve(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	s, err := New(cfg)
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
	return s, l.Addr().String()
}

// rig is one connection to it.
type rig struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, addr string) *rig {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &rig{t, conn, bufio.NewReader(conn)}
}

// say sends text and returns the next n lines.
func (r *rig) say(text string, n int) []string {
	r.t.Helper()
	if _, err := r.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
	var got []string
	for range n {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			r.t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, strings.TrimSuffix(line, "\n"))
	}
	return got
}

const hello = `{"id":1,"method":"mining.configure","params":[["version-rolling"],{}]}
{"id":2,"method":"mining.subscribe","params":[]}
{"id":"three","method":"mining.authorize","params":["a","x"]}
`

func TestHandshakeAndShares(t *testing.T) {
	s, addr := serve(t, Config{Difficulty: 0.25})
	got := dial(t, addr).say(hello, 5)
	other := dial(t, addr).say(hello, 5)
	want := []string{
		`{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}`,
		`{"id":2,"result":[[["mining.set_difficulty","1"],["mining.notify","1"]],"00000001",8],"error":null}`,
		`{"id":"three","result":true,"error":null}`,
		`{"id":null,"method":"mining.set_difficulty","params":[0.25]}`,
	}
	if fmt.Sprint(got[:4]) != fmt.Sprint(want) || other[1] == got[1] || other[4] != got[4] {
		t.Errorf("%q\nthe other rig %q", got, other)
	}
	if s.Rigs() != 2 {
		t.Errorf("%d rigs", s.Rigs())
	}

	r := dial(t, addr)
	for _, line := range r.say(`{"id":7,"method":"mining.submit","params":["a","1","0000000000000000","00000000","00000000"]}`+"\n"+
		`{"params":[],"method":"mining.submit","id": 8}`+"\n"+`{"id":9,"method":"mining.sing"}`+"\n", 3) {
		if !strings.HasSuffix(line, `"result":true,"error":null}`) {
			t.Error(line)
		}
	}
	// Half a line waits for its end.
	r.say(`{"id":10,"method":"mining.su`, 0)
	if got := r.say(`bmit"}`+"\n", 1); got[0] != `{"id":10,"result":true,"error":null}` {
		t.Error(got)
	}
	if got := r.say(strings.Repeat("x", 5<<10)+"\n", 0); len(got) > 0 {
		t.Error(got)
	}
	if _, err := r.lines.ReadString('\n'); err == nil {
		t.Error("a line of 5 KiB was taken")
	}
}

// Lines of one read are answered by one write: a rig that reads once has all.
func TestOneWriteForOneRead(t *testing.T) {
	s, err := New(Config{Difficulty: 1})
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	defer here.Close()
	go s.talk(&conn{Conn: there})
	submits := strings.Repeat(`{"id":4,"method":"mining.submit","params":[]}`+"\n", 16)
	if _, err := here.Write([]byte(submits)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := here.Read(b)
	if err != nil || bytes.Count(b[:n], []byte("\n")) != 16 {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// TestJob: the coinbase is a transaction, of the size of those the figures are
// taken with.
func TestJob(t *testing.T) {
	for _, clean := range []bool{false, true} {
		s, addr := serve(t, Config{Difficulty: 1, Clean: clean})
		r := dial(t, addr)
		jobs := []string{r.say(hello, 5)[4]}
		s.Notify()
		jobs = append(jobs, r.say("", 1)...)
		var params [2][]any
		for i, line := range jobs {
			var m struct{ Params []any }
			if err := json.Unmarshal([]byte(line), &m); err != nil || len(m.Params) != 9 {
				t.Fatalf("%s: %v", line, err)
			}
			params[i] = m.Params
		}
		a, b := params[0], params[1]
		if a[0] == b[0] || (a[1] == b[1]) == clean || a[8] != clean {
			t.Errorf("clean %t: %v, then %v", clean, a, b)
		}
		raw, err := hex.DecodeString(a[2].(string) + "00000001" + "0000000000000000" + a[3].(string))
		if err != nil {
			t.Fatal(err)
		}
		var tx wire.MsgTx
		if err := tx.DeserializeNoWitness(bytes.NewReader(raw)); err != nil || len(raw) < 174 || len(raw) > 192 || tx.SerializeSizeStripped() != len(raw) {
			t.Errorf("%d bytes of coinbase: %v", len(raw), err)
		}
	}
}

// Notify reaches those that have work, and those only; a clock calls it too.
func TestNotify(t *testing.T) {
	s, addr := serve(t, Config{Difficulty: 1, NotifyEvery: time.Millisecond})
	stranger := dial(t, addr)
	stranger.say(`{"id":2,"method":"mining.subscribe","params":[]}`+"\n", 1)
	if got := dial(t, addr).say(hello, 7); !strings.Contains(got[5], "mining.notify") || got[5] == got[6] {
		t.Error(got)
	}
	s.Notify()
	if got := stranger.say(`{"id":3,"method":"mining.authorize"}`+"\n", 2); got[0] != `{"id":3,"result":true,"error":null}` {
		t.Error(got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Difficulty: -1}, {Difficulty: math.NaN()}, {Difficulty: math.Inf(1)}, {Difficulty: 1, NotifyEvery: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
