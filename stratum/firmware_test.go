package stratum

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// classJob is testJob for class, with as many outputs as fit.
func classJob(t testing.TB, tip uint64, counter uint32, work float64, class pool.Class) *pool.Job {
	t.Helper()
	j := testJob(t, tip, counter, work)
	p := pool.Payout{Outputs: []pool.Output{{Sats: j.Template.Value, Script: bytes.Repeat([]byte{0x51}, 22)}}}
	best := j
	for {
		j, err := pool.NewJob(best.Template, p, class, "/test/", tip, counter)
		if err != nil {
			return best
		}
		best = j
		p.Outputs = append(p.Outputs, pool.Output{Script: bytes.Repeat([]byte{0x51}, 22)})
	}
}

// classSet is a set with a full job of each class.
func classSet(t testing.TB, tip uint64, counter uint32, work float64, classes ...pool.Class) JobSet {
	t.Helper()
	var set JobSet
	for _, c := range classes {
		set.Jobs = append(set.Jobs, classJob(t, tip, counter, work, c))
	}
	return set
}

// testFirmware has a row for each class but the default.
var testFirmware = NewFirmware([]FirmwareRow{
	{Text: "NerdMinerV2/", Class: pool.TinyClass, StartDifficulty: 2},
	{Text: "Antminer S21/", Class: pool.MediumClass},
	{Match: MatchContains, Text: "bosminer-plus-tuner", Class: pool.MediumClass},
	{Text: "bitaxe", Class: pool.LargeClass, StartDifficulty: 1 << 20},
	{Text: "PowerPlay-BM/", Class: pool.HugeClass},
	{Text: "NiceHash/", Class: pool.DefaultClass, MinDifficulty: 1 << 24, StartDifficulty: 1 << 25},
	{Match: MatchExact, Text: "one/1", Class: pool.HugeClass},
})

func subscribeAs(agent string) string {
	return fmt.Sprintf(`{"id":2,"method":"mining.subscribe","params":[%q]}`+"\n", agent) + sayAuthorize
}

// heard takes what was written to the rig.
func (p *puppet) heard() string {
	s, _ := p.twin.recv()
	return s
}

// newest is what a puppet was issued last.
func (p *puppet) newest(t testing.TB) issue {
	t.Helper()
	list := issuedTo(p.s)
	if len(list) == 0 {
		t.Fatal("no work")
	}
	return list[len(list)-1]
}

// Checklist 57: coinbase size class by agent; an unknown agent gets 500 bytes
// at most, NerdMiner 255; the script has 100 at most. The coinbases are those of
// the wire, and as full as their class allows.
func TestFirmwareClassByAgent(t *testing.T) {
	for agent, class := range map[string]pool.Class{
		"":                     pool.DefaultClass,
		"cgminer/4.11.1":       pool.DefaultClass,
		"Antminer S19/1":       pool.DefaultClass,
		"NiceHash/1.0.0":       pool.DefaultClass,
		"NerdMinerV2/V1.8.3":   pool.TinyClass,
		"Antminer S21/Tue Jun": pool.MediumClass,
		"Braiins OS 22.08/bosminer-plus-tuner 0.2.0": pool.MediumClass,
		"bitaxe/BM1366/v2.4.1":                       pool.LargeClass,
		"Bitaxe/BM1366/v2.4.1":                       pool.LargeClass,
		"PowerPlay-BM/1.14":                          pool.HugeClass,
		"one/1":                                      pool.HugeClass,
		"one/12":                                     pool.DefaultClass,
		"not a bitaxe":                               pool.DefaultClass,
	} {
		t.Run(agent, func(t *testing.T) {
			srv, _ := testServer(t, func(c *Config) { c.Firmware = testFirmware })
			srv.Publish(classSet(t, 1, 1, 1<<40, pool.Classes...))
			p := newPuppet(t, srv)
			p.read([]byte(subscribeAs(agent)))
			is := p.newest(t)
			sub := pool.Submission{Work: is.work, Extranonce1: p.s.en1, Extranonce2Size: p.s.en2Size}
			size := len(is.work.Coinbase(nil, &sub))
			if is.work.Job.Class != class || size > class.MaxCoinbase || size < class.MaxCoinbase-40 {
				t.Errorf("class %s, coinbase of %d bytes, want %s", is.work.Job.Class.Name, size, class.Name)
			}
			if n := int(is.work.Coinb1[41]); n > 100 {
				t.Errorf("script of %d bytes", n)
			}
			mustHave(t, p.heard(), hex.EncodeToString(is.work.Coinb2))
			if got := srv.ClassesInUse(); len(got) != 1 || got[0] != class {
				t.Errorf("in use: %v", got)
			}
			if r := p.s.info(srv.now()); r.Class != class.Name || r.ClassFrom != "" {
				t.Errorf("shown as %q from %q", r.Class, r.ClassFrom)
			}
			p.s.mu.Lock()
			p.s.leave()
			p.s.mu.Unlock()
			if got := srv.ClassesInUse(); len(got) != 0 {
				t.Errorf("in use after it left: %v", got)
			}
		})
	}
}

