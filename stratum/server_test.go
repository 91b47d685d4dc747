package stratum

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordee/pool"
)

// When all 2^24 are used up, freed values come back only two generations
// later, each with a new job set.
func TestNoncesRest(t *testing.T) {
	n := &nonces{}
	for i := range n.live { // as if all but one were live
		n.live[i] = new([1 << 10]uint64)
		for k := range n.live[i] {
			n.live[i][k] = ^uint64(0)
		}
	}
	n.live.clear(0x123456)
	e, ok := n.take(1, 1)
	if !ok || e != [4]byte{0, 0x12, 0x34, 0x56} {
		t.Fatal(e, ok)
	}
	n.free(e, false) // its holder never had work
	if again, ok := n.take(1, 1); !ok || again != e {
		t.Fatal(again, ok)
	}
	n.free(e, true)
	for _, c := range []struct {
		now       int64
		published uint64
		want      bool
	}{
		{2, 2, false},                     // too soon
		{1 + nonceRestMillis, 0, false},   // no newer job (the count starts at 0)
		{1 + nonceRestMillis, 2, false},   // one generation
		{2 + 2*nonceRestMillis, 2, false}, // the same jobs still
		{2 + 2*nonceRestMillis, 3, true},  // two
	} {
		if _, ok := n.take(c.now, c.published); ok != c.want {
			t.Errorf("at %d with set %d: %v, want %v", c.now, c.published, ok, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	n := regtest(t)
	h := newHub(n)
	for name, c := range map[string]Config{
		"Network":         {Pool: h},
		"Pool":            {Network: n},
		"SharesPerMinute": {Network: n, Pool: h, SharesPerMinute: -1},
		"MaxConns":        {Network: n, Pool: h, MaxConns: 1 << 24},
		"line":            {Network: n, Pool: h, Limits: Limits{Line: 1 << 20}},
	} {
		if _, err := NewServer(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// New work reaches everyone, its latency is noted, and nobody gets it twice.
func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		var rigs []*twin
		for range 300 {
			_, tw := openRig(t, srv, 1<<16)
			rigs = append(rigs, tw)
		}
		set := jobSet(testJob(t, 2, 2, 4096))
		set.Clean, set.Signal = true, time.Now()
		for _, tw := range rigs {
			tw.recv()
		}
		time.Sleep(3 * time.Millisecond)
		srv.Publish(set)
		synctest.Wait()
		for i, tw := range rigs {
			got, writes := tw.recv()
			if strings.Count(got, "\n") != 1 || !strings.Contains(got, `"0000000200"`) || writes != 1 {
				t.Fatalf("rig %d: %d writes, %s", i, writes, got)
			}
		}
		st := srv.Stats()
		if len(st.NotifyFirst) != 1 || st.NotifyFirst[0] != 3*time.Millisecond || st.NotifyLast[0] != 3*time.Millisecond {
			t.Error(st.NotifyFirst, st.NotifyLast)
		}
		if st.Connections != 300 || st.Working != 300 || st.Opened != 300 {
			t.Error(st)
		}
		// One that leaves without work leaves its extranonce1 as it was.
		stranger, tw := enterFrom(srv, "192.0.2.9:1", Door{})
		tw.send(saySubscribe)
		tw.hangUp()
		synctest.Wait()
		if v := uint32(stranger.en1[1])<<16 | uint32(stranger.en1[2])<<8 | uint32(stranger.en1[3]); v != 300 || srv.nonces.live.has(v) || srv.nonces.freed.has(v) {
			t.Errorf("extranonce1 %d of a stranger is used up", v)
		}
		// All rigs of one member share their bytes.
		if n := len(srv.set.Load().sheets[0].views); n != 1 {
			t.Errorf("%d renderings for one member", n)
		}
		drain(t, srv)
		for i := range uint32(300) {
			if srv.nonces.live.has(i) || !srv.nonces.freed.has(i) {
				t.Fatal("extranonce1 was not given back", i)
			}
		}
		if n := len(srv.Closes()); n != keepCloses {
			t.Errorf("%d closes kept", n)
		}
	})
}

// The table of issued jobs is bounded, and a job that the tip buried two deep
// is gone; one on a branch that lost is not.
func TestIssuedIsBounded(t *testing.T) {
	var tab issued
	at := func(height int32) *pool.Work { return &pool.Work{Template: &pool.Template{Height: height}} }
	for i := range uint64(100) {
		tab.push(issue{key: i, tip: 1, work: at(10), difficulty: pool.Difficulty(100 - i), at: int64(i)})
	}
	if len(tab.list) != maxIssued || tab.list[0].key != 68 {
		t.Fatal(len(tab.list), tab.list[0].key)
	}
	i, later, over := tab.find(70, 100)
	if i.difficulty != 30 || later != 1 || over {
		t.Error(i, later, over)
	}
	if _, _, over = tab.find(70, 71+jobCreditMillis+1); !over {
		t.Error("a job five minutes behind a newer one still counts")
	}
	if _, _, over = tab.find(99, 1<<40); over {
		t.Error("the newest job is too old")
	}
	tab.push(issue{key: 200, tip: 2, work: at(11)})
	tab.push(issue{key: 201, tip: 3, work: at(10)}) // a reorganisation
	tab.push(issue{key: 202, tip: 4, work: at(11)})
	if i, _, _ := tab.find(99, 0); i == nil {
		t.Error("a job of the tip before must stay for the block test")
	}
	tab.push(issue{key: 203, tip: 5, work: at(12)})
	if i, _, _ := tab.find(99, 0); i != nil || len(tab.list) != 4 {
		t.Error("a job buried two deep must go")
	}
}

func TestPassword(t *testing.T) {
	for text, want := range map[string]password{
		"":                        {},
		"x":                       {},
		"123":                     {},
		"d=5000,x":                {start: 5000 << 10},
		"x;md=64":                 {floor: 64 << 10},
		"d=0.01":                  {start: 10},
		"d=abc":                   {},
		"d=-1":                    {},
		"diff=2 md=1":             {start: 2 << 10, floor: 1 << 10},
		"th=300":                  {start: 429153442},
		"d=64,th=300":             {start: 64 << 10},
		"th=0.00005":              {start: 71},
		"th=nan th=-1 th= th=x":   {},
		strings.Repeat("d", 1000): {},
	} {
		if got := parsePassword(text, pool.MainScale, 10); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
