package journal

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func open4(t *testing.T, cfg Config) (*Journal, *Recovery) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = "/j"
	}
	j, rec, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j, rec
}

func mustWait(t *testing.T, tk Ticket, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if err := tk.Wait(); err != nil {
		t.Fatal(err)
	}
}

// gate stops every fdatasync of the log once armed, until opened.
type gate struct {
	armed   atomic.Bool
	entered chan struct{}
	release chan error
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 16), release: make(chan error)} }

func (g *gate) hook(name string) error {
	if !g.armed.Load() || !strings.Contains(name, "seg-") {
		return nil
	}
	g.entered <- struct{}{}
	return <-g.release
}

// TestSeqIsGaplessAndSealed: credited shares are numbered in order across
// segments and goroutines, answers are not, and the numbers begin again with
// each epoch.
func TestSeqIsGaplessAndSealed(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Edge: 3, SegmentSize: 16384}
	for epoch := range uint32(3) {
		j, rec := open4(t, cfg)
		if rec.Epoch != epoch+1 || !rec.Sealed || epoch > 0 && rec.LastSeq != 800 {
			t.Fatalf("%+v", rec)
		}
		var wg sync.WaitGroup
		var seen sync.Map
		for g := range 8 {
			wg.Go(func() {
				for range 50 {
					shares := make3(g)
					tk, err := j.AppendShares(shares)
					if err == nil {
						err = tk.Wait()
					}
					if err != nil {
						t.Error(err)
						return
					}
					if shares[1].Seq != 0 || shares[2].Seq != shares[0].Seq+1 {
						t.Errorf("seqs %d %d %d", shares[0].Seq, shares[1].Seq, shares[2].Seq)
					}
					if _, twice := seen.LoadOrStore(shares[0].Seq, true); twice {
						t.Errorf("seq %d twice", shares[0].Seq)
					}
				}
			})
		}
		wg.Wait()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	rep, err := Verify(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range rep.Epochs {
		if e.LastSeq != 800 || !e.Sealed || e.Segments < 3 || e.Counts[KindAnswer] != 400 ||
			e.Sums[Weight{1, 0x207fffff}] != 400 || e.Sums[Weight{2, 0x207fffff}] != 800 {
			t.Errorf("%+v", e)
		}
	}
	var read int
	err = Read(dir, func(_ RecordInfo, r Record) error {
		if _, ok := r.(Share); ok {
			read++
		}
		return nil
	})
	if err != nil || read != 3*1200 {
		t.Errorf("read %d shares and answers, %v", read, err)
	}
}

// TestBusyDiskIsTheBatchingWindow: what arrives during an fdatasync is one
// frame and one fdatasync, however much it is.
func TestBusyDiskIsTheBatchingWindow(t *testing.T) {
	disk, g := newMemFS(1), newGate()
	disk.onSync = g.hook
	j, _ := open4(t, Config{FS: disk})
	before := j.Stats()
	g.armed.Store(true)
	first, err := j.AppendShares(make3(1))
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	var rest []Ticket
	for i := range 100 {
		tk, err := j.AppendShares(make3(i))
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, tk)
	}
	g.armed.Store(false)
	g.release <- nil
	mustWait(t, first, nil)
	for _, tk := range rest {
		mustWait(t, tk, nil)
	}
	after := j.Stats()
	if f, c := after.Frames-before.Frames, after.Commits-before.Commits; f != 2 || c != 2 {
		t.Errorf("%d frames, %d commits for 101 appends, want 2 and 2", f, c)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStalledDiskStopsNoJobAndNoBlock: with an fdatasync that hangs, a job and
// its receipt are still written, a template and a candidate still have their
// files, and no share is acknowledged.
func TestStalledDiskStopsNoJobAndNoBlock(t *testing.T) {
	disk, g := newMemFS(1), newGate()
	disk.onSync = g.hook
	j, _ := open4(t, Config{FS: disk})
	g.armed.Store(true)
	shares, err := j.AppendShares(make3(1))
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered // the committer hangs

	tk, err := j.Append(Receipt{[]byte("r")}, Job{Counter: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tk.WaitWritten(); err != nil {
		t.Fatal(err)
	}
	tpl := testTemplate(t, 101)
	if _, err := j.PutTemplate(tpl); err != nil {
		t.Fatal(err)
	}
	if err := j.PutCandidate(testCandidate(tpl, 1)); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	safe := j.safe >= shares.pos
	j.mu.Unlock()
	if safe {
		t.Error("a share was acknowledged while its fdatasync hangs")
	}
	// All of it survives a kill now.
	after := disk.restart(2, false)
	_, rec := open4(t, Config{FS: after})
	if rec.LastCounter != 1 || len(rec.Candidates) != 1 || rec.NextCounter != 2+counterGap {
		t.Errorf("%+v", rec)
	}
	disk.mu.Lock()
	disk.dead = false
	disk.mu.Unlock()
	g.release <- nil
	mustWait(t, shares, nil)
	// What was written while that fdatasync ran needs the next one.
	<-g.entered
	j.mu.Lock()
	if j.safe >= tk.pos || j.synced >= j.off {
		t.Error("a record written during an fdatasync counts as durable by it")
	}
	j.mu.Unlock()
	g.armed.Store(false)
	g.release <- nil
	mustWait(t, tk, nil)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAppendIsBounded: too much at once is refused by name, a full buffer
// blocks until the disk took it.
func TestAppendIsBounded(t *testing.T) {
	disk := newMemFS(1)
	var armed atomic.Bool
	entered, release := make(chan struct{}), make(chan struct{})
	disk.onWrite = func(string) error {
		if armed.CompareAndSwap(true, false) {
			entered <- struct{}{}
			<-release
		}
		return nil
	}
	j, _ := open4(t, Config{FS: disk, MaxPending: 1000})
	if _, err := j.AppendShares(make([]Share, 11)); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := j.Append(Receipt{make([]byte, 1000)}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := j.Append(Receipt{make([]byte, 70000)}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := j.Append(Sealed{}); !errors.Is(err, ErrReserved) {
		t.Fatal(err)
	}
	armed.Store(true)
	var tickets []Ticket
	add := func() {
		tk, err := j.AppendShares(make([]Share, 5))
		if err != nil {
			t.Error(err)
		}
		tickets = append(tickets, tk)
	}
	add()
	<-entered // taken, and stuck in write(2)
	add()
	add() // full
	blocked := make(chan struct{})
	go func() {
		defer close(blocked)
		add()
	}()
	if p := j.Stats().Pending; p != 1000 {
		t.Errorf("%d bytes pending", p)
	}
	select {
	case <-blocked:
		t.Error("append did not wait for room")
	default:
	}
	close(release)
	<-blocked
	for _, tk := range tickets {
		mustWait(t, tk, nil)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRigNumbers: stable in an epoch, recorded before use, bounded.
func TestRigNumbers(t *testing.T) {
	disk := newMemFS(1)
	j, _ := open4(t, Config{FS: disk, MaxRigs: 8})
	for range 2 {
		for i, name := range []string{"a.b.c", "a.b.d"} {
			n, err := j.RigNumber(1, name)
			if err != nil || n != uint32(i+1) {
				t.Fatalf("%s: %d, %v", name, n, err)
			}
		}
	}
	if _, err := j.RigNumber(1, "a.b.e"); !errors.Is(err, ErrTooManyRigs) {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var got []Record
	_, err := verify(disk, "/j", func(r RecordInfo) error {
		if r.Kind == KindRig {
			rec, err := r.Decode()
			got = append(got, rec)
			return err
		}
		return nil
	})
	want := []Record{Rig{1, 1, "a.b.c"}, Rig{2, 1, "a.b.d"}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestMinGap: commits keep their distance, and an idle journal commits at
// once. Many shares do not wait, and neither does Close.
func TestMinGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _ := open4(t, Config{FS: newMemFS(1), MinGap: 50 * time.Millisecond})
		start := time.Now()
		tk, err := j.AppendShares(make3(1))
		mustWait(t, tk, err)
		if d := time.Since(start); d != 0 {
			t.Errorf("idle commit took %v", d)
		}
		tk, err = j.AppendShares(make3(2))
		mustWait(t, tk, err)
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Errorf("second commit after %v", d)
		}
		first, err := j.AppendShares(make3(3))
		if err != nil {
			t.Fatal(err)
		}
		many := make([]Share, crowdSize)
		for i := range many {
			many[i] = make3(4 + i)[0]
		}
		synctest.Wait()
		tk, err = j.AppendShares(many)
		mustWait(t, tk, err)
		mustWait(t, first, nil)
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Errorf("many shares waited until %v", d)
		}
		tk, err = j.AppendShares(make3(5))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		mustWait(t, tk, nil)
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Errorf("Close waited until %v", d)
		}
	})
}

// TestVerifyBesideAWriter: it may run at any moment, and sees no damage.
func TestVerifyBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	j, _ := open4(t, Config{Dir: dir, SegmentSize: 16384})
	var acked atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			shares := make3(i)
			tk, err := j.AppendShares(shares)
			if err == nil {
				err = tk.Wait()
			}
			if err != nil {
				t.Error(err)
				return
			}
			acked.Store(shares[2].Seq)
		}
	})
	for range 40 {
		before := acked.Load()
		rep, err := Verify(dir, nil)
		if err != nil {
			t.Error(err)
			break
		}
		if got := rep.Epochs[0]; got.LastSeq < before || !got.Live && !got.Sealed && rep.TailFile == "" {
			t.Errorf("acknowledged %d, verified %+v", before, got)
		}
	}
	close(stop)
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// mallocs returns how many allocations f makes in the quietest of three calls: the
// runtime has a few of its own now and then.
func mallocs(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}

// TestShareAllocatesNothing counts mallocs over 1200 shares: append, commit,
// wait (decision 30).
func TestShareAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates: counted without it")
		return
	}
	j, _ := open4(t, Config{Dir: t.TempDir()})
	shares := make([]Share, 4)
	run := func(n int) {
		for range n {
			for i := range shares {
				shares[i] = Share{Difficulty: 1, Nonce: uint32(i)}
			}
			tk, err := j.AppendShares(shares)
			if err == nil {
				err = tk.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	run(50)
	if n := mallocs(func() { run(300) }); n > 20 { // far below one a share
		t.Errorf("%d allocations for 1200 shares", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(filepath.Clean(j.cfg.Dir), nil); err != nil || rep.Epochs[0].LastSeq != 3800 {
		t.Errorf("%+v %v", rep, err)
	}
}
