package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FS is what the journal asks of a file system. The zero Config uses the
// machine's; tests give one that loses power.
type FS interface {
	MkdirAll(dir string) error
	ReadDir(dir string) ([]string, error) // names of files, sorted
	Open(name string) (File, error)       // to read
	OpenWrite(name string) (File, error)  // to cut an existing file
	Create(name string) (File, error)     // new or emptied
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
	// Lock takes an exclusive lock that dies with the process; ErrLocked
	// where another holds it.
	Lock(name string) (io.Closer, error)
	Free(dir string) (uint64, error) // bytes
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Allocate(size int64) error // reserves blocks, reads as zeros
	Datasync() error           // data, and what is needed to read it back
}

// diskFS is the machine's file system.
type diskFS struct{}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (diskFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (diskFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600) // #nosec G304 -- names are built by this package
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (diskFS) Open(name string) (File, error)      { return open(name, os.O_RDONLY) }
func (diskFS) OpenWrite(name string) (File, error) { return open(name, os.O_RDWR) }
func (diskFS) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}
func (diskFS) Rename(from, to string) error { return os.Rename(from, to) }
func (diskFS) Remove(name string) error     { return os.Remove(name) }

func (diskFS) SyncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the configured directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockName is the file in a journal's directory that its writer locks.
const lockName = "lock"

func (diskFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- built by this package
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := make([]byte, 20)
		n, _ := f.ReadAt(owner, 0)
		closeErr := f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), closeErr)
		}
		return nil, fmt.Errorf("%s is held by process %s: stop it, or give this one another directory: %w",
			filepath.Dir(name), strings.TrimSpace(string(owner[:n])), ErrLocked)
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return lockFile{f}, nil
}

// lockFile gives the lock up before it closes the file: a child that is being
// started at this moment has a copy of the descriptor until it runs its program,
// and closing ours alone would leave it the lock.
type lockFile struct{ *os.File }

func (f lockFile) Close() error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.File.Close())
}

func (diskFS) Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:unconvert // field types differ by system, never negative
}

// writeZeros is Allocate where the system cannot reserve blocks.
func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		n := min(size-off, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:n], off); err != nil {
			return err
		}
	}
	return nil
}
