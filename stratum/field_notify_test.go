package stratum

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cordee/pool"
)

// notifyForm is what cpuminer, the strictest reader, takes.
var notifyForm = regexp.MustCompile(`^\{"id":null,"method":"mining\.notify","params":\["[0-9a-f]{1,16}","[0-9a-f]{64}","(?:[0-9a-f]{2})+","(?:[0-9a-f]{2})+",` +
	`\[(?:"[0-9a-f]{64}"(?:,"[0-9a-f]{64}")*)?\],"[0-9a-f]{8}","[0-9a-f]{8}","[0-9a-f]{8}",(?:true|false)\]\}$`)

// fullJob is a job with so many transactions and as many outputs as fit.
func fullJob(t testing.TB, edit func(*pool.Template), txs int, class pool.Class, tip uint64, counter uint32) *pool.Job {
	t.Helper()
	tmpl := *testJob(t, tip, counter, 1<<40).Template
	tmpl.Commitment, tmpl.Branches = nil, nil
	for i := range txs {
		tx := pool.Tx{Raw: make([]byte, 60), Weight: 240}
		tx.TxID[0], tx.TxID[1], tx.TxID[2] = byte(i), byte(i>>8), 0xab
		tmpl.Txs = append(tmpl.Txs, tx)
	}
	if edit != nil {
		edit(&tmpl)
	}
	checked, err := pool.NewTemplate(&tmpl, nil)
	if err != nil {
		t.Fatal(err)
	}
	var best *pool.Job
	for n := 1; ; n++ {
		var p pool.Payout
		for i := range n {
			p.Outputs = append(p.Outputs, pool.Output{Sats: 1, Script: slices.Concat([]byte{0, 20}, make([]byte, 19), []byte{byte(i)})})
		}
		p.Outputs[0].Sats = checked.Value - int64(n-1)
		j, err := pool.NewJob(checked, p, class, "twenty bytes of text", tip, counter)
		if err != nil && best == nil {
			t.Fatal(err)
		}
		if err != nil {
			return best
		}
		best = j
	}
}

