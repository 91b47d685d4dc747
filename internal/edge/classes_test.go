package edge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
	"cordee/stratum"
)

// byClass pays one output for each 100 bytes of a class, or what a test says.
type byClass struct {
	payout.Treasury
	mu     sync.Mutex
	fails  map[string]error // by class name
	called int
	slot   func(call int) uint32
}

func (y *byClass) Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	p, receipt, err := y.Kept(t, class)
	for i := range class.MaxCoinbase / 100 {
		p.Outputs = slices.Insert(p.Outputs, 0, pool.Output{Sats: 1, Script: []byte{0x51, byte(i), class.ID}})
		p.Outputs[len(p.Outputs)-1].Sats--
	}
	y.called++
	if y.slot != nil {
		p.Slot = y.slot(y.called)
	}
	return p, receipt, errors.Join(err, y.fails[class.Name])
}

func (y *byClass) fail(class string, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.fails = map[string]error{class: err}
}

// classKit is an edge whose board says which classes are in use.
func classKit(t *testing.T, payer *byClass, dir string) *kit {
	payer.Script = script
	return newKit(t, dir, func(c *Config) { c.Payer = payer })
}

// names are the classes of a set, with the outputs of each.
func (p posted) names() []string {
	var out []string
	for _, j := range p.set.Jobs {
		out = append(out, fmt.Sprintf("%s %d", j.Class.Name, len(j.Payout.Outputs)))
	}
	return out
}

func (k *kit) wantSet(n int, names ...string) posted {
	k.t.Helper()
	sets := k.board.all()
	if len(sets) != n {
		k.t.Fatalf("%d sets, want %d", len(sets), n)
	}
	last := sets[n-1]
	if !slices.Equal(last.names(), names) {
		k.t.Fatalf("set %d is of %q, want %q", n, last.names(), names)
	}
	return last
}

// A set has a job of the default class and of each class in use, on one
// template, tip and counter, no two of one place; all of it is in the journal,
// in one append, before any rig has it; and what the next start reads there
// begins behind it.
func TestJobOfEachClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		k := classKit(t, &byClass{}, dir)
		k.board.use(pool.HugeClass, pool.TinyClass, pool.DefaultClass, pool.LargeClass)
		appends := 0
		k.edge.cfg.Log = countingLog{k.journal, func(recs []journal.Record) {
			if len(recs) > 0 && recs[0].Kind() == journal.KindReceipt {
				appends++
				if n := len(k.board.all()); n != appends-1 {
					t.Errorf("append %d after %d sets", appends, n)
				}
			}
		}}
		k.run()
		k.tip(101, 1)
		set := k.wantSet(1, "default 1", "tiny 1", "large 1", "huge 1").set
		jobs, receipts := records[journal.Job](k), records[journal.Receipt](k)
		if len(jobs) != 4 || len(receipts) != 4 || appends != 1 {
			t.Fatalf("%d jobs and %d receipts in %d appends", len(jobs), len(receipts), appends)
		}
		places := map[pool.Place]bool{}
		for i, j := range set.Jobs {
			rec := jobs[i]
			places[j.Place(7, 0)] = true
			if j.Counter != set.Jobs[0].Counter || j.Tip != 1 || j.Template != set.Jobs[0].Template {
				t.Errorf("job %d: %+v", i, j)
			}
			if rec.Class != j.Class.ID || rec.Counter != j.Counter || rec.Commitment != j.Payout.Commitment ||
				rec.ReceiptID != payout.ReceiptID(receipts[i].Bytes) || !bytes.Equal(receipts[i].Bytes, j.Payout.Receipt) {
				t.Errorf("record of job %d: %+v", i, rec)
			}
			r, err := payout.DecodeReceipt(receipts[i].Bytes)
			if err != nil || r.Class != j.Class.ID || r.Commitment() != j.Payout.Commitment {
				t.Errorf("receipt of job %d: %+v, %v", i, r, err)
			}
		}
		if len(places) != 4 {
			t.Errorf("%d places", len(places))
		}
		counter := set.Jobs[0].Counter
		k.end()

		k = classKit(t, &byClass{}, dir)
		if k.rec.LastCounter != counter || k.rec.NextCounter <= counter {
			t.Errorf("counter %d was used, recovered are %d and %d", counter, k.rec.LastCounter, k.rec.NextCounter)
		}
		k.run()
		k.end()
	})
}

