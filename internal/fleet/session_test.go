package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRejectTable answers shares in the dialects of the field.
func TestRejectTable(t *testing.T) {
	dialects := []struct {
		result, fault string // of the answer
		more          string // members after them
		code          int
		text          string
		stale         bool
	}{
		{"null", `[21,"Stale share",null]`, "", 21, "Stale share", true},
		{"false", `[22,"Duplicate share"]`, "", 22, "Duplicate share", false},
		{"null", `{"code":23,"message":"low"}`, "", 23, "low", false},
		{"false", `"Above target"`, "", 0, "Above target", false},
		{"false", "null", `,"reject-reason":"Stale"`, 0, "Stale", true},
		{"false", "null", "", 0, "no reason given", false},
		{"true", `[20,"Says both",null]`, "", 20, "Says both", false},
		{"null", `[-3,"bad\u0007 bell é` + strings.Repeat("x", 300) + `",null]`, "", -3, "", false},
	}
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := newServer()
		s.override = func(_ *server, c *client, in call) bool {
			if in.Method != "mining.submit" {
				return false
			}
			d := dialects[n%len(dialects)]
			n++
			c.out <- fmt.Sprintf(`{"id":%s,"result":%s,"error":%s%s}`, in.ID, d.result, d.fault, d.more)
			return true
		}
		f := start(t, s, rigsOf(1, 10000))
		wait(5 * time.Second)
		f.stop()
		st := f.Stats()
		if st.Accepted != 0 || st.Submitted != uint64(n) || st.Rejected != uint64(n) || st.Unanswered != 0 || n < 100 {
			t.Fatalf("%d sent: %+v", n, st)
		}
		events := f.of(Rejected)
		var stale uint64
		for i, e := range events {
			d := dialects[i%len(dialects)]
			if d.stale {
				stale++
			}
			if e.Code != d.code || d.text != "" && e.Text != d.text {
				t.Fatalf("answer %+v was read as %d %q", d, e.Code, e.Text)
			}
			if len(e.Text) > maxText || strings.ContainsFunc(e.Text, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				t.Fatalf("text %q is not safe to show", e.Text)
			}
		}
		if st.Stale != stale || len(st.Rejects) != len(dialects) {
			t.Errorf("stale %d, want %d; table %v", st.Stale, stale, st.Rejects)
		}
		var sum uint64
		for i, r := range st.Rejects {
			sum += r.Count
			if i > 0 && r.Count > st.Rejects[i-1].Count {
				t.Errorf("table is not sorted: %v", st.Rejects)
			}
		}
		if sum != st.Rejected {
			t.Errorf("table sums to %d of %d", sum, st.Rejected)
		}
	})
}

// TestRejectTableIsBounded against texts that never repeat.
func TestRejectTableIsBounded(t *testing.T) {
	var table rejectTable
	for i := range 10 * maxRejectRows {
		table.add(20, fmt.Sprint("reason ", i))
	}
	rows := table.rows()
	if len(rows) != maxRejectRows+1 || rows[0].Text != "other" || rows[0].Count != 9*maxRejectRows {
		t.Errorf("%d rows, first %+v", len(rows), rows[0])
	}
}

// TestAnswersMatchById: answers in reverse order, late, with ids echoed as
// strings and floats, one lost for ever.
func TestAnswersMatchById(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held []call
		s := newServer()
		s.override = func(s *server, c *client, in call) bool {
			if in.Method != "mining.submit" {
				return false
			}
			held = append(held, in)
			if len(held) < 5 {
				return true
			}
			wait(300 * time.Millisecond)
			for i, h := range slices.Backward(held) {
				id := []string{`"%s"`, `%s.0`, `%s`}[i%3]
				switch i {
				case 4:
					continue // lost
				case 0:
					c.result(json.RawMessage(fmt.Sprintf(id, h.ID)), "null", `[23,"first",null]`)
				default:
					c.result(json.RawMessage(fmt.Sprintf(id, h.ID)), "true", "")
				}
			}
			held = nil
			return true
		}
		f := start(t, s, rigsOf(1, 3000))
		wait(10 * time.Second)
		begin := time.Now()
		f.stop()
		if took := time.Since(begin); took != lingerTimeout {
			t.Errorf("stopping with answers due took %v, want %v", took, lingerTimeout)
		}
		st := f.Stats()
		if st.Violations != 0 || st.Submitted < 50 {
			t.Fatalf("%+v", st)
		}
		shares := f.of(Submit)
		first := map[ShareKey]bool{}
		for i, e := range shares {
			first[e.Share] = i%5 == 0
		}
		for _, e := range f.of(Rejected) {
			if !first[e.Share] {
				t.Fatalf("share %+v was answered for another", e.Share)
			}
		}
		for _, e := range f.of(Accepted) {
			if first[e.Share] || e.Latency < 300*time.Millisecond || e.Latency > 10*time.Second {
				t.Fatalf("accepted %+v", e)
			}
		}
		rounds := st.Submitted / 5
		if st.Accepted != 3*rounds || st.Rejected != rounds || st.Unanswered != st.Submitted-4*rounds {
			t.Errorf("%d rounds: %+v", rounds, st)
		}
		if l := st.Latency; l.Count != 4*rounds || l.P50 < 300*time.Millisecond || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max {
			t.Errorf("latency %+v", l)
		}
	})
}

