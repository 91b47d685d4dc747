package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func linkTo(s *server) LinkConfig {
	return LinkConfig{
		Addr: "pool.test:3333", Password: "x", Agent: "test/1", Configure: true, Dial: s.dial,
		User: func(i int) string { return fmt.Sprintf(`a.site.rig"%d`, i) }, // quoted in JSON
	}
}

func nothing() {}

// fire musters and fires a volley in the bubble.
func fire(t *testing.T, cfg VolleyConfig, d time.Duration) VolleySample {
	t.Helper()
	v, err := Muster(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	marks := 0
	s, err := v.Fire(t.Context(), 0, d, func() { marks++ }, func() { marks++ })
	if err != nil || marks != 2 {
		t.Errorf("%d marks, %v", marks, err)
	}
	return s
}

// TestVolleySharesAreReal: every share of a volley is one that a judge of its own
// accepts, and no two are the same; when they are used up it says so.
func TestVolleySharesAreReal(t *testing.T) {
	for _, en2size := range []int{8, 4, 2, 12} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.en2size, s.difficulty = en2size, 1.0/(1<<28) // one share in 16 hashes
			got := fire(t, VolleyConfig{LinkConfig: linkTo(s), Conns: 3, InFlight: 5, Shares: 40}, time.Hour)
			if len(s.shares) != 3*40 && got.Left == 0 || len(s.shares)+int(got.Left) != 3*40 {
				t.Errorf("%d shares arrived, %+v", len(s.shares), got)
			}
			for _, j := range s.shares {
				if j.answer != "true" {
					t.Fatalf("%+v", j)
				}
			}
			if got.Rejected+got.Unanswered+got.Lost+got.Ended != 0 || !strings.Contains(got.Early, "sent all its shares") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestVolleyKeepsItsNumber: as many shares as asked for are without an answer at
// every moment, whatever the order of answers, and the window is as long as asked.
func TestVolleyKeepsItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.difficulty = 1.0 / (1 << 32)
		const inFlight = 4
		var mu sync.Mutex
		held := map[*client][]call{}
		s.override = func(s *server, c *client, in call) bool {
			if in.Method != "mining.submit" {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			held[c] = append(held[c], in)
			if len(held[c]) > inFlight {
				t.Errorf("%d shares without an answer", len(held[c]))
			}
			if len(held[c]) == inFlight {
				list := held[c]
				held[c] = nil
				go func() {
					<-time.After(10 * time.Millisecond)
					for _, in := range slices.Backward(list) { // the last first
						s.answer(c, in)
					}
				}()
			}
			return true
		}
		v, err := Muster(t.Context(), VolleyConfig{LinkConfig: linkTo(s), Conns: 2, InFlight: inFlight, Shares: 1000})
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Fire(t.Context(), 500*time.Millisecond, time.Second, nothing, nothing)
		if err != nil || got.Early != "" || got.Seconds != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if want := 2 * inFlight * 100; int(got.Accepted) < want-2*inFlight || int(got.Accepted) > want+2*inFlight {
			t.Errorf("%d accepted in 1 s, want about %d", got.Accepted, want)
		}
		if got.Latency.P50 < 10*time.Millisecond || got.Latency.Max > 11*time.Millisecond {
			t.Errorf("latency %+v", got.Latency)
		}
	})
}

// TestVolleySeesTheEndOfItsJob: a new block, a stale share, and a server that
// hangs up end the window, and what was mined for nothing is counted.
func TestVolleySeesTheEndOfItsJob(t *testing.T) {
	for name, c := range map[string]struct {
		act               func(s *server, c *client, in call) bool // at the tenth submit
		early             string
		lost, ended, left bool
	}{
		"new block": {func(s *server, c *client, in call) bool {
			c.out <- `{"id":null,"method":"mining.notify","params":["b","` + strings.Repeat("11", 32) + `","00","00",[],"20000000","207fffff","64b3f3ec",true]}`
			return false
		}, "new block", true, false, false},
		"same block": {func(s *server, c *client, in call) bool {
			s.notify(c, false)
			s.setDifficulty(c, 1)
			return false
		}, "sent all", false, false, false},
		"stale": {func(s *server, c *client, in call) bool {
			c.result(in.ID, "null", `[21,"Job not found",null]`)
			return true
		}, "stale", true, false, false},
		"hangs up": {func(_ *server, c *client, _ call) bool {
			c.out <- ""
			return true
		}, "ended a connection", false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.difficulty = 1.0 / (1 << 32)
				var mu sync.Mutex
				n := 0
				s.override = func(s *server, cl *client, in call) bool {
					if in.Method != "mining.submit" {
						return false
					}
					mu.Lock()
					n++
					tenth := n == 10
					mu.Unlock()
					return tenth && c.act(s, cl, in)
				}
				got := fire(t, VolleyConfig{LinkConfig: linkTo(s), Conns: 1, InFlight: 2, Shares: 100}, time.Hour)
				if !strings.Contains(got.Early, c.early) || (got.Lost > 0) != c.lost || (got.Ended > 0) != c.ended || (got.Left > 0) != c.left {
					t.Errorf("%+v", got)
				}
				if int(got.Sent+got.Lost+got.Left) != 100 {
					t.Errorf("%d sent, %d lost, %d left of 100", got.Sent, got.Lost, got.Left)
				}
			})
		})
	}
}

