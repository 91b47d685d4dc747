package redisstore_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// work returns what shares 1 to hwm of the tests below are worth together.
func work(hwm uint64) []payout.Sum {
	if hwm == 0 {
		return []payout.Sum{}
	}
	var odd, even uint64
	for seq := uint64(1); seq <= hwm; seq++ {
		if seq%2 == 1 {
			odd += seq
		} else {
			even += seq
		}
	}
	sums := []payout.Sum{{Member: 1, WorkBits: 0x207fffff, Difficulty: odd}}
	if even > 0 {
		sums = append(sums, payout.Sum{Member: 2, WorkBits: 0x207fffff, Difficulty: even})
	}
	return sums
}

// batch returns shares from to to, share seq being worth seq to member 1 or 2.
func batch(from, to uint64) payout.Batch {
	b := payout.Batch{Edge: 1, Epoch: 1, Slot: 1, From: from, To: to}
	before := work(from - 1)
	for i, s := range work(to) {
		if i < len(before) {
			s.Difficulty -= before[i].Difficulty
		}
		if s.Difficulty > 0 {
			b.Sums = append(b.Sums, s)
		}
	}
	return b
}

// ship brings the store's mark to shares, asking again while it is unavailable,
// and returns what it waited for.
func ship(ctx context.Context, s payout.Store, shares uint64, acknowledged func(uint64)) error {
	hwm := uint64(0)
	for hwm < shares {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		got, _, err := s.Apply(call, batch(hwm+1, min(shares, hwm+7)))
		cancel()
		if errors.Is(err, payout.ErrUnavailable) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Millisecond): // a shipper's back-off
				continue
			}
		}
		if err != nil {
			return err
		}
		hwm = got
		acknowledged(hwm)
	}
	return nil
}

func wantWork(tb testing.TB, s payout.Store, hwm uint64) {
	tb.Helper()
	got, err := s.HWM(tb.Context(), 1, 1)
	if err != nil || got != hwm {
		tb.Fatalf("the mark is %d, %v; want %d", got, err, hwm)
	}
	for what, read := range map[string]func() ([]payout.Sum, error){
		"run":    func() ([]payout.Sum, error) { return s.Run(tb.Context()) },
		"deltas": func() ([]payout.Sum, error) { return s.Deltas(tb.Context(), 1) },
	} {
		sums, err := read()
		if err != nil || !reflect.DeepEqual(sums, work(hwm)) {
			tb.Fatalf("%s at %d: %v, %v; want %v", what, hwm, sums, err, work(hwm))
		}
	}
}

// TestKill kills the server in the middle of batches and records, several
// times: nothing acknowledged is lost, nothing is there twice.
func TestKill(t *testing.T) {
	const kills, between = 5, 300
	r := harness.StartRedis(t)
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	var known, records atomic.Uint64 // what was acknowledged
	var group sync.WaitGroup
	progress := make(chan uint64, 1)
	group.Go(func() {
		err := ship(ctx, s, between*(kills+1), func(hwm uint64) {
			known.Store(hwm)
			select {
			case progress <- hwm:
			default:
			}
		})
		if err != nil {
			t.Error(err)
			cancel()
		}
	})
	group.Go(func() {
		var head [32]byte
		for n := 1; n <= 100; {
			got, err := s.Append(ctx, head, harness.StoreRecord(n))
			switch {
			case err == nil && got == harness.StoreRecord(n).Head:
				head = got
				records.Store(uint64(n))
				n++
			case errors.Is(err, payout.ErrUnavailable) && ctx.Err() == nil:
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			default:
				t.Errorf("record %d: %x, %v", n, got, err)
				return
			}
		}
	})
	for kill := range uint64(kills) {
		for hwm := uint64(0); hwm < (kill+1)*between; {
			select {
			case hwm = <-progress:
			case <-ctx.Done():
				t.Fatalf("no progress: %v", ctx.Err())
			}
		}
		r.Kill()
		acknowledged, lines := known.Load(), records.Load()
		r.Start()
		hwm, err := s.HWM(ctx, 1, 1)
		for errors.Is(err, payout.ErrUnavailable) && ctx.Err() == nil {
			hwm, err = s.HWM(ctx, 1, 1) // the client remembers for a second that nobody was there
		}
		if err != nil || hwm < acknowledged {
			t.Fatalf("after kill %d the mark is %d, %v; acknowledged was %d", kill, hwm, err, acknowledged)
		}
		if _, count, err := s.Head(ctx); err != nil || count < lines {
			t.Fatalf("after kill %d there are %d records, %v; acknowledged were %d", kill, count, err, lines)
		}
	}
	group.Wait()
	wantWork(t, s, between*(kills+1))
	if _, count, err := s.Head(ctx); count != 100 || err != nil {
		t.Fatalf("%d records, %v", count, err)
	}
}