// The empty template, which is there to be first, has jobs of the default class
// and of those that cannot mine it; the node's own has all again.
func TestEmptyTemplateIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := classKit(t, &byClass{}, t.TempDir())
		k.board.use(pool.TinyClass, pool.LargeClass)
		k.run()
		empty := template(t, 102, 2, noBlocks, 50e8)
		empty.Empty = true
		k.node.updates <- bitcoind.Update{Template: empty, Tip: 2}
		synctest.Wait()
		k.wantSet(1, "default 1", "tiny 1")
		poke(k.edge.jobs.wanted) // by the large ones
		synctest.Wait()
		k.wantSet(1, "default 1", "tiny 1")
		k.tip(102, 2)
		k.wantSet(2, "default 1", "tiny 1", "large 1")
		k.end()
	})
}

// countingLog hears of each append.
type countingLog struct {
	Log
	on func([]journal.Record)
}

func (l countingLog) Append(recs ...journal.Record) (journal.Ticket, error) {
	l.on(recs)
	return l.Log.Append(recs...)
}

// Each class waits for its own shape alone, the shapes of all are asked about in
// turn and go out in one set.
func TestShapesByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payer := &byClass{}
		k := classKit(t, payer, t.TempDir())
		k.board.use(pool.MediumClass, pool.HugeClass)
		k.node.propose = func(block []byte) (string, error) {
			if bytes.Contains(block, []byte{0x51, 0, pool.HugeClass.ID}) {
				return "bad-blk-sigops", nil
			}
			return "", nil
		}
		k.run()
		k.tip(101, 1)
		k.wantSet(1, "default 1", "medium 1", "huge 1")
		time.Sleep(canaryQuiet + time.Second)
		k.wantSet(2, "default 6", "medium 23", "huge 1")
		if n := len(k.node.proposed()); n != 4 { // the refused one came up again with the second set
			t.Errorf("%d proposals", n)
		}
		k.node.set(func() { k.node.propose = func([]byte) (string, error) { return "", nil } })
		time.Sleep(renotify + canaryQuiet)
		k.wantSet(4, "default 6", "medium 23", "huge 161")
		k.end()
	})
}

// Of each class a real share is proposed every few minutes.
func TestCanaryOfEachClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := classKit(t, &byClass{}, t.TempDir())
		k.board.use(pool.LargeClass)
		k.run()
		k.tip(101, 1)
		time.Sleep(canaryQuiet + time.Second)
		before := len(k.node.proposed())
		for n := range uint32(100) { // 500 s, the large class rare
			k.tip(101, 1)
			sets := k.board.all()
			jobs := sets[len(sets)-1].set.Jobs
			job := jobs[0]
			if n%10 == 9 {
				job = jobs[1]
			}
			k.edge.Submit(batch(new(pool.Seen), easy, submission(job.Work(7, 1), n)))
			time.Sleep(5 * time.Second)
		}
		of := map[bool]int{}
		for _, p := range k.node.proposed()[before:] {
			of[len(p.block) > 1000]++
		}
		if of[false] != 2 || of[true] != 2 {
			t.Errorf("%d proposals of the default class and %d of the large one, want two each", of[false], of[true])
		}
		k.end()
	})
}

