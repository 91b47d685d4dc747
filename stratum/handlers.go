package stratum

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cordee/pool"
)

const suggestPrefix = "mining.suggest_difficulty("

func (s *session) onTrue(d *desk, m *message)            { reply(d, m, "true") }
func (s *session) onPing(d *desk, m *message)            { reply(d, m, `"pong"`) }
func (s *session) onGetTransactions(d *desk, m *message) { reply(d, m, "[]") }
func (s *session) onNothing(*desk, *message)             {}
func (s *session) onOther(d *desk, m *message)           { refuse(d, m, 20, "Unknown method") }

// reply answers m, unless nobody waits for it.
func reply(d *desk, m *message, result string) {
	if m.id != nil {
		d.out = appendResult(d.out, m.id, result)
	}
}

func refuse(d *desk, m *message, code int, text string) {
	if m.id != nil {
		d.out = appendError(d.out, m.id, code, text)
	}
}

// onSubscribe answers with the connection's extranonce1, again and again the
// same. A session id is ignored: what cgminer and Whatsminer send is some
// other pool's.
func (s *session) onSubscribe(d *desk, m *message) {
	e := elementsOf(m.params)
	agent := clean(plain(e.next()), maxAgent)
	s.mu.Lock()
	if s.state == fresh || s.state == named {
		s.agent = agent
	}
	s.state |= subscribed
	s.mu.Unlock()

	en1 := hex.EncodeToString(s.en1[:])
	reply(d, m, `[[["mining.set_difficulty","`+en1+`"],["mining.notify","`+en1+`"]],"`+en1+`",`+
		strconv.Itoa(int(s.en2Size))+`]`)
}

// denial names why a name was refused.
type denial uint8

const (
	denyName   denial = iota // the pool does not know it, or it is no name
	denyMember               // it belongs to another member than the connection
	denyNames                // the connection has as many as it may
	denialCount
)

var denialNames = [denialCount]string{"name", "other_member", "too_many"}

// onAuthorize asks the pool who a name is. The first that succeeds binds the
// connection to its member (decision 6).
func (s *session) onAuthorize(d *desk, m *message) {
	e := elementsOf(m.params)
	user, pass := string(plain(e.next())), string(plain(e.next()))
	if w, known := s.worker([]byte(user)); known && w != nil {
		reply(d, m, "true")
		return
	}
	worker, text, ok := s.authorize(user)
	why := denyName
	switch {
	case !ok:
		s.denied++
		if s.denied >= maxDenied && len(s.names) == 0 {
			s.end = CloseDenied
		}
	case len(s.names) > 0 && worker.Member != s.member:
		text, ok, why = "Name belongs to another member", false, denyMember
	case len(s.names) >= s.srv.cfg.Limits.Names:
		text, ok, why = "Too many names on this connection", false, denyNames
	}
	if !ok {
		if why != denyName {
			s.srv.cfg.Pool.Leave(worker)
		}
		s.srv.count.denied[why].Add(1)
		s.refused = clean([]byte(user), maxName)
		s.srv.say(evAuthDeny).Uint64("conn", s.id).
			Str("name", printable([]byte(user), maxName)).Str("reason", denialNames[why]).Str("text", text).
			Str("remote", s.conn.Remote()).Msg("a rig's name was refused")
		refuse(d, m, pool.Unauthorized.Code(), plainText(text))
		return
	}
	s.mu.Lock()
	if len(s.names) == 0 {
		s.member = worker.Member
		s.wish = parsePassword(pass, s.srv.scale, s.door.SharesPerMinute)
	}
	s.names = append(s.names, name{raw: user, worker: worker})
	s.state |= named
	s.mu.Unlock()
	s.srv.say(evAuthOK).Uint64("conn", s.id).
		Str("name", worker.Name).Uint16("member", worker.Member).Str("agent", s.agent).Msg("a rig signed in")
	reply(d, m, "true")
}

// authorize asks the pool about a name that is worth it.
func (s *session) authorize(user string) (w pool.Worker, text string, ok bool) {
	if user == "" || len(user) > maxName {
		return w, "Name must have 1 to 128 characters", false
	}
	return s.srv.cfg.Pool.Authorize(user)
}

