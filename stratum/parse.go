package stratum

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a line may nest. The deepest real one is bfgminer's
// capabilities: object, array, object, array.
const maxDepth = 4

// message is one line of a rig: slices of it, still in JSON.
type message struct {
	id       []byte // nil when absent or null: nobody waits for an answer
	method   []byte // the string's JSON text; nil when absent or no string
	params   []byte // nil when absent
	response bool   // has a result or an error: an answer to one of our lines
	badID    bool   // an id that cannot be echoed
}

// parseLine checks that line is one JSON object, no deeper than maxDepth, and
// finds its members. It accepts exactly what encoding/json accepts, less the
// depth, and like a map there, the last of equal keys counts; without
// allocating, which encoding/json cannot.
func parseLine(line []byte, m *message) bool {
	*m = message{}
	p := scanner{b: line}
	p.space()
	if !p.take('{') {
		return false
	}
	p.depth = 1
	p.space()
	if p.take('}') {
		return p.end()
	}
	for {
		p.space()
		k := p.i
		if !p.str() {
			return false
		}
		key := p.b[k:p.i]
		p.space()
		if !p.take(':') {
			return false
		}
		p.space()
		v := p.i
		if !p.value() {
			return false
		}
		m.member(key, p.b[v:p.i])
		p.space()
		if p.take(',') {
			continue
		}
		return p.take('}') && p.end()
	}
}

// member notes one top-level member; key and value are JSON text.
func (m *message) member(key, value []byte) {
	switch string(plain(key)) {
	case "id":
		m.id, m.badID = value, false
		switch {
		case value[0] == 'n':
			m.id = nil
		case value[0] == '{' || value[0] == '[' || len(value) > maxID:
			m.id, m.badID = nil, true
		}
	case "method":
		m.method = nil
		if value[0] == '"' {
			m.method = value
		}
	case "params":
		m.params = value
	case "result", "error":
		m.response = true
	}
}

// scanner walks over JSON text. Its methods return false on text that is none.
type scanner struct {
	b     []byte
	i     int
	depth int
}

func (p *scanner) space() {
	for p.i < len(p.b) && p.b[p.i] <= ' ' {
		switch p.b[p.i] {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return
		}
	}
}

func (p *scanner) take(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *scanner) end() bool {
	p.space()
	return p.i == len(p.b)
}

func (p *scanner) literal(s string) bool {
	if len(p.b)-p.i < len(s) || string(p.b[p.i:p.i+len(s)]) != s {
		return false
	}
	p.i += len(s)
	return true
}

// value walks over any value. It recurses at most maxDepth times.
func (p *scanner) value() bool {
	if p.i >= len(p.b) {
		return false
	}
	switch p.b[p.i] {
	case '"':
		return p.str()
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	case '[':
		return p.container(']', false)
	case '{':
		return p.container('}', true)
	default:
		return p.number()
	}
}

func (p *scanner) container(closing byte, keys bool) bool {
	p.i++
	p.depth++
	if p.depth > maxDepth {
		return false
	}
	p.space()
	if p.take(closing) {
		p.depth--
		return true
	}
	for {
		p.space()
		if keys {
			if !p.str() {
				return false
			}
			p.space()
			if !p.take(':') {
				return false
			}
			p.space()
		}
		if !p.value() {
			return false
		}
		p.space()
		if p.take(',') {
			continue
		}
		p.depth--
		return p.take(closing)
	}
}

func (p *scanner) str() bool {
	if !p.take('"') {
		return false
	}
	for {
		p.i += plainPrefix(p.b[p.i:])
		if p.i >= len(p.b) {
			return false
		}
		c := p.b[p.i]
		p.i++
		switch {
		case c == '"':
			return true
		case c < 0x20:
			return false
		case c == '\\':
			if p.i >= len(p.b) {
				return false
			}
			c = p.b[p.i]
			p.i++
			switch c {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if p.i >= len(p.b) || hexDigit(p.b[p.i]) < 0 {
						return false
					}
					p.i++
				}
			default:
				return false
			}
		}
	}
}

func (p *scanner) number() bool {
	p.take('-')
	switch {
	case p.take('0'):
	case p.digits():
	default:
		return false
	}
	if p.take('.') && !p.digits() {
		return false
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		if !p.digits() {
			return false
		}
	}
	return true
}

func (p *scanner) digits() bool {
	start := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	return p.i > start
}

// elements walks over the values of a JSON array that parseLine accepted.
type elements struct{ p scanner }

// elementsOf returns the values of raw, none when it is no array.
func elementsOf(raw []byte) elements {
	e := elements{scanner{b: raw}}
	if !e.p.take('[') {
		e.p.i = len(raw)
	}
	return e
}

// next returns the JSON text of the next value, or nil behind the last.
func (e *elements) next() []byte {
	p := &e.p
	p.space()
	p.take(',')
	p.space()
	if p.i >= len(p.b) || p.b[p.i] == ']' {
		return nil
	}
	start := p.i
	p.depth = 0
	p.value()
	return p.b[start:p.i]
}

// lookup returns the JSON text of the last member called key in the object raw,
// nil when there is none.
func lookup(raw []byte, key string) (found []byte) {
	p := scanner{b: raw}
	if !p.take('{') {
		return nil
	}
	for {
		p.space()
		p.take(',')
		p.space()
		k := p.i
		if !p.str() {
			return found
		}
		name := p.b[k:p.i]
		p.space()
		p.take(':')
		p.space()
		v := p.i
		p.depth = 0
		if !p.value() {
			return found
		}
		if string(plain(name)) == key {
			found = p.b[v:p.i]
		}
	}
}

// plain returns the value of a JSON string. Without escapes and with clean
// UTF-8 it is a slice of raw; else it is built, as encoding/json would.
func plain(raw []byte) []byte {
	if len(raw) < 2 || raw[0] != '"' {
		return nil
	}
	s := raw[1 : len(raw)-1]
	if plainPrefix(s) < len(s) {
		return unescape(s)
	}
	return s
}

// plainPrefix returns how many bytes in front of s are ASCII that stands for
// itself in a JSON string: no control, quote, backslash or part of a longer
// character. Nearly all that rigs send is, so eight bytes are looked at at once;
// of the marks that are found only the lowest is sure, and only that is used
// (Hacker's Delight, 6-1).
func plainPrefix(s []byte) (n int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s)-n >= 8 {
		v := binary.LittleEndian.Uint64(s[n:])
		quote, slash := v^(ones*'"'), v^(ones*'\\')
		if odd := (v | (v - ones*' ') | (quote - ones) | (slash - ones)) & high; odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
		n += 8
	}
	for n < len(s) && s[n] >= ' ' && s[n] < utf8.RuneSelf && s[n] != '"' && s[n] != '\\' {
		n++
	}
	return n
}

func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		if s[0] != '\\' {
			r, n := utf8.DecodeRune(s) // a bad byte becomes U+FFFD
			out = utf8.AppendRune(out, r)
			s = s[n:]
			continue
		}
		c := s[1]
		s = s[2:]
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				second := rune(-1)
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					second = hex4(s[2:])
				}
				r = utf16.DecodeRune(r, second)
				if r != utf8.RuneError {
					s = s[6:]
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out
}

func hex4(s []byte) (r rune) {
	for _, c := range s[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}

// hexDigit returns the value of c, -1 when it is none. Case does not matter.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
