package journal

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A goroutine in fdatasync(2) holds a thread and, until the runtime notices, a
// processor; the runtime then looks every 20 us for more of them, for a
// millisecond. At a thousand commits a second that costs as much as the shares
// do. So a commit of many shares lets the kernel work beside us (io_submit(2)
// with IOCB_CMD_FDSYNC, Linux 4.18) and waits for an eventfd as for a socket.
// A lone share takes the direct way: it has two fewer threads to wake.

// aio is a context of the kernel for one fdatasync at a time.
type aio struct {
	ctx   uintptr
	fd    uint32   // of event: os.File.Fd would make it block
	event *os.File // readable once for each fdatasync that ended
	count [8]byte
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
	if !a.submit(f.Fd()) {
		noAIO.Store(true)
		a.destroy()
		return f.Datasync()
	}
	ended, err := a.wait()
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
	return a, nil
}

func (a *aio) destroy() {
	_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, a.ctx, 0, 0)
	if a.event != nil {
		_ = a.event.Close() // holds no data
	}
}

// submit begins an fdatasync of fd. False is a refusal: nothing was begun.
func (a *aio) submit(fd uintptr) bool {
	cb := &iocb{opcode: iocbFDSync, fd: uint32(fd), flags: iocbResFD, eventFD: a.fd}
	list := [1]*iocb{cb}
	n, _, e := unix.Syscall(unix.SYS_IO_SUBMIT, a.ctx, 1, uintptr(unsafe.Pointer(&list))) // #nosec G103 -- as struct iocb is laid out
	runtime.KeepAlive(cb)
	return e == 0 && n == 1
}

// wait returns what the fdatasync that was begun came to; where it is not known to
// have ended, why.
func (a *aio) wait() (ended bool, err error) {
	if _, err := a.event.Read(a.count[:]); err != nil {
		return false, fmt.Errorf("eventfd of an fdatasync: %w", err)
	}
	var done [1]ioEvent
	var now unix.Timespec
	n, _, e := unix.Syscall6(unix.SYS_IO_GETEVENTS, a.ctx, 1, 1,
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