// TestRefusedName: the rig says why, and comes back ever more slowly.
func TestRefusedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.override = func(_ *server, c *client, in call) bool {
			if in.Method != "mining.authorize" {
				return false
			}
			c.result(in.ID, "null", `[24,"Unknown member",null]`)
			return true
		}
		f := start(t, s, rigsOf(1, 1000))
		wait(time.Minute)
		f.stop()
		st := f.Stats()
		if st.Refused < 8 || st.Refused > 40 || st.Authorized != 0 || st.Hashes != 0 || len(f.of(Authorized)) != 0 {
			t.Errorf("%+v", st)
		}
		if e := f.of(Disconnected)[0]; e.Code != 24 || e.Text != "Unknown member" {
			t.Errorf("reason %d %q", e.Code, e.Text)
		}
	})
}

// TestEarlyWork: work that comes before the authorize reply is kept but not
// hashed, and a rig that did not ask for version rolling rolls nothing.
func TestEarlyWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.override = func(s *server, c *client, in call) bool {
			if in.Method != "mining.authorize" {
				return false
			}
			c.out <- `{"id":null,"method":"mining.set_version_mask","params":["1fffe000"]}`
			s.setDifficulty(c, s.difficulty)
			s.notify(c, true)
			wait(5 * time.Second)
			c.result(in.ID, "true", "")
			return true
		}
		f := start(t, s, []Rig{{User: "alpha.site.a", Hashrate: 2000}})
		wait(4 * time.Second)
		if st := f.Stats(); st.Hashes != 0 || st.Notifies != 1 {
			t.Errorf("before the authorize reply: %+v", st)
		}
		wait(4 * time.Second)
		f.stop()
		st := f.Stats()
		if st.Accepted == 0 || st.Rejected != 0 || st.Hashes > 6100 {
			t.Errorf("3 s after it: %+v", st)
		}
		for _, e := range f.of(Submit) {
			if e.Share.Version != 0x20000000 {
				t.Fatalf("version %08x was rolled", e.Share.Version)
			}
		}
	})
}

// TestSilentServer: no answer for 30 s ends the attempt; no line for 180 s ends
// a session.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.override = func(_ *server, _ *client, in call) bool { return in.Method == "mining.authorize" }
		f := start(t, s, rigsOf(1, 0))
		wait(handshakeTimeout + 50*time.Millisecond)
		e := f.of(Disconnected)
		if len(e) != 1 || e[0].Text != "no answer to mining.authorize in 30s" {
			t.Errorf("events %+v", e)
		}
		f.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		f := start(t, newServer(), rigsOf(1, 0))
		wait(idleTimeout - time.Second)
		if n := len(f.of(Disconnected)); n != 0 {
			t.Errorf("disconnected before %v", idleTimeout)
		}
		wait(2 * time.Second)
		if n := len(f.of(Disconnected)); n != 1 {
			t.Errorf("%d disconnects after %v of silence, want 1", n, idleTimeout)
		}
		f.stop()
	})
}

