package stratum

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cordee/pool"
)

// seedLines adds what real rigs say, and what no rig should.
func seedLines(f *testing.F, add func(line []byte)) {
	raw, err := os.ReadFile("testdata/stratum-vectors.json")
	if err != nil {
		f.Fatal(err)
	}
	var v struct {
		Transcripts []struct {
			Lines []string `json:"lines"`
		} `json:"client_transcripts"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || len(v.Transcripts) == 0 {
		f.Fatal("no client transcripts in the vectors", err)
	}
	for _, tr := range v.Transcripts {
		for _, l := range tr.Lines {
			add([]byte(l))
		}
	}
	for _, l := range []string{
		``, ` `, `{}`, ` { } `, `[]`, `null`, `{"id":1}`, `{"id":null,"method":"a"}x`,
		`{"id":1,"id":2,"method":"mining.ping"}`, `{"\u0069d":7,"method":"\u006dining.ping","params":["\ud83d\ude00\ud800","` + "\xff" + `"]}`,
		`{"id":"a\"b\\","params":[1,-0,0.5,1e9,1E-9,01]}`, `{"id":-}`, `{"id":1.}`, `{"id":1e}`,
		`{"id":[[[1]]]}`, `{"id":[[[[1]]]]}`, `{"a":{"b":{"c":{"d":1}}}}`, `{"id":1,}`, `{"id":1 "b":2}`,
		`{"id":"` + strings.Repeat("x", 80) + `"}`, "{\"id\":\"a\tb\"}", "{\"id\":\"a\x1fb\"}", `{"id":tru}`, `{"result":1}`,
		`{"id":1,"method":"mining.submit","params":["alpha.a.b","0000000100","0000000000000000","386d4380","1","2000"]}`,
	} {
		add([]byte(l))
	}
}

// depthOf returns how deep valid JSON nests.
func depthOf(b []byte) int {
	depth, most := 0, 0
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := d.Token()
		if err != nil {
			return most
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// FuzzLine holds the parser against encoding/json, and the framing against
// itself: where the input is cut into reads must not matter.
func FuzzLine(f *testing.F) {
	seedLines(f, func(l []byte) { f.Add(l, uint16(len(l)/2)) })
	f.Add([]byte(saySubscribe+"\r\n\n"+sayAuthorize+"{\"id\":1,\"method\":\"mining.ping\"}\r\n"), uint16(70))
	f.Add(append(bytes.Repeat([]byte("x"), 5000), '\n'), uint16(4096))
	f.Add([]byte(saySubscribe+sayAuthorize+`{"id":"`+strings.Repeat("y", 8180)+`"}`), uint16(9000))
	f.Fuzz(func(t *testing.T, line []byte, cut uint16) {
		compareWithJSON(t, line)
		compareCuts(t, line, int(cut))
	})
}

func compareWithJSON(t *testing.T, line []byte) {
	var m message
	got := parseLine(line, &m)
	var want map[string]json.RawMessage
	ok := json.Unmarshal(line, &want) == nil && want != nil && depthOf(line) <= maxDepth
	if got != ok {
		t.Fatalf("parseLine says %v, encoding/json says %v: %q", got, ok, line)
	}
	if !ok {
		return
	}
	id, hasID := want["id"]
	switch {
	case !hasID || string(id) == "null":
		if m.id != nil || m.badID {
			t.Fatalf("id %q, want none", m.id)
		}
	case id[0] == '{' || id[0] == '[' || len(id) > maxID:
		if m.id != nil || !m.badID {
			t.Fatalf("id %q, want a bad one", m.id)
		}
	case string(id) != string(m.id):
		t.Fatalf("id %q, want %q", m.id, id)
	}
	var method *string
	if json.Unmarshal(want["method"], &method) != nil {
		method = nil
	}
	if (method == nil) != (m.method == nil) || method != nil && *method != string(plain(m.method)) {
		t.Fatalf("method %q, want %v", plain(m.method), method)
	}
	if string(m.params) != string(want["params"]) {
		t.Fatalf("params %q, want %q", m.params, want["params"])
	}
	_, r := want["result"]
	_, e := want["error"]
	if m.response != (r || e) {
		t.Fatalf("response %v, want %v", m.response, r || e)
	}
	compareValues(t, m.params)
}

// compareValues walks over params with elements and lookup.
func compareValues(t *testing.T, raw []byte) {
	if raw == nil {
		return
	}
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list) // no array: no elements
	e := elementsOf(raw)
	for i, want := range list {
		got := e.next()
		if string(got) != string(want) {
			t.Fatalf("element %d is %q, want %q", i, got, want)
		}
		var s string
		if want[0] == '"' && (json.Unmarshal(want, &s) != nil || s != string(plain(got))) {
			t.Fatalf("string %q, want %q", plain(got), s)
		}
		compareValues(t, got)
		var obj map[string]json.RawMessage
		if json.Unmarshal(want, &obj) == nil {
			for k, v := range obj {
				if found := lookup(got, k); string(found) != string(v) {
					t.Fatalf("lookup(%q) is %q, want %q", k, found, v)
				}
			}
		}
	}
	if extra := e.next(); extra != nil {
		t.Fatalf("element behind the last: %q", extra)
	}
}

// compareCuts feeds data whole and in two reads. Without work there is nothing
// to push, so all that is said must be equal.
func compareCuts(t *testing.T, data []byte, cut int) {
	cut = min(cut, len(data))
	feed := func(chunks ...[]byte) (string, CloseReason) {
		srv, _ := testServer(t, nil)
		p := newPuppet(t, srv)
		for _, c := range chunks {
			p.read(c)
		}
		if len(p.s.partial) > maxLine {
			t.Fatalf("%d bytes kept of a line", len(p.s.partial))
		}
		out, _ := p.twin.recv()
		return out, p.s.end
	}
	if bytes.Contains(data, []byte("panic")) {
		return // the hub's own trap
	}
	whole, end := feed(data)
	parts, endParts := feed(data[:cut], data[cut:])
	if whole != parts || end != endParts {
		t.Fatalf("cut at %d:\n%s (%v)\nwhole:\n%s (%v)", cut, parts, endParts, whole, end)
	}
}

// FuzzSession plays a program of lines, new work and time against one session
// and checks the law on all that it says.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	f.Add([]byte{2, 1, 3, 12, 4, 13, 5, 12, 14, 15, 4, 4, 6, 6, 16, 4, 3, 3})
	f.Add([]byte{3, 13, 1, 2, 0, 12, 12, 12, 12, 7, 14, 7, 15, 8, 14, 14, 14, 9})
	lines := []string{
		sayConfigure, saySubscribe, sayAuthorize,
		`{"id":4,"method":"mining.submit","params":["alpha.north.r1","%JOB%","0000000000000000","%TIME%","%N%"]}` + "\n",
		`{"id":4,"method":"mining.submit","params":["beta.x","%JOB%","0000000000000000","%TIME%","%N%","00002000"]}` + "\n",
		`{"id":5,"method":"mining.suggest_difficulty","params":[1e-8]}` + "\n",
		`{"id":null,"method":"mining.suggest_difficulty","params":["0.0000001"]}` + "\n",
		`{"id":"x","method":"mining.authorize","params":["alpha.south","d=1e-9"]}` + "\n",
		`{"id":6,"method":"mining.authorize","params":["beta.south"]}` + "\n",
		`{"id":7,"method":"mining.ping"}` + "\n", `{"id":8,"method":"?"}` + "\n", "{\"id\":9,\r\n",
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		srv, _ := testServer(t, nil)
		p := newPuppet(t, srv)
		counter, tip := uint32(0), uint64(1)
		check := &lawyer{t: t}
		for i, op := range program {
			if i > 300 {
				break
			}
			switch k := int(op) % 17; {
			case k < len(lines):
				job, when := "0000000100", uint32(time.Now().Unix())
				if l := p.s.issued.last(); l != nil {
					job, when = keyID(l.key), l.work.Template.CurTime
				}
				l := strings.NewReplacer("%JOB%", job, "%TIME%", string(appendHex32(nil, when)),
					"%N%", string(appendHex32(nil, uint32(op)*7919+uint32(i)))).Replace(lines[k])
				p.read([]byte(l))
			case k == 12:
				counter++
				p.publish(jobSet(testJob(t, tip, counter, 4096)))
			case k == 13:
				counter++
				tip++
				set := jobSet(testJob(t, tip, counter, 64))
				set.Clean = true
				p.publish(set)
			case k == 14:
				p.advance(11 * time.Second)
			case k == 15:
				p.advance(301 * time.Second)
			case k == 16:
				p.srv.Withdraw(CloseNoTemplate)
			}
			out, _ := p.twin.recv()
			check.heard(out)
			if len(p.s.issued.list) > maxIssued || len(p.s.box.backlog) > srv.cfg.Limits.Outbox {
				t.Fatal("a bound is broken")
			}
			if p.s.reason != CloseNone || p.s.end != CloseNone {
				break
			}
		}
	})
}

// lawyer reads what one rig hears and knows what it may hear.
type lawyer struct {
	t          testing.TB
	subscribed bool
	named      bool
	ids        []string
	difficulty bool // the last line was a set_difficulty
	notified   bool
}

func (l *lawyer) heard(out string) {
	l.t.Helper()
	for line := range strings.Lines(out) {
		var m struct {
			ID     json.RawMessage
			Method string
			Params []json.RawMessage
			Result json.RawMessage
			Error  []json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			l.t.Fatalf("not JSON: %q", line)
		}
		if l.difficulty && m.Method != "mining.notify" {
			l.t.Fatalf("a set_difficulty is not directly before a notify: %q", line)
		}
		l.difficulty = m.Method == "mining.set_difficulty"
		switch m.Method {
		case "":
			if m.Error != nil {
				l.error(m.Error, line)
			}
			if string(m.ID) == "2" {
				l.subscribed = true
			}
			if slices.Contains([]string{"3", "6", `"x"`}, string(m.ID)) && string(m.Result) == "true" {
				l.named = true
			}
		case "mining.notify":
			l.notify(m.Params, line)
		default:
			if !l.subscribed || !l.named {
				l.t.Fatalf("pushed too early: %q", line)
			}
		}
	}
}

func (l *lawyer) error(e []json.RawMessage, line string) {
	codes := []string{"20", "21", "22", "23", "24", "25"}
	if len(e) != 3 || !slices.Contains(codes, string(e[0])) || string(e[2]) != "null" {
		l.t.Fatalf("bad error: %q", line)
	}
}

func (l *lawyer) notify(p []json.RawMessage, line string) {
	if !l.subscribed || !l.named || len(p) != 9 {
		l.t.Fatalf("bad notify: %q", line)
	}
	id := string(p[0])
	if len(id) != wireIDSize+2 || slices.Contains(l.ids, id) {
		l.t.Fatalf("job id %s again, or malformed", id)
	}
	if !l.notified && string(p[8]) != "true" {
		l.t.Fatalf("the first work must be clean: %q", line)
	}
	l.notified = true
	l.ids = append(l.ids, id)
}

// TestTargetDifficulty pins suggest_target to the vectors of difficulties.
func TestTargetDifficulty(t *testing.T) {
	for text, want := range map[string]pool.Difficulty{
		"00000000ffff0000000000000000000000000000000000000000000000000000": 1 << 10,
		"000000007fff8000000000000000000000000000000000000000000000000000": 2 << 10,
	} {
		d, ok := targetDifficulty([]byte(`"`+text+`"`), pool.MainScale)
		if !ok || d != want {
			t.Errorf("%s: %d, want %d", text, d, want)
		}
	}
	for _, bad := range []string{`""`, `"00"`, `5`, `"` + strings.Repeat("0", 64) + `"`, `"` + strings.Repeat("g", 64) + `"`} {
		if d, ok := targetDifficulty([]byte(bad), pool.MainScale); ok {
			t.Errorf("%s: %d, want refused", bad, d)
		}
	}
}
