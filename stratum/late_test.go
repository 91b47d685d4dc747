package stratum

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever has not signed in after 30 s is closed by name, however it spends them:
// silent, byte by byte, with whole lines that lead nowhere, or with all but the
// last step. An unfinished line is given 10 s, and one that has signed in stays.
func TestLateToSignIn(t *testing.T) {
	for name, c := range map[string]struct {
		first string
		more  string // said again every 5 s
		want  CloseReason
		after time.Duration
	}{
		"silent":          {"", "", CloseLate, 30 * time.Second},
		"a byte at times": {"", "x", CloseHalfLine, 15 * time.Second}, // the first came at 5 s
		"pings":           {"", `{"id":1,"method":"mining.ping","params":[]}` + "\n", CloseLate, 30 * time.Second},
		"blank lines":     {"", "\r\n", CloseLate, 30 * time.Second},
		"subscribed":      {saySubscribe, saySubscribe, CloseLate, 30 * time.Second},
		"named":           {sayAuthorize, sayAuthorize, CloseLate, 30 * time.Second},
		"signed in":       {saySubscribe + sayAuthorize, "", CloseNone, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _ := testServer(t, nil)
				srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
				s, tw := enterFrom(srv, "192.0.2.1:1", Door{})
				tw.send(c.first)
				began := time.Now()
				for !tw.isClosed() && time.Since(began) < time.Minute {
					time.Sleep(5 * time.Second)
					tw.send(c.more)
					synctest.Wait()
					tw.recv()
				}
				synctest.Wait()
				s.mu.Lock()
				got := s.reason
				s.mu.Unlock()
				lived := time.Since(began)
				if got != c.want || c.want != CloseNone && (lived < c.after || lived > c.after+5*time.Second) {
					t.Errorf("%v after %v, want %v after %v", got, lived, c.want, c.after)
				}
				drain(t, srv)
			})
		})
	}
}

// A template every second for hours: what the server and each rig keep of them
// is bounded, and the memory stays.
func TestHoursOfTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		var rigs []*twin
		var sessions []*session
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		for range 5 {
			s, tw := enterFrom(srv, "192.0.2.1:1", Door{})
			tw.send(saySubscribe + sayAuthorize)
			rigs, sessions = append(rigs, tw), append(sessions, s)
		}
		synctest.Wait()
		heap := func() int64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		const seconds = 6 * 3600
		var before int64
		height := uint64(1)
		for n := range uint32(seconds) {
			if n == seconds/4 {
				before = heap()
			}
			if n%600 == 599 { // a block
				height++
			}
			srv.Publish(jobSet(testJob(t, height, n+2, 4096)))
			time.Sleep(time.Second)
			for _, tw := range rigs {
				if said, _ := tw.recv(); !strings.Contains(said, "mining.notify") {
					t.Fatalf("second %d: a rig heard %q", n, said)
				}
			}
			if n%60 == 0 {
				for _, tw := range rigs { // who says nothing for an hour is closed
					tw.send(`{"id":1,"method":"mining.ping","params":[]}` + "\n")
				}
			}
		}
		for _, s := range sessions {
			s.mu.Lock()
			if n := len(s.issued.list); n > maxIssued {
				t.Errorf("%d jobs of a rig are kept", n)
			}
			s.mu.Unlock()
		}
		// A job with its renderings is some 3 KB: were one of a hundred kept, it would show.
		if grown := heap() - before; grown > 128<<10 {
			t.Errorf("the heap grew by %d KiB over %d templates", grown>>10, seconds*3/4)
		} else {
			t.Logf("the heap grew by %d KiB over %d templates", grown>>10, seconds*3/4)
		}
		for _, tw := range rigs {
			tw.hangUp()
		}
		drain(t, srv)
	})
}