// TestOddLines: what no pool should send is counted and survived.
func TestOddLines(t *testing.T) {
	odd := []string{
		`{`, `[]`, `7`, `{"id":null,"method":"mining.notify","params":[]}`,
		`{"id":null,"method":"mining.notify","params":{}}`,
		`{"id":null,"method":"mining.set_difficulty","params":[0]}`,
		`{"id":null,"method":"mining.set_difficulty","params":[]}`,
		`{"id":null,"method":"mining.set_extranonce","params":["zz",4]}`,
		`{"id":null,"method":"mining.set_extranonce","params":["00",-1]}`,
		`{"id":null,"method":"mining.set_version_mask","params":["nope"]}`,
		`{"id":99999,"result":true,"error":null}`, `{"id":"x","result":true}`,
	}
	fine := []string{
		``, `   `, `{"id":null,"method":"client.show_message","params":["hello"]}`,
		`{"id":null,"method":"mining.unheard_of","params":[1]}`, `{"id":1,"result":true,"error":null}`,
	}
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		f := start(t, s, rigsOf(1, 2000))
		wait(2 * time.Second)
		for _, line := range append(fine[1:], odd...) {
			s.client(t, 0).out <- line
		}
		wait(time.Millisecond)
		accepted := f.Stats().Accepted
		wait(3 * time.Second)
		f.stop()
		st := f.Stats()
		if st.Violations != uint64(len(odd)) || st.Connects != 1 || st.Accepted == accepted || st.Rejected != 0 {
			t.Errorf("%d odd lines sent: %+v", len(odd), st)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		f := start(t, s, rigsOf(1, 0))
		wait(time.Second)
		s.client(t, 0).out <- strings.Repeat("x", maxLine+1)
		wait(time.Millisecond)
		f.stop()
		if e := f.of(Disconnected); !strings.Contains(e[0].Text, "longer than 1048576 bytes") {
			t.Errorf("reason %q", e[0].Text)
		}
	})
}

// TestServerCalls: version, ping, new extranonce and mask with the next notify.
func TestServerCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.override = func(_ *server, _ *client, in call) bool { return in.Method == "" } // an answer
		f := start(t, s, rigsOf(1, 2000))
		wait(2 * time.Second)
		c := s.client(t, 0)
		c.out <- `{"id":"v","method":"client.get_version","params":[]}`
		c.out <- `{"id":8,"method":"mining.ping","params":[]}`
		c.out <- `{"id":null,"method":"mining.ping","params":[]}`
		c.out <- `{"id":null,"method":"mining.set_extranonce","params":["AABB",5]}`
		c.out <- `{"id":null,"method":"mining.set_version_mask","params":["00006000"]}`
		wait(2 * time.Second)
		for _, e := range f.of(Submit) {
			if e.Share.Extranonce1 == "aabb" {
				t.Fatal("set_extranonce acted before the next notify")
			}
		}
		before := len(f.of(Submit))
		s.mu.Lock()
		c.en1, s.en2size = "aabb", 5
		s.mu.Unlock()
		s.notify(c, true)
		wait(5 * time.Second)
		f.stop()
		after := f.of(Submit)[before:]
		if len(after) < 10 {
			t.Fatalf("%d shares after the notify", len(after))
		}
		for _, e := range after {
			if e.Share.Extranonce1 != "aabb" || len(e.Share.Extranonce2) != 10 || e.Share.Version&^0x6000 != 0x20000000 {
				t.Fatalf("share %+v, want extranonce1 aabb, 5 bytes of extranonce2 and mask 6000", e.Share)
			}
		}
		if st := f.Stats(); st.Rejected != 0 || st.Violations != 0 {
			t.Errorf("%+v", st)
		}
		answers := 0
		for _, in := range c.calls {
			if in.Method == "" && (string(in.ID) == `"v"` || string(in.ID) == "8") {
				answers++
			}
		}
		if answers != 2 || slices.Contains(s.methods(c), "mining.extranonce.subscribe") {
			t.Errorf("%d answers to two requests", answers)
		}
	})
}

// TestHistogram: every quantile is an upper bound within 7 %.
func TestHistogram(t *testing.T) {
	for _, us := range []uint64{0, 1, 15, 16, 17, 31, 32, 1000, 12345, 1 << 40, 1<<63 + 5} {
		i := bucketOf(us)
		if end := bucketEnd(i); end < us || float64(end) > float64(us)*1.0667+1 {
			t.Errorf("%d us falls in a bucket that ends at %d", us, end)
		}
		if i > 0 && bucketEnd(i-1) >= us {
			t.Errorf("%d us is not above the bucket before its own", us)
		}
	}
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	l := h.summary()
	for _, q := range []struct{ got, want time.Duration }{{l.P50, 500 * time.Millisecond}, {l.P90, 900 * time.Millisecond}, {l.P99, 990 * time.Millisecond}} {
		if q.got < q.want || float64(q.got) > float64(q.want)*1.07 {
			t.Errorf("quantile %v, want %v", q.got, q.want)
		}
	}
	if l.Max != time.Second || l.Count != 1000 {
		t.Errorf("%+v", l)
	}
	var two histogram
	two.add(time.Millisecond)
	two.add(time.Second)
	if l := two.summary(); l.P50 > 1100*time.Microsecond || l.P90 != time.Second {
		t.Errorf("of 1 ms and 1 s: %+v", l)
	}
}
