package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func rigsOf(n int, hashrate float64) []Rig {
	rigs := make([]Rig, n)
	for i := range rigs {
		rigs[i] = Rig{User: fmt.Sprintf("alpha.site.rig%d", i), Hashrate: hashrate, VersionRolling: true, ConfigureFirst: i%2 == 0}
	}
	return rigs
}

// TestFleetMines: three rigs for 20 s at 5 kH/s. The server accepts everything,
// both sides agree on every share and its answer, and the throttle holds.
func TestFleetMines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		f := start(t, s, rigsOf(3, 5000))
		wait(20 * time.Second)
		f.stop()
		st := f.Stats()

		const hashes = 3 * 20 * 5000
		if got := float64(st.Hashes); math.Abs(got-hashes) > 3*5000*0.05 {
			t.Errorf("%v hashes, want %v within a tick or two a rig", got, hashes)
		}
		expected := hashes / 256.0
		if math.Abs(float64(st.Accepted)-expected) > 5*math.Sqrt(expected) {
			t.Errorf("%d shares accepted, want about %.0f", st.Accepted, expected)
		}
		if st.Submitted != st.Accepted || st.Rejected != 0 || st.Unanswered != 0 || st.Violations != 0 || len(st.Rejects) != 0 {
			t.Errorf("not all accepted: %+v", st)
		}
		if est := st.WorkAccepted * HashesPerDifficulty; math.Abs(est-hashes) > 5*256*math.Sqrt(expected) {
			t.Errorf("accepted work stands for %.0f hashes, want about %d", est, hashes)
		}
		if st.Authorized != 3 || st.Connected != 0 || st.Connects != 3 || st.Reconnects != 0 || st.Notifies != 3 || st.CleanNotifies != 3 {
			t.Errorf("connections and notifies: %+v", st)
		}

		// The oracle: the server's list and the events hold the same shares.
		want := map[ShareKey]string{}
		for _, j := range s.shares {
			want[j.key] = j.answer
		}
		got := map[ShareKey]string{}
		for _, e := range f.of(Accepted) {
			got[e.Share] = "true"
		}
		if len(want) != len(s.shares) || !reflect.DeepEqual(got, want) {
			t.Errorf("events name %d accepted shares, the server %d of %d", len(got), len(want), len(s.shares))
		}
		if n := len(f.of(Submit)); n != len(s.shares) {
			t.Errorf("%d Submit events, %d shares arrived", n, len(s.shares))
		}
		rolled := map[uint32]bool{}
		for _, e := range f.of(Submit) {
			rolled[e.Share.Version] = true
			if e.Share.Version&^bip320 != 0x20000000 {
				t.Fatalf("version %08x leaves the mask", e.Share.Version)
			}
		}
		if len(rolled) < 50 {
			t.Errorf("only %d versions used", len(rolled))
		}
	})
}

// TestArrivalsInTime: counts of one-second intervals on the session's own clock
// are Poisson too, ticks and all.
func TestArrivalsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seconds = 300
		begin := time.Now()
		f := start(t, newServer(), rigsOf(1, 1280))
		wait(seconds * time.Second)
		f.stop()
		counts := make([]int, seconds)
		for _, e := range f.of(Submit) {
			if i := int(e.At.Sub(begin) / time.Second); i < seconds {
				counts[i]++
			}
		}
		mean, dispersion, shape := poissonTest(counts, 5)
		t.Logf("z: mean %.2f, dispersion %.2f, shape %.2f", mean, dispersion, shape)
		if math.Abs(mean) > 4 || math.Abs(dispersion) > 4 || math.Abs(shape) > 4 {
			t.Errorf("not Poisson: z of mean %.1f, dispersion %.1f, shape %.1f", mean, dispersion, shape)
		}
	})
}

// TestStalledMachine: hashing lost to a stall is made up for one second only.
func TestStalledMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.difficulty = 1e6
		f, err := New(Config{Addr: "pool.test:3333", Rigs: rigsOf(1, 1000), Dial: s.dial})
		if err != nil {
			t.Fatal(err)
		}
		here, there := net.Pipe()
		defer here.Close()
		x := newSession(f.rigs[0], there)
		x.ready = true
		x.miner.setWork(testWork(t, x.target, 0, 4))
		x.lastCredit = time.Now()
		wait(time.Hour)
		if err := x.hash(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := f.Stats().Hashes; n != 1000 {
			t.Errorf("%d hashes after an hour's stall, want one second's 1000", n)
		}
	})
}

