package stratum

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordee/pool"
)

var submitItems = []item{
	{59, "all share vectors are accepted, with their hash and difficulty", shareVectors},
	{60, "all reject vectors give their code", rejectVectors},
	{61, "an unpadded nonce and upper-case hex are accepted, and are the same share", plainField(func(f *field) {
		c := f.rig()
		is := c.job()
		sub := mine(f, c.sess, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0) // of few digits
		user, job := "alpha.north.r1", keyID(is.key)
		when, en2 := fmt.Sprintf("%x", sub.NTime), "0000000000000000"
		forms := [][]any{
			{user, job, en2, when, fmt.Sprintf("%x", sub.Nonce)},
			{user, strings.ToUpper(job), en2, strings.ToUpper(when), fmt.Sprintf("%08X", sub.Nonce)},
			{user, job, en2, when, fmt.Sprintf("0x%x", sub.Nonce), "0"},
			{user, job, "0x" + en2, sub.NTime, sub.Nonce, 0},
			{strings.ToUpper(user), job, en2, when, fmt.Sprintf("%04x", sub.Nonce), nil},
		}
		for i, params := range forms {
			want := "1!22"
			if i == 0 {
				want = "1=true"
			}
			f.want(fmt.Sprint(params), c.say(request(1, "mining.submit", params...)), want)
		}
		shares, _ := loadVectors(f.T)
		if nonce := shares["F"].Submit[4]; len(nonce) >= 8 { // item 59 accepts it
			f.Errorf("vector F has the nonce %q", nonce)
		}
	})},
	{62, "the same header under another job id or worker name is 22", plainField(func(f *field) {
		c := f.rig()
		f.want("second name", c.say(request(1, "mining.authorize", "alpha.north.r2")), "1=true")
		good := c.share(4, target{issue: c.job()}, aShare, 0)
		c.sess.mu.Lock() // one work under two ids, which the server itself never sends
		twin := c.sess.issued.list[0]
		twin.key = wireKey(0x77, 0)
		c.sess.issued.push(twin)
		c.sess.mu.Unlock()
		f.want("again", c.say(good, strings.Replace(good, "north.r1", "north.r2", 1), strings.Replace(good, keyID(0x100), keyID(twin.key), 1), good), "4=true", "4!22", "4!22", "4!22")
	})},
	{63, "ntime: mintime and job+52 are accepted, mintime-1 and now+7201 are 20", plainField(func(f *field) {
		c := f.rig()
		is := c.job()
		tmpl := is.work.Template
		at := func(ntime uint32, nonce uint32) string {
			sub := mine(f, c.sess, target{issue: is}, aShare, ntime, 0, nonce)
			return submission(1, "alpha.north.r1", keyID(is.key), sub)
		}
		now := uint32(time.Now().Unix())
		f.want("mintime", c.say(at(tmpl.MinTime, 0)), "1=true")
		f.want("mintime-1", c.say(at(tmpl.MinTime-1, 0)), "1!20")
		f.want("job+52", c.say(at(tmpl.CurTime+52, 0)), "1=true")
		f.want("job+7000", c.say(at(tmpl.CurTime+7000, 0)), "1=true")
		f.want("job+7001", c.say(at(tmpl.CurTime+7001, 0)), "1!20")
		f.want("now+7201", c.say(at(now+7201, 0)), "1!20")
	})},
	{64, "a previous-tip share is 21; a block among them is still looked at", plainField(func(f *field) {
		f.srv.Publish(jobSet(testJob(f, 1, 2, 4096)))
		c := f.rig()
		old := c.job()
		f.publish(2, 3)
		c.hear()
		f.want("at once", c.say(c.share(1, target{issue: old}, aShare, 0)), "1!21") // no grace (decision 4)
		f.want("a block", c.say(c.share(2, target{issue: old}, aBlock, 0)), "2!21")
		time.Sleep(time.Minute)
		c.hear()
		f.want("later", c.say(c.share(3, target{issue: old}, aBlock, 1<<24)), "3!21")
		if f.hub.blocks != 2 || f.hub.credit != 0 {
			f.Errorf("%d blocks, credit %d", f.hub.blocks, f.hub.credit)
		}
		f.publish(3, 4) // two deep: no node would take it
		c.hear()
		f.want("two deep", c.say(c.share(4, target{issue: old}, aBlock, 2<<24)), "4!21")
		if f.hub.blocks != 2 {
			f.Errorf("%d blocks", f.hub.blocks)
		}
	})},
	{65, "a hash that meets the network target is a block whatever the checks say; its bytes are vector B's", func(t *testing.T) {
		inField(t, nil, func(f *field) {
			f.srv.Publish(jobSet(testJob(f, 1, 2, 4096)))
			c := f.rig()
			is := c.job()
			at := func(n int, user string) string {
				sub := mine(f, c.sess, target{issue: is}, aBlock, is.work.Template.CurTime+uint32(n), 0, 0)
				return submission(n, user, keyID(is.key), sub)
			}
			f.want("no name of ours", c.say(at(1, "nobody")), "1!24")
			f.want("another member", c.say(at(2, "beta.south.r1")), "2!24")
			good := at(3, "alpha.north.r1")
			f.want("a share too", c.say(good, good), "3=true", "3!22")
			late := mine(f, c.sess, target{issue: is}, aBlock, is.work.Template.CurTime+7001, 0, 0)
			f.want("out of time", c.say(submission(4, "alpha.north.r1", keyID(is.key), late)), "4!20")
			if f.hub.blocks != 5 || f.hub.credit != 16 {
				f.Errorf("%d blocks, credit %d", f.hub.blocks, f.hub.credit)
			}
		})
		shares, _ := loadVectors(t)
		v := shares["B"]
		p, vp := vectorSession(t, v, v.Submit[0], 1e9) // too hard for a share
		p.s.issued.last().work.Template.Commitment = []byte{0x6a}
		if out := p.say(v, v.Submit); !strings.Contains(out, `"error":[23,`) || v.Block == "" || hex.EncodeToString(vp.bytes) != v.Block {
			t.Errorf("vector B is answered %s; its block is %x, want %s", out, vp.bytes, v.Block)
		}
	}},
	{66, "submit before subscribe is 25, by an unknown worker 24; the connection lives", plainField(func(f *field) {
		submit := submission(1, "alpha.north.r1", keyID(0x100), pool.Submission{Extranonce2Size: 8})
		c := f.connect()
		f.want("fresh", c.say(submit), "1!25")
		c.alive("fresh")
		f.want("subscribed", c.say(saySubscribe+submit).from(1), "1!24")
		c.alive("subscribed")
		c = f.connect()
		f.want("authorized only", c.say(sayAuthorize+submit).from(1), "1!25")
		c = f.rig()
		f.want("unknown", c.say(strings.Replace(submit, "north.r1", "north.r9", 1), request(2, "mining.submit"), request(3, "mining.submit", nil, nil)), "1!24", "2!20", "3!20")
		c.alive("working")
		f.want("a share", c.say(c.share(5, target{issue: c.job()}, aShare, 0)), "5=true")
	})},
	{67, "1000 rejects in a row: work again, then a drop; nobody is banned", ladderOfRejects},
	{68, "the rest answers in its shape", plainField(func(f *field) {
		c := f.rig()
		f.want("the rest", c.say(
			`{"params":["J"],"id":"txlistJ","method":"mining.get_transactions"}`, request(1, "mining.multi_version", 1), request(2, "mining.capabilities", map[string]any{"notify": []any{}}),
			request(3, "mining.extranonce.subscribe"), request(4, "mining.ping"), request(5, "client.get_version"),
			`{"id":null,"method":"mining.capabilities","params":[{}]}`, `{"id":6,"result":"cgminer/4.13.1","error":null}`),
			`"txlistJ"=[]`, "1=true", "2=true", "3=true", `4="pong"`, "5!20")
	})},
	{69, "a client that stops reading: its queue is bounded, it is dropped, others go on", func(t *testing.T) {
		outboxFull(t)
		writeStall(t)
	}},
	{70, "every client's transcript runs start to finish, pipelined and step by step", clientTranscripts},
}

