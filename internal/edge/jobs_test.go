package edge

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
	"cordee/stratum"
)

// job returns the one job of a posted set.
func (p posted) job(t *testing.T) *pool.Job {
	t.Helper()
	if len(p.set.Jobs) != 1 {
		t.Fatalf("set of %d jobs", len(p.set.Jobs))
	}
	return p.set.Jobs[0]
}

// A job and its receipt are written before any rig can see it.
func TestJobIsWrittenFirst(t *testing.T) {
	for _, file := range []string{"seg-", ".tpl"} {
		t.Run(file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				open := make(chan struct{})
				k.disk.fail(func(op, name string) error {
					if op == "write" && strings.Contains(name, file) {
						<-open
					}
					return nil
				})
				k.run()
				k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
				time.Sleep(10 * time.Second)
				if n := len(k.board.all()); n != 0 {
					t.Fatalf("%d sets published while the disk stalls", n)
				}
				close(open)
				synctest.Wait()
				sets := k.board.all()
				if len(sets) != 1 {
					t.Fatalf("%d sets published", len(sets))
				}
				jobs, receipts := records[journal.Job](k), records[journal.Receipt](k)
				job := sets[0].job(t)
				if len(jobs) != 1 || len(receipts) != 1 || jobs[0].Counter != job.Counter || jobs[0].TemplateID != job.Template.ID() ||
					jobs[0].ReceiptID != payout.ReceiptID(receipts[0].Bytes) || jobs[0].Commitment != job.Payout.Commitment {
					t.Errorf("jobs %+v, %d receipts", jobs, len(receipts))
				}
				k.end()
			})
		})
	}
}

// Clean says that rigs must drop what they have: with a new tip, and never with
// the full template that follows the empty one, which goes out at once.
func TestClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		signal := time.Now()
		empty := template(t, 102, 2, noBlocks, 50e8)
		empty.Empty = true
		for i, step := range []struct {
			u     bitcoind.Update
			clean bool
		}{
			{bitcoind.Update{Template: template(t, 101, 1, noBlocks, 1), Tip: 1, Signal: signal}, true},
			{bitcoind.Update{Template: template(t, 101, 1, noBlocks, 2), Tip: 1}, false},
			{bitcoind.Update{Template: empty, Tip: 2, Signal: signal}, true},
			{bitcoind.Update{Template: template(t, 102, 2, noBlocks, 4), Tip: 2}, false},
			{bitcoind.Update{Template: template(t, 101, 1, noBlocks, 5), Tip: 3, Signal: signal}, true}, // back: a new generation
		} {
			began := time.Now()
			k.node.updates <- step.u
			synctest.Wait()
			sets := k.board.all()
			if len(sets) != i+1 {
				t.Fatalf("step %d: %d sets", i, len(sets))
			}
			got := sets[i]
			if job := got.job(t); job.Template != step.u.Template || job.Tip != step.u.Tip || got.set.Clean != step.clean ||
				got.set.Signal != step.u.Signal || got.at != began {
				t.Errorf("step %d: %+v", i, got)
			}
		}
		k.end()
	})
}

// payer fails when told to.
type payer struct {
	payout.Treasury
	mu  sync.Mutex
	err error
}

func (p *payer) Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return pool.Payout{}, nil, p.err
	}
	return p.Treasury.Payout(t, class)
}

// A job that cannot be made leaves rigs with the old one, is tried again, and
// does not hide the new tip.
func TestFailedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &payer{Treasury: payout.Treasury{Script: script}}
		k := newKit(t, t.TempDir(), func(c *Config) { c.Payer = p })
		fail := func(err error) { p.mu.Lock(); p.err = err; p.mu.Unlock() }
		k.run()
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		synctest.Wait()
		fail(errors.New("no slot"))
		signal := time.Now()
		next := template(t, 102, 2, noBlocks, 50e8)
		k.node.updates <- bitcoind.Update{Template: next, Tip: 2, Signal: signal}
		time.Sleep(20 * time.Second)
		if n := len(k.board.all()); n != 1 {
			t.Fatalf("%d sets", n)
		}
		if n := k.logged.count("job.failed"); n != 1 {
			t.Errorf("said %d times", n)
		}
		fail(nil)
		time.Sleep(1500 * time.Millisecond)
		sets := k.board.all()
		if len(sets) != 2 || sets[1].job(t).Template != next || !sets[1].set.Clean || sets[1].set.Signal != signal {
			t.Errorf("%+v", sets)
		}
		k.end()
	})
}

