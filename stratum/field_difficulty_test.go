package stratum

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordee/pool"
)

var difficultyItems = []item{
	{39, "suggest_difficulty in every form is clamped or ignored", plainField(func(f *field) {
		const start = "0.0000000037252902984619140625"
		for _, c := range []struct{ params, want string }{
			{`[64]`, "64"},
			{`[100.9]`, "64"},
			{`[1.5e-05]`, "0.00000762939453125"},
			{`[1.5E-05,1]`, "0.00000762939453125"},
			{`["128.0000"]`, "128"},
			{`[" 2 "]`, "2"},
			{`[1e-300]`, "0.00000000023283064365386962890625"},
			{`[1000000]`, "256"},
			{`["1e30"]`, "256"},
			{`[4294967296]`, "256"},
			{`[0]`, start},
			{`[-3]`, start},
			{`[1e999]`, start},
			{`["NaN"]`, start},
			{`["inf"]`, start},
			{`["x"]`, start},
			{`[null]`, start},
			{`[true]`, start},
			{`[[5]]`, start},
			{`[]`, start},
			{`{"a":5}`, start},
			{`5`, start},
			{`["` + strings.Repeat("1", 500) + `"]`, start},
			{`(42)`, "32"},
			{`(0.5)`, "0.5"},
			{`(1e9)`, "256"},
			{`(-1)`, start},
			{`()`, start},
			{`(`, start},
			{`(42))`, start},
		} {
			method, params := "mining.suggest_difficulty", c.params
			if params[0] == '(' {
				method, params = method+params, `[]`
			}
			cl := f.connect()
			f.want(c.params, cl.say(`{"id":7,"method":"`+method+`","params":`+params+`}`), "7=true")
			heard := cl.say(saySubscribe + sayAuthorize)
			if d := pushed(heard, "mining.set_difficulty"); len(d) != 1 || d[0].text(0) != c.want {
				f.Errorf("%s %s: %v, want %s", method, c.params, d, c.want)
			}
		}
	})},
	{40, "the same suggestion every 3 s causes no set_difficulty and trips no limit", func(t *testing.T) {
		inField(t, func(c *Config) { c.MinDifficulty = 16 }, func(f *field) {
			c, _ := f.sign("NMMiner/1", "x")
			for i := range 400 { // 20 minutes, beyond every limit that a small device must not meet
				f.want("again", c.say(suggestion(i, []any{units(4), fmt.Sprintf("%.20f", units(4)), units(3)}[i%3])), fmt.Sprintf("%d=true", i))
				time.Sleep(3 * time.Second)
			}
			f.want("higher", c.say(suggestion(1, units(64))), "1=true", "mining.set_difficulty", "mining.notify")
			for range 15 {
				time.Sleep(3 * time.Second)
				f.want("again", c.say(suggestion(2, units(64))), "2=true")
			}
		})
	}},
	{41, "suggest_target before subscribe is silent and later honoured", plainField(func(f *field) {
		c := f.connect()
		f.want("null id", c.say(`{"id":null,"method":"mining.suggest_target","params":["00000000ffff0000000000000000000000000000000000000000000000000000"]}`,
			`{"id":null,"method":"mining.capabilities","params":[{"notify":[],"set_difficulty":{},"set_goal":[]}]}`))
		heard := c.say(saySubscribe + sayAuthorize)
		f.want("work", heard.from(1), "3=true", "mining.set_difficulty", "mining.notify")
		if got := heard.at(2).text(0); got != "1" {
			f.Errorf("difficulty %s, want 1", got)
		}
		f.want("nonsense", f.connect().say(request(5, "mining.suggest_target", "xyz"), request(6, "mining.suggest_target", strings.Repeat("0", 64)), request(7, "mining.suggest_target")), "5=true", "6=true", "7=true")
	})},
	{42, "set_difficulty is an integer at or above 1, a plain decimal below, never 0", func(t *testing.T) {
		form := regexp.MustCompile(`^\{"id":null,"method":"mining.set_difficulty","params":\[([1-9][0-9]*|0\.[0-9]*[1-9])\]\}\n$`)
		for _, scale := range []pool.Scale{pool.MainScale, pool.RegtestScale} {
			for d := pool.Difficulty(1); d != 0 && d <= pool.Difficulty(scale)<<31; d <<= 1 {
				m := form.FindSubmatch(appendSetDifficulty(nil, d, scale))
				if m == nil {
					t.Fatalf("%s", appendSetDifficulty(nil, d, scale))
				}
				v, err := strconv.ParseFloat(string(m[1]), 64)
				if err != nil || v != d.Float(scale) || v >= 1 && strings.Contains(string(m[1]), ".") || v >= 1<<32 || float64(float32(v)) != v {
					t.Errorf("%d of scale %d is sent as %s", d, scale, m[1])
				}
			}
			if string(appendSetDifficulty(nil, 0, scale)) != string(appendSetDifficulty(nil, 1, scale)) {
				t.Error("0 is not sent as the least")
			}
		}
	}},
	{43, "exactly one set_difficulty between two notifies, directly before the second", plainField(func(f *field) {
		c := f.rig()
		c.tw.mu.Lock()
		c.tw.room = 900 // the rig reads little at a time
		c.tw.mu.Unlock()
		out := ""
		for i := range uint32(60) {
			c.tw.send(suggestion(i, units(16<<(i%7))) + "\n" + suggestion(i, units(8<<(i%5))) + "\n")
			if i%3 == 0 {
				f.publish(uint64(1+i/9), 2+i)
			}
			synctest.Wait()
			out += c.tw.take(100 + int(i%5)*200)
			time.Sleep(5 * time.Second)
		}
		out += readAll(c.tw)
		changes, since := 0, 0
		heard := linesOf(f, out)
		for i, l := range heard {
			switch l.Method {
			case "mining.set_difficulty":
				changes, since = changes+1, since+1
				if since > 1 || i+1 < len(heard) && heard[i+1].Method != "mining.notify" {
					f.Errorf("line %d: %s, then %s", i, l, heard.at(i+1))
				}
			case "mining.notify":
				since = 0
			}
		}
		if changes < 10 {
			f.Errorf("%d changes were heard", changes)
		}
	})},
	{44, "after a raise a share on an old job at its lower difficulty is accepted, credited low", plainField(func(f *field) {
		c := f.rig()
		old := c.job()
		heard := c.say(suggestion(5, units(1<<20)))
		f.want("raise", heard, "5=true", "mining.set_difficulty", "mining.notify")
		before := f.hub.credit
		f.want("old job", c.say(c.share(6, target{issue: old}, aShare, 0)), "6=true")
		if got := f.hub.credit - before; got != 16 {
			f.Errorf("credit %d, want 16", got)
		}
		f.want("too weak for it", c.say(c.share(7, target{issue: old}, weak, 0)), "7!23")
	})},
	{45, "after a lowering a share on an old job at the new difficulty is answered true with credit 0", func(t *testing.T) {
		inField(t, func(c *Config) { c.StartDifficulty = 4096 }, func(f *field) {
			c := f.rig()
			old := c.job()
			f.want("lower", c.say(suggestion(5, units(4))), "5=true", "mining.set_difficulty", "mining.notify")
			f.want("old job", c.say(c.share(6, target{issue: old, later: 4}, between, 0)), "6=true")
			if st := f.srv.Stats(); f.hub.credit != 0 || st.ZeroCredit != 1 || st.Work != 0 {
				f.Errorf("credit %d, counted %d", f.hub.credit, st.ZeroCredit)
			}
			tooWeak := target{issue: old, later: 4}
			tooWeak.difficulty = 4 // weak means: not even the later one
			f.want("weaker than both", c.say(c.share(7, tooWeak, weak, 0)), "7!23")
		})
	}},
	{46, "credit never exceeds the required difficulty", plainField(func(f *field) {
		c := f.rig()
		lucky := c.job()
		lucky.difficulty = 1 << 12 // what its hash meets; it was issued at 16
		for i := range uint32(5) {
			f.want("lucky", c.say(c.share(i, target{issue: lucky}, aShare, i<<24)).first(), fmt.Sprintf("%d=true", i))
		}
		if f.hub.credit != 5*16 {
			f.Errorf("credit %d, want %d", f.hub.credit, 5*16)
		}
		c.say(suggestion(9, units(1<<12)))
		c.say(suggestion(9, units(1)))
		f.want("another job of it", c.say(c.share(10, target{issue: lucky}, aShare, 9<<24)), "10=true")
		if f.hub.credit != 6*16 {
			f.Errorf("credit %d, want %d", f.hub.credit, 6*16)
		}
	})},
	{47, "an agent with a floor is never given less, first or later", func(t *testing.T) {
		// NiceHash gives an order up for one set_difficulty below its minimum.
		const floor = 524288
		for name, edit := range map[string]func(*Config){
			"listener": func(c *Config) { c.MinDifficulty = floor },
			"firmware": func(c *Config) {
				c.Firmware = NewFirmware([]FirmwareRow{{Text: "NiceHash/", Class: pool.DefaultClass, MinDifficulty: floor}})
			},
		} {
			t.Run(name, func(t *testing.T) {
				inField(t, edit, func(f *field) { neverBelow(f, floor) })
			})
		}
	}},
	{48, "300 TH/s from 4096 is at 4 to 25 shares a minute within 30 s, 50 kH/s within 12 min", func(t *testing.T) {
		for _, c := range []struct {
			hashrate float64
			limit    time.Duration
		}{{300e12, 30 * time.Second}, {50e3, 12 * time.Minute}} {
			// Of 300 TH/s one seed in 500 is late, of 50 kH/s one in 200: see pool's TestVardiffPace.
			for seed := range uint64(8) {
				if rate := settles(t, seed, c.hashrate, c.limit); rate < 4 || rate > 25 {
					t.Errorf("%g H/s, seed %d: %.1f shares a minute after %v", c.hashrate, seed, rate, c.limit)
				}
			}
		}
	}},
	{49, "decay runs without shares arriving", func(t *testing.T) {
		inField(t, func(c *Config) { c.StartDifficulty = 1 << 30 }, func(f *field) {
			c, heard := f.sign("x", "x")
			last := pushed(heard, "mining.set_difficulty").at(0).text(0)
			time.Sleep(12 * time.Second)
			for i, shift := range []int{1, 3, 6, 10, 15} {
				time.Sleep(time.Minute)
				got := pushed(c.hear(), "mining.set_difficulty")
				if len(got) != 1 || got.at(0).text(0) == last {
					f.Errorf("silent minute %d: %v", i+1, got)
				} else if last = got.at(0).text(0); last != pool.Difficulty(1<<(30-shift)).Text(pool.RegtestScale) {
					f.Errorf("silent minute %d: %s", i+1, last)
				}
			}
		})
	}},
	{50, "a rig that reconnects starts near the difficulty it proved", comesBack},
}