// ladderOfRejects: a thousand refused shares in a row.
func ladderOfRejects(t *testing.T) {
	inField(t, nil, func(f *field) {
		other := f.rig() // of the same address
		for _, agent := range []string{"test/1", "cgminer/4.13.1"} {
			c, _ := f.sign(agent, "x")
			bad := c.share(4, target{issue: c.job()}, weak, 0)
			resends, messages := 0, 0
			for i := range 1000 {
				time.Sleep(refusedMillis * time.Millisecond) // as fast as it is read
				heard := c.say(bad)
				if len(heard) == 0 || brief(heard[:1])[0] != "4!23" {
					f.Fatalf("reject %d: %v", i+1, heard)
				}
				for _, l := range pushed(heard, "mining.notify") {
					resends++
					if l.text(8) != "true" || i+1 < resendFew {
						f.Errorf("reject %d brings %s", i+1, l)
					}
				}
				messages += len(pushed(heard, "client.show_message"))
				if i == 500 {
					time.Sleep(time.Minute)
					c.hear()
				}
			}
			if resends != 2 || messages != 0 && agent == "test/1" || messages == 0 && agent != "test/1" {
				f.Errorf("%s: work came again %d times, with %d messages", agent, resends, messages)
			}
			c.closed("1000 rejects", CloseRejects)
		}
		other.alive("another rig of the address")
		f.want("it comes back at once, under the same name", f.rig().say(request(1, "mining.ping")), `1="pong"`)
		if st := f.srv.Stats(); st.Closed["rejects"] != 2 || st.Resends != 4 || st.Shares["low_difficulty"] != 2000 {
			f.Errorf("counted %d closes, %d resends, %d rejects", st.Closed["rejects"], st.Resends, st.Shares["low_difficulty"])
		}
		for _, word := range []string{`"reason":"rejects"`, "conn.resend"} {
			mustHave(f, f.log.String(), word)
		}

		// One good share ends the row.
		c := f.rig()
		for i := range uint32(5) {
			bad := c.share(4, target{issue: c.job()}, weak, i<<20)
			for range 900 {
				time.Sleep(refusedMillis * time.Millisecond)
				c.say(bad)
			}
			time.Sleep(2 * time.Second)
			c.hear()
			f.want("a good one", c.say(c.share(5, target{issue: c.job()}, aShare, i<<24)).first(), "5=true")
		}
		c.alive("after 4500 rejects, never 1000 in a row")

		// Before it has work too, and without a word of it to anybody else.
		c = f.connect()
		for range 1000 {
			time.Sleep(refusedMillis * time.Millisecond)
			c.say(submission(1, "x", "1", pool.Submission{Extranonce2Size: 8}))
		}
		c.closed("1000 submits of a stranger", CloseRejects)
	})
}