// TestTruncatedTail: the mark goes back to where the sums are, and shipping
// again heals both.
func TestTruncatedTail(t *testing.T) {
	r := harness.StartRedis(t)
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	if err := ship(t.Context(), s, 400, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int64{1, 37, 1024, 5000} {
		r.Kill()
		r.TruncateAOF(cut)
		r.Start()
		hwm, err := s.HWM(t.Context(), 1, 1)
		if err != nil || hwm >= 400 {
			t.Fatalf("%d bytes less: the mark is %d, %v", cut, hwm, err)
		}
		wantWork(t, s, hwm)
		openStore(t, s, false)
		if err := ship(t.Context(), s, 400, func(uint64) {}); err != nil {
			t.Fatal(err)
		}
		wantWork(t, s, 400)
	}
}

// TestFlushed: an emptied store is never begun anew over history.
func TestFlushed(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	s, config := fresh(t, r.Addr)
	openStore(t, s, true)
	apply(t, s, batch(1, 10), 10)

	do(t, c, "DEL", "{cordee:"+config.Name+"}:meta")
	for _, mayInit := range []bool{false, true} {
		if err := s.Open(t.Context(), harness.StoreMeta(1), mayInit); !errors.Is(err, payout.ErrIncarnationMissing) {
			t.Fatalf("Open of one without identity: %v", err)
		}
	}
	do(t, c, "FLUSHALL")
	for what, call := range map[string]func() error{
		"Apply": func() error { _, _, err := s.Apply(t.Context(), batch(11, 20)); return err },
		"HWM":   func() error { _, err := s.HWM(t.Context(), 1, 1); return err },
		"Run":   func() error { _, err := s.Run(t.Context()); return err },
		"Head":  func() error { _, _, err := s.Head(t.Context()); return err },
		"Open":  func() error { return s.Open(t.Context(), harness.StoreMeta(1), false) },
	} {
		if err := call(); !errors.Is(err, payout.ErrIncarnationMissing) {
			t.Errorf("%s of an emptied store: %v", what, err)
		}
	}
	if n := do(t, c, "DBSIZE"); n != int64(0) {
		t.Errorf("%v keys were written into it", n)
	}
	wantProblem(t, s, "incarnation")

	// Another pool's data under our name.
	second := connect(t, config)
	if err := second.Open(t.Context(), harness.StoreMeta(2), true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Apply(t.Context(), batch(1, 10)); !errors.Is(err, payout.ErrForeign) {
		t.Errorf("Apply to another incarnation: %v", err)
	}
	wantProblem(t, s, "incarnation")
}

func wantProblem(tb testing.TB, s payout.Store, name string) {
	tb.Helper()
	problems, err := s.Health(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if len(problems) == 0 || problems[0].Name != name || !problems[0].Fatal {
		tb.Errorf("problems are %v, want %s first", problems, name)
	}
}

// TestOutOfMemory: a batch is refused whole and succeeds once there is room.
func TestOutOfMemory(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	apply(t, s, batch(1, 10), 10)
	do(t, c, "CONFIG", "SET", "maxmemory", "1mb")
	if _, _, err := s.Apply(t.Context(), batch(11, 20)); !errors.Is(err, payout.ErrUnavailable) {
		t.Fatalf("Apply without room: %v", err)
	}
	if err := s.PutSlot(t.Context(), harness.StoreManifest(1, 1)); !errors.Is(err, payout.ErrUnavailable) {
		t.Fatalf("PutSlot without room: %v", err)
	}
	wantWork(t, s, 10)
	problems, err := s.Health(t.Context())
	if err != nil || len(problems) != 1 || problems[0].Name != redisstore.Full || problems[0].Fatal {
		t.Errorf("problems are %v, %v; want that it is full, which stops no start", problems, err)
	}
	do(t, c, "CONFIG", "SET", "maxmemory", "0")
	apply(t, s, batch(11, 20), 20)
	wantWork(t, s, 20)
}

// TestBusy: another's endless script holds the server.
func TestBusy(t *testing.T) {
	r := harness.StartRedis(t)
	c, killer := admin(t, r.Addr), admin(t, r.Addr)
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
	apply(t, s, batch(1, 10), 10)
	spinning := make(chan error)
	go func() {
		spinning <- c.Do(context.WithoutCancel(t.Context()), "EVAL", "while true do end", 0).Err()
	}()
	// Until lua-time-limit nobody is answered, then with BUSY.
	for {
		err := killer.Do(t.Context(), "GET", "x").Err()
		if err != nil && err.Error() != "redis: nil" {
			break
		}
	}
	if _, _, err := s.Apply(t.Context(), batch(11, 20)); !errors.Is(err, payout.ErrUnavailable) {
		t.Errorf("Apply to a busy server: %v", err)
	}
	do(t, killer, "SCRIPT", "KILL")
	if err := <-spinning; err == nil {
		t.Error("the endless script ended")
	}
	wantWork(t, s, 10)
	apply(t, s, batch(11, 20), 20)

	// A server that does not answer in time; the batch may have arrived.
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(r.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := s.Apply(ctx, batch(21, 30))
	signal(syscall.SIGCONT)
	if !errors.Is(err, payout.ErrUnavailable) {
		t.Errorf("Apply to a slow server: %v", err)
	}
	if err := ship(t.Context(), s, 30, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	wantWork(t, s, 30)
}
