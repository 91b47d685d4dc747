package stratum

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cordee/pool"
)

// configure says one and returns the answer's members.
func (c *client) configure(params ...any) map[string]any {
	c.f.Helper()
	heard := c.say(request(1, "mining.configure", params...))
	if len(heard) == 0 || heard.at(0).ID != "1" || heard.at(0).Error != "null" {
		c.f.Fatalf("configure %v: %v", params, heard)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(heard.at(0).Result), &got); err != nil {
		c.f.Fatal(err)
	}
	return got
}

func rolling(mask any, more ...any) []any {
	options := map[string]any{"version-rolling.mask": mask}
	for i := 0; i+1 < len(more); i += 2 {
		options[more[i].(string)] = more[i+1]
	}
	return []any{[]string{"version-rolling"}, options}
}

// bitsShare is a submit with version bits.
func (c *client) bitsShare(id int, bits string, nonce uint32) string {
	c.f.Helper()
	is := c.job()
	n, ok := hexUint32([]byte(bits))
	if !ok {
		c.f.Fatal(bits)
	}
	sub := mine(c.f, c.sess, target{issue: is}, aShare, is.work.Template.CurTime, n, nonce)
	return submission(id, "alpha.north.r1", keyID(is.key), sub, bits)
}

var configureItems = []item{
	{29, "mask ffffffff without min-bit-count gives 1fffe000", plainField(func(f *field) {
		for mask, want := range map[any]string{
			"ffffffff": "1fffe000", "1fffe000": "1fffe000", "0x1FFFE000": "1fffe000", "00006000": "00006000", "6000": "00006000", "": "1fffe000", "zz": "1fffe000",
			json.Number("5"): "1fffe000", "00000001": "00000000",
		} {
			got := f.connect().configure(rolling(mask)...)
			if got["version-rolling"] != true || got["version-rolling.mask"] != want || len(got) != 2 {
				f.Errorf("mask %v: %v", mask, got)
			}
		}
	})},
	{30, "min-bit-count as number, string or nonsense is no failure", plainField(func(f *field) {
		for _, count := range []any{16, 2, "16", "x", nil, -1, 1e9, []int{1}, map[string]any{}} {
			got := f.connect().configure(rolling("1fffe000", "version-rolling.min-bit-count", count)...)
			if got["version-rolling"] != true || got["version-rolling.mask"] != "1fffe000" || len(got) != 2 {
				f.Errorf("min-bit-count %v: %v", count, got)
			}
		}
	})},
	{31, "the reply contains only keys of requested extensions", plainField(func(f *field) {
		options := map[string]any{"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 16, "minimum-difficulty.value": 2048, "info.hw-version": "x"}
		for _, names := range [][]string{{}, {"version-rolling"}, {"minimum-difficulty"}, {"subscribe-extranonce"}, {"info"}, {"version-rolling", "minimum-difficulty", "subscribe-extranonce"}} {
			got := f.connect().configure(names, options)
			want := len(names)
			if slices.Contains(names, "version-rolling") {
				want++
			}
			for _, n := range names {
				if got[n] != (n != "subscribe-extranonce") {
					f.Errorf("%v: %s is %v", names, n, got[n])
				}
			}
			if len(got) != want {
				f.Errorf("%v: %v", names, got)
			}
		}
	})},
	{32, "an unknown extension is false, a missing option object is accepted", plainField(func(f *field) {
		for _, c := range []struct {
			params []any
			want   string
		}{
			{[]any{[]string{"x-new", "version-rolling"}, map[string]any{}}, `{"version-rolling":true,"version-rolling.mask":"1fffe000","x-new":false}`},
			{[]any{[]string{"version-rolling"}}, `{"version-rolling":true,"version-rolling.mask":"1fffe000"}`},
			{[]any{[]string{"a\"<b"}}, `{"a\"\u003cb":false}`},
			{[]any{[]any{7, nil, "info", "info"}, nil}, `{"info":true}`},
			{[]any{}, `{}`},
			{[]any{"version-rolling"}, `{}`},
		} {
			b, err := json.Marshal(f.connect().configure(c.params...))
			if err != nil || string(b) != c.want {
				f.Errorf("%v: %s, want %s", c.params, b, c.want)
			}
		}
		heard := f.connect().say(`{"id":1,"method":"mining.configure","params":[[` + strings.Repeat(`"x",`, 900) + `"y"],{}]}`)
		if len(heard) != 1 || len(heard[0].raw) > 500 {
			f.Errorf("900 extensions: %v", heard)
		}
	})},
	{33, "configure before, after and interleaved with subscribe works", plainField(func(f *field) {
		conf := request(1, "mining.configure", rolling("1fffe000")...)
		sub, auth := strings.TrimSpace(saySubscribe), strings.TrimSpace(sayAuthorize)
		for _, order := range [][]string{{conf, sub, auth}, {sub, conf, auth}, {sub, auth, conf}, {auth, conf, sub}, {conf, sub, conf, auth, conf}} {
			for _, pipelined := range []bool{true, false} {
				c := f.connect()
				var heard lines
				if pipelined {
					heard = c.say(order...)
				} else {
					for _, l := range order {
						heard = append(heard, c.say(l)...)
					}
				}
				for i, l := range order {
					answers := slices.DeleteFunc(slices.Clone(heard), func(l line) bool { return l.Method != "" })
					if l == conf && !strings.Contains(answers.at(i).Result, `"1fffe000"`) {
						f.Errorf("%v: %v", order, heard)
					}
				}
				f.want("rolled", c.say(c.bitsShare(5, "00002000", 0)), "5=true")
			}
		}
		c, _ := f.sign("x", "x") // the newest mask is for new jobs
		c.configure(rolling("00006000")...)
		old := c.bitsShare(6, "00010000", 0)
		f.publish(1, 2)
		c.hear()
		f.want("bits of the older mask", c.say(old, strings.Replace(old, keyID(0x100), keyID(0x200), 1)), "6=true", "6!20")
	})},
	{34, "set_version_mask only to askers, after the authorize reply", plainField(func(f *field) {
		c := f.connect()
		f.want("configure", c.say(sayConfigure).from(1))
		f.publish(1, 2)
		f.want("subscribe", c.say(saySubscribe).from(1))
		heard := c.say(sayAuthorize)
		f.want("authorize", heard, "3=true", "mining.set_version_mask", "mining.set_difficulty", "mining.notify")
		if heard.at(1).text(0) != "1fffe000" {
			f.Errorf("%s", heard.at(1))
		}
		f.publish(2, 3)
		f.want("once", c.hear(), "mining.notify")
		_, heard = f.sign("no asker", "x")
		f.want("no asker", heard, "mining.set_difficulty", "mining.notify")
		c = f.connect() // asks for something else
		c.configure([]string{"minimum-difficulty", "info"}, map[string]any{"minimum-difficulty.value": 1e-9})
		f.want("other extensions", c.say(saySubscribe+sayAuthorize).from(2), "mining.set_difficulty", "mining.notify")
	})},
	{35, "a sixth parameter without configure is accepted within the server's mask", plainField(func(f *field) {
		c := f.rig()
		f.want("bits", c.say(c.bitsShare(5, "00002000", 0), c.bitsShare(6, "1fffe000", 0), c.bitsShare(7, "0x4000", 0), c.bitsShare(8, "00000000", 1<<30)), "5=true", "6=true", "7=true", "8=true")
		sub := mine(f, c.sess, target{issue: c.job()}, aShare, c.job().work.Template.CurTime, 0, 0)
		f.want("null", c.say(submission(9, "alpha.north.r1", keyID(c.job().key), sub, nil)), "9=true")
	})},
	{36, "five parameters after configure are zero bits", plainField(func(f *field) {
		c := f.connect()
		c.say(sayConfigure + saySubscribe + sayAuthorize)
		f.want("five", c.say(c.share(5, target{issue: c.job()}, aShare, 0)), "5=true")
	})},
	{37, "bits outside the negotiated mask are error 20", plainField(func(f *field) {
		c := f.rig()
		for i, bits := range []string{"40000000", "80000000", "c0000000", "00001000", "20000000", "20002000", "ffffffff"} {
			f.want(bits, c.say(c.bitsShare(i, bits, uint32(i)<<20)), fmt.Sprintf("%d!20", i))
		}
		c = f.connect()
		c.configure(rolling("00006000")...)
		c.say(saySubscribe + sayAuthorize)
		f.want("a narrower mask", c.say(c.bitsShare(1, "00008000", 0), c.bitsShare(2, "00004000", 0)), "1!20", "2=true")
	})},
	{38, "a template's version never has bits inside the mask set", plainField(func(f *field) {
		j := testJob(f, 2, 2, 1<<40)
		tmpl := *j.Template
		tmpl.Version = 0x3fffe004
		clear, err := pool.NewTemplate(&tmpl, nil)
		if err != nil {
			f.Fatal(err)
		}
		rolled, err := pool.NewJob(clear, j.Payout, pool.DefaultClass, "/test/", 2, 2)
		if err != nil {
			f.Fatal(err)
		}
		c := f.rig()
		f.srv.Publish(jobSet(rolled))
		notify := pushed(c.hear(), "mining.notify")
		if len(notify) != 1 || notify.at(0).text(5) != "20000004" {
			f.Errorf("%v", notify)
		}
	})},
}