// What is ours is not held against a rig.
func TestLadderForgivesWhatIsOurs(t *testing.T) {
	var m manners
	for range 5000 {
		m.verdict(pool.NotDurable, 1)
		m.verdict(pool.Draining, 1)
	}
	if resend, drop := m.step(100 * resendMillis); resend || drop {
		t.Error("a rig pays for shares that could not be stored")
	}
}

// Whoever floods is read slowly: nothing is refused for it, nothing is lost, and
// others are served meanwhile.
func TestFloodIsReadSlowly(t *testing.T) {
	inField(t, func(c *Config) { c.Pool = &anyName{} }, func(f *field) {
		f.srv.Publish(jobSet(testJob(f, 1, 2, 16))) // 16 is all there is: vardiff has nothing to say
		c, other := f.rig(), f.rig()
		const flood = 3 * validationBurst
		start := time.Now()
		line := submission(4, "x", keyID(c.job().key), pool.Submission{Extranonce2Size: 8}) + "\n"
		c.tw.send(strings.Repeat(line, flood))
		answers := 0
		for answers < flood && time.Since(start) < time.Hour {
			synctest.Wait()
			out, _ := c.tw.recv()
			answers += strings.Count(out, `{"id":4,"result":true,"error":null}`)
			other.alive("beside a flood")
			time.Sleep(100 * time.Millisecond)
		}
		want := (flood - validationBurst) * validationMillis * time.Millisecond
		if took := time.Since(start); took < want-time.Second || took > want+time.Second {
			f.Errorf("%d shares took %v, want %v", flood, took, want)
		}
		if f.srv.Stats().Throttled == 0 || !strings.Contains(f.log.String(), "conn.throttle") {
			f.Error("nobody was told")
		}
		c.tw.send(strings.Repeat(line, flood))
		synctest.Wait()
	}) // and a drain does not wait for the rest
}