// coinbaseOf puts a notify's coinbase together.
func coinbaseOf(t testing.TB, l line) []byte {
	t.Helper()
	b, err := hex.DecodeString(l.text(2) + strings.Repeat("00", pool.Extranonce1Size+pool.Extranonce2Size) + l.text(3))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var notifyItems = []item{
	{51, "nine params, exact lengths, lowercase hex, boolean clean", plainField(func(f *field) {
		c, heard := f.sign("cpuminer/2.5.1", "x")
		for i, txs := range []int{0, 1, 2, 5, 100} {
			f.srv.Publish(jobSet(fullJob(f, func(t *pool.Template) {
				t.Version, t.MinTime, t.CurTime, t.Bits, t.WorkBits = 4, 5, 0xbeef, 0x0200ffff, 0
			}, txs, pool.DefaultClass, uint64(2+i/3), uint32(2+i))))
			synctest.Wait()
		}
		heard = pushed(append(heard, c.hear()...), "mining.notify")
		for _, l := range heard {
			if !notifyForm.MatchString(l.raw) || len(l.Params) != 9 {
				f.Errorf("%s", l)
			}
		}
		if last := heard.last(); len(heard) < 3 || last.text(5) != "00000004" || last.text(6) != "0200ffff" || last.text(7) != "0000beef" {
			f.Errorf("%s", last)
		}
	})},
	{52, "prevhash and branches are as the vectors have them", func(t *testing.T) {
		raw, err := os.ReadFile("testdata/stratum-vectors.json")
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Prev []struct{ Stratum, Header_bytes string } `json:"prevhash_forms"`
			Jobs []struct {
				Template struct {
					Previousblockhash string
					Txids             []string
					Height            int32
					Coinbasevalue     int64
					Version           uint32
					Bits              string
					Mintime, Curtime  uint32
				}
				Notify []json.RawMessage `json:"notify_params"`
			} `json:"template_to_notify"`
		}
		if err := json.Unmarshal(raw, &v); err != nil || len(v.Prev) == 0 || len(v.Jobs) == 0 {
			t.Fatal("no vectors", err)
		}
		for _, p := range v.Prev {
			b, _ := hex.DecodeString(p.Header_bytes)
			if got := string(appendPrevHash(nil, b)); got != p.Stratum {
				t.Errorf("prevhash %s, want %s", got, p.Stratum)
			}
		}
		for i, j := range v.Jobs {
			bits, _ := hexUint32([]byte(j.Template.Bits))
			job := fullJob(t, func(tmpl *pool.Template) {
				tmpl.Height, tmpl.Value, tmpl.Version, tmpl.Bits, tmpl.WorkBits = j.Template.Height, j.Template.Coinbasevalue, j.Template.Version, bits, 0
				tmpl.MinTime, tmpl.CurTime = j.Template.Mintime, j.Template.Curtime
				copy(tmpl.PrevHash[:], displayed(j.Template.Previousblockhash))
				for k, id := range j.Template.Txids {
					copy(tmpl.Txs[k].TxID[:], displayed(id))
				}
			}, len(j.Template.Txids), pool.DefaultClass, 1, 1)
			s := newSheet(job, pool.RegtestScale)
			got := linesOf(t, string(s.view(1, 0).head)+string(s.tail[1]))[0]
			for _, k := range []int{1, 4, 5, 6, 8} { // what the template alone decides; its own times are in the others
				if string(got.Params[k]) != strings.Join(strings.Fields(string(j.Notify[k])), "") {
					t.Errorf("template %d: parameter %d is %s, want %s", i, k, got.Params[k], j.Notify[k])
				}
			}
			if want := fmt.Sprintf("%08x", j.Template.Curtime); got.text(7) != want {
				t.Errorf("template %d: ntime %s, want %s", i, got.text(7), want)
			}
		}
	}},
	{53, "job ids never repeat on a connection and have at most 16 digits", plainField(func(f *field) {
		c, heard := f.sign("x", "x")
		for i := range uint32(400) {
			switch i % 4 {
			case 0:
				f.publish(uint64(1+i/20), 2+i)
			case 1:
				heard = append(heard, c.say(suggestion(i, units(16<<(i%7))))...)
			case 2:
				time.Sleep(11 * time.Second)
			case 3:
				time.Sleep(time.Minute)
			}
			heard = append(heard, c.hear()...)
		}
		ids := make(map[string]bool)
		for _, l := range pushed(heard, "mining.notify") {
			id := l.text(0)
			if ids[id] || len(id) > 16 || len(id) == 0 {
				f.Errorf("job id %q again, or too long", id)
			}
			ids[id] = true
		}
		if len(ids) < 250 {
			f.Errorf("%d jobs", len(ids))
		}
	})},
	{54, "two notifies on one tip always differ in coinbase", plainField(func(f *field) {
		c, heard := f.sign("x", "x")
		other := f.connect()
		theirs := pushed(other.say(saySubscribe+request(3, "mining.authorize", "beta.south.r1")), "mining.notify")
		for i := range uint32(40) {
			heard = append(heard, c.say(suggestion(i, units(16<<(i%7))))...) // the same job, anew
			time.Sleep(11 * time.Second)
			if i%8 == 7 {
				f.publish(1, 2+i) // another job, on the same template but for its time
			}
		}
		seen := make(map[string]string)
		for _, l := range append(pushed(append(heard, c.hear()...), "mining.notify"), theirs...) {
			if was, again := seen[l.text(2)+l.text(3)]; again {
				f.Errorf("jobs %s and %s have one coinbase", was, l.text(0))
			}
			seen[l.text(2)+l.text(3)] = l.text(0)
		}
		if len(seen) < 40 {
			f.Errorf("%d notifies", len(seen))
		}
	})},
	{55, "a new tip reaches 10 000 connections as clean, with 250 ms of work, and waits for nobody", reachesAll},
	{56, "no gap above 60 s between lines to an idle client, for as long as it may idle", plainField(func(f *field) {
		c := f.rig()
		last := time.Now()
		for !c.tw.isClosed() {
			time.Sleep(time.Second)
			if len(c.hear()) > 0 {
				last = time.Now()
			}
			if time.Since(last) > time.Minute {
				f.Fatalf("nothing was heard for %v", time.Since(last))
			}
		}
		c.closed("after an hour", CloseIdle)
	})},
	{57, "coinbase by agent: unknown at most 500 bytes, NerdMiner 255; scriptSig at most 100", func(t *testing.T) {
		inField(t, func(c *Config) { c.Firmware = testFirmware }, func(f *field) {
			limits := map[string]int{
				"": 500, "unknown/9": 500, "NiceHash/1.0.0": 500, "Antminer S19/x": 500,
				"NerdMinerV2/V1.8.3": 255, "Antminer S21/x": 2250, "bitaxe/BM1366": 6500, "PowerPlay-BM/1": 16_000,
			}
			set := classSet(f, 1, 3, 1<<40, pool.Classes...)
			set.Jobs[0] = fullJob(f, func(t *pool.Template) { t.Height = 1 << 24 }, 3, pool.DefaultClass, 2, 2)
			f.srv.Publish(set)
			for agent, limit := range limits {
				_, heard := f.sign(agent, "x")
				b := coinbaseOf(f, pushed(heard, "mining.notify")[0])
				if script := int(b[41]); len(b) > limit || len(b) < limit-50 || script > 100 || script < 2 || b[4] != 1 {
					f.Errorf("agent %q: coinbase of %d bytes, scriptSig of %d", agent, len(b), script)
				}
			}
			if _, err := pool.NewJob(testJob(f, 2, 2, 1<<40).Template, pool.Payout{Outputs: []pool.Output{{Sats: 50e8, Script: make([]byte, 600)}}}, pool.DefaultClass, "", 2, 3); err == nil {
				f.Error("a coinbase above its class became a job")
			}
		})
	}},
	{58, "a notify line of the default class has at most 4000 characters", plainField(func(f *field) {
		f.srv.Publish(jobSet(fullJob(f, nil, 8191, pool.DefaultClass, 2, 2))) // 13 branches: more than a block holds
		_, heard := f.sign("unknown", "x")
		l := pushed(heard, "mining.notify")[0]
		var branches []string
		if err := json.Unmarshal(l.Params[4], &branches); err != nil || len(branches) != 13 {
			f.Errorf("%d branches: %v", len(branches), err)
		}
		if len(l.raw) > 4000 {
			f.Errorf("%d characters", len(l.raw))
		}
	})},
}