func TestHandshakes(t *testing.T) {
	for _, c := range []struct {
		name   string
		rig    Rig
		mask   string
		params int // of a submit
		want   []string
	}{
		{"plain", Rig{}, "1fffe000", 5, []string{"mining.subscribe", "mining.authorize", "mining.submit"}},
		{"configure first", Rig{VersionRolling: true, ConfigureFirst: true}, "1fffe000", 6, []string{"mining.configure", "mining.subscribe", "mining.authorize", "mining.submit"}},
		{"configure second", Rig{VersionRolling: true}, "00c00000", 6, []string{"mining.subscribe", "mining.configure", "mining.authorize", "mining.submit"}},
		{"no version rolling there", Rig{VersionRolling: true, ConfigureFirst: true}, "", 5, []string{"mining.configure", "mining.subscribe", "mining.authorize", "mining.submit"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.mask = c.mask
				c.rig.User, c.rig.Hashrate, c.rig.Agent = "alpha.site.a", 2000, "test/1"
				f := start(t, s, []Rig{c.rig})
				wait(3 * time.Second)
				f.stop()
				cl := s.client(t, 0)
				if got := s.methods(cl); len(got) < 4 || !slices.Equal(slices.Compact(got), c.want) {
					t.Errorf("calls %v, want %v", slices.Compact(got), c.want)
				}
				for _, in := range cl.calls {
					switch in.Method {
					case "mining.subscribe":
						if fmt.Sprint(in.Params) != "[test/1]" {
							t.Errorf("subscribe %v", in.Params)
						}
					case "mining.authorize":
						if fmt.Sprint(in.Params) != "[alpha.site.a x]" {
							t.Errorf("authorize %v", in.Params)
						}
					case "mining.submit":
						if len(in.Params) != c.params {
							t.Fatalf("submit has %d parameters, want %d", len(in.Params), c.params)
						}
					}
				}
				if st := f.Stats(); st.Accepted == 0 || st.Rejected != 0 {
					t.Errorf("accepted %d, rejects %v", st.Accepted, st.Rejects)
				}
			})
		})
	}
}

// TestDifficultyWaitsForNotify: set_difficulty changes nothing until the next
// notify, then everything.
func TestDifficultyWaitsForNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		easy, hard := s.difficulty, s.difficulty*16
		f := start(t, s, rigsOf(1, 4000))
		wait(5 * time.Second)
		s.setDifficulty(s.client(t, 0), hard)
		wait(5 * time.Second)
		before := len(f.of(Submit))
		s.notify(s.client(t, 0), false)
		wait(10 * time.Second)
		f.stop()
		shares := f.of(Submit)
		if before < 100 || len(shares)-before < 3 || len(shares)-before > 40 {
			t.Fatalf("%d shares before and %d after the notify, want about 156 and 10", before, len(shares)-before)
		}
		for i, e := range shares {
			want := easy
			if i >= before {
				want = hard
			}
			if e.Difficulty != want {
				t.Fatalf("share %d of %d (notify after %d): difficulty %v, want %v", i, len(shares), before, e.Difficulty, want)
			}
		}
		st := f.Stats()
		if st.Rejected != 0 || st.Difficulty[0] != hard {
			t.Errorf("rejects %v, difficulty %v, want none and %v", st.Rejects, st.Difficulty, hard)
		}
		if want := float64(before)*easy + float64(len(shares)-before)*hard; math.Abs(st.WorkAccepted/want-1) > 1e-9 {
			t.Errorf("work %v, want %v", st.WorkAccepted, want)
		}
	})
}