// Rigs whose old job no new one can replace are sent away, whatever tips come
// meanwhile, and are welcome with the next job: what they hash on an old tip is
// lost to everybody, however truly it is counted.
func TestNoJobOfTheNewTip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		synctest.Wait()
		k.disk.fail(func(op, name string) error {
			if op == "create" && strings.Contains(name, ".tpl") {
				return syscall.ENOSPC
			}
			return nil
		})
		began, last := time.Now(), template(t, 102, 1, noBlocks, 50e8)
		for tip := range uint64(5) {
			last = template(t, 102+int32(tip), 2+tip, noBlocks, 50e8)
			k.node.updates <- bitcoind.Update{Template: last, Tip: 2 + tip}
			time.Sleep(25 * time.Second)
		}
		if s := k.edge.Status(); !strings.Contains(s.NoJob, "no space left on device") {
			t.Errorf("status says %q", s.NoJob)
		}
		sets := k.board.all()
		if len(sets) != 2 || sets[1].reason != stratum.CloseNotPublished || k.logged.count("job.none") != 1 {
			t.Fatalf("%+v", sets)
		}
		if at := sets[1].at.Sub(began); at < templateLife || at > templateLife+time.Second {
			t.Errorf("sent away after %v", at)
		}
		k.disk.fail(nil)
		time.Sleep(1500 * time.Millisecond)
		if sets = k.board.all(); len(sets) != 3 || sets[2].job(t).Template != last || !sets[2].set.Clean || k.edge.Status().NoJob != "" {
			t.Errorf("%+v", sets)
		}
		k.end()
	})
}

// Without a node rigs hear a line every 30 s, after 60 s they are sent away, and
// when it is back they are welcome.
func TestNoTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		began := time.Now()
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		time.Sleep(10 * time.Minute)
		sets := k.board.all()
		if len(sets) != 3 {
			t.Fatalf("%d sets in 10 minutes: %+v", len(sets), sets)
		}
		if at := sets[1].at.Sub(began); at < renotify || at > renotify+time.Second || sets[1].set.Clean ||
			sets[1].job(t).Counter <= sets[0].job(t).Counter {
			t.Errorf("renewed after %v: %+v", at, sets[1])
		}
		if at := sets[2].at.Sub(began); at < templateLife || at > templateLife+time.Second || sets[2].reason != stratum.CloseNoTemplate {
			t.Errorf("withdrawn after %v: %+v", at, sets[2])
		}
		if age := k.edge.Status().TemplateAge; age != 600 {
			t.Errorf("status says %v s", age)
		}
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		synctest.Wait()
		if sets = k.board.all(); len(sets) != 4 || len(sets[3].set.Jobs) != 1 || !sets[3].set.Clean {
			t.Errorf("%+v", sets)
		}
		k.end()
	})
}

// Nor do rigs wait for ever for a first template that does not come.
func TestNoFirstTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		began := time.Now()
		time.Sleep(10 * time.Minute)
		sets := k.board.all()
		if len(sets) != 1 || sets[0].reason != stratum.CloseNoTemplate {
			t.Fatalf("%+v", sets)
		}
		if at := sets[0].at.Sub(began); at < templateLife || at > templateLife+time.Second {
			t.Errorf("sent away after %v", at)
		}
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		synctest.Wait()
		if sets = k.board.all(); len(sets) != 2 || len(sets[1].set.Jobs) != 1 {
			t.Errorf("%+v", sets)
		}
		k.end()
	})
}

// A wall clock that jumps sends nobody away and stops no renewal.
func TestWallClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var offset time.Duration
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Round(0).Add(offset)
		}
		k := newKit(t, t.TempDir(), func(c *Config) { c.Now = now })
		k.run()
		for i, jump := range []time.Duration{0, 48 * time.Hour, -48 * time.Hour} {
			mu.Lock()
			offset = jump
			mu.Unlock()
			k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, int64(i)), Tip: 1}
			time.Sleep(renotify + 2*time.Second)
		}
		for i, p := range k.board.all() {
			if len(p.set.Jobs) == 0 {
				t.Errorf("set %d: rigs sent away", i)
			}
		}
		if n := len(k.board.all()); n != 6 {
			t.Errorf("%d sets, want each template and its renewal", n)
		}
		k.end()
	})
}

