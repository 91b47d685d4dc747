package journal

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Allocate reserves blocks, so that a full disk shows here and not in the
// middle of a commit.
func (f diskFile) Allocate(size int64) error {
	err := retryInterrupted(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f.File, size)
	}
	return err
}

// Datasync is fdatasync(2).
func (f diskFile) Datasync() error {
	return retryInterrupted(func() error { return unix.Fdatasync(int(f.Fd())) })
}

// retryInterrupted repeats a call that a signal broke off before it began.
func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
