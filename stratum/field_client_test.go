package stratum

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"cordee/pool"
)

// clientWork makes blocks, and so shares of whatever difficulty a client
// suggests, easy to find.
const clientWork = 4096

// transcript is what one client says first.
type transcript struct {
	Client string
	Lines  []string
}

func loadTranscripts(t testing.TB) []transcript {
	t.Helper()
	raw, err := os.ReadFile("testdata/stratum-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Transcripts []transcript `json:"client_transcripts"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || len(v.Transcripts) != 13 {
		t.Fatalf("%d client transcripts: %v", len(v.Transcripts), err)
	}
	return v.Transcripts
}

// clientTranscripts plays each client from its first line to an accepted share,
// a new tip and a share on that. Its names are its own: every one is known.
func clientTranscripts(t *testing.T) {
	for _, tr := range loadTranscripts(t) {
		for _, pipelined := range []bool{false, true} {
			inField(t, func(c *Config) { c.Pool = &everyName{*newHub(c.Network)} }, func(f *field) {
				f.srv.Publish(jobSet(testJob(f, 1, 2, clientWork)))
				(&actor{field: f, client: f.connect(), transcript: tr, pipelined: pipelined}).play()
			})
		}
	}
}

// everyName is hub for names that are not ours.
type everyName struct{ hub }

// Authorize implements Pool: every name is member 1.
func (*everyName) Authorize(user string) (w pool.Worker, text string, ok bool) {
	return pool.Worker{Member: 1, Name: user}, "", user != ""
}

// actor plays one transcript.
type actor struct {
	*field
	*client
	transcript
	pipelined bool
	user      string
	started   bool
}

func (a *actor) fail(format string, args ...any) {
	a.Helper()
	a.Errorf("%s, pipelined %v: %s", a.Client, a.pipelined, fmt.Sprintf(format, args...))
}

func (a *actor) play() {
	a.user = "acct.rig"
	asked := make(map[string]json.RawMessage) // method -> its id, of the last
	var batch []string
	for _, l := range a.Lines {
		var m struct {
			ID     json.RawMessage
			Method string
			Params []any
		}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			a.Fatal(err)
		}
		asked[m.Method] = m.ID
		if m.Method == "mining.authorize" {
			a.user, _ = m.Params[0].(string)
		}
		if m.Method == "mining.submit" {
			continue // with a share of its own, below
		}
		batch = append(batch, l)
	}
	// What the transcript leaves out, a client of its kind does all the same.
	if asked["mining.subscribe"] == nil {
		batch = append(batch, strings.TrimSpace(saySubscribe))
	}
	if asked["mining.authorize"] == nil {
		batch = append(batch, request("auth", "mining.authorize", a.user, "x"))
	}
	if a.pipelined {
		a.exchange(batch)
	} else {
		for _, l := range batch {
			a.exchange([]string{l})
		}
	}
	if !a.started {
		a.fail("no work came")
		return
	}
	id := any(4)
	if strings.HasPrefix(a.Client, "bfgminer") {
		id = "submit"
	}
	for tip := uint64(2); tip < 4; tip++ { // cpuminer says 4 for ever
		is := a.job()
		sub := mine(a, a.sess, target{issue: is}, aBlock, is.work.Template.CurTime, 0, 0)
		a.want(a.Client, a.say(submission(id, a.user, keyID(is.key), sub)), quoted(id)+"=true")
		set := jobSet(testJob(a, tip, uint32(1+tip), clientWork))
		set.Clean = true
		a.srv.Publish(set)
		if heard := a.hear(); len(heard) != 1 || heard.at(0).Method != "mining.notify" || heard.at(0).text(8) != "true" {
			a.fail("a new tip brings %v", heard)
		}
	}
}

func quoted(id any) string {
	b, err := json.Marshal(id)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// exchange says lines at once and checks what comes back: one answer to each
// that has an id, in order, with that id; the first work behind them.
func (a *actor) exchange(lines []string) {
	heard := a.say(lines...)
	k := 0
	for _, l := range lines {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			a.Fatal(err)
		}
		if string(m.ID) == "null" {
			continue
		}
		if k >= len(heard) || heard[k].ID != string(m.ID) || heard[k].Error != "null" || !a.fits(m.Method, heard[k].Result) {
			a.fail("%s is answered %v", l, heard[k:])
			return
		}
		k++
	}
	if len(heard) == k {
		return
	}
	var want []string
	work := brief(heard[k:])
	if !a.started {
		a.started = true
		if a.sess.asked {
			want = append(want, "mining.set_version_mask")
		}
		want = append(want, "mining.set_difficulty", "mining.notify")
		if last := heard.last(); last.text(8) != "true" {
			a.fail("the first work is not clean: %s", last)
		}
	} else { // a suggestion once it works
		want = []string{"mining.set_difficulty", "mining.notify"}
	}
	if strings.Join(work, " ") != strings.Join(want, " ") {
		a.fail("pushed %v, want %v", work, want)
	}
}

// fits says whether result is of the form that method's answer has.
func (a *actor) fits(method, result string) bool {
	switch method {
	case "mining.subscribe":
		m := subscribedForm.FindStringSubmatch(result)
		return m != nil && m[1] == m[2]
	case "mining.configure":
		return strings.Contains(result, `"version-rolling":true,"version-rolling.mask":"1fffe000"`)
	case "mining.get_transactions":
		return result == "[]"
	default:
		return result == "true"
	}
}