// No rig is ever sent a coinbase above its class: one whose class has no job
// yet mines the default's if that is small enough, else it waits. The edge is
// told once, and the rig gets its own as soon as there is one.
func TestFirmwareWithoutAJob(t *testing.T) {
	for _, c := range []struct {
		agent string
		class pool.Class
		waits bool
	}{{"bitaxe/1", pool.LargeClass, false}, {"NerdMinerV2/1", pool.TinyClass, true}} {
		t.Run(c.agent, func(t *testing.T) {
			asked := 0
			srv, _ := testServer(t, func(cfg *Config) { cfg.Firmware, cfg.NewClass = testFirmware, func() { asked++ } })
			srv.Publish(classSet(t, 1, 1, 1<<40, pool.DefaultClass))
			p := newPuppet(t, srv)
			p.read([]byte(subscribeAs(c.agent)))
			if asked != 1 {
				t.Errorf("asked %d times for a job", asked)
			}
			if n := len(issuedTo(p.s)); c.waits != (n == 0) {
				t.Fatalf("%d jobs issued", n)
			}
			if !c.waits && p.newest(t).work.Job.Class != pool.DefaultClass {
				t.Error("not the default's job")
			}
			p.read([]byte(`{"id":9,"method":"mining.ping","params":[]}` + "\n")) // a rig that waits is served
			mustHave(t, p.heard(), `"pong"`)
			p.publish(classSet(t, 1, 2, 1<<40, pool.DefaultClass, c.class))
			if got := p.newest(t); got.work.Job.Class != c.class || asked != 1 {
				t.Errorf("then class %s, asked %d times", got.work.Job.Class.Name, asked)
			}
			// Where the default's job is small there is no reason to wait.
			p.publish(jobSet(testJob(t, 1, 3, 1<<40)))
			if got := p.newest(t); got.work.Job.Counter != 3 {
				t.Error("a small job of the default class is not mined")
			}
		})
	}
}

// Checklist 47: NiceHash's first and every later difficulty is at least its
// floor, whatever is wished, suggested, remembered or measured; only the
// network's own difficulty is above it.
func TestFirmwareFloor(t *testing.T) {
	for name, c := range map[string]struct {
		network float64
		least   pool.Difficulty
	}{"network above": {1 << 40, 1 << 24}, "network below": {1 << 20, 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			srv, _ := testServer(t, func(cfg *Config) { cfg.Firmware = testFirmware })
			srv.Publish(jobSet(testJob(t, 1, 1, c.network)))
			srv.memory.put("alpha.north.r1", remembered{difficulty: 8, at: srv.now()})
			p := newPuppet(t, srv)
			p.read([]byte(`{"id":1,"method":"mining.suggest_difficulty","params":[0.000000001]}` + "\n"))
			p.read([]byte(strings.Replace(subscribeAs("NiceHash/1.0.0"), `"x"]`, `"d=0.000000001,md=0.000000001"]`, 1)))
			p.read([]byte(`{"id":4,"method":"mining.suggest_difficulty","params":[0.000000002]}` + "\n"))
			for range 20 { // silence: vardiff goes down
				p.advance(tickMillis * 1e6)
				p.advance(60e9)
			}
			list := issuedTo(p.s)
			for _, is := range list {
				if is.difficulty != c.least {
					t.Errorf("difficulty %d, want %d", is.difficulty, c.least)
				}
			}
			if len(list) == 0 {
				t.Error("no work")
			}
		})
	}
}

