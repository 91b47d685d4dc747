package journal

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// waiter is told once, and passes it on.
type waiter chan error

func (w waiter) Kept(err error) { w <- err }

// Whoever is told is told after the fdatasync that covers his records, and not
// before; where nothing is left to wait for he is not told at all.
func TestThenTellsWhatIsDurable(t *testing.T) {
	m, g := newMemFS(1), newGate()
	m.onSync = g.hook
	j, _ := open4(t, Config{FS: m})
	g.armed.Store(true)
	first, err := j.AppendShares([]Share{{Difficulty: 1}})
	if err != nil {
		t.Fatal(err)
	}
	w := make(waiter, 2)
	if !first.Then(w) {
		t.Fatal("not durable, and nobody will be told")
	}
	<-g.entered // an fdatasync that covers the first
	second, err := j.AppendShares([]Share{{Difficulty: 1}})
	if err != nil || !second.Then(w) {
		t.Fatal(err)
	}
	if len(w) > 0 {
		t.Fatal("told before the disk answered")
	}
	g.release <- nil
	if err := <-w; err != nil {
		t.Error(err)
	}
	<-g.entered
	if len(w) > 0 {
		t.Fatal("the second was told with the first")
	}
	g.armed.Store(false)
	g.release <- nil
	if err := <-w; err != nil {
		t.Error(err)
	}
	if first.Then(w) || (Ticket{}).Then(w) {
		t.Error("told of what is known")
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// With Ack Written who waits is told once it is written, though nobody else asks.
func TestThenWithAckWritten(t *testing.T) {
	j, _ := open4(t, Config{FS: newMemFS(1), Ack: Written})
	w := make(waiter, 1)
	for range 3 {
		tk, err := j.AppendShares([]Share{{Difficulty: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if tk.Then(w) {
			if err := <-w; err != nil {
				t.Error(err)
			}
		}
		if j.mu.Lock(); j.wrote < tk.pos {
			t.Error("told before it was written")
		}
		j.mu.Unlock()
		if tk.Then(w) {
			t.Error("told of what is known")
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// A failed fdatasync tells everybody, and afterwards nobody has to be told.
func TestThenTellsOfPoison(t *testing.T) {
	m, g := newMemFS(1), newGate()
	m.onSync = g.hook
	j, _ := open4(t, Config{FS: m})
	g.armed.Store(true)
	w := make(waiter, 200)
	var tk Ticket
	for range cap(w) {
		var err error
		if tk, err = j.AppendShares([]Share{{Difficulty: 1}}); err != nil || !tk.Then(w) {
			t.Fatal(err)
		}
	}
	<-g.entered
	g.release <- errors.New("broken")
	for range cap(w) {
		if err := <-w; !errors.Is(err, ErrPoisoned) {
			t.Fatal(err)
		}
	}
	if tk.Then(w) {
		t.Error("told of what is known")
	}
	if err := j.Close(); !errors.Is(err, ErrPoisoned) {
		t.Error(err)
	}
}

// counter counts how often it is told.
type counter struct {
	told atomic.Int64
	all  *sync.WaitGroup
}

func (c *counter) Kept(err error) {
	if err == nil {
		c.told.Add(1)
	}
	c.all.Done()
}

// Many goroutines on a real disk: each waiter is told exactly once, also of those
// whom Close finds waiting, and whoever was told finds nothing left to wait for.
func TestThenTellsEveryoneOnce(t *testing.T) {
	j, _ := open4(t, Config{Dir: t.TempDir(), SegmentSize: 64 << 10})
	const each = 300
	var all, senders sync.WaitGroup
	counters := make([]*counter, 0, 16*each)
	for range cap(counters) {
		counters = append(counters, &counter{all: &all})
	}
	all.Add(len(counters))
	for g := range 16 {
		senders.Go(func() {
			for _, c := range counters[g*each:][:each] {
				tk, err := j.AppendShares([]Share{{Difficulty: 1}, {Difficulty: 2}})
				if err != nil {
					t.Error(err)
				}
				if !tk.Then(c) {
					c.Kept(tk.Wait())
				}
			}
		})
	}
	senders.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for i, c := range counters {
		if n := c.told.Load(); n != 1 {
			t.Fatalf("waiter %d was told %d times", i, n)
		}
	}
	if len(j.told.waits)+len(j.told.ready) > 0 {
		t.Error("somebody is left")
	}
}

// eager is a rig that has its next share under way as soon as it is told of one.
type eager struct {
	j    *Journal
	left *int
}

func (e eager) Kept(error) {
	if *e.left--; *e.left > 0 {
		e.j.mu.Lock()
		defer e.j.mu.Unlock()
		e.j.told.waits = append(e.j.told.waits, wait{0, e})
		e.j.settle()
	}
}

// Where more become ready all the time than are told, there is room for those who
// are, not for all who ever were.
func TestReadyDoesNotGrow(t *testing.T) {
	const many = 3 * tellAtOnce
	j := &Journal{}
	j.news.L = &j.mu
	left := 100_000
	for range many {
		j.told.waits = append(j.told.waits, wait{0, eager{j, &left}})
	}
	j.settle()
	j.told.ended = true
	j.tell()
	if n := cap(j.told.ready); n > 4*many {
		t.Errorf("room for %d who are ready, and they never were more than %d", n, many)
	}
}

func TestThenAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	j, _ := open4(t, Config{Dir: t.TempDir()})
	shares, w := []Share{{Difficulty: 1}}, make(waiter, 1)
	run := func(n int) {
		for range n {
			tk, err := j.AppendShares(shares)
			if err != nil {
				t.Fatal(err)
			}
			if tk.Then(w) {
				err = <-w
			} else {
				err = tk.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	run(100)
	if n := mallocs(func() { run(1000) }); n > 50 {
		t.Errorf("%d allocations for 1000 shares", n)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
