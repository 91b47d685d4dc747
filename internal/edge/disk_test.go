package edge

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"cordee/internal/journal"
)

// faultyDisk is the machine's file system with a hook in front of every
// operation. It locks nothing, so that a test can leave a journal behind as a
// killed process does.
type faultyDisk struct {
	mu   sync.Mutex
	hook func(op, name string) error
}

// fail puts hook in front of what follows; op is create, write, sync, rename or
// remove, name the last part of the path.
func (d *faultyDisk) fail(hook func(op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

func (d *faultyDisk) before(op, name string) error {
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op, filepath.Base(name))
}

type faultyFile struct {
	*os.File
	disk *faultyDisk
}

func (f faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.before("write", f.Name()); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f faultyFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f faultyFile) Allocate(size int64) error { return f.Truncate(size) }
func (f faultyFile) Datasync() error           { return f.disk.before("sync", f.Name()) }

func (d *faultyDisk) open(name string, flag int) (journal.File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return faultyFile{f, d}, nil
}

func (d *faultyDisk) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (d *faultyDisk) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d *faultyDisk) Open(name string) (journal.File, error) { return d.open(name, os.O_RDONLY) }
func (d *faultyDisk) OpenWrite(name string) (journal.File, error) {
	return d.open(name, os.O_RDWR)
}

func (d *faultyDisk) Create(name string) (journal.File, error) {
	if err := d.before("create", name); err != nil {
		return nil, err
	}
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d *faultyDisk) Rename(from, to string) error {
	return errors.Join(d.before("rename", to), os.Rename(from, to))
}

func (d *faultyDisk) Remove(name string) error {
	return errors.Join(d.before("remove", name), os.Remove(name))
}

func (d *faultyDisk) SyncDir(string) error           { return nil }
func (d *faultyDisk) Free(string) (uint64, error)    { return 1 << 30, nil }
func (d *faultyDisk) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }
