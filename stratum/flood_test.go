package stratum

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// A rig that has a name cannot fill the disk with the names it does not have.
func TestDeniedNamesDoNotFloodTheLog(t *testing.T) {
	var log bytes.Buffer
	srv, _ := testServer(t, func(c *Config) { c.Log = zerolog.New(&log) })
	p := newPuppet(t, srv)
	p.read([]byte(saySubscribe + sayAuthorize))
	for i := range 20_000 {
		p.read(fmt.Appendf(nil, `{"id":1,"method":"mining.authorize","params":["nobody.north.r%d"]}`+"\n", i))
		p.twin.recv()
	}
	if p.s.reason != CloseNone {
		t.Fatalf("closed: %v", p.s.reason)
	}
	if n := strings.Count(log.String(), "\n"); n > 2*logBurst {
		t.Errorf("%d lines, %d bytes", n, log.Len())
	}
}

// Nor can strangers, one connection after the other.
func TestStrangersDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		srv, _ := testServer(t, func(c *Config) { c.Log = zerolog.New(&log).Level(zerolog.InfoLevel) })
		const n = 20_000
		for range n {
			tw := newTwin(1 << 20)
			srv.enter(tw, Door{})
			tw.send("GET / HTTP/1.1\n")
			synctest.Wait()
		}
		if lines := strings.Count(log.String(), "\n"); lines > 5*logBurst {
			t.Errorf("%d lines, %d bytes", lines, log.Len())
		}
		// What was left out is counted, and the log speaks again.
		log.Reset()
		time.Sleep(time.Minute)
		tw := newTwin(1 << 20)
		srv.enter(tw, Door{})
		tw.send("GET / HTTP/1.1\n")
		synctest.Wait()
		mustHave(t, log.String(), `"unsaid":`)
		if err := srv.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