// A renewal that was slow to write cannot bring back the tip that was left
// meanwhile.
func TestOlderNeverFollowsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		synctest.Wait()
		open := make(chan struct{})
		k.disk.fail(func(op, name string) error {
			if op == "write" && strings.HasPrefix(name, "seg-") {
				<-open
			}
			return nil
		})
		time.Sleep(renotify + time.Second) // the renewal hangs
		k.node.updates <- bitcoind.Update{Template: template(t, 102, 2, noBlocks, 50e8), Tip: 2}
		time.Sleep(5 * time.Second)
		close(open)
		time.Sleep(5 * time.Second)
		var tips []uint64
		for _, p := range k.board.all() {
			tips = append(tips, p.job(t).Tip)
		}
		if len(tips) != 3 || tips[2] != 2 {
			t.Errorf("tips published: %v", tips)
		}
		k.end()
	})
}

// A journal that broke for good sends rigs to their backup, once, and no later
// template brings them back.
func TestPoisonedJournalSendsRigsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		synctest.Wait()
		k.disk.fail(func(op, _ string) error {
			if op == "sync" {
				return errors.New("bad sector")
			}
			return nil
		})
		b := batch(new(pool.Seen), easy, submission(k.board.all()[0].job(t).Work(7, 0), 1))
		k.edge.Submit(b)
		if b.Verdicts[0].Reject != pool.NotDurable {
			t.Fatal(b.Verdicts)
		}
		for tip := range uint64(5) {
			k.node.updates <- bitcoind.Update{Template: template(t, 102, tip, noBlocks, 50e8), Tip: 2 + tip}
			time.Sleep(2 * time.Second)
		}
		sets := k.board.all()
		away := 0
		for _, p := range sets[1:] {
			if len(p.set.Jobs) == 0 && p.reason == stratum.CloseNotDurable {
				away++
			} else {
				t.Errorf("%+v", p)
			}
		}
		if away != 1 {
			t.Errorf("sent away %d times", away)
		}
		k.stop()
		if err := <-k.ended; err != nil {
			t.Error(err)
		}
		if err := k.journal.Close(); !errors.Is(err, journal.ErrPoisoned) {
			t.Error(err)
		}
	})
}

// No counter is ever used twice: across clean ends, kills, and a clock that
// goes back a day at each start.
func TestCountersAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, last := t.TempDir(), uint32(0)
		for run := range 6 {
			clock := time.Now().Add(time.Duration(-run) * 24 * time.Hour)
			k := newKit(t, dir, func(c *Config) { c.Now = func() time.Time { return clock } })
			k.run()
			for i := range 5 {
				k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, int64(i)), Tip: 1}
			}
			synctest.Wait()
			for _, p := range k.board.all() {
				c := p.job(t).Counter
				if c <= last {
					t.Errorf("run %d: counter %d after %d", run, c, last)
				}
				last = c
			}
			if run%2 == 0 {
				k.end()
				continue
			}
			k.stop()
			<-k.ended
			defer k.journal.Close() // killed: the next run finds nothing sealed
		}
	})
}

// Template files go when they are 6 deep, but for what an unanswered block
// needs.
func TestOldTemplatesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit, k.node.inChain = away, unknown
		k.run()
		k.block(0) // at 101, on a template of its own
		for height := int32(101); height <= 120; height++ {
			k.node.updates <- bitcoind.Update{Template: template(t, height, uint64(height), noBlocks, 50e8), Tip: uint64(height)}
			synctest.Wait()
		}
		if n := k.files("templates", ".tpl"); n != keepTemplates+1 {
			t.Errorf("%d template files, want %d and the block's", n, keepTemplates)
		}
		k.node.set(func() { k.node.submit = says("") })
		time.Sleep(submitLife + resubmitEvery)
		k.node.set(func() { k.node.inChain = func(chainhash.Hash) (int64, error) { return 20, nil } })
		time.Sleep(2 * resubmitEvery)
		k.node.updates <- bitcoind.Update{Template: template(t, 121, 121, noBlocks, 50e8), Tip: 121}
		synctest.Wait()
		if n := k.files("templates", ".tpl"); n != keepTemplates {
			t.Errorf("%d template files after the block's answer", n)
		}
		k.end()
	})
}
