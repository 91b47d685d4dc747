package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Hostile are clients that do what a server must survive, each kind of
// spec/reliability 1.3 at once. Point it at servers of your own only.
type Hostile struct {
	Addr    string                // host:port
	PerKind int                   // clients of each kind; one that is closed comes back
	User    func(i int) string    // a name that the server knows, for those that sign in
	From    func(kind int) net.IP // source address of a kind; nil leaves it to the kernel
	Pause   time.Duration         // before one comes back, on average
}

// HostileCount is what one kind did.
type HostileCount struct {
	Kind     string `json:"kind"`
	Connects uint64 `json:"connects"` // and came in
	Failed   uint64 `json:"failed"`   // dials that failed
	Bytes    uint64 `json:"bytes"`    // that the server's side took
}

// hostileKinds are the kinds. act returns when it can do no more harm; its
// connection is closed when ctx ends.
var hostileKinds = []struct {
	name  string
	pause float64 // times Hostile.Pause
	act   func(h *hostileConn)
}{
	{"slow reader", 1, (*hostileConn).readNothing},
	{"giant line", 1, func(h *hostileConn) { h.send(giantLine); h.drain() }},
	{"half line", 1, func(h *hostileConn) { h.send([]byte(`{"id":1,"method":"mining.subs`)); h.drain() }},
	{"subscribe flood", 1, (*hostileConn).subscribeAgain},
	{"duplicate flood", 1, (*hostileConn).duplicate},
	{"random names", 1, (*hostileConn).guessNames},
	{"reconnect loop", 0.25, func(h *hostileConn) { h.signIn() }},
}

// giantLine is 1 MiB, and no end of it.
var giantLine = bytes.Repeat([]byte{'x'}, 1<<20)

// hostileConn is one connection of a hostile client.
type hostileConn struct {
	net.Conn
	user string
	sent *atomic.Uint64
	at   *bufio.Reader
}

// Run lets them loose until ctx ends.
func (h *Hostile) Run(ctx context.Context) []HostileCount {
	type counts struct{ connects, failed, bytes atomic.Uint64 }
	count := make([]counts, len(hostileKinds))
	var wg sync.WaitGroup
	for k, kind := range hostileKinds {
		d := net.Dialer{Timeout: dialTimeout}
		if h.From != nil {
			d.LocalAddr = &net.TCPAddr{IP: h.From(k)}
		}
		pause := time.Duration(kind.pause * float64(h.Pause))
		for i := range h.PerKind {
			wg.Go(func() {
				for sleep(ctx, time.Duration(rand.Float64()*2*float64(pause))) {
					conn, err := d.DialContext(ctx, "tcp", h.Addr)
					if err != nil {
						count[k].failed.Add(1)
						continue
					}
					count[k].connects.Add(1)
					if tcp, ok := conn.(*net.TCPConn); ok {
						_ = tcp.SetLinger(0)             // no port of ours is left behind, and no good bye
						_ = tcp.SetWriteBuffer(64 << 10) // harm should cost the server, not this machine's memory
					}
					unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
					kind.act(&hostileConn{conn, h.User(i), &count[k].bytes, bufio.NewReader(conn)})
					unhook()
					_ = conn.Close()
				}
			})
		}
	}
	wg.Wait()
	out := make([]HostileCount, len(hostileKinds))
	for k, kind := range hostileKinds {
		out[k] = HostileCount{kind.name, count[k].connects.Load(), count[k].failed.Load(), count[k].bytes.Load()}
	}
	return out
}

// send reports whether the server's side took all of b.
func (h *hostileConn) send(b []byte) bool {
	n, err := h.Write(b)
	h.sent.Add(uint64(n))
	return err == nil
}

// drain reads until the connection ends.
func (h *hostileConn) drain() { _, _ = io.Copy(io.Discard, h.at) }

const hostileHello = `{"id":1,"method":"mining.subscribe","params":["hostile/1"]}` + "\n"

// signIn subscribes, authorizes and waits for work: the newest difficulty and
// job, and the answer to subscribe.
func (h *hostileConn) signIn() (sub, notify message, difficulty float64, ok bool) {
	if !h.send(fmt.Appendf(nil, hostileHello+`{"id":2,"method":"mining.authorize","params":[%q,"x"]}`+"\n", h.user)) {
		return
	}
	for {
		line, err := h.at.ReadBytes('\n')
		var m message
		if err != nil || json.Unmarshal(line, &m) != nil {
			return
		}
		switch {
		case string(m.ID) == "1":
			sub = m
		case m.Method == "mining.set_difficulty" && len(m.Params) > 0:
			_ = json.Unmarshal(m.Params[0], &difficulty)
		case m.Method == "mining.notify":
			return sub, m, difficulty, true
		}
	}
}

// readNothing asks and asks, and reads no answer.
func (h *hostileConn) readNothing() {
	if _, _, _, ok := h.signIn(); !ok {
		return
	}
	ask := []byte(strings.Repeat(`{"id":3,"method":"mining.get_transactions","params":["`+strings.Repeat("z", 60)+`"]}`+"\n", 100))
	for h.send(ask) {
	}
}

// subscribeAgain subscribes as fast as the server reads.
func (h *hostileConn) subscribeAgain() {
	go h.drain()
	flood := []byte(strings.Repeat(hostileHello, 100))
	for h.send(flood) {
	}
}

// duplicate sends one good share for ever.
func (h *hostileConn) duplicate() {
	sub, notify, difficulty, ok := h.signIn()
	var result []json.RawMessage
	if !ok || json.Unmarshal(sub.Result, &result) != nil || len(result) < 3 {
		return
	}
	line, _ := json.Marshal(notify) // was JSON
	w, err := workOf(line, result[1], result[2], difficulty, time.Now())
	if err != nil {
		return
	}
	m := newMiner(rand.New(rand.NewPCG(rand.Uint64(), 1)))
	m.setWork(w)
	_, s := m.scan(mostHashes, time.Now())
	if s == nil {
		return
	}
	good := fmt.Sprintf(`{"id":4,"method":"mining.submit","params":[%q,%q,%q,"%08x","%08x"]}`+"\n", h.user, w.job.id, s.en2, s.ntime, s.nonce)
	go h.drain()
	flood := []byte(strings.Repeat(good, 100))
	for h.send(flood) {
	}
}

// guessNames asks for one name after the other until it is closed.
func (h *hostileConn) guessNames() {
	for i := range 16 {
		if !h.send(fmt.Appendf(nil, `{"id":%d,"method":"mining.authorize","params":["m%x.s%x.r","x"]}`+"\n", i+1, rand.Uint32(), rand.Uint32())) {
			return
		}
	}
	h.drain()
}