// The start is, in this order: remembered, password, suggestion, firmware, port.
// A firmware's start that a test network's blocks do not even need is passed over.
func TestFirmwareStart(t *testing.T) {
	suggest := `{"id":1,"method":"mining.suggest_difficulty","params":[` + pool.Difficulty(64).Text(pool.RegtestScale) + `]}` + "\n"
	password := `"d=` + pool.Difficulty(128).Text(pool.RegtestScale) + `"]`
	for _, c := range []struct {
		name, lines string
		remembered  pool.Difficulty
		network     float64
		want        pool.Difficulty
	}{
		{"port", subscribeAs("cgminer/4"), 0, 1 << 40, 16},
		{"firmware", subscribeAs("bitaxe/1"), 0, 1 << 40, 1 << 20},
		{"firmware of another chain", subscribeAs("bitaxe/1"), 0, 1 << 20, 16},
		{"suggestion", suggest + subscribeAs("bitaxe/1"), 0, 1 << 40, 64},
		{"password", suggest + strings.Replace(subscribeAs("bitaxe/1"), `"x"]`, password, 1), 0, 1 << 40, 128},
		{"remembered", suggest + strings.Replace(subscribeAs("bitaxe/1"), `"x"]`, password, 1), 256, 1 << 40, 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, _ := testServer(t, func(cfg *Config) { cfg.Firmware = testFirmware })
			srv.Publish(jobSet(testJob(t, 1, 1, c.network)))
			if c.remembered > 0 {
				srv.memory.put("alpha.north.r1", remembered{difficulty: c.remembered, at: srv.now()})
			}
			p := newPuppet(t, srv)
			p.read([]byte(c.lines))
			if got := p.newest(t).difficulty; got != c.want {
				t.Errorf("starts at %d, want %d", got, c.want)
			}
		})
	}
}

// truncating is a rig that hashes no more than 500 bytes of a coinbase, as a
// firmware with too small a buffer does.
func (p *puppet) truncating(t *testing.T, is issue, nonce uint32) pool.Submission {
	t.Helper()
	w := *is.work
	en := len(w.Coinb1) + pool.Extranonce1Size + pool.Extranonce2Size
	if total := en + len(w.Coinb2); total > 500 {
		w.Coinb2 = w.Coinb2[:500-en]
	}
	is.work = &w
	return mine(t, p.s, target{issue: is}, aShare, w.Template.CurTime, 0, nonce)
}

// A rig that hashes other bytes than it was sent steps down, class by class, to
// one that it holds, and mines there; its shares on old jobs are judged by those
// jobs. It is told of in log, count and list, and a reconnect begins below.
func TestFirmwareStepDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		const work = 1 << 12
		srv, hub := testServer(t, func(c *Config) {
			c.Firmware, c.StartDifficulty, c.MinDifficulty = testFirmware, work, work // one wrong hash in 4096 is a share; none here, where time stands still
			c.Log = zerolog.New(&log)
		})
		srv.Publish(classSet(t, 1, 1, 1<<40, pool.Classes...))
		p := newPuppet(t, srv)
		p.read([]byte(subscribeAs("one/1")))
		var classes []string
		var old []issue
		for n := range 4 * maxMisses {
			is := p.newest(t)
			name := is.work.Job.Class.Name
			if len(classes) == 0 || classes[len(classes)-1] != name {
				classes, old = append(classes, name), append(old, is)
			}
			p.read([]byte(submitLine("5", "alpha.north.r1", keyID(is.key), p.truncating(t, is, uint32(n)<<16), 0)))
			if name == "default" {
				break
			}
		}
		if got := strings.Join(classes, " "); got != "huge large medium default" {
			t.Fatalf("classes %q", got)
		}
		if p.s.accepted != 1 || hub.credit == 0 {
			t.Errorf("%d accepted in the class that fits", p.s.accepted)
		}
		if r := p.s.info(srv.now()); r.Class != "default" || r.ClassFrom != "huge" || r.Rejected["low_difficulty"] != 3*maxMisses {
			t.Errorf("shown as %+v", r)
		}
		if n := srv.Stats().StepDowns; n != 3 || strings.Count(log.String(), `"event":"rig.class_down"`) != 3 {
			t.Errorf("%d steps counted, log: %s", n, log.String())
		}
		mustHave(t, log.String(), `"from":"large","to":"medium"`)
		// Right work on the old job of a class it cannot hold is right all the same.
		sub := mine(t, p.s, target{issue: old[0]}, aShare, old[0].work.Template.CurTime, 0, 0)
		p.read([]byte(submitLine("6", "alpha.north.r1", keyID(old[0].key), sub, 0)))
		if p.s.accepted != 2 {
			t.Errorf("a share on its first job was refused: %v", p.s.rejects)
		}
		// More misses change nothing below.
		for i := range 2 * maxMisses {
			is := p.newest(t)
			sub := mine(t, p.s, target{issue: is}, weak, is.work.Template.CurTime, 0, uint32(i)<<8)
			p.read([]byte(submitLine("7", "alpha.north.r1", keyID(is.key), sub, 0)))
		}
		if got := p.newest(t).work.Job.Class; got != pool.DefaultClass || srv.Stats().StepDowns != 3 {
			t.Errorf("class %s in the end", got.Name)
		}
		p.s.mu.Lock()
		p.s.leave()
		p.s.mu.Unlock()
		for agent, want := range map[string]pool.Class{"one/1": pool.DefaultClass, "PowerPlay-BM/2": pool.HugeClass} {
			q := newPuppet(t, srv)
			q.read([]byte(subscribeAs(agent)))
			if got := q.newest(t).work.Job.Class; got != want {
				t.Errorf("%s comes back as %s", agent, got.Name)
			}
		}
	})
}

