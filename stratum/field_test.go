package stratum

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// item is one line of the field's checklist, and the test that fails where it
// is broken.
type item struct {
	number int
	name   string
	test   func(*testing.T)
}

const checklist = 70

// TestField is the checklist of what rigs in the field need of a Stratum V1
// server, one subtest an item:
//
//	go test -run TestField -v ./stratum
func TestField(t *testing.T) {
	items := slices.Concat(framingItems, subscribeItems, authorizeItems, configureItems, difficultyItems, notifyItems, submitItems)
	if len(items) != checklist {
		t.Errorf("%d items, the checklist has %d", len(items), checklist)
	}
	for i, it := range items {
		if it.number != i+1 || it.name == "" {
			t.Errorf("item %d %q stands at place %d", it.number, it.name, i+1)
		}
		t.Run(fmt.Sprintf("%02d %s", it.number, it.name), it.test)
	}
}

// field is a server in a bubble of synctest: its clock stands still while
// anything is to be done.
type field struct {
	*testing.T
	srv *Server
	hub *hub
	log lockedBuffer
}

// inField runs body beside a server that has work published: tip 1, job 1, whose
// blocks are 2^40 units of work away, so that nothing is clamped.
func inField(t *testing.T, edit func(*Config), body func(f *field)) {
	synctest.Test(t, func(t *testing.T) {
		f := &field{T: t}
		f.srv, f.hub = testServer(t, func(c *Config) {
			c.Log = zerolog.New(&f.log)
			if edit != nil {
				edit(c)
			}
		})
		defer drain(t, f.srv)
		f.publish(1, 1)
		body(f)
	})
}

// plainField is inField without settings, as an item's test.
func plainField(body func(f *field)) func(*testing.T) {
	return func(t *testing.T) { inField(t, nil, body) }
}

func (f *field) publish(tip uint64, counter uint32) {
	set := jobSet(testJob(f, tip, counter, 1<<40))
	if p := f.srv.set.Load(); p != nil {
		set.Clean = p.set.Jobs[0].Tip != tip
	}
	f.srv.Publish(set)
	synctest.Wait()
}

// client is one rig at the other end.
type client struct {
	f    *field
	tw   *twin
	sess *session
}

// connect opens a connection that said nothing yet.
func (f *field) connect() *client {
	f.Helper()
	tw := newTwin(1 << 20)
	c := &client{f, tw, f.srv.enter(tw, Door{})}
	if c.sess == nil {
		f.Fatal("the rig was refused")
	}
	synctest.Wait()
	return c
}

// sign opens a connection, subscribes and authorizes with password, and returns
// what came behind the two answers too.
func (f *field) sign(agent, password string) (*client, lines) {
	f.Helper()
	c := f.connect()
	heard := c.say(request(2, "mining.subscribe", agent), request(3, "mining.authorize", "alpha.north.r1", password))
	if len(heard) < 2 || heard.at(0).ID != "2" || heard.at(1).ID != "3" || heard.at(1).Result != "true" {
		f.Fatalf("signing in: %v", heard)
	}
	return c, heard.from(2)
}

// rig is a connection that has work.
func (f *field) rig() *client {
	f.Helper()
	c, _ := f.sign("test/1", "x")
	return c
}

// request is one line of a rig.
func request(id any, method string, params ...any) string {
	if params == nil {
		params = []any{}
	}
	b, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// line is one line of the server, its members in JSON text.
type line struct {
	ID, Method, Result, Error string
	Params                    []json.RawMessage
	raw                       string
}

func (l line) String() string { return l.raw }

// lines are what was heard. What is not there is an empty line, so that a test
// that finds nothing fails by what it wants, not by a panic.
type lines []line

func (l lines) at(i int) line {
	if i < 0 || i >= len(l) {
		return line{}
	}
	return l[i]
}

func (l lines) from(i int) lines { return l[min(i, len(l)):] }
func (l lines) first() lines     { return l[:min(1, len(l))] }
func (l lines) last() line       { return l.at(len(l) - 1) }

// text is a parameter that is a string, number or boolean.
func (l line) text(i int) string {
	if i >= len(l.Params) {
		return ""
	}
	return strings.Trim(string(l.Params[i]), `"`)
}

// say sends lines in one write and returns all that is heard until nobody has
// anything to do.
func (c *client) say(lines ...string) lines {
	c.f.Helper()
	return c.write(strings.Join(lines, "\n") + "\n")
}

func (c *client) write(text string) lines {
	c.f.Helper()
	c.tw.send(text)
	return c.hear()
}

func (c *client) hear() lines {
	c.f.Helper()
	synctest.Wait()
	out, _ := c.tw.recv()
	return linesOf(c.f, out)
}

func linesOf(t testing.TB, out string) (all lines) {
	t.Helper()
	for raw := range strings.Lines(out) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(raw), &m); err != nil || !strings.HasSuffix(raw, "}\n") || strings.Contains(raw, "\r") {
			t.Fatalf("not one JSON object and LF: %q", raw)
		}
		l := line{ID: string(m["id"]), Result: string(m["result"]), Error: string(m["error"]), raw: strings.TrimSuffix(raw, "\n")}
		if m["method"] != nil {
			if err := json.Unmarshal(m["method"], &l.Method); err != nil || l.ID != "null" || len(m) != 3 {
				t.Fatalf("a push has id null, method and params: %q", raw)
			}
			if err := json.Unmarshal(m["params"], &l.Params); err != nil {
				t.Fatalf("params of %q: %v", raw, err)
			}
		}
		all = append(all, l)
	}
	return all
}

