package stratum

import (
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// told is a rig that counts what it is told, and frees the turn.
type told struct{ times, all atomic.Int32 }

func (r *told) read(k *socket, all bool) {
	r.times.Add(1)
	if all {
		r.all.Add(1)
	}
	for !k.free() {
		k.fresh()
	}
}

// aWatch is a watch that nobody runs.
func aWatch(t *testing.T) *watch {
	t.Helper()
	w, err := newWatch()
	noError(t, err)
	t.Cleanup(w.close)
	return w
}

// sockets returns both ends of a connection.
func sockets(t *testing.T) (ours, rig int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	noError(t, err)
	return p[0], p[1]
}

// Every order of calls up to nine, against what they say that they do.
func TestTurnOneAfterTheOther(t *testing.T) {
	type twin struct{ taken, again bool }
	var k socket
	var play func(left int, was twin)
	play = func(left int, was twin) {
		if left == 0 {
			return
		}
		word := k.turn.Load()
		back := func() { k.turn.Store(word) }

		now := twin{true, was.taken}
		if got := k.take(); got == was.taken {
			t.Fatalf("take of %+v: %v", was, got)
		}
		play(left-1, now)
		if back(); !was.taken {
			return // the others are the owner's
		}
		if got := k.fresh(); got != was.again {
			t.Fatalf("fresh of %+v: %v", was, got)
		}
		play(left-1, twin{taken: true})
		back()
		k.again()
		play(left-1, twin{true, true})
		back()
		if got := k.free(); got == was.again {
			t.Fatalf("free of %+v: %v", was, got)
		}
		play(left-1, twin{was.again, was.again})
		back()
	}
	play(9, twin{})
}

// Whoever comes, one reads at a time, and what came last is read. Some turns are
// handed on, as to the pool, and some end by a read that is told to look again.
func TestTurnLosesNothing(t *testing.T) {
	for round := range 200 {
		var k socket
		var came, seen, owners atomic.Int64
		var all sync.WaitGroup
		var read func()
		read = func() {
			for {
				if owners.Add(1) != 1 {
					t.Error("two have the turn")
				}
				k.fresh()
				if rand.IntN(2) == 0 {
					runtime.Gosched()
				}
				seen.Store(came.Load())
				if rand.IntN(8) == 0 {
					k.again()
				}
				owners.Add(-1)
				if rand.IntN(4) == 0 {
					all.Go(func() {
						if !k.free() {
							read()
						}
					})
					return
				}
				if k.free() {
					return
				}
			}
		}
		for range 4 {
			all.Go(func() {
				for range 50 {
					came.Add(1)
					if k.take() {
						read()
					}
				}
			})
		}
		all.Wait()
		if seen.Load() != 200 || k.turn.Load() != turnFree {
			t.Fatalf("round %d: %d of 200 were seen, and the turn is %d", round, seen.Load(), k.turn.Load())
		}
	}
}

// Who uses a socket while it is closed has it to the end: its number is not given
// to another meanwhile.
func TestCloseBehindWhoUses(t *testing.T) {
	w := aWatch(t)
	for range 300 {
		fd, rig := sockets(t)
		var mine unix.Stat_t
		noError(t, unix.Fstat(fd, &mine))
		k, err := w.add(fd, new(told))
		noError(t, err)
		var all sync.WaitGroup
		var closes atomic.Int32
		for range 2 {
			all.Go(func() {
				for {
					err := k.Control(func(fd uintptr) {
						runtime.Gosched()
						var is unix.Stat_t
						if err := unix.Fstat(int(fd), &is); err != nil || is.Ino != mine.Ino {
							t.Errorf("closed under who uses it: %v", err)
						}
					})
					if errors.Is(err, net.ErrClosed) {
						return
					}
				}
			})
			all.Go(func() {
				runtime.Gosched()
				if k.Close() == nil {
					closes.Add(1)
				}
				other, err := unix.Eventfd(0, unix.EFD_CLOEXEC) // whoever wants a number
				if err == nil {
					_ = unix.Close(other)
				}
			})
		}
		all.Wait()
		if closes.Load() != 1 {
			t.Fatalf("closed %d times", closes.Load())
		}
		if n, err := unix.Read(rig, make([]byte, 1)); n != 0 || err != nil {
			t.Fatalf("the other end reads %d, %v: not closed", n, err)
		}
		noError(t, unix.Close(rig))
	}
	if len(w.free) != len(w.seats) || len(w.seats) != 1 {
		t.Errorf("%d of %d seats are free", len(w.free), len(w.seats))
	}
}

// Who sits on a seat now does not hear what was said of who sat there before.
func TestEventOfAnotherOwner(t *testing.T) {
	w := aWatch(t)
	var rigs [2]told
	var late unix.EpollEvent
	for i := range rigs {
		fd, rig := sockets(t)
		k, err := w.add(fd, &rigs[i])
		noError(t, err)
		_, err = unix.Write(rig, []byte("x"))
		noError(t, err)
		var events [4]unix.EpollEvent
		if n := w.look(events[:]); n != 1 || events[0].Fd != 0 {
			t.Fatalf("%d events, of seat %d", n, events[0].Fd)
		}
		if i == 0 {
			late = events[0]
			noError(t, k.Close())
			w.event(late) // nobody sits there
		} else {
			w.event(late)
			if rigs[1].times.Load() != 0 {
				t.Error("told of what another had")
			}
			w.event(events[0])
			noError(t, k.Close())
		}
		noError(t, unix.Close(rig))
	}
	if n := rigs[0].times.Load(); n != 0 {
		t.Errorf("one that was closed was told %d times", n)
	}
	if n := rigs[1].times.Load(); n != 1 {
		t.Errorf("the new owner was told %d times", n)
	}
}

// A watch that runs tells of bytes, of bytes with a hang-up, and ends behind the
// last socket only; nobody is told of space.
func TestWatchRuns(t *testing.T) {
	w, err := newWatch()
	noError(t, err)
	ended := make(chan struct{})
	go func() {
		w.run()
		close(ended)
	}()
	var r told
	fd, rig := sockets(t)
	k, err := w.add(fd, &r)
	noError(t, err)
	for i := range int32(20) {
		_, err = unix.Write(rig, []byte("x"))
		noError(t, err)
		eventually(t, "it is told of each byte", func() bool { return r.times.Load() == i+1 })
	}
	if r.all.Load() != 0 {
		t.Error("bytes alone are told as more than bytes")
	}
	w.stop()
	noError(t, unix.Shutdown(rig, unix.SHUT_WR))
	eventually(t, "it is told of the end", func() bool { return r.all.Load() == 1 })
	select {
	case <-ended:
		t.Fatal("it ended before its socket")
	default:
	}
	noError(t, k.Close())
	<-ended
	noError(t, unix.Close(rig))
}

// The bell is heard once each time it is rung, and never read: a watch that stopped
// and still has sockets is not awake all the time.
func TestBellIsHeardOnce(t *testing.T) {
	w := aWatch(t)
	var events [4]unix.EpollEvent
	for range 3 {
		w.stop()
		if n := w.look(events[:]); n != 1 || events[0].Fd != -1 {
			t.Errorf("%d events", n)
		}
		if n := w.look(events[:]); n != 0 {
			t.Errorf("heard again: %d events", n)
		}
	}
}

// A watch that ends beside its last socket is not rung any more: what were its
// descriptors are another's by then.
func TestNobodyRingsAtTheEnd(t *testing.T) {
	for range 1000 {
		w, err := newWatch()
		noError(t, err)
		fd, rig := sockets(t)
		k, err := w.add(fd, new(told))
		noError(t, err)
		var others [3]int
		var all sync.WaitGroup
		all.Go(func() {
			w.run()
			for i := range others {
				others[i], err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
				if err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(w.stop)
		all.Go(func() { _ = k.Close() })
		all.Wait()
		for _, fd := range others {
			if n, err := unix.Read(fd, make([]byte, 8)); err == nil {
				t.Errorf("%d bytes were written to a descriptor of another", n)
			}
			noError(t, unix.Close(fd))
		}
		noError(t, unix.Close(rig))
	}
}

// Without descriptors there is no watch, and nothing is left of what there was of it.
func TestNoWatchWithoutFiles(t *testing.T) {
	for fit := range 3 {
		before := openFiles(t)
		restore := fewFiles(t, fit)
		w, err := newWatch()
		restore()
		if !errors.Is(err, unix.EMFILE) || w != nil {
			t.Errorf("with %d descriptors: %v, %v", fit, w, err)
		}
		if n := openFiles(t); n != before {
			t.Errorf("with %d descriptors: %d are open, %d were", fit, n, before)
		}
	}
}

// fewFiles lets as many files be opened as fit, until restore is called.
func fewFiles(t *testing.T, fit int) (restore func()) {
	t.Helper()
	var was unix.Rlimit
	noError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	fds := make([]int, fit+1)
	for i := range fds {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		noError(t, err)
		fds[i] = fd
	}
	for _, fd := range fds {
		noError(t, unix.Close(fd))
	}
	// A new descriptor takes the lowest free number, which has to be below the limit.
	noError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(fds[fit]), Max: was.Max}))
	return sync.OnceFunc(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	})
}
