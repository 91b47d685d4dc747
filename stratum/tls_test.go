package stratum

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cordee/internal/harness"
)

// listenTLS serves srv on loopback, with TLS, and returns what rigs need.
func listenTLS(t *testing.T, srv *Server, door Door) (addr string, client *tls.Config) {
	t.Helper()
	cert := harness.NewCertificate(t, "pool", time.Now().Add(time.Hour))
	door.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert.Pair, nil }}
	return listenDoor(t, srv, door), &tls.Config{RootCAs: cert.Roots}
}

// over makes r speak TLS.
func (r *rig) over(cfg *tls.Config) (*rig, *tls.Conn) {
	r.t.Helper()
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = "127.0.0.1"
	}
	c := tls.Client(r.Conn, cfg)
	if err := c.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return &rig{r.t, c, bufio.NewReaderSize(c, 64<<10)}, c
}

// A rig behind TLS mines like any other: lines cut anywhere, many at once, long
// answers, shares.
func TestTLSRig(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			srv, h := testServer(t, nil)
			addr, cfg := listenTLS(t, srv, Door{})
			cfg.MaxVersion = version
			srv.Publish(jobSet(testJob(t, 1, 1, 1<<40)))
			r, _ := dial(t, addr).over(cfg)
			for _, b := range []byte(saySubscribe) {
				r.say(string([]byte{b})) // a record each
			}
			r.until(`"id":2,`)
			r.say(sayAuthorize)
			r.until(`"method":"mining.notify"`)

			s := srv.snapshot(nil)[0]
			is := issuedTo(s)[0]
			sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
			r.say(submitLine("9", "alpha.north.r1", keyID(is.key), sub, 0))
			mustHave(t, r.until(`"id":9,`), "true")
			h.mu.Lock()
			if h.credit == 0 {
				t.Error("no credit")
			}
			h.mu.Unlock()

			const many = 3000 // far more than a record, or a desk
			go r.say(strings.Repeat(`{"id":7,"method":"mining.ping"}`+"\n", many) + `{"id":8,"method":"mining.ping"}` + "\n")
			for range many {
				r.until(`"id":7,`)
			}
			r.until(`"id":8,`)
			for i := uint32(2); i < 30; i++ {
				srv.Publish(jobSet(testJob(t, 1, i, 1<<40)))
				r.until(fmt.Sprintf(`"%08x00"`, i))
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			closedAs(t, srv, CloseHangup)
		})
	}
}

// sliced is a connection whose every write is cut into single bytes.
type sliced struct{ net.Conn }

func (c sliced) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// Records that come in pieces, from the first of the handshake on, and behind a
// header of the PROXY protocol.
func TestTLSInPieces(t *testing.T) {
	srv, _ := testServer(t, nil)
	addr, cfg := listenTLS(t, srv, Door{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	plain := dial(t, addr)
	plain.Conn = sliced{plain.Conn}
	plain.say("PROXY TCP4 203.0.113.7 10.0.0.1 40000 3333\r\n")
	r, _ := plain.over(cfg)
	r.say(sayConfigure + saySubscribe + sayAuthorize)
	r.until(`"method":"mining.notify"`)
	if got := srv.Rigs()[0].Remote; got != "203.0.113.7:40000" {
		t.Errorf("the rig is at %s", got)
	}
}

// A session ticket spares the second handshake its signature.
func TestTLSResumes(t *testing.T) {
	srv, _ := testServer(t, nil)
	addr, cfg := listenTLS(t, srv, Door{})
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		r, c := dial(t, addr).over(cfg)
		r.say(saySubscribe) // its answer brings the ticket with it
		r.until(`"id":2,`)
		if got := c.ConnectionState().DidResume; got != (i == 1) {
			t.Errorf("connection %d: resumed is %t", i, got)
		}
	}
}

// What is no handshake ends by name, and an honest rig beside it notices
// nothing.
func TestTLSHostile(t *testing.T) {
	for name, c := range map[string]struct {
		send   string
		max    uint16 // version to hand shake with
		reason CloseReason
	}{
		"plain":   {send: saySubscribe, reason: CloseNotTLS},
		"http":    {send: "GET / HTTP/1.1\r\n\r\n", reason: CloseNotTLS},
		"silent":  {reason: CloseTLSTimeout},
		"half":    {send: "\x16\x03\x01\x02", reason: CloseTLSTimeout},
		"garbage": {send: "\x16\x03\x01\x00\x04\x01\x00\x00\x00", reason: CloseTLSHandshake},
		"alert":   {send: "\x15\x03\x01\x00\x02\x02\x28", reason: CloseTLSHandshake},
		"old":     {max: tls.VersionTLS11, reason: CloseTLSHandshake},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, _ := testServer(t, func(c *Config) { c.Limits.Greeting = 2 * time.Second })
			addr, cfg := listenTLS(t, srv, Door{})
			srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
			honest, _ := dial(t, addr).over(cfg)
			honest.say(saySubscribe + sayAuthorize)
			honest.until(`"method":"mining.notify"`)
			bad := dial(t, addr)
			if c.max != 0 {
				cfg := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: c.max, InsecureSkipVerify: true} // as an old rig
				if err := tls.Client(bad.Conn, cfg).Handshake(); err == nil {
					t.Error("a handshake of TLS 1.1 was accepted")
				}
			} else {
				bad.say(c.send)
			}
			bad.ended()
			closedAs(t, srv, c.reason)
			srv.Publish(jobSet(testJob(t, 1, 2, 4096)))
			mustHave(t, honest.until(`"method":"mining.notify"`), `"0000000200"`)
		})
	}
}

