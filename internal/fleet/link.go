package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// LinkConfig says how the connections of a volley, a watch or a storm are made.
// They cost this machine little: one goroutine, one small buffer, and no line
// is parsed that need not be.
type LinkConfig struct {
	Addr      string             // host:port
	User      func(i int) string // name of connection i
	Password  string
	Agent     string
	Configure bool               // ask for version rolling first, as most firmware does
	From      func(i int) net.IP // source address of connection i; nil leaves it to the kernel

	// Dial opens connections instead of a net.Dialer, which knows of From.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// link is one such connection. It belongs to one goroutine at a time.
type link struct {
	cfg   *LinkConfig
	index int
	user  string
	conn  net.Conn
	buf   []byte
	have  int // bytes of an unfinished line in buf

	en1, en2size json.RawMessage
	subscribed   bool
	authorized   bool
	waiting      uint64 // id of the handshake's call without an answer, 0 for none
	refusal      string
	difficulty   float64 // as announced last
	asked        float64 // the hardest that may be asked of work on notify
	notify       []byte  // the newest line, as it came; nil before the first
	at           time.Time
	parsed       *work             // of notify; nil until somebody asks
	odd          func(line []byte) // told of what is no message; nil for nobody
}

const linkBuffer = 4 << 10

// join connects and returns when the connection has work. Ids 1 to 3 are used.
func (c *LinkConfig) join(ctx context.Context, i int) (*link, error) {
	l, err := c.dial(ctx, i)
	if err != nil {
		return nil, err
	}
	if err := l.handshake(ctx); err != nil {
		_ = l.conn.Close() // nothing depends on it
		return nil, fmt.Errorf("%s: %w", l.user, err)
	}
	return l, nil
}

// joinAll connects n links, a hundred at the same time.
func joinAll(ctx context.Context, cfg *LinkConfig, n int) ([]*link, error) {
	links := make([]*link, n)
	fault := make([]error, n)
	var failed atomic.Bool
	each(n, dialsAtOnce, func(i int) {
		if failed.Load() || ctx.Err() != nil {
			return
		}
		if links[i], fault[i] = cfg.join(ctx, i); fault[i] != nil {
			failed.Store(true)
		}
	})
	err := errors.Join(fault...)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		for _, l := range links {
			if l != nil {
				_ = l.conn.Close() // nothing depends on it
			}
		}
		return nil, err
	}
	return links, nil
}

// each calls f for 0 to n-1, a number of them at the same time.
func each(n, atOnce int, f func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

func (c *LinkConfig) dial(ctx context.Context, i int) (*link, error) {
	d := net.Dialer{Timeout: dialTimeout}
	if c.From != nil {
		d.LocalAddr = &net.TCPAddr{IP: c.From(i)}
	}
	dial := c.Dial
	if dial == nil {
		dial = d.DialContext
	}
	conn, err := dial(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	return &link{cfg: c, index: i, user: c.User(i), conn: conn, buf: make([]byte, linkBuffer), difficulty: 1, asked: 1}, nil
}

// handshake goes through the calls one after the other, as firmware does.
func (l *link) handshake(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = l.conn.Close() })()
	_ = l.conn.SetDeadline(time.Now().Add(handshakeTimeout))
	defer func() { _ = l.conn.SetDeadline(time.Time{}) }()
	if l.cfg.Configure {
		if err := l.ask(1, "mining.configure", []string{"version-rolling"}, map[string]any{"version-rolling.mask": "1fffe000"}); err != nil {
			return fmt.Errorf("mining.configure: %w", l.why(ctx, err))
		}
	}
	if err := l.ask(2, "mining.subscribe", l.cfg.Agent); err != nil {
		return fmt.Errorf("mining.subscribe: %w", l.why(ctx, err))
	}
	if !l.subscribed {
		return fmt.Errorf("mining.subscribe was refused: %s", l.refusal)
	}
	if err := l.ask(3, "mining.authorize", l.user, l.cfg.Password); err != nil {
		return fmt.Errorf("mining.authorize: %w", l.why(ctx, err))
	}
	if !l.authorized {
		return fmt.Errorf("the name was refused: %s", l.refusal)
	}
	for l.notify == nil {
		if err := l.read(l.take); err != nil {
			return fmt.Errorf("waiting for work: %w", l.why(ctx, err))
		}
	}
	return ctx.Err()
}