// want fails unless the lines are these, each being a method that was pushed, or
// "id=result", or "id!code".
func (f *field) want(what string, heard lines, want ...string) {
	f.Helper()
	if got := brief(heard); !slices.Equal(got, want) {
		f.Errorf("%s: heard %v, want %v", what, got, want)
	}
}

func brief(heard lines) []string {
	var got []string
	for _, l := range heard {
		switch {
		case l.Method != "":
			got = append(got, l.Method)
		case l.Error == "null":
			got = append(got, l.ID+"="+l.Result)
		default:
			got = append(got, l.ID+"!"+codeOf(l))
		}
	}
	return got
}

func codeOf(l line) string {
	code, _, _ := strings.Cut(strings.TrimPrefix(l.Error, "["), ",")
	return code
}

// pushed returns the lines of one method.
func pushed(heard lines, method string) (some lines) {
	for _, l := range heard {
		if l.Method == method {
			some = append(some, l)
		}
	}
	return some
}

// alive fails unless the connection answers.
func (c *client) alive(what string) {
	c.f.Helper()
	if got := brief(c.say(request(77, "mining.ping"))); !slices.Contains(got, `77="pong"`) {
		c.f.Errorf("%s: the connection does not live: %v", what, got)
	}
}

// closed fails unless the connection ended as reason.
func (c *client) closed(what string, reason CloseReason) {
	c.f.Helper()
	synctest.Wait()
	if !c.tw.isClosed() {
		c.f.Errorf("%s: not closed", what)
	} else if got := c.f.srv.Closes()[0].Reason; got != reason {
		c.f.Errorf("%s: closed as %v, want %v", what, got, reason)
	}
}

// job is the newest that was issued.
func (c *client) job() issue {
	c.f.Helper()
	all := issuedTo(c.sess)
	if len(all) == 0 {
		c.f.Fatal("no job was issued")
	}
	return all[len(all)-1]
}

// share is a submit line with a share of is that fits, searched from nonce on.
func (c *client) share(id any, is target, fits wanted, nonce uint32) string {
	c.f.Helper()
	sub := mine(c.f, c.sess, is, fits, is.work.Template.CurTime, 0, nonce)
	return submission(id, "alpha.north.r1", keyID(is.key), sub)
}

func submission(id any, user, job string, sub pool.Submission, bits ...any) string {
	params := []any{
		user, job, fmt.Sprintf("%x", sub.Extranonce2[:sub.Extranonce2Size]),
		fmt.Sprintf("%08x", sub.NTime), fmt.Sprintf("%08x", sub.Nonce),
	}
	return request(id, "mining.submit", append(params, bits...)...)
}

func suggestion(id, d any) string { return request(id, "mining.suggest_difficulty", d) }

// units is d as a set_difficulty number of regtest.
func units(d pool.Difficulty) float64 { return d.Float(pool.RegtestScale) }

// anyName is a Pool that knows every name as member 1, and believes every share
// of a job that is not stale: for clients whose names or hashrates are not ours.
type anyName struct{}

func (*anyName) Authorize(user string) (pool.Worker, string, bool) {
	return pool.Worker{Member: 1, Name: user}, "", true
}

func (*anyName) Leave(pool.Worker) {}

func (n *anyName) Post(b *pool.Batch, _ Ruled) bool {
	n.Submit(b)
	return false
}

func (*anyName) Submit(b *pool.Batch) {
	for i := range b.Subs {
		v := pool.Verdict{Credit: b.Claims[i].Issued}
		if b.Claims[i].Stale {
			v = pool.Verdict{Reject: pool.Stale}
		}
		b.Verdicts = append(b.Verdicts, v)
	}
}

// within fails when more than limit went by since start.
func (f *field) within(what string, start time.Time, limit time.Duration) {
	f.Helper()
	if took := time.Since(start); took > limit {
		f.Errorf("%s took %v, at most %v is allowed", what, took, limit)
	}
}
