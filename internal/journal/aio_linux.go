package journal

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A goroutine in fdatasync(2) holds a thread and, until the runtime notices, a
// processor; the runtime then looks every 20 us for more of them, for a
// millisecond. At a thousand commits a second that costs as much as the shares
// do. So a commit of many shares lets the kernel work beside us (io_submit(2)
// with IOCB_CMD_FDSYNC, Linux 4.18) and waits for an eventfd as for a socket.
// A lone share takes the direct way: it has two fewer threads to wake.

// None of the four calls for it blocks, so they go past the runtime as well: its
// monitor would be woken for each, and look for a millisecond.

// aio is a context of the kernel for one fdatasync at a time.
type aio struct {
	ctx   uintptr
	fd    uint32   // of event: os.File.Fd would make it block
	event *os.File // readable once for each fdatasync that ended
	raw   syscall.RawConn
	count [8]byte
	cb    iocb // of the fdatasync that is to begin or under way

	waitFn func(uintptr) bool // made once: none is allocated per commit
	begun  bool
	err    error // of submit or of the eventfd
}

// idleAIO are those that nobody uses. There are as many as ran at once: one a
// journal.
var idleAIO = make(chan *aio, 8)

// noAIO is set once the kernel, or what confines this process, has refused.
var noAIO atomic.Bool

// iocb is struct iocb of linux/aio_abi.h. The two words that change places on a
// big-endian machine are both zero.
type iocb struct {
	_              uint64 // data
	_              uint64 // key, rw_flags
	opcode         uint16
	_              int16
	fd             uint32
	_, _           uint64 // buf, nbytes
	_              int64  // offset
	_              uint64
	flags, eventFD uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	_, _   uint64 // data, obj
	result int64
	_      int64
}

const (
	iocbFDSync = 3 // IOCB_CMD_FDSYNC
	iocbResFD  = 1 // IOCB_FLAG_RESFD
)

// DatasyncBeside is Datasync for a caller that others may run beside.
func (f diskFile) DatasyncBeside() error {
	if noAIO.Load() {
		return f.Datasync()
	}
	var a *aio
	select {
	case a = <-idleAIO:
	default:
		var err error
		if a, err = newAIO(); err != nil {
			noAIO.Store(true)
			return f.Datasync()
		}
	}
	begun, ended, err := a.sync(f.Fd())
	if !begun { // a refusal
		noAIO.Store(true)
		a.destroy()
		return f.Datasync()
	}
	if !ended {
		noAIO.Store(true)
		a.destroy() // what it runs must not be taken for somebody's next
		return err
	}
	select {
	case idleAIO <- a:
	default:
		a.destroy()
	}
	return err
}

func newAIO() (*aio, error) {
	a := &aio{}
	if _, _, e := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&a.ctx)), 0); e != 0 { // #nosec G103 -- a word that the kernel fills
		return nil, fmt.Errorf("io_setup: %w", e)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		a.destroy()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	a.fd, a.event = uint32(fd), os.NewFile(uintptr(fd), "eventfd")
	if a.raw, err = a.event.SyscallConn(); err != nil {
		a.destroy()
		return nil, err
	}
	a.waitFn = a.submitAndWait
	return a, nil
}

func (a *aio) destroy() {
	_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, a.ctx, 0, 0)
	if a.event != nil {
		_ = a.event.Close() // holds no data
	}
}

// sync is an fdatasync of fd, begun unless the kernel refused it; where it is not
// known to have ended, err says why.
func (a *aio) sync(fd uintptr) (begun, ended bool, err error) {
	a.cb = iocb{opcode: iocbFDSync, fd: uint32(fd), flags: iocbResFD, eventFD: a.fd}
	a.begun, a.err = false, nil
	err = a.raw.Read(a.waitFn)
	if err == nil {
		err = a.err
	}
	switch {
	case !a.begun:
		return false, false, nil
	case err != nil:
		return true, false, fmt.Errorf("eventfd of an fdatasync: %w", err)
	}
	ended, err = a.result()
	return true, ended, err
}

// submitAndWait begins, then waits. It begins in the wait, since the poller forgets
// what came before it.
func (a *aio) submitAndWait(uintptr) (over bool) {
	if !a.begun {
		list := [1]*iocb{&a.cb}
		n, _, e := unix.RawSyscall(unix.SYS_IO_SUBMIT, a.ctx, 1, uintptr(unsafe.Pointer(&list))) // #nosec G103 -- as struct iocb is laid out
		a.begun = e == 0 && n == 1
		return !a.begun
	}
	for {
		_, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(a.fd), uintptr(unsafe.Pointer(&a.count)), uintptr(len(a.count))) // #nosec G103 -- 8 bytes, as eventfd(2) has it
		switch e {
		case 0:
			return true
		case unix.EINTR:
		case unix.EAGAIN: // woken for nothing
			return false
		default:
			a.err = e
			return true
		}
	}
}

// result returns what the fdatasync that ended came to.
func (a *aio) result() (ended bool, err error) {
	var done [1]ioEvent
	var now unix.Timespec
	n, _, e := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, a.ctx, 1, 1,
		uintptr(unsafe.Pointer(&done)), uintptr(unsafe.Pointer(&now)), 0) // #nosec G103 -- as struct io_event is laid out
	switch {
	case e != 0:
		return false, fmt.Errorf("io_getevents: %w", e)
	case n != 1:
		return false, errors.New("io_getevents: an fdatasync ended, and is not there")
	case done[0].result < 0:
		return true, unix.Errno(-done[0].result)
	}
	return true, nil
}
