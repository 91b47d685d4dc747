package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/journal"
	"cordee/pool"
)

// A batch is answered when its fdatasync returned, not before.
func TestSubmitWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		defer k.journal.Close() // of no matter here
		open := make(chan struct{})
		k.disk.fail(func(op, name string) error {
			if op == "sync" && strings.HasPrefix(name, "seg-") {
				<-open
			}
			return nil
		})
		b := batch(new(pool.Seen), easy, submission(work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1), 5))
		answered := false
		go func() { k.edge.Submit(b); answered = true }()
		synctest.Wait()
		if answered {
			t.Fatal("answered while the fdatasync runs")
		}
		close(open)
		synctest.Wait()
		if !answered || b.Verdicts[0] != (pool.Verdict{Credit: 1}) {
			t.Fatalf("answered %v, %+v", answered, b.Verdicts)
		}
		if got := records[journal.Share](k); len(got) != 1 || got[0].Hash != b.Hashed[0].Hash {
			t.Errorf("journal holds %+v", got)
		}
	})
}

// Where the journal acknowledges what is written, a share waits for write(2)
// alone.
func TestSubmitWithAckWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		if err := k.journal.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		k.journal, _, err = journal.Open(journal.Config{
			Dir: k.dir, Edge: 1, Prefix: 1, Genesis: *k.edge.cfg.Network.Params.GenesisHash, Program: "test",
			SegmentSize: 1 << 20, FS: k.disk, Ack: journal.Written,
		})
		if err != nil {
			t.Fatal(err)
		}
		k.edge.cfg.Log = k.journal
		syncs, writes := make(chan struct{}), make(chan struct{})
		k.disk.fail(func(op, name string) error {
			switch {
			case !strings.HasPrefix(name, "seg-"):
			case op == "sync":
				<-syncs
			case op == "write":
				<-writes
			}
			return nil
		})
		b := batch(new(pool.Seen), easy, submission(work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1), 5))
		answered := false
		go func() { k.edge.Submit(b); answered = true }()
		synctest.Wait()
		if answered {
			t.Error("answered before write(2)")
		}
		close(writes)
		synctest.Wait()
		if !answered || b.Verdicts[0].Reject != pool.Accepted || len(records[journal.Share](k)) != 1 {
			t.Errorf("answered %v, %+v", answered, b.Verdicts)
		}
		close(syncs)
		if err := k.journal.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What the journal says of a share: the member of the coinbase and never that
// of the name, seq only with a credit, a rig number only with an acceptance.
func TestSubmitRecords(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 77)
	memory := new(pool.Seen)

	low := batch(memory, pool.Claim{Issued: 1 << 60, Worker: &pool.Worker{Member: 9, Name: "never.seen.rig"}}, submission(w, 1))
	k.edge.Submit(low)
	if low.Verdicts[0].Reject != pool.LowDifficulty {
		t.Fatalf("%+v", low.Verdicts)
	}
	weak := batch(memory, pool.Claim{Issued: 1 << 60, Later: 1, Worker: easy.Worker}, submission(w, 2))
	k.edge.Submit(weak)
	if weak.Verdicts[0] != (pool.Verdict{}) {
		t.Fatalf("a hash that meets a later difficulty: %+v", weak.Verdicts)
	}
	good := batch(memory, easy, submission(w, 3), submission(w, 3), submission(w, 4))
	k.edge.Submit(good)
	for i, want := range []pool.Reject{pool.Accepted, pool.Duplicate, pool.Accepted} {
		if good.Verdicts[i].Reject != want {
			t.Errorf("submission %d: %v, want %v", i, good.Verdicts[i].Reject, want)
		}
	}
	if err := k.journal.Close(); err != nil {
		t.Fatal(err)
	}

	rigs := records[journal.Rig](k)
	if len(rigs) != 1 || rigs[0] != (journal.Rig{Number: 1, Member: 7, Name: "alice.barn.one"}) {
		t.Errorf("rigs %+v: only one had a share accepted, and its coinbase is member 7's", rigs)
	}
	shares := records[journal.Share](k)
	var seqs []uint64
	for _, s := range shares {
		seqs = append(seqs, s.Seq)
		if s.Member != 7 || s.Variant != 3 || s.Counter != 77 || s.Rig != 1 || s.Class != pool.DefaultClass.ID || s.WorkBits != noBlocks {
			t.Errorf("%+v", s)
		}
	}
	if fmt.Sprint(seqs) != "[0 1 2]" {
		t.Errorf("seqs %v, want an answer without one, then 1 and 2", seqs)
	}
	if s := k.edge.Status(); s.Credited != 2 || s.Lost != 0 {
		t.Errorf("status %+v", s)
	}
}

