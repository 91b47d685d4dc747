package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// gun is one connection of a volley. All but what quarry and link say belongs to
// its own goroutine.
type gun struct {
	*link
	quarry
	pen
	volley *Volley
	next   int     // share
	due    []int64 // by id modulo its length: when it was sent, ns since epoch; 0 for no answer due
	open   int     // of them
	id     uint64
	gone   bool // the server dropped the job
	out    []byte
	epoch  time.Time
}

// firstID of a submit: above the handshake's.
const firstID = 10

// settle takes what the server says until it is silent.
func (g *gun) settle() error {
	_ = g.conn.SetReadDeadline(time.Now().Add(settling))
	defer func() { _ = g.conn.SetReadDeadline(time.Time{}) }()
	for {
		err := g.read(g.take)
		if err == nil {
			continue
		}
		if late(err) {
			return nil // it was silent
		}
		return fmt.Errorf("%s: %w", g.user, err)
	}
}

// run keeps the shares on their way until there is nothing more to do.
func (g *gun) run() {
	for {
		if !g.volley.stop.Load() {
			if err := g.send(g.volley.cfg.InFlight - g.open); err != nil {
				g.leave()
				return
			}
		}
		if g.open == 0 {
			return
		}
		if err := g.read(g.line); err != nil {
			g.leave()
			return
		}
	}
}

func (g *gun) leave() {
	if g.volley.stop.Load() {
		return // by us
	}
	g.volley.sample.Load().of(g).ended.Add(1)
	g.volley.finish("the server ended a connection")
}

// send sends n more shares, all in one write.
func (g *gun) send(n int) error {
	if n <= 0 || g.gone {
		return nil
	}
	g.out = g.out[:0]
	sent := 0
	for now := int64(time.Since(g.epoch)); sent < n; sent++ {
		due := &g.due[g.id%uint64(len(g.due))]
		if *due != 0 {
			break // a server that answers out of order, and this one much later
		}
		if g.next == len(g.nonces) {
			g.volley.finish("a connection has sent all its shares: mine more of them, or measure for a shorter time")
			break
		}
		g.out = g.pen.append(g.out, g.id, g.next)
		*due = now
		g.id++
		g.next++
	}
	if sent == 0 {
		return nil
	}
	g.open += sent
	g.volley.sample.Load().of(g).sent.Add(uint64(sent))
	_, err := g.conn.Write(g.out)
	return err
}

// line acts on one line while shares are on their way.
func (g *gun) line(line []byte, at time.Time) error {
	id, ok := quickID(line)
	s := g.volley.sample.Load()
	if ok && id >= firstID && id < g.id && bytes.Contains(line, resultKey) {
		due := &g.due[id%uint64(len(g.due))]
		if *due == 0 || g.id-id > uint64(len(g.due)) {
			return nil // a second answer
		}
		s.of(g).latency.add(at.Sub(g.epoch) - time.Duration(*due))
		*due = 0
		g.open--
		if quickTrue(line) {
			s.of(g).accepted.Add(1)
			return nil
		}
		g.refused(line, s)
		return nil
	}
	if isNotify(line) {
		s.of(g).jobs.Add(1)
		var m message
		if json.Unmarshal(line, &m) != nil {
			return nil
		}
		if j, err := parseNotify(m.Params); err == nil && j.clean && j.prevhash != g.quarry.work.job.prevhash {
			g.drop("a new block made the shares stale")
		}
		return nil
	}
	return g.take(line, at)
}

func (g *gun) refused(line []byte, s *volleySample) {
	var m message
	if json.Unmarshal(line, &m) == nil && m.isTrue() {
		s.of(g).accepted.Add(1) // spelled in an unusual way
		return
	}
	code, text := m.reason()
	s.of(g).rejected.Add(1)
	s.rejects.add(code, text)
	if isStale(code, text) {
		g.drop("the server calls the shares' job stale")
	}
}

// drop ends what the connection does: its shares are of no use any more.
func (g *gun) drop(why string) {
	if g.gone {
		return
	}
	g.gone = true
	g.volley.finish(why)
}

var (
	resultKey = []byte(`"result"`)
	idKey     = []byte(`"id":`)
)

// quickID returns the id of a line as nearly every server writes it.
func quickID(line []byte) (id uint64, ok bool) {
	_, text, found := bytes.Cut(line, idKey)
	if !found {
		return 0, false
	}
	for _, b := range text {
		switch {
		case b >= '0' && b <= '9':
			if id > 1<<60 {
				return 0, false
			}
			id, ok = id*10+uint64(b-'0'), true
		case b == ' ' && !ok, b == '"':
		default:
			return id, ok
		}
	}
	return id, ok
}

// quickTrue reports an answer of true.
func quickTrue(line []byte) bool {
	i := bytes.Index(line, resultKey) + len(resultKey)
	rest := bytes.TrimLeft(line[i:], ": ")
	return bytes.HasPrefix(rest, []byte("true"))
}