// A rig that had one share accepted is never stepped down, nor is one refused for
// other reasons, nor by shares on jobs of another class than its own.
func TestFirmwareStaysWithReason(t *testing.T) {
	setup := func(t *testing.T, classes ...pool.Class) *puppet {
		srv, _ := testServer(t, func(c *Config) { c.Firmware, c.StartDifficulty, c.MinDifficulty = testFirmware, 64, 64 })
		srv.Publish(classSet(t, 1, 1, 1<<40, classes...))
		p := newPuppet(t, srv)
		p.read([]byte(subscribeAs("PowerPlay-BM/1")))
		return p
	}
	misses := func(t *testing.T, p *puppet, is issue) {
		for i := range 2 * maxMisses {
			sub := mine(t, p.s, target{issue: is}, weak, is.work.Template.CurTime, 0, uint32(i)<<8)
			p.read([]byte(submitLine("7", "alpha.north.r1", keyID(is.key), sub, 0)))
		}
	}
	stays := func(t *testing.T, p *puppet) {
		t.Helper()
		if n := p.srv.Stats().StepDowns; n != 0 || p.s.fit.class != pool.HugeClass {
			t.Errorf("%d steps down to %s", n, p.s.fit.class.Name)
		}
	}
	t.Run("one good share", func(t *testing.T) {
		p := setup(t, pool.Classes...)
		is := p.newest(t)
		sub := mine(t, p.s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		p.read([]byte(submitLine("5", "alpha.north.r1", keyID(is.key), sub, 0)))
		misses(t, p, is)
		stays(t, p)
	})
	t.Run("other refusals", func(t *testing.T) {
		p := setup(t, pool.Classes...)
		is := p.newest(t)
		for i := range uint32(2 * maxMisses) { // too old a time
			p.read([]byte(submitLine("5", "alpha.north.r1", keyID(is.key), pool.Submission{Work: is.work, Extranonce2Size: 8, NTime: 1, Nonce: i}, 0)))
		}
		stays(t, p)
	})
	t.Run("the default's job", func(t *testing.T) {
		p := setup(t, pool.DefaultClass)
		misses(t, p, p.newest(t))
		stays(t, p)
	})
}

// Another table is in force with the next work, and leaves alone what a rig has
// stepped down to unless its row says something else.
func TestFirmwareReload(t *testing.T) {
	srv, _ := testServer(t, func(c *Config) { c.Firmware = testFirmware })
	srv.Publish(classSet(t, 1, 1, 1<<40, pool.Classes...))
	p := newPuppet(t, srv)
	p.read([]byte(subscribeAs("bitaxe/1")))
	p.s.mu.Lock()
	p.s.stepDown()
	p.s.mu.Unlock()
	for i, c := range []struct {
		table *Firmware
		want  pool.Class
	}{
		{NewFirmware(testFirmware.Rows()), pool.MediumClass},
		{NewFirmware([]FirmwareRow{{Text: "bitaxe", Class: pool.HugeClass}}), pool.HugeClass},
		{nil, pool.DefaultClass},
	} {
		srv.SetFirmware(c.table)
		p.publish(classSet(t, 1, uint32(i)+2, 1<<40, pool.Classes...))
		if got := p.newest(t).work.Job.Class; got != c.want {
			t.Errorf("table %d: class %s, want %s", i, got.Name, c.want.Name)
		}
		if got := srv.ClassesInUse(); len(got) != 1 || got[0] != c.want {
			t.Errorf("table %d: in use %v", i, got)
		}
	}
}