// displayed is a hash as people write it, in hashing byte order.
func displayed(s string) []byte {
	b, _ := hex.DecodeString(s)
	slices.Reverse(b)
	return b
}

// reachesAll publishes a tip to 10 000 connections, a hundred of which do not
// read. Nothing on the way may wait for a clock or a rig: the bubble's time
// stands still. And what it computes is measured as processor time, which a
// busy machine does not stretch.
func reachesAll(t *testing.T) {
	inField(t, func(c *Config) { c.MaxConns = 20_000 }, func(f *field) {
		rigs := make([]*client, 10_000)
		for i := range rigs {
			tw := newTwin(1 << 20)
			rigs[i] = &client{f, tw, f.srv.enter(tw, Door{})}
			tw.send(saySubscribe + sayAuthorize)
		}
		synctest.Wait()
		for i, c := range rigs {
			c.tw.recv()
			if i%100 == 0 {
				c.tw.mu.Lock()
				c.tw.room = 0
				c.tw.mu.Unlock()
			}
		}
		set := jobSet(testJob(f, 2, 2, 1<<40))
		set.Clean, set.Signal = true, time.Now()
		before := processorTime(f)
		f.srv.Publish(set)
		synctest.Wait()
		work := processorTime(f) - before
		f.within("the broadcast", set.Signal, 0)
		for i, c := range rigs {
			out, writes := c.tw.recv()
			if i%100 != 0 && (writes != 1 || !strings.HasPrefix(out, `{"id":null,"method":"mining.notify","params":["0000000200"`) || !strings.HasSuffix(out, ",true]}\n")) {
				f.Fatalf("rig %d heard in %d writes: %s", i, writes, out)
			}
		}
		f.Logf("%v of processor time", work)
		if work > 250*time.Millisecond && !raceEnabled {
			f.Errorf("%v of processor time", work)
		}
	})
}

func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
