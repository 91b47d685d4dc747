package fleet

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Limits of a connection.
const (
	maxLine     = 1 << 20           // bytes of one line from the server
	maxText     = 120               // bytes kept of what a server says
	idleTimeout = 180 * time.Second // without a line, as ESP-Miner
	writeLimit  = 10 * time.Second
)

// message is any line of a server: a call, a notification or an answer.
type message struct {
	ID           json.RawMessage   `json:"id"`
	Method       string            `json:"method"`
	Params       []json.RawMessage `json:"params"`
	Result       json.RawMessage   `json:"result"`
	Error        json.RawMessage   `json:"error"`
	RejectReason string            `json:"reject-reason"` // old ckpool
}

// received is one line and when it was read, or the end of the connection.
type received struct {
	msg message
	at  time.Time
	bad error // the line is not a message; the connection goes on
	end error // nothing follows
}

// readLines parses lines from conn into out until conn ends or quit closes.
// The last thing sent has end set.
func readLines(conn net.Conn, out chan<- received, quit <-chan struct{}) {
	send := func(r received) bool {
		select {
		case out <- r:
			return true
		case <-quit:
			return false
		}
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for {
		// A connection that cannot take a deadline fails at the read.
		_ = conn.SetReadDeadline(time.Now().Add(idleTimeout))
		if !lines.Scan() {
			break
		}
		r := received{at: time.Now()}
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &r.msg); err != nil {
			r.bad = fmt.Errorf("line %q: %w", clip(lines.Text()), err)
		}
		if !send(r) {
			return
		}
	}
	err := lines.Err()
	switch {
	case err == nil:
		err = errors.New("closed by the server")
	case errors.Is(err, bufio.ErrTooLong):
		err = fmt.Errorf("a line is longer than %d bytes", maxLine)
	}
	send(received{end: err})
}

// callID returns the number an answer refers to. Servers echo the id as they
// like: 7, "7" or 7.0.
func (m *message) callID() (uint64, bool) {
	text := strings.Trim(string(m.ID), `"`)
	if id, err := strconv.ParseUint(text, 10, 64); err == nil {
		return id, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f != float64(uint64(f)) {
		return 0, false
	}
	return uint64(f), true
}

// isTrue reports an answer of true without an error.
func (m *message) isTrue() bool {
	return string(m.Result) == "true" && m.failure() == ""
}

func (m *message) failure() string {
	if s := string(m.Error); s != "" && s != "null" {
		return s
	}
	return ""
}

// reason returns code and text of an answer that is not true, in any dialect:
// [code, "text", ...], {"code":, "message":}, "text", or nothing but false.
func (m *message) reason() (code int, text string) {
	raw := m.failure()
	var list []json.RawMessage
	var object struct {
		Code    json.Number `json:"code"`
		Message string      `json:"message"`
	}
	var plain string
	switch {
	case raw == "":
		text = m.RejectReason
	case json.Unmarshal([]byte(raw), &list) == nil:
		if len(list) > 0 {
			code = toInt(string(list[0]))
		}
		if len(list) > 1 && json.Unmarshal(list[1], &text) != nil {
			text = string(list[1])
		}
	case json.Unmarshal([]byte(raw), &object) == nil:
		code, text = toInt(object.Code.String()), object.Message
	case json.Unmarshal([]byte(raw), &plain) == nil:
		text = plain
	default:
		text = raw
	}
	if text == "" {
		text = "no reason given"
	}
	return code, clip(text)
}

func toInt(s string) int {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != float64(int32(f)) {
		return 0
	}
	return int(f)
}

// clip makes a server's words safe to show and to count.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// callLine returns one request line.
func callLine(id uint64, method string, params ...any) ([]byte, error) {
	if params == nil {
		params = []any{}
	}
	line, err := json.Marshal(struct {
		ID     uint64 `json:"id"`
		Method string `json:"method"`
		Params []any  `json:"params"`
	}{id, method, params})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return append(line, '\n'), nil
}
