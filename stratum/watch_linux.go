package stratum

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch waits for the sockets of many rigs at once. A rig that has work says a line
// every few seconds; a goroutine that sleeps behind each is woken, and put to sleep,
// for every one of them, on a stack that no cache remembers. Here one goroutine
// asks the kernel which sockets have something and works on them one after the
// other, as far as nothing has to be waited for.
//
// It is woken at once where nothing came for a while, and else looks every watchGap:
// to be woken costs more than a share does.
type watch struct {
	fd       int      // of epoll
	bell     int      // eventfd, one of those watched
	gate     int      // another epoll, which tells of fd while nobody looks:
	file     *os.File // the runtime knows of that
	gateConn syscall.RawConn

	mu      sync.Mutex
	seats   []*socket // by number; nil is free
	free    []int32
	given   int32                     // seats: an event of the last owner of one is known by it
	writers map[*socket]chan struct{} // waiting for space
	stopped bool
}

// watchGap is between two looks while rigs come quicker than twice in it, unless
// manyEvents were there: then to be woken costs a share of it only.
const (
	watchGap   = 2 * time.Millisecond
	manyEvents = 16
)

// socket is one of a watch, outside of the runtime's own poller. Who has the turn
// reads, and works on what was read; nobody else does. An event takes the turn; a
// posted batch keeps it until the rig is answered, a goroutine aside while it waits;
// it is freed where there is nothing to read, and kept by who ends the connection.
// socket implements syscall.RawConn for those who write.
type socket struct {
	watch *watch
	fd    int
	seat  int32
	gen   int32
	rig   resting
	turn  atomic.Int32 // of whom it is to read
	uses  atomic.Int32 // of fd; below 0: it is closed behind the last
}

// resting is who works on what a socket has.
type resting interface {
	// read is told that there is something. The caller gave it the turn. all says
	// that there may be more than one read finds.
	read(k *socket, all bool)
}

const (
	turnFree  int32 = iota
	turnTaken       // somebody reads, or works on what was read
	turnAgain       // and something came since
)

const usesClosed = math.MinInt32

// watched is what a socket tells: a hang-up that came with the last bytes, or
// bytes behind an urgent one, are no edge of their own.
const watched = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET

func newWatch() (w *watch, err error) {
	w = &watch{fd: -1, bell: -1, writers: make(map[*socket]chan struct{})}
	defer func() {
		if err != nil {
			w.close()
			w, err = nil, fmt.Errorf("epoll: %w", err)
		}
	}()
	if w.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return w, err
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return w, err
	}
	if err = unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, w.bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1}); err != nil {
		return w, err
	}
	if w.gate, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return w, err
	}
	_ = unix.SetNonblock(w.gate, true) // so that the runtime waits for it; where it does not, SetDeadline says so
	w.file = os.NewFile(uintptr(w.gate), "epoll")
	if err = unix.EpollCtl(w.gate, unix.EPOLL_CTL_ADD, w.fd, &unix.EpollEvent{}); err != nil {
		return w, err
	}
	if err = w.file.SetDeadline(time.Time{}); err != nil {
		return w, err
	}
	w.gateConn, err = w.file.SyscallConn()
	return w, err
}

func (w *watch) close() {
	if w.file != nil {
		_ = w.file.Close()
	}
	for _, fd := range []*int{&w.bell, &w.fd} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1 // the race detector sees who rings too late
		}
	}
}

// run hands out turns until stop was called and no socket is left.
func (w *watch) run() {
	defer w.close()
	events := make([]unix.EpollEvent, 128)
	last := time.Now()
	for {
		n := w.look(events)
		if n == 0 {
			n = w.wait(events)
		}
		woken := time.Now()
		for _, e := range events[:n] {
			if e.Fd >= 0 {
				w.event(e)
			} else if w.over() {
				return
			}
		}
		if n < manyEvents && woken.Sub(last) < 2*watchGap {
			time.Sleep(watchGap)
		}
		last = woken
	}
}

// look returns how many events are there.
func (w *watch) look(events []unix.EpollEvent) int {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0) // #nosec G103 -- as epoll_wait(2) takes it
		switch e {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			w.broken("epoll_wait", e)
		}
	}
}

// wait waits for events.
func (w *watch) wait(events []unix.EpollEvent) (n int) {
	w.tells(unix.EPOLLIN)
	if err := w.gateConn.Read(func(uintptr) bool { n = w.look(events); return n > 0 }); err != nil {
		w.broken("waiting", err)
	}
	w.tells(0)
	return n
}

// tells sets of what of fd the gate tells. To put fd in and take it out again has the
// kernel look for loops among all that fd watches, every time: 0.7 ms with 10 000.
func (w *watch) tells(of uint32) {
	if err := unix.EpollCtl(w.gate, unix.EPOLL_CTL_MOD, w.fd, &unix.EpollEvent{Events: of}); err != nil {
		w.broken("epoll_ctl", err)
	}
}

