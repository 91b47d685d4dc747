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

// Many are posted and the disk fails: each is told once that his share is not kept,
// nobody is told before, and whoever comes later need not wait.
func TestPostedOnAFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
		failed := make(chan struct{})
		k.disk.fail(func(op, name string) error {
			if op == "sync" && strings.HasPrefix(name, "seg-") {
				<-failed
				return errors.New("broken")
			}
			return nil
		})
		const many = 300
		all := make([]*postedBatch, many+1)
		for i := range all {
			all[i] = &postedBatch{Batch: batch(new(pool.Seen), easy, submission(w, uint32(i+1)))}
		}
		for i, p := range all[:many] {
			if !k.edge.Post(p.Batch, p) {
				t.Fatal(i, "was ruled on at once, and no disk answers:", p.Verdicts)
			}
		}
		synctest.Wait()
		for i, p := range all[:many] {
			if p.told != 0 || p.Verdicts[0].Reject != pool.Accepted {
				t.Fatalf("%d was told %d times while the fdatasync runs", i, p.told)
			}
		}
		close(failed)
		synctest.Wait()
		for i, p := range all[:many] {
			if p.told != 1 || p.Verdicts[0] != (pool.Verdict{Reject: pool.NotDurable}) {
				t.Errorf("%d was told %d times: %+v", i, p.told, p.Verdicts)
			}
		}
		last := all[many]
		if k.edge.Post(last.Batch, last) || last.told != 0 || last.Verdicts[0].Reject != pool.NotDurable {
			t.Errorf("after it: told %d times, %+v", last.told, last.Verdicts)
		}
		if !k.edge.poisoned.Load() || k.edge.lost.Load() != many+1 || k.edge.shares.Load() != 0 {
			t.Errorf("poisoned %v, %d lost, %d credited", k.edge.poisoned.Load(), k.edge.lost.Load(), k.edge.shares.Load())
		}
		if err := k.journal.Close(); !errors.Is(err, journal.ErrPoisoned) {
			t.Error(err)
		}
	})
}

// A batch of which something is refused is ruled on at once, once it is kept.
func TestPostOfWhatIsRefused(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	p := &postedBatch{Batch: batch(new(pool.Seen), easy, submission(w, 3), submission(w, 3))}
	if k.edge.Post(p.Batch, p) || p.Verdicts[0].Reject != pool.Accepted || p.Verdicts[1].Reject != pool.Duplicate {
		t.Errorf("%+v", p.Verdicts)
	}
	if got := records[journal.Share](k); len(got) != 1 {
		t.Errorf("journal holds %+v", got)
	}
	if err := k.journal.Close(); err != nil || p.told != 0 {
		t.Error(err, p.told)
	}
}