// maxExtensions bounds the answer to configure.
const maxExtensions = 16

// onConfigure answers each extension that was asked for, and no other:
// Whatsminer stumbles over keys it did not ask for.
func (s *session) onConfigure(d *desk, m *message) {
	params := elementsOf(m.params)
	names := elementsOf(params.next())
	options := params.next()
	out := make([]byte, 0, 128)
	out = append(out, '{')
	var done [4]bool
	once := func(i int) bool { first := !done[i]; done[i] = true; return first }
	sep := func() {
		if len(out) > 1 {
			out = append(out, ',')
		}
	}
	for range maxExtensions {
		raw := names.next()
		if raw == nil {
			break
		}
		switch key := string(plain(raw)); {
		case raw[0] != '"' || len(raw) > maxID:
		case key == "version-rolling" && once(0):
			sep()
			out = append(out, `"version-rolling":true,"version-rolling.mask":"`...)
			out = appendHex32(out, s.negotiate(lookup(options, "version-rolling.mask")))
			out = append(out, '"')
		case key == "minimum-difficulty" && once(1):
			sep()
			out = append(out, `"minimum-difficulty":true`...)
			if v, ok := difficultyOf(lookup(options, "minimum-difficulty.value"), s.srv.scale); ok {
				s.setFloor(v)
			}
		case key == "subscribe-extranonce" && once(2):
			sep()
			out = append(out, `"subscribe-extranonce":false`...) // it never changes
		case key == "info" && once(3):
			sep()
			out = append(out, `"info":true`...)
		case key == "version-rolling" || key == "minimum-difficulty" || key == "subscribe-extranonce" || key == "info":
		default:
			sep()
			out = append(append(out, raw...), ":false"...)
		}
	}
	reply(d, m, string(append(out, '}')))
}

// negotiate notes the mask of version bits both sides know, for jobs issued
// from now on. Without a readable mask the rig takes ours.
func (s *session) negotiate(raw []byte) uint32 {
	mask := pool.VersionRollingMask
	if v, ok := hexUint32(plain(raw)); ok {
		mask &= v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mask, s.asked = mask, true
	return mask
}

func (s *session) setFloor(d pool.Difficulty) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = d
	if s.started {
		s.retarget(s.vardiff.Current())
	}
}

func (s *session) onSuggestDifficulty(d *desk, m *message) {
	var v pool.Difficulty
	var ok bool
	if inName, found := strings.CutPrefix(string(plain(m.method)), suggestPrefix); found {
		v, ok = parseDifficulty(strings.TrimSuffix(inName, ")"), s.srv.scale)
	} else {
		e := elementsOf(m.params)
		v, ok = difficultyOf(e.next(), s.srv.scale)
	}
	if ok {
		s.suggest(v)
	}
	reply(d, m, "true")
}

func (s *session) onSuggestTarget(d *desk, m *message) {
	e := elementsOf(m.params)
	if v, ok := targetDifficulty(e.next(), s.srv.scale); ok {
		s.suggest(v)
	}
	reply(d, m, "true")
}

// suggest takes a hint. The same one again, which small devices send as a keep
// alive, changes nothing; different ones are honoured every 10 s at most.
func (s *session) suggest(d pool.Difficulty) {
	now := s.srv.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == s.suggestion {
		return
	}
	if !s.started {
		s.suggestion = d
		return
	}
	if s.suggestAt != 0 && now-s.suggestAt < suggestGapMillis {
		return
	}
	s.suggestion, s.suggestAt = d, now
	s.retarget(d)
}

// clean makes what a rig sent fit to be shown: at most limit bytes, printable,
// and none of the characters that markup and terminals act on.
func clean(b []byte, limit int) string {
	return printable(bytes.Map(func(r rune) rune {
		if strings.ContainsRune("<>&\"'`\\", r) {
			return -1
		}
		return r
	}, b), limit)
}

// printable is clean for the log, which escapes: markup and quotes stay.
func printable(b []byte, limit int) string {
	out := make([]byte, 0, min(len(b), limit))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			continue
		}
		if len(out)+n > limit {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// plainText keeps what may stand inside a JSON string of ours unescaped.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}
