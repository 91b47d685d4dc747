package stratum

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The two calls that a share costs, of a socket that never blocks, past the
// runtime: what it does around a system call is for one that may block, and wakes
// its monitor whenever that rests. The monitor of a pool with two shares in a
// millisecond would never rest, for a tenth of all its processor time.

// readNow is read(2) of a socket that never blocks.
func readNow(fd uintptr, b []byte) (int, error) { return callNow(unix.SYS_READ, fd, b) }

// writeNow is write(2) likewise.
func writeNow(fd uintptr, b []byte) (int, error) { return callNow(unix.SYS_WRITE, fd, b) }

func callNow(call, fd uintptr, b []byte) (int, error) {
	for {
		n, _, e := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) // #nosec G103 -- as read(2) and write(2) take it
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return -1, e
		}
	}
}