// A class whose payout or job fails is left out and said once; the others go on,
// and it comes back with the next issue that can.
func TestClassFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payer := &byClass{}
		k := classKit(t, payer, t.TempDir())
		k.board.use(pool.MediumClass, pool.LargeClass)
		payer.fail("medium", errors.New("no room"))
		k.run()
		for i := range 3 {
			k.tip(101+int32(i), uint64(i+1))
			k.wantSet(i+1, "default 1", "large 1")
		}
		if n := k.logged.count("job.class_failed"); n != 1 {
			t.Errorf("said %d times", n)
		}
		poke(k.edge.jobs.wanted) // as each of its rigs that comes
		time.Sleep(500 * time.Millisecond)
		k.wantSet(3, "default 1", "large 1")
		payer.fail("", nil)
		k.tip(104, 4)
		k.wantSet(4, "default 1", "medium 1", "large 1")
		payer.fail("default", errors.New("no room"))
		k.tip(105, 5)
		k.wantSet(4, "default 1", "medium 1", "large 1")
		if n := k.logged.count("job.failed"); n != 1 {
			t.Errorf("said %d times", n)
		}
		k.end()
	})
}

// The first rig of a class has its job made at once, once.
func TestNewClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := classKit(t, &byClass{}, t.TempDir())
		k.run()
		k.tip(101, 1)
		k.wantSet(1, "default 1")
		k.board.use(pool.DefaultClass, pool.TinyClass)
		for range 10 {
			poke(k.edge.jobs.wanted)
			synctest.Wait()
		}
		if p := k.wantSet(2, "default 1", "tiny 1"); p.set.Clean {
			t.Error("no reason to drop work")
		}
		k.board.use(pool.DefaultClass)
		k.tip(102, 2)
		k.wantSet(3, "default 1")
		k.end()
	})
}

// All jobs of an issue are of one slot, though one closes between them.
func TestOneSlotForAllClasses(t *testing.T) {
	for name, c := range map[string]struct {
		slot func(call int) uint32
		want []string
	}{
		"closes once":  {func(call int) uint32 { return uint32(min(call, 3)) }, []string{"default 1", "medium 1", "large 1"}},
		"closes often": {func(call int) uint32 { return uint32(call) }, []string{"default 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				payer := &byClass{slot: c.slot}
				k := classKit(t, payer, t.TempDir())
				k.board.use(pool.MediumClass, pool.LargeClass)
				k.edge.cfg.Payer = oneOutput{payer}
				k.run()
				k.tip(101, 1)
				for _, j := range k.wantSet(1, c.want...).set.Jobs {
					if j.Payout.Slot != k.board.all()[0].set.Jobs[0].Payout.Slot {
						t.Errorf("class %s is of slot %d", j.Class.Name, j.Payout.Slot)
					}
				}
				k.end()
			})
		})
	}
}

// oneOutput is byClass with all in the treasury: nothing to prove.
type oneOutput struct{ *byClass }

func (y oneOutput) Payout(t *pool.Template, class pool.Class) (pool.Payout, []byte, error) {
	p, receipt, err := y.byClass.Payout(t, class)
	last := p.Outputs[len(p.Outputs)-1]
	last.Sats = t.Value
	p.Outputs = []pool.Output{last}
	return p, receipt, err
}

// BenchmarkIssue is a template to its published set, with a journal on disk.
func BenchmarkIssue(b *testing.B) {
	for _, classes := range [][]pool.Class{{pool.DefaultClass}, pool.Classes} {
		b.Run(fmt.Sprint(len(classes)), func(b *testing.B) {
			k := newKit(b, b.TempDir(), func(c *Config) { c.Payer = &byClass{Treasury: payout.Treasury{Script: script}} })
			k.edge.jobs.out = silent{k.board}
			k.board.use(classes...)
			for _, c := range classes {
				p, _, err := k.edge.cfg.Payer.Payout(template(b, 101, 1, noBlocks, 50e8), c)
				if err != nil {
					b.Fatal(err)
				}
				k.edge.canary.prove(shapeOf(c, &p))
			}
			tpl := template(b, 101, 1, noBlocks, 50e8)
			k.edge.jobs.last, k.edge.jobs.tip = tpl, 1
			for b.Loop() {
				if err := k.edge.jobs.issue(); err != nil {
					b.Fatal(err)
				}
			}
			if err := k.journal.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				b.Error(err)
			}
		})
	}
}

// silent is a board that keeps no sets.
type silent struct{ *board }

func (silent) Publish(stratum.JobSet) {}