// settles plays a rig that finds shares as a Poisson process, and returns how
// many a minute it is asked for when limit is over.
func settles(t *testing.T, seed uint64, hashrate float64, limit time.Duration) (rate float64) {
	t.Helper()
	inField(t, func(c *Config) {
		c.Pool = &anyName{}
		c.StartDifficulty = 4096 << 32
	}, func(f *field) {
		f.srv.Publish(jobSet(testJob(f, 1, 2, 1<<62)))
		rng := rand.New(rand.NewPCG(seed, uint64(hashrate)))
		c, heard := f.sign("x", "x")
		var d float64 // hashes a share: a unit of regtest's difficulty is one
		shares := 0
		for start := time.Now(); time.Since(start) < limit; {
			for _, l := range pushed(heard, "mining.set_difficulty") {
				v, err := strconv.ParseFloat(l.text(0), 64)
				if err != nil {
					f.Fatal(err)
				}
				d = v * (1 << 32)
			}
			wait := time.Duration(min(rng.ExpFloat64()*d/hashrate, 1) * float64(time.Second))
			time.Sleep(wait)
			heard = c.hear()
			if wait < time.Second { // memoryless: a longer wait is drawn anew
				shares++
				is := c.job()
				heard = append(heard, c.say(submission(shares, "any", keyID(is.key), pool.Submission{Nonce: uint32(shares), Extranonce2Size: 8}))...)
			}
		}
		rate = hashrate / d * 60
	})
	return rate
}

