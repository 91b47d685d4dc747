package bare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// Config says what the server tells its rigs.
type Config struct {
	Difficulty  float64       // of every share, as rigs know it; above 0
	NotifyEvery time.Duration // between two new jobs for everybody; 0 sends none but the first
	Clean       bool          // a new job has another previous block, and says clean_jobs
}

const (
	readBuffer = 4 << 10 // bytes: some 32 submits
	longLine   = readBuffer
	writeLimit = 5 * time.Second // for a rig that does not read
)

// Server is a bare server. Serve it once.
type Server struct {
	cfg Config

	mu    sync.Mutex
	conns map[*conn]struct{}
	count uint32 // of connections so far: the next extranonce1
	jobs  uint32
	job   []byte // the newest notify line
	first []byte // the set_difficulty line, and job behind it
}

// conn is one rig.
type conn struct {
	net.Conn
	en1     uint32
	first   uint32 // job that goes with the answer at hand, 0 for none
	working bool   // has a job and is told of others; under Server.mu
}

// New checks cfg and makes the first job.
func New(cfg Config) (*Server, error) {
	if !(cfg.Difficulty > 0) || math.IsInf(cfg.Difficulty, 0) {
		return nil, fmt.Errorf("bare: difficulty %v: give a number above 0", cfg.Difficulty)
	}
	if cfg.NotifyEvery < 0 {
		return nil, fmt.Errorf("bare: a job every %v: give 0 or more", cfg.NotifyEvery)
	}
	s := &Server{cfg: cfg, conns: make(map[*conn]struct{})}
	s.next()
	return s, nil
}

// Serve takes rigs from l until ctx ends, and returns when all are gone. It
// closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		_ = l.Close() // ends Accept
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close()
		}
	})()
	var rigs sync.WaitGroup
	defer rigs.Wait()
	defer cancel()
	if s.cfg.NotifyEvery > 0 {
		rigs.Go(func() { s.clock(ctx) })
	}
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			return fmt.Errorf("bare: %w", err)
		}
		c := &conn{Conn: nc}
		s.mu.Lock()
		s.count++
		c.en1 = s.count
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		if ctx.Err() != nil { // AfterFunc may have passed before
			_ = c.Close()
		}
		rigs.Go(func() {
			s.talk(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

func (s *Server) clock(ctx context.Context) {
	tick := time.NewTicker(s.cfg.NotifyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Notify()
		}
	}
}

// talk answers until the connection ends.
func (s *Server) talk(c *conn) {
	buf := make([]byte, readBuffer)
	var out []byte
	have := 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		rest := buf[:have]
		out = out[:0]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			out = s.answer(out, c, rest[:end])
			rest = rest[end+1:]
		}
		if len(rest) >= longLine {
			return
		}
		have = copy(buf, rest)
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
		}
		if c.first != 0 {
			if err := s.enlist(c); err != nil {
				return
			}
		}
	}
}

// enlist has c told of new jobs, of one that came meanwhile at once.
func (s *Server) enlist(c *conn) error {
	s.mu.Lock()
	line, missed := s.job, s.jobs != c.first
	c.working, c.first = true, 0
	s.mu.Unlock()
	if !missed {
		return nil
	}
	_, err := c.Write(line)
	return err
}

var (
	idKey     = []byte(`"id":`)
	submit    = []byte(`"mining.submit"`)
	configure = []byte(`"mining.configure"`)
	subscribe = []byte(`"mining.subscribe"`)
	authorize = []byte(`"mining.authorize"`)
)

// answer appends what a line gets: true, whatever it says.
func (s *Server) answer(out []byte, c *conn, line []byte) []byte {
	id := idOf(line)
	if id == nil {
		return out
	}
	out = append(append(out, `{"id":`...), id...)
	switch {
	case bytes.Contains(line, submit):
		return append(out, `,"result":true,"error":null}`+"\n"...)
	case bytes.Contains(line, configure):
		return append(out, `,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}`+"\n"...)
	case bytes.Contains(line, subscribe):
		out = append(out, `,"result":[[["mining.set_difficulty","1"],["mining.notify","1"]],"`...)
		out = appendHex32(out, c.en1)
		return append(out, `",8],"error":null}`+"\n"...)
	case bytes.Contains(line, authorize):
		out = append(out, `,"result":true,"error":null}`+"\n"...)
		s.mu.Lock()
		defer s.mu.Unlock()
		c.first = s.jobs
		return append(out, s.first...)
	}
	return append(out, `,"result":true,"error":null}`+"\n"...)
}

// idOf returns the id of a line as it stands there, nil for none.
func idOf(line []byte) []byte {
	_, id, ok := bytes.Cut(line, idKey)
	if !ok {
		return nil
	}
	id = bytes.TrimLeft(id, " ")
	for i, b := range id {
		if b == ',' || b == '}' {
			return id[:i]
		}
	}
	return nil
}

// Notify sends a new job to every rig that has work, and returns when all have
// it or failed to take it.
func (s *Server) Notify() {
	s.mu.Lock()
	s.next()
	line := s.job
	to := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		if c.working {
			to = append(to, c)
		}
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(to); i += workers {
				_ = to[i].SetWriteDeadline(time.Now().Add(writeLimit))
				if _, err := to[i].Write(line); err != nil {
					_ = to[i].Close() // talk sees it end
				}
				_ = to[i].SetWriteDeadline(time.Time{})
			}
		})
	}
	wg.Wait()
}

// Rigs returns how many connections stand.
func (s *Server) Rigs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// next renders another job. s.mu is held, or nobody else has s yet.
func (s *Server) next() {
	s.jobs++
	block := uint32(1)
	if s.cfg.Clean {
		block = s.jobs
	}
	s.job = appendNotify(nil, s.jobs, block, uint32(time.Now().Unix()), s.cfg.Clean)
	s.first = append([]byte(`{"id":null,"method":"mining.set_difficulty","params":[`),
		strconv.FormatFloat(s.cfg.Difficulty, 'f', -1, 64)+"]}\n"...)
	s.first = append(s.first, s.job...)
}
