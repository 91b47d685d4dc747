package stratum

import (
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"cordee/pool"
)

// subscribed is the one form of a subscribe's result.
var subscribedForm = regexp.MustCompile(`^\[\[\["mining.set_difficulty","([0-9a-f]{8})"\],\["mining.notify","([0-9a-f]{8})"\]\],"([0-9a-f]{8})",8\]$`)

// subscribe says a subscribe with params and returns its extranonce1.
func (c *client) subscribe(params ...any) string {
	c.f.Helper()
	heard := c.say(request(2, "mining.subscribe", params...))
	if len(heard) == 0 || heard.at(0).ID != "2" {
		c.f.Fatalf("subscribe %v: %v", params, heard)
	}
	m := subscribedForm.FindStringSubmatch(heard.at(0).Result)
	if m == nil || m[3] != hex.EncodeToString(c.sess.en1[:]) {
		c.f.Fatalf("subscribe %v: %s", params, heard[0])
	}
	return m[3]
}

var subscribeItems = []item{
	{13, "every form of the parameters succeeds", plainField(func(f *field) {
		for _, params := range [][]any{
			{},
			{"cgminer/4.13.1"},
			{"cgminer/4.13.1", "08000002"},
			{"Braiins OS 2019-06-05", nil, "pool.example:3333", nil},
			{"NiceHash/1.0.0", nil, "pool.example", "3333"},
			{"NiceHash/1.0.0", nil, "pool.example", 3333},
			{nil},
			{7, 1.5, true},
			{[]any{"a"}, map[string]any{"b": 1}},
		} {
			f.connect().subscribe(params...)
		}
		c := f.connect()
		f.want("without params", c.say(`{"id":1,"method":"mining.subscribe"}`).from(1))
		f.want("params that are none", c.say(`{"id":1,"method":"mining.subscribe","params":"x"}`).from(1))
	})},
	{14, "a long session id that is not hex is ignored", plainField(func(f *field) {
		other := f.connect().subscribe("x")
		for _, id := range []string{strings.Repeat("zZ~ ", 200), other, "ffffffff", "", "deadbeef00"} {
			if got := f.connect().subscribe("whatsminer/v1.1", id); got == other || got == id {
				f.Errorf("session id %q was taken for an extranonce1", id)
			}
		}
	})},
	{15, "the reply has nested string pairs, hex extranonce1 and an integer size", plainField(func(f *field) {
		c := f.connect()
		var r [3]any
		if err := json.Unmarshal([]byte(c.say(request(1, "mining.subscribe")).at(0).Result), &r); err != nil {
			f.Fatal(err)
		}
		pairs := r[0].([]any)
		en1 := hex.EncodeToString(c.sess.en1[:])
		for i, method := range []string{"mining.set_difficulty", "mining.notify"} {
			if p := pairs[i].([]any); len(p) != 2 || p[0] != method || p[1] == "" {
				f.Errorf("pair %d: %v", i, p)
			}
		}
		if len(pairs) != 2 || r[1] != en1 || r[2] != 8.0 {
			f.Errorf("%v", r)
		}
	})},
	{16, "the first line after subscribe is its reply, within 1 s", plainField(func(f *field) {
		start := time.Now()
		c := f.connect()
		f.want("authorized already", c.say(sayAuthorize+request(4, "mining.suggest_difficulty", 1)), "3=true", "4=true")
		f.publish(1, 2)
		f.publish(2, 3)
		c.tw.send(saySubscribe)
		f.publish(3, 4)
		heard := c.hear()
		if len(heard) < 3 || heard.at(0).ID != "2" || heard.at(1).Method != "mining.set_difficulty" {
			f.Errorf("%v", heard)
		}
		f.within("the reply", start, time.Second)
	})},
	{17, "extranonce2 size is 8, whoever asks", plainField(func(f *field) {
		for _, agent := range []string{"", "cgminer/4.11.1", "NiceHash/1.0.0", "NerdMinerV2/1.8.3", "Avalon", "bosminer"} {
			f.connect().subscribe(agent) // the form says 8
		}
		if pool.Extranonce2Size > 8 || pool.Extranonce2Size < 4 {
			f.Errorf("%d bytes", pool.Extranonce2Size)
		}
	})},
	{18, "extranonce1 is unique among 100 000 connections and across edges", uniqueNonces},
	{19, "a second subscribe repeats the same extranonce1", plainField(func(f *field) {
		c := f.connect()
		first := c.subscribe("x")
		if second := c.subscribe(); second != first {
			f.Errorf("%s, then %s", first, second)
		}
		c.say(sayAuthorize)
		if third := c.subscribe("y", first); third != first {
			f.Errorf("%s, then %s", first, third)
		}
		f.want("a share on the first's job", c.say(c.share(9, target{issue: c.job()}, aShare, 0)), "9=true")
	})},
	{20, "an agent with control or markup characters is harmless, 1 KB of it is cut", plainField(func(f *field) {
		hostile := "<script>alert(\"1\")</script>'&`\\ \x1b[31m\x00\r\n\u202e\ufeff\u2028" + strings.Repeat("é", 600)
		c, _ := f.sign(hostile, "x")
		got := f.srv.Rigs()[0].Agent
		if strings.ContainsAny(got, "<>&\"'`\\\x1b\x00\r\n\u202e\ufeff\u2028") || len(got) > maxAgent || !strings.HasPrefix(got, "scriptalert(1)/script [31mé") {
			f.Errorf("agent %q", got)
		}
		c.tw.hangUp()
		f.want("after the end", c.hear())
		if agent := f.srv.Closes()[0].Agent; agent != got {
			f.Errorf("closed agent %q", agent)
		}
		for _, raw := range []string{"\x1b", "\u202e", "\u2028"} {
			if strings.Contains(f.log.String(), raw) {
				f.Errorf("the log has %q", raw)
			}
		}
	})},
}

// uniqueNonces: a million connections one after another never meet a value
// again, none of a hundred thousand live ones has another's, and no other edge
// gives one of ours.
func uniqueNonces(t *testing.T) {
	n, other := &nonces{prefix: 7}, &nonces{prefix: 8}
	seen := make(map[[pool.Extranonce1Size]byte]bool)
	for range 100_000 {
		for _, edge := range []*nonces{n, other} {
			e, ok := edge.take(1, 1)
			if !ok || seen[e] || e[0] != edge.prefix {
				t.Fatal("taken twice", e, ok)
			}
			seen[e] = true
		}
	}
	for range 1_000_000 {
		e, _ := n.take(1, 1)
		if seen[e] {
			t.Fatal("a live value was given again")
		}
		n.free(e, true)
	}
}