// broken ends the process: of its own descriptors nothing outside can do that.
func (*watch) broken(what string, err error) { panic(os.NewSyscallError(what, err)) }

func (w *watch) event(e unix.EpollEvent) {
	w.mu.Lock()
	k := w.seats[e.Fd]
	if k == nil || k.gen != e.Pad {
		w.mu.Unlock()
		return // it was closed meanwhile
	}
	if e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		if c := w.writers[k]; c != nil {
			delete(w.writers, k)
			close(c)
		}
	}
	w.mu.Unlock()
	if e.Events &^= unix.EPOLLOUT; e.Events != 0 && k.take() {
		k.rig.read(k, e.Events != unix.EPOLLIN)
	}
}

// stop lets run end behind the last socket.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.ringLocked()
}

// ringLocked never waits. It holds the lock that over wants: run must not close the
// bell under it, whose number would be another file's then.
func (w *watch) ringLocked() { _, _ = unix.Write(w.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) } // one that is full wakes as well

func (w *watch) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped && len(w.free) == len(w.seats)
}

// add watches fd, which is the socket's own from now on, unless there is an error.
func (w *watch) add(fd int, r resting) (*socket, error) {
	k := &socket{watch: w, fd: fd, rig: r}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped { // and maybe closed
		return nil, net.ErrClosed
	}
	w.given++
	k.gen = w.given
	if n := len(w.free); n > 0 {
		k.seat, w.free = w.free[n-1], w.free[:n-1]
		w.seats[k.seat] = k
	} else {
		k.seat = int32(len(w.seats))
		w.seats = append(w.seats, k)
	}
	err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: watched, Fd: k.seat, Pad: k.gen})
	if err != nil {
		w.leaveLocked(k)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return k, nil
}

func (w *watch) leaveLocked(k *socket) {
	w.seats[k.seat] = nil
	w.free = append(w.free, k.seat)
	if c := w.writers[k]; c != nil {
		delete(w.writers, k)
		close(c)
	}
}

// take takes the turn, or notes that something came while another has it.
func (k *socket) take() bool {
	for {
		if k.turn.CompareAndSwap(turnFree, turnTaken) {
			return true
		}
		if k.turn.CompareAndSwap(turnTaken, turnAgain) || k.turn.Load() == turnAgain {
			return false
		}
	}
}

// free gives the turn back, unless something came meanwhile, which the caller has
// to read then.
func (k *socket) free() bool { return k.turn.CompareAndSwap(turnTaken, turnFree) }

// fresh is said before a read, which finds all that came until now, and reports
// whether something did since the turn was taken.
func (k *socket) fresh() bool { return k.turn.Swap(turnTaken) == turnAgain }

// again says that something is left to read by who frees the turn.
func (k *socket) again() { k.turn.Store(turnAgain) }

// Close ends the socket behind those who use it. Who has the turn keeps it.
func (k *socket) Close() error {
	for {
		n := k.uses.Load()
		if n < 0 {
			return net.ErrClosed
		}
		if !k.uses.CompareAndSwap(n, n+usesClosed) {
			continue
		}
		w := k.watch
		w.mu.Lock()
		w.leaveLocked(k)
		if w.stopped && len(w.free) == len(w.seats) {
			w.ringLocked()
		}
		w.mu.Unlock()
		if n == 0 {
			return unix.Close(k.fd)
		}
		return nil
	}
}

// Control implements syscall.RawConn.
func (k *socket) Control(f func(fd uintptr)) error {
	if !k.hold() {
		return net.ErrClosed
	}
	defer k.letGo()
	f(uintptr(k.fd))
	return nil
}

// Read implements syscall.RawConn: nobody waits to read.
func (k *socket) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write implements syscall.RawConn.
func (k *socket) Write(f func(fd uintptr) bool) error {
	try := func() (bool, error) {
		if !k.hold() {
			return false, net.ErrClosed
		}
		defer k.letGo()
		return f(uintptr(k.fd)), nil
	}
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		space, err := k.space()
		if err != nil {
			return err
		}
		if done, err := try(); done || err != nil { // some came meanwhile
			return err
		}
		<-space
	}
}

// hold keeps fd open until letGo. False means that it is closed.
func (k *socket) hold() bool {
	for {
		n := k.uses.Load()
		if n < 0 {
			return false
		}
		if k.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (k *socket) letGo() {
	if k.uses.Add(-1) == usesClosed {
		_ = unix.Close(k.fd) // nothing depends on it
	}
}

// space is closed when the socket takes something, or is closed.
func (k *socket) space() (<-chan struct{}, error) {
	if !k.hold() {
		return nil, net.ErrClosed
	}
	defer k.letGo()
	w := k.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seats[k.seat] != k {
		return nil, net.ErrClosed
	}
	err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_MOD, k.fd, &unix.EpollEvent{Events: watched | unix.EPOLLOUT, Fd: k.seat, Pad: k.gen})
	if err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	c := make(chan struct{})
	w.writers[k] = c
	return c, nil
}

var _ syscall.RawConn = (*socket)(nil)
