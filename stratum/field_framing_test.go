package stratum

import (
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cordee/pool"
)

var framingItems = []item{
	{1, "LF and CRLF, blank lines, split and coalesced segments parse the same", plainField(func(f *field) {
		lines := []string{sayConfigure, saySubscribe, sayAuthorize, `{"id":"z","method":"mining.ping"}` + "\n", `{"id":9,"method":"x"}` + "\n"}
		whole := strings.Join(lines, "")
		crlf := strings.ReplaceAll(whole, "\n", "\r\n")
		var want string
		for name, chunks := range map[string][]string{
			"LF":           lines,
			"coalesced":    {whole},
			"CRLF":         strings.SplitAfter(crlf, "\n"),
			"CRLF at once": {crlf},
			"blank lines":  {"\n\r\n \t\n" + strings.ReplaceAll(whole, "\n", "\n\r\n\n")},
			"a byte each":  strings.Split(crlf, ""),
			"odd pieces":   {whole[:40], whole[40:41], whole[41:250], whole[250:]},
		} {
			c := f.connect()
			answers, pushes := "", ""
			for _, chunk := range chunks {
				for _, l := range c.write(chunk) { // where work comes depends on the reads, what is said does not
					if l.Method == "" {
						answers += l.raw + "\n"
					} else {
						pushes += l.raw + "\n"
					}
				}
			}
			got := strings.ReplaceAll(answers+pushes, `"`+hex.EncodeToString(c.sess.en1[:])+`"`, `"EN1"`)
			if want == "" {
				want = got
			}
			if got != want || strings.Count(got, "\n") != 8 {
				f.Errorf("%s:\n%s\nwant\n%s", name, got, want)
			}
		}
	})},
	{2, "a line above 8 KB closes without a reply and without memory", plainField(func(f *field) {
		fill := func(n int) string { // a request of n bytes
			head, tail := `{"id":1,"method":"mining.ping","x":"`, `"}`
			return head + strings.Repeat("a", n-len(head)-len(tail)) + tail
		}
		c := f.rig()
		f.want("8192 bytes", c.say(fill(8192)), `1="pong"`)
		f.want("8193 bytes", c.say(fill(8193)))
		c.closed("8193 bytes", CloseLongLine)
		c = f.rig()
		for range 4 {
			f.want("no end", c.write(strings.Repeat("a", 2000)))
		}
		if n := cap(c.sess.partial); n > 2*maxLine {
			f.Errorf("%d bytes are kept of a line", n)
		}
		f.want("no end", c.write(strings.Repeat("a", 1<<20)))
		c.closed("no end", CloseLongLine)
		c = f.connect()
		f.want("before a name", c.say(fill(4097)))
		c.closed("4097 bytes before a name", CloseLongLine)
	})},
	{3, "integer ids 0, 1 and 2^31 echo as integers", plainField(func(f *field) {
		c := f.rig()
		f.want("ids", c.say(request(0, "mining.ping"), request(1, "x"), request(int64(1)<<31, "mining.ping")), `0="pong"`, "1!20", `2147483648="pong"`)
	})},
	{4, "a string id echoes as the same string", plainField(func(f *field) {
		c := f.connect()
		f.want("ids", c.say(`{"id":"xnsub","method":"mining.extranonce.subscribe","params":[]}`,
			`{"id":"txlist\"\\\u0041é","method":"mining.get_transactions","params":["J"]}`, `{"id":"","method":"?"}`),
			`"xnsub"=true`, `"txlist\"\\\u0041é"=[]`, `""!20`)
	})},
	{5, "a null or missing id gets no reply, on any method", plainField(func(f *field) {
		for _, id := range []string{`"id":null,`, ``} {
			c := f.connect()
			for range 2 { // fresh first, then working
				for _, m := range append(slices.Clone(requests), "mining.suggest_difficulty(42)", "nonsense") {
					for _, params := range []string{`[]`, `["alpha.north.r1","x"]`, `[1,"2",{}]`, `{}`} {
						for _, l := range c.say(`{` + id + `"method":"` + m + `","params":` + params + `}`) {
							if l.Method == "" {
								f.Errorf("%s %s is answered: %s", m, params, l)
							}
						}
					}
				}
				c.say(saySubscribe + sayAuthorize)
			}
			c.alive("after lines nobody waits for")
		}
	})},
	{6, "id 4 on every submit: replies come in submit order", plainField(func(f *field) {
		c := f.rig()
		is := target{issue: c.job()}
		good := c.share(4, is, aShare, 0)
		other := c.share(4, is, aShare, 1<<20)
		f.want("submits", c.say(good, good, c.share(4, is, weak, 5), other,
			strings.Replace(good, keyID(is.key), "0000000777", 1), strings.Replace(good, keyID(is.key), "ffff", 1), other,
			strings.Replace(good, "alpha.north.r1", "who.is.it", 1), c.share(4, is, aShare, 2<<20)),
			"4=true", "4!22", "4!23", "4=true", "4!21", "4!21", "4!22", "4!24", "4=true")
	})},
	{7, "every response has id, result and error; success is a real true and null", plainField(func(f *field) {
		c := f.rig()
		bools := []string{"mining.authorize", "mining.suggest_difficulty", "mining.suggest_target", "mining.extranonce.subscribe", "mining.multi_version", "mining.capabilities"}
		for _, m := range requests {
			for _, l := range c.say(request(5, m, "alpha.north.r1")) {
				if l.Method != "" {
					continue
				}
				keys := regexp.MustCompile(`^\{"id":5,"result":(.+),"error":(null|\[.*\])\}$`).FindStringSubmatch(l.raw)
				if keys == nil || (keys[1] == "null") == (keys[2] == "null") {
					f.Errorf("%s: %s", m, l)
				}
				if slices.Contains(bools, m) && (l.Result != "true" || l.Error != "null") {
					f.Errorf("%s: %s", m, l)
				}
			}
		}
		f.want("a share", c.say(c.share(6, target{issue: c.job()}, aShare, 0)), "6=true")
	})},
	{8, "errors are [int,string,null], short and plain", plainField(func(f *field) {
		var out []byte
		for _, r := range pool.Rejects() {
			out = appendReject(out, []byte("1"), r)
		}
		heard := linesOf(f, string(out))
		c := f.connect()
		heard = append(heard, c.say(request(1, "x"), request(1, "mining.submit"), request(1, "mining.authorize", `no"such\name`), request(1, "mining.authorize", 5))...)
		c = f.rig()
		heard = append(heard, c.say(request(1, "mining.authorize", "beta.a.b"), request(1, "mining.submit", "a", 1))...)
		if len(heard) != len(pool.Rejects())+6 {
			f.Errorf("%d answers", len(heard))
		}
		form := regexp.MustCompile(`^\[2[0-5],"[ !#-\[\]-~]{1,59}",null\]$`)
		for _, l := range heard {
			if !form.MatchString(l.Error) || l.Result != "null" {
				f.Errorf("%s", l)
			}
		}
	})},
	{9, "an unknown method with an id is error 20 and the connection lives", plainField(func(f *field) {
		c := f.connect()
		for _, m := range []string{"mining.hashrate", "eth_submitHashrate", "client.get_version", "mining.set_goal", "mining.suggest", "", "Mining.Ping", "mining.submit2"} {
			f.want(m, c.say(request(1, m)), "1!20")
		}
		f.want("no method", c.say(`{"id":2}`, `{"id":3,"method":7}`, `{"id":4,"method":null,"params":[]}`), "2!20", "3!20", "4!20")
		c.alive("after unknown methods")
	})},
	{10, "params before method and id, odd spacing and extra members are accepted", plainField(func(f *field) {
		c := f.connect()
		heard := c.say(`{"params": ["NerdMinerV2/1.8.3"] , "id" :1,"method": "mining.subscribe"}`,
			"\t{ \"jsonrpc\" : \"2.0\", \"params\":[\"alpha.north.nerd\" ,\"x\"] ,\"worker\":{\"a\":[1]}, \"id\":2, \"method\":\"mining.authorize\" } ")
		if len(heard) < 4 || heard.at(1).Result != "true" {
			f.Errorf("%v", heard)
		}
	})},
	{11, "a response line, or a request called pong, is swallowed", plainField(func(f *field) {
		c := f.rig()
		f.want("answers of the rig", c.say(`{"id":1,"result":true,"error":null}`, `{"id":"9","result":"pong","error":null}`, `{"id":3,"error":[20,"x",null]}`,
			`{"id":4,"result":"cgminer/4.13.1","error":null}`, `{"id":5,"method":"pong","params":[]}`, `{"method":"pong"}`, `{"id":6,"method":"mining.pong"}`))
		c.alive("after answers")
	})},
	{12, "invalid JSON closes only that connection, and the log stays whole", plainField(func(f *field) {
		good := f.rig()
		for _, bad := range []string{
			`{"id":1,"method":"mining.authorize","params":["a"b","x"]}`, `{"id":1,"method":"mining.authorize","params":["c:\dir","x"]}`,
			"GET / HTTP/1.1", "\x16\x03\x01\x02", `[{"id":1}]`, `{"id":[1],"method":"mining.ping"}`, "{\"id\":1,\"x\":\"\x1b[31m\x07\"}",
			`{"level":"info","event":"block.candidate"}{`, "\u202e" + strings.Repeat("long", 900),
		} {
			c := f.connect()
			f.want(bad, c.say(bad))
			c.closed(bad, CloseBadLine)
		}
		good.alive("beside bad lines")
		said := f.log.String()
		if strings.Count(said, "conn.bad_line") != 9 {
			f.Errorf("log:\n%s", said)
		}
		for l := range strings.Lines(said) {
			var m map[string]any
			if json.Unmarshal([]byte(l), &m) != nil || strings.ContainsFunc(strings.TrimSuffix(l, "\n"), func(r rune) bool { return r < ' ' || r == 0x7f }) || m["event"] == "block.candidate" ||
				len(l) > 500 || strings.Contains(l, "\u202e") {
				f.Errorf("log line %q", l)
			}
		}
	})},
}

// requests are the methods that the server knows.
var requests = []string{
	"mining.submit", "mining.subscribe", "mining.authorize", "mining.configure", "mining.suggest_difficulty", "mining.suggest_target",
	"mining.extranonce.subscribe", "mining.ping", "mining.get_transactions", "mining.multi_version", "mining.capabilities",
}

// The items say which methods there are; so they must know every one.
func TestFieldKnowsEveryMethod(t *testing.T) {
	known := map[method]bool{mPong: true, mResponse: true, mOther: true}
	for _, r := range requests {
		known[methodOf(&message{method: []byte(`"` + r + `"`)})] = true
	}
	for m := range methodCount {
		if !known[m] {
			t.Errorf("method %s stands in no item", methodNames[m])
		}
	}
}