// Where the operator lifts the bound, a flood of good shares is worked through at
// once.
func TestFloodWithoutBound(t *testing.T) {
	inField(t, func(c *Config) { c.Pool, c.Limits.Share = &anyName{}, 1 }, func(f *field) {
		f.srv.Publish(jobSet(testJob(f, 1, 2, 16)))
		c := f.rig()
		const flood = 3 * validationBurst
		start := time.Now()
		line := submission(4, "x", keyID(c.job().key), pool.Submission{Extranonce2Size: 8}) + "\n"
		c.tw.send(strings.Repeat(line, flood))
		synctest.Wait()
		out, _ := c.tw.recv()
		if n := strings.Count(out, `{"id":4,"result":true,"error":null}`); n != flood || time.Since(start) != 0 || f.srv.Stats().Throttled != 0 {
			f.Errorf("%d of %d shares answered after %v, %d pauses", n, flood, time.Since(start), f.srv.Stats().Throttled)
		}
	})
}

// So is whoever asks and asks, and whoever sends refused shares in a row, however
// they are cut into reads. A rig beside them does not wait for an answer.
func TestNothingIsReadFasterThanItsPace(t *testing.T) {
	empty := pool.Submission{Extranonce2Size: 8}
	for name, c := range map[string]struct {
		line  func(f *field, c *client) string
		lines int
		least time.Duration // what they take
	}{
		"subscribe": {
			func(*field, *client) string { return request(4, "mining.subscribe", "again/1") },
			4096, (4096 - requestBurst) * requestMillis * time.Millisecond,
		},
		"blank": {
			func(*field, *client) string { return "" },
			1 << 16, 4 * longestPause * time.Millisecond, // of so many reads,
		},
		"refused": {
			func(*field, *client) string { return submission(4, "x", "ffff", empty) },
			900, ((900-freeRefused)*refusedMillis - requestBurst*requestMillis) * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inField(t, func(c *Config) { c.Pool = &anyName{} }, func(f *field) {
				f.srv.Publish(jobSet(testJob(f, 1, 2, 16)))
				r, other := f.rig(), f.rig()
				start := time.Now()
				r.tw.send(strings.Repeat(c.line(f, r)+"\n", c.lines) + request(5, "mining.ping") + "\n")
				for out := ""; !strings.Contains(out, `"id":5`) && time.Since(start) < time.Hour; {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					out, _ = r.tw.recv()
					other.alive("beside a flood")
				}
				// The last read is answered before its pause.
				if took := time.Since(start); took < c.least-longestPause*time.Millisecond || took > c.least+time.Second {
					f.Errorf("%d lines took %v, want %v", c.lines, took, c.least)
				}
				time.Sleep(longestPause * time.Millisecond)
				r.alive("after its flood")
			})
		})
	}
}