// TestMusterRefuses: what keeps a volley from having its shares is told.
func TestMusterRefuses(t *testing.T) {
	for want, edit := range map[string]func(*server, *VolleyConfig){
		"have it ask for less":       func(s *server, cfg *VolleyConfig) { s.difficulty, cfg.Hashes = 1, 1e6 },
		"no room for 300 shares":     func(s *server, cfg *VolleyConfig) { s.en2size, cfg.Shares = 1, 300 },
		"the name was refused: 24 x": func(s *server, _ *VolleyConfig) { s.override = refuse("mining.authorize") },
		"mining.subscribe was refused": func(s *server, _ *VolleyConfig) {
			s.override = refuse("mining.subscribe")
		},
		"no answer in 30s": func(s *server, _ *VolleyConfig) {
			s.override = func(_ *server, _ *client, in call) bool { return in.Method == "mining.authorize" }
		},
		"refused the call": func(_ *server, cfg *VolleyConfig) {
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused the call") }
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.difficulty = 1.0 / (1 << 32)
			cfg := VolleyConfig{LinkConfig: linkTo(s), Conns: 2, InFlight: 1, Shares: 10}
			edit(s, &cfg)
			if _, err := Muster(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

func refuse(method string) func(*server, *client, call) bool {
	return func(_ *server, c *client, in call) bool {
		if in.Method == method {
			c.result(in.ID, "null", `[24,"24 x",null]`)
		}
		return in.Method == method
	}
}

// TestQuickAnswers: answers are told from the rest in the spellings of servers.
func TestQuickAnswers(t *testing.T) {
	for line, want := range map[string]struct {
		id uint64
		ok bool
	}{
		`{"id":12,"result":true,"error":null}`:             {12, true},
		`{"result": true, "error": null, "id": 5}`:         {5, true},
		`{"error":null,"id":"77","result":true}`:           {77, true},
		`{"id":null,"method":"mining.notify","params":[]}`: {0, false},
		`{"id":99999999999999999999999999999,"result":1}`:  {0, false},
		`{"method":"client.get_version","id": "x"}`:        {0, false},
		`{"jsonrpc":"2.0","id":3 ,"result":false}`:         {3, true},
		``: {0, false},
	} {
		if id, ok := quickID([]byte(line)); ok != want.ok || ok && id != want.id {
			t.Errorf("%s: %d, %t", line, id, ok)
		}
	}
	for line, want := range map[string]bool{
		`{"id":1,"result":true,"error":null}`: true, `{"result" : true}`: true, `{"result":false}`: false, `{"result":null,"error":[21]}`: false,
	} {
		if quickTrue([]byte(line)) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
}

// TestSubmitLines: what a pen writes is what the library would.
func TestSubmitLines(t *testing.T) {
	w := &work{job: &job{id: `j"1`, ntime: 0x64b3f3ec}, en2size: 3}
	p, err := newPen(&quarry{work: w, nonces: []uint32{0, 0xdeadbeef}}, `a "b`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := callLine(77, "mining.submit", `a "b`, `j"1`, "010000", "64b3f3ec", "deadbeef")
	if got := p.append(nil, 77, 1); err != nil || string(got) != string(want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestVolleyOnOddServers: a server that puts spaces and the id last, that sends
// work before it says that the name is good, asks for more after the first job,
// pings, and says why in a field of its own, as ckpool does or did.
func TestVolleyOnOddServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.difficulty = 1.0 / (1 << 32)
		asked := 0
		s.override = func(s *server, c *client, in call) bool {
			switch in.Method {
			case "mining.authorize":
				s.setDifficulty(c, s.difficulty/4)
				s.notify(c, true)
				c.result(in.ID, "true", "")
				<-time.After(settling / 2)
				s.mu.Lock()
				for id, j := range s.jobs {
					j.difficulty = 1.0 / (1 << 30) // of the work at hand
					s.jobs[id] = j
				}
				s.mu.Unlock()
				s.setDifficulty(c, 1.0/(1<<30))
				c.out <- `{"id": "p1", "method": "mining.ping", "params": []}`
				return true
			case "mining.submit":
				if asked++; asked == 5 {
					c.out <- `{"reject-reason": "Above target", "result": false, "error": null, "id": ` + string(in.ID) + `}`
					return true
				}
			case "": // an answer to the ping
				return true
			}
			return false
		}
		cfg := linkTo(s)
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := s.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			here, there := net.Pipe()
			go respell(conn, there)
			return &spelled{Conn: here, server: conn}, nil
		}
		got := fire(t, VolleyConfig{LinkConfig: cfg, Conns: 1, InFlight: 3, Shares: 30}, time.Hour)
		if got.Sent != 30 || got.Accepted < 27 || got.Rejected != 1 || got.Unanswered != 0 || len(got.Rejects) != 1 || got.Rejects[0].Text != "Above target" {
			t.Errorf("%+v", got)
		}
	})
}

// spelled is a connection whose server's lines are spelled differently.
type spelled struct {
	net.Conn
	server net.Conn
}

func (s *spelled) Write(b []byte) (int, error) { return s.server.Write(b) }

func (s *spelled) Close() error { return errors.Join(s.Conn.Close(), s.server.Close()) }

// respell puts spaces into lines and the id at their end.
func respell(from, to net.Conn) {
	defer to.Close()
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var m map[string]json.RawMessage
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			panic(lines.Text())
		}
		id := m["id"]
		delete(m, "id")
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, fmt.Sprintf("%q: %s", key, m[key]))
		}
		parts = append(parts, fmt.Sprintf(`"id": %s`, id))
		if _, err := fmt.Fprintf(to, "{%s}\r\n", strings.Join(parts, ", ")); err != nil {
			return
		}
	}
}