// Many connections on one journal that breaks in the middle: what was answered
// true is exactly a subset of what is in it, seqs have no gap, and after the
// break no rig hears true.
func TestSubmitUnderAFailingDisk(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	var syncs int
	k.disk.fail(func(op, name string) error { // one committer: syncs is its own
		if op != "sync" || !strings.HasPrefix(name, "seg-") {
			return nil
		}
		if syncs++; syncs > 40 {
			return syscall.EIO
		}
		return nil
	})
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	var mu sync.Mutex
	accepted := map[chainhash.Hash]bool{}
	lost, missed := 0, 0
	var rigs sync.WaitGroup
	for rig := range uint32(8) {
		rigs.Go(func() {
			memory, c := new(pool.Seen), easy
			c.Worker = &pool.Worker{Member: 9, Name: fmt.Sprintf("alice.barn.%d", rig)}
			for n := range uint32(200) {
				b := batch(memory, c, submission(w, rig<<16|n<<1), submission(w, rig<<16|n<<1|1))
				k.edge.Submit(b)
				mu.Lock()
				for i, v := range b.Verdicts {
					switch v.Reject {
					case pool.Accepted:
						accepted[b.Hashed[i].Hash] = true
					case pool.NotDurable:
						lost++
					case pool.LowDifficulty: // one hash in 65536 misses even the easiest target
						missed++
					default:
						t.Errorf("rig %d: %+v", rig, v)
					}
				}
				mu.Unlock()
			}
		})
	}
	rigs.Wait()
	if len(accepted) == 0 || lost == 0 || missed > 3 || len(accepted)+lost+missed != 8*400 {
		t.Fatalf("%d accepted, %d lost", len(accepted), lost)
	}
	last := batch(new(pool.Seen), easy, submission(w, 1<<30))
	if k.edge.Submit(last); last.Verdicts[0] != (pool.Verdict{Reject: pool.NotDurable}) {
		t.Errorf("after the break: %+v", last.Verdicts[0])
	}
	if err := k.journal.Close(); !errors.Is(err, journal.ErrPoisoned) {
		t.Errorf("close: %v", err)
	}
	next := uint64(1)
	for _, s := range records[journal.Share](k) {
		delete(accepted, s.Hash)
		if s.Seq != next {
			t.Fatalf("seq %d, want %d", s.Seq, next)
		}
		next++
	}
	if len(accepted) != 0 {
		t.Errorf("%d shares heard true and are not in the journal", len(accepted))
	}
	if s := k.edge.Status(); s.Lost != uint64(lost)+1 {
		t.Errorf("status says %d lost, want %d", s.Lost, lost+1)
	}
	if n := k.logged.count("share.not_durable"); n > 8 {
		t.Errorf("said %d times: it is one fact, not one a share", n)
	}
}

// A name beyond the journal's bound costs its own share, not its neighbours'.
func TestSubmitOneNameWithoutNumber(t *testing.T) {
	dir := t.TempDir()
	k := newKit(t, dir, nil)
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	long := easy
	long.Worker = &pool.Worker{Member: 9, Name: strings.Repeat("x", 1<<16)}
	b := batch(new(pool.Seen), easy, submission(w, 1))
	b.Add(submission(w, 2), long)
	b.Add(submission(w, 3), easy)
	k.edge.Submit(b)
	if b.Verdicts[0].Reject != 0 || b.Verdicts[1].Reject != pool.NotDurable || b.Verdicts[2].Reject != 0 {
		t.Errorf("%+v", b.Verdicts)
	}
	if err := k.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if got := records[journal.Share](k); len(got) != 2 {
		t.Errorf("journal holds %d shares", len(got))
	}
}

// numbering counts how often a name is looked up.
type numbering struct {
	Log

	asked []string
}

func (n *numbering) RigNumber(member uint16, name string) (uint32, error) {
	n.asked = append(n.asked, fmt.Sprintf("%d %s", member, name))
	return n.Log.RigNumber(member, name)
}

// A connection's name is looked up with its first share, and again only where
// the coinbase that was hashed is another member's.
func TestSubmitLooksUpAName(t *testing.T) {
	log := &numbering{}
	k := newKit(t, t.TempDir(), func(c *Config) { log.Log, c.Log = c.Log, log })
	tmpl := template(t, 101, 1, noBlocks, 50e8)
	own := work(t, tmpl, 1, 77) // member 7's
	job := own.Job
	c := pool.Claim{Issued: 1, Worker: &pool.Worker{Member: 7, Name: "alice.barn.one"}}
	memory := new(pool.Seen)
	for i := range uint32(3) {
		k.edge.Submit(batch(memory, c, submission(own, i)))
	}
	k.edge.Submit(batch(memory, c, submission(job.Work(8, 0), 9)))
	k.edge.Submit(batch(memory, c, submission(own, 10)))
	if want := []string{"7 alice.barn.one", "8 alice.barn.one"}; !slices.Equal(log.asked, want) {
		t.Errorf("looked up %q, want %q", log.asked, want)
	}
	if err := k.journal.Close(); err != nil {
		t.Fatal(err)
	}
	var of []string
	for _, s := range records[journal.Share](k) {
		of = append(of, fmt.Sprintf("%d:%d", s.Member, s.Rig))
	}
	if want := []string{"7:1", "7:1", "7:1", "8:2", "7:1"}; !slices.Equal(of, want) {
		t.Errorf("members and rigs of the shares: %q, want %q", of, want)
	}
}