// TestCleanDropsOldWork: after a notify no share of an older job is sent.
func TestCleanDropsOldWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		f := start(t, s, rigsOf(2, 20000))
		for i := range 100 {
			wait(17 * time.Millisecond)
			s.notify(s.client(t, i%2), i%3 != 0)
		}
		wait(time.Second)
		f.stop()
		current := map[int]string{}
		for _, e := range f.of() {
			switch e.Kind {
			case Notify:
				current[e.Rig] = e.JobID
			case Submit:
				if e.JobID != current[e.Rig] {
					t.Fatalf("rig %d submits for job %s, its newest is %s", e.Rig, e.JobID, current[e.Rig])
				}
			default: // says nothing of jobs
			}
		}
		if n := len(f.of(Notify)); n != 102 {
			t.Errorf("%d notifies seen, want 102", n)
		}
	})
}

// TestReconnects: closed, told to reconnect, refused dials: the rig comes back
// and counts it.
func TestReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		var refuse atomic.Bool
		f := start(t, s, rigsOf(1, 2000), func(c *Config) {
			c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" || addr != "pool.test:3333" {
					t.Errorf("dials %s %s", network, addr)
				}
				if refuse.Load() {
					return nil, errDial
				}
				return s.dial(ctx, network, addr)
			}
		})
		wait(2 * time.Second)
		s.client(t, 0).out <- `{"id":null,"method":"client.reconnect","params":["evil.example",3333,0]}`
		wait(2 * time.Second)
		if n := f.Stats().Connects; n != 2 {
			t.Fatalf("%d connects after client.reconnect, want 2", n)
		}
		s.client(t, 1).out <- `` // close
		wait(time.Millisecond)
		refuse.Store(true)
		wait(time.Minute)
		down := f.Stats()
		if down.Connected != 0 || down.DialErrors < 8 || down.DialErrors > 40 {
			t.Errorf("a minute without a server: %d connected, %d dials refused, want 0 and 8 to 40", down.Connected, down.DialErrors)
		}
		refuse.Store(false)
		wait(10 * time.Second)
		accepted := f.Stats().Accepted
		wait(5 * time.Second)
		s.client(t, 2).out <- ``
		wait(350 * time.Millisecond) // the long outage is forgiven
		f.stop()
		st := f.Stats()
		if st.Connects != 4 || st.Reconnects != 3 || st.Accepted == accepted || st.Rejected != 0 {
			t.Errorf("after the server came back: %+v", st)
		}
		var texts []string
		for _, e := range f.of(Disconnected) {
			texts = append(texts, e.Text)
		}
		all := strings.Join(texts, "|")
		if texts[0] != "client.reconnect" || !strings.Contains(all, "closed by the server") || !strings.Contains(all, errDial.Error()) {
			t.Errorf("reasons %q", texts)
		}
	})
}

// TestRamp spreads the first connections.
func TestRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		f := start(t, s, rigsOf(10, 0), func(c *Config) { c.Ramp = 10 * time.Second })
		wait(4500 * time.Millisecond)
		if n := f.Stats().Connected; n != 5 {
			t.Errorf("%d of 10 rigs connected after 4.5 s of 10, want 5", n)
		}
		wait(10 * time.Second)
		st := f.Stats()
		f.stop()
		if st.Connected != 10 || st.Authorized != 10 || st.Hashes != 0 {
			t.Errorf("idle rigs: %+v", st)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := Config{Addr: "127.0.0.1:3333", Rigs: []Rig{{User: "a.b.c", Hashrate: 1}}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*Config){
		"host:port": func(c *Config) { c.Addr = "localhost" },
		"no rigs":   func(c *Config) { c.Rigs = nil },
		"no user":   func(c *Config) { c.Rigs = []Rig{{}} },
		"hash rate": func(c *Config) { c.Rigs = []Rig{{User: "a", Hashrate: math.NaN()}} },
		"-1":        func(c *Config) { c.Rigs = []Rig{{User: "a", Hashrate: -1}} },
		"ramp":      func(c *Config) { c.Ramp = -1 },
		"suggested": func(c *Config) { c.SuggestDifficulty = math.Inf(1) },
	} {
		cfg := good
		edit(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// TestRunTwice: a second Run is refused.
func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, newServer(), rigsOf(1, 0))
		wait(time.Second)
		if err := f.Run(t.Context()); err == nil {
			t.Error("a second Run was accepted")
		}
		f.stop()
	})
}