// comesBack: a rig comes back near the difficulty it left with and had a share
// of; under another name nothing is remembered.
func comesBack(t *testing.T) {
	inField(t, nil, func(f *field) {
		c := f.rig()
		f.want("proof", c.say(suggestion(5, units(1<<12))).first(), "5=true")
		f.want("proof", c.say(c.share(6, target{issue: c.job()}, aShare, 0)).first(), "6=true")
		c.tw.hangUp()
		synctest.Wait()
		first := func(name, password string) string {
			c := f.connect()
			return pushed(c.say(saySubscribe+request(3, "mining.authorize", name, password)), "mining.set_difficulty").at(0).text(0)
		}
		for _, name := range []string{"alpha.north.r1", "ALPHA.North.R1"} {
			if got := first(name, "d=1e-9"); got != pool.Difficulty(1<<12).Text(pool.RegtestScale) {
				f.Errorf("%s starts at %s", name, got)
			}
		}
		for _, name := range []string{"alpha.north.r2", "alpha.south.r1", "beta.north.r1"} {
			if got := first(name, "x"); got != pool.Difficulty(16).Text(pool.RegtestScale) {
				f.Errorf("%s starts at %s", name, got)
			}
		}
		time.Sleep(25 * time.Hour)
		if got := first("alpha.north.r1", "x"); got != pool.Difficulty(16).Text(pool.RegtestScale) {
			f.Errorf("after a day it starts at %s", got)
		}
	})
}

// neverBelow signs NiceHash on, asks for less in every way and is silent for
// half an hour: no difficulty may be below floor.
func neverBelow(f *field, floor pool.Difficulty) {
	c, heard := f.sign("NiceHash/1.0.0", "d=0.001")
	for _, d := range []any{1, "0.001", 1e-9} {
		heard = append(heard, c.say(suggestion(5, d))...)
		time.Sleep(11 * time.Second)
	}
	c.configure([]string{"minimum-difficulty"}, map[string]any{"minimum-difficulty.value": 1e-9})
	for range 30 {
		time.Sleep(time.Minute)
		heard = append(heard, c.hear()...)
	}
	all := pushed(heard, "mining.set_difficulty")
	if len(all) == 0 {
		f.Error("no difficulty was heard")
	}
	for _, l := range all {
		if d, err := strconv.ParseFloat(l.text(0), 64); err != nil || d < units(floor) {
			f.Errorf("%s is below the floor", l)
		}
	}
}
