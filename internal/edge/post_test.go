package edge

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"cordee/internal/journal"
	"cordee/pool"
)

// postedBatch is a batch and how often who posted it was told.
type postedBatch struct {
	*pool.Batch
	told int
}

func (p *postedBatch) Ruled() { p.told++ }

// told hears of what is ruled.
type told chan struct{}

func (c told) Ruled() { c <- struct{}{} }

// fullLog counts how often there was no room.
type fullLog struct {
	*journal.Journal
	full int
}

func (l *fullLog) TryAppendShares(list []journal.Share) (journal.Ticket, error) {
	ticket, err := l.Journal.TryAppendShares(list)
	if errors.Is(err, journal.ErrFull) {
		l.full++
	}
	return ticket, err
}

// More are posted than there is room for, and the disk fails: who posts does not
// wait, each is told once that his share is not kept, nobody is told before, and
// whoever comes later is answered at once.
func TestPostedOnAFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(fullLog)
		k := newKit(t, t.TempDir(), func(c *Config) {
			log.Journal = c.Log.(*journal.Journal)
			c.Log = log
		})
		w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
		claim := numbered(k, w)
		before := k.edge.shares.Load()
		failed := make(chan struct{})
		k.disk.fail(func(op, name string) error {
			if op == "sync" && strings.HasPrefix(name, "seg-") {
				<-failed
				return errors.New("broken")
			}
			return nil
		})
		const many = 20_000
		all := make([]*postedBatch, 0, many)
		for nonce := uint32(1); len(all) < many; nonce++ {
			p := &postedBatch{Batch: batch(new(pool.Seen), claim, submission(w, nonce))}
			if k.edge.Post(p.Batch, p) {
				all = append(all, p)
			} else if p.Verdicts[0].Reject != pool.LowDifficulty { // one in 65536
				t.Fatal(nonce, "was ruled on at once, and no disk answers:", p.Verdicts)
			}
		}
		synctest.Wait()
		for i, p := range all {
			if p.told != 0 || p.Verdicts[0].Reject != pool.Accepted {
				t.Fatalf("%d was told %d times while the fdatasync runs", i, p.told)
			}
		}
		if log.full == 0 {
			t.Error("there was room for all of them: nothing is seen here")
		}
		close(failed)
		synctest.Wait()
		for i, p := range all {
			if p.told != 1 || p.Verdicts[0] != (pool.Verdict{Reject: pool.NotDurable}) {
				t.Fatalf("%d was told %d times: %+v", i, p.told, p.Verdicts)
			}
		}
		last := &postedBatch{Batch: batch(new(pool.Seen), claim, submission(w, 1))}
		if k.edge.Post(last.Batch, last) || last.told != 0 || last.Verdicts[0].Reject != pool.NotDurable {
			t.Errorf("after it: told %d times, %+v", last.told, last.Verdicts)
		}
		if !k.edge.poisoned.Load() || k.edge.lost.Load() != many+1 || k.edge.shares.Load() != before {
			t.Errorf("poisoned %v, %d lost, %d credited", k.edge.poisoned.Load(), k.edge.lost.Load(), k.edge.shares.Load())
		}
		if err := k.journal.Close(); !errors.Is(err, journal.ErrPoisoned) {
			t.Error(err)
		}
	})
}

// A batch of which something is refused is posted as well.
func TestPostOfWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
		easy := numbered(k, w)
		slow := make(chan struct{})
		k.disk.fail(func(op, _ string) error {
			if op == "sync" {
				<-slow
			}
			return nil
		})
		p := &postedBatch{Batch: batch(new(pool.Seen), easy, submission(w, 3), submission(w, 3))}
		posted := k.edge.Post(p.Batch, p)
		close(slow)
		synctest.Wait()
		if !posted || p.told != 1 || p.Verdicts[0].Reject != pool.Accepted || p.Verdicts[1].Reject != pool.Duplicate {
			t.Errorf("posted %t, told %d times: %+v", posted, p.told, p.Verdicts)
		}
		p = &postedBatch{Batch: batch(p.Seen, easy, submission(w, 3))}
		if k.edge.Post(p.Batch, p) || p.told != 0 || len(p.Verdicts) != 1 || p.Verdicts[0].Reject != pool.Duplicate {
			t.Errorf("with nothing to keep: %+v", p.Verdicts)
		}
		if got := records[journal.Share](k); len(got) != 2 { // with that of numbered
			t.Errorf("journal holds %+v", got)
		}
		if err := k.journal.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A new name is numbered on the way, and the journal has its record before the share.
func TestPostOfANewName(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	who := &pool.Worker{Member: w.Member, Name: "alice.barn.three"}
	told := make(told, 1)
	b := batch(new(pool.Seen), pool.Claim{Issued: 1, Worker: who}, submission(w, 1))
	if k.edge.Post(b, told) {
		<-told
	}
	if len(b.Verdicts) != 1 || b.Verdicts[0].Reject != pool.Accepted || who.Rig != 1 {
		t.Errorf("%+v, number %d", b.Verdicts, who.Rig)
	}
	if rigs, shares := records[journal.Rig](k), records[journal.Share](k); len(rigs) != 1 || len(shares) != 1 || shares[0].Rig != rigs[0].Number {
		t.Errorf("the journal has %v %v", rigs, shares)
	}
	if err := k.journal.Close(); err != nil {
		t.Error(err)
	}
}

// What may take its time is not begun: a block, and a member who is not kept.
func TestPostLeavesToSubmit(t *testing.T) {
	r := new(keeping)
	k := newKit(t, t.TempDir(), func(c *Config) { c.Register = r })
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	p := &postedBatch{Batch: batch(new(pool.Seen), easy, submission(w, 1))}
	if k.edge.Post(p.Batch, p) || len(p.Verdicts) != 0 || len(r.asked) != 0 {
		t.Errorf("a new member: %+v", p.Verdicts)
	}
	k.edge.Submit(p.Batch)
	if len(p.Verdicts) != 1 || p.Verdicts[0].Reject != pool.Accepted || len(r.asked) != 1 {
		t.Errorf("then: %+v", p.Verdicts)
	}
	if err := k.journal.Close(); err != nil {
		t.Error(err)
	}

	k = newKit(t, t.TempDir(), nil)
	block := work(t, template(t, 101, 1, allBlocks, 50e8), 1, 1)
	sub, _ := mined(block, 0, nil)
	p = &postedBatch{Batch: batch(new(pool.Seen), easy, sub)}
	if k.edge.Post(p.Batch, p) || len(p.Verdicts) != 0 || k.edge.blocks.inFlight != 0 {
		t.Errorf("a block: %+v", p.Verdicts)
	}
	if err := k.journal.Close(); err != nil || p.told != 0 {
		t.Error(err, p.told)
	}
}