// Silent connections wait outside the lane: with as many as it has places, and
// more, a rig's handshake is done at once.
func TestTLSLane(t *testing.T) {
	srv, _ := testServer(t, nil)
	addr, cfg := listenTLS(t, srv, Door{})
	for range 4 * cap(srv.lane) {
		dial(t, addr).say("\x16\x03\x01\x02") // the start of a hello
	}
	var wg sync.WaitGroup
	for range 4 * cap(srv.lane) {
		r := dial(t, addr)
		wg.Go(func() {
			r, _ := r.over(cfg)
			r.say(saySubscribe)
			r.until(`"id":2,`)
		})
	}
	wg.Wait()
	if n := len(srv.lane); n != 0 {
		t.Errorf("%d are still in the lane", n)
	}
}

// A rig behind TLS that reads nothing is closed for it; a broadcast does not wait
// for it, and what is held for it stays bounded.
func TestSlowReaderTLS(t *testing.T) {
	srv, _ := testServer(t, func(c *Config) { c.Limits = Limits{WriteStall: 2 * time.Second, Request: 1} }) // or sockets never fill
	addr, cfg := listenTLS(t, srv, Door{})
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	good, _ := dial(t, addr).over(cfg)
	good.say(saySubscribe + sayAuthorize)
	good.until(`"method":"mining.notify"`)
	deaf, _ := dial(t, addr).over(cfg)
	deaf.say(saySubscribe + sayAuthorize)
	for len(srv.snapshot(nil)) != 2 {
		runtime.Gosched()
	}
	held := srv.snapshot(nil)[1].conn.(*tlsConn)
	ping := strings.Repeat(`{"id":7,"method":"mining.ping"}`+"\n", 200)
	for i := uint32(2); srv.Stats().SlowReaders == 0; i++ {
		if _, err := io.WriteString(deaf, ping); err != nil {
			break
		}
		if i%50 == 0 {
			srv.Publish(jobSet(testJob(t, 1, i, 4096)))
			mustHave(t, good.until(`"method":"mining.notify"`), fmt.Sprintf(`"%08x00"`, i))
		}
		held.mu.Lock()
		if held.held != nil && len(held.held.b) > recordSize+1024 { // one record
			t.Errorf("%d bytes are held", len(held.held.b))
		}
		held.mu.Unlock()
	}
	for deadline := time.Now().Add(time.Minute); srv.Stats().SlowReaders != 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the deaf rig was not closed", srv.Closes())
		}
	}
	srv.Publish(jobSet(testJob(t, 1, 1<<20, 4096)))
	good.until(fmt.Sprintf(`"%08x00"`, 1<<20))
}

// A rig behind TLS that reads late gets every byte in order: what is held goes
// first.
func TestTLSReadsLate(t *testing.T) {
	srv, _ := testServer(t, func(c *Config) { c.Limits.Request = 1 })
	addr, cfg := listenTLS(t, srv, Door{})
	srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
	r, _ := dial(t, addr).over(cfg)
	r.say(saySubscribe + sayAuthorize)
	r.until(`"method":"mining.notify"`)
	s := srv.snapshot(nil)[0]
	id, full := 0, false
	for !full && id < 1<<20 {
		var b strings.Builder
		for range 200 {
			id++
			fmt.Fprintf(&b, `{"id":%d,"method":"mining.ping"}`+"\n", id+10)
		}
		r.say(b.String())
		for srv.Stats().Messages["ping"] < uint64(id) { // else far more is under way than may wait
			runtime.Gosched()
		}
		full = s.stalledSince.Load() != 0
	}
	if !full {
		t.Fatal("the socket never was full")
	}
	for i := range id {
		mustHave(t, r.until("pong"), fmt.Sprintf(`"id":%d,`, i+11))
	}
	srv.Publish(jobSet(testJob(t, 1, 77, 4096)))
	r.until(fmt.Sprintf(`"%08x00"`, 77))
}