func (l *link) why(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case late(err):
		return fmt.Errorf("no answer in %v", handshakeTimeout)
	}
	return err
}

// late reports that a deadline has passed.
func late(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// ask sends a call and reads until it is answered.
func (l *link) ask(id uint64, method string, params ...any) error {
	line, err := callLine(id, method, params...)
	if err != nil {
		return err
	}
	l.waiting = id
	if _, err := l.conn.Write(line); err != nil {
		return err
	}
	for l.waiting != 0 {
		if err := l.read(l.take); err != nil {
			return err
		}
	}
	return nil
}

// read waits for bytes, once, and gives each whole line to each. The line is
// valid until it returns.
func (l *link) read(each func(line []byte, at time.Time) error) error {
	if l.have == len(l.buf) {
		if l.have >= maxLine {
			return fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
		l.buf = append(l.buf, make([]byte, l.have)...)
	}
	n, err := l.conn.Read(l.buf[l.have:])
	if n == 0 && err != nil {
		return err
	}
	at := time.Now()
	l.have += n
	rest := l.buf[:l.have]
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		line := rest[:end]
		rest = rest[end+1:]
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := each(line, at); err != nil {
			return err
		}
	}
	l.have = copy(l.buf, rest)
	return nil
}

// isNotify reports a notify line: it is the one that is long, and is kept as it
// came.
func isNotify(line []byte) bool {
	return bytes.Contains(line, []byte(`"mining.notify"`)) && !bytes.Contains(line, []byte(`"result"`))
}

// take acts on any line that is no answer to a submit. What is odd is passed
// over, as firmware does.
func (l *link) take(line []byte, at time.Time) error {
	if isNotify(line) {
		l.notify, l.at = append(l.notify[:0], line...), at
		l.asked, l.parsed = l.difficulty, nil
		return nil
	}
	var m message
	if json.Unmarshal(line, &m) != nil {
		if l.odd != nil {
			l.odd(line)
		}
		return nil
	}
	switch m.Method {
	case "":
		l.answered(&m)
	case "mining.set_difficulty":
		var d float64
		if len(m.Params) > 0 && json.Unmarshal(m.Params[0], &d) == nil && d > 0 {
			l.difficulty = d
			l.asked, l.parsed = max(l.asked, d), nil // some servers mean the work at hand
		}
	case "mining.set_extranonce":
		if len(m.Params) > 1 {
			_, _ = l.work() // the work at hand keeps its own; what is wrong with it is told when it is asked for
			l.en1, l.en2size = bytes.Clone(m.Params[0]), bytes.Clone(m.Params[1])
		}
	case "client.get_version":
		return l.reply(&m, l.cfg.Agent)
	case "mining.ping", "client.ping":
		return l.reply(&m, "pong")
	}
	return nil
}

// answered acts on an answer of the handshake.
func (l *link) answered(m *message) {
	id, ok := m.callID()
	if !ok || id != l.waiting {
		return
	}
	l.waiting = 0
	switch id {
	case 2:
		var result []json.RawMessage
		if json.Unmarshal(m.Result, &result) == nil && len(result) > 2 && m.failure() == "" {
			l.en1, l.en2size, l.subscribed = bytes.Clone(result[1]), bytes.Clone(result[2]), true
			return
		}
	case 3:
		if l.authorized = m.isTrue(); l.authorized {
			return
		}
	}
	_, l.refusal = m.reason()
}

// reply answers a server's request; a notification gets none.
func (l *link) reply(m *message, result string) error {
	if len(m.ID) == 0 || string(m.ID) == "null" {
		return nil
	}
	line, err := json.Marshal(map[string]any{"id": m.ID, "result": result, "error": nil})
	if err != nil {
		return err
	}
	_, err = l.conn.Write(append(line, '\n'))
	return err
}

// work is what the connection would hash now.
func (l *link) work() (*work, error) {
	if l.parsed != nil {
		return l.parsed, nil
	}
	w, err := workOf(l.notify, l.en1, l.en2size, l.asked, l.at)
	if err == nil {
		l.parsed = w
	}
	return w, err
}
