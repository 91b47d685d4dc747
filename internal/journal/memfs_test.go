package journal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

// errCrashed is what every call gives once the machine lost power.
var errCrashed = errors.New("machine is off")

// memFS is a file system in memory that knows what is durable and what is not,
// and can lose power at any call.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*inode // as a process sees them
	durable map[string]*inode // as the disk has them
	locked  map[string]bool
	rng     *rand.Rand
	ops     int
	crashAt int // the call that fails, 0 for never
	dead    bool

	// Hooks, called without the lock.
	onSync  func(name string) error
	onWrite func(name string) error
	onAlloc func(name string) error
	onCut   func(name string) error
}

type write struct {
	off  int64
	data []byte
}

// inode is a file: what is durable, what is read, and the writes between.
type inode struct {
	cur, dur []byte
	writes   []write
}

func newMemFS(seed uint64) *memFS {
	return &memFS{
		names: map[string]*inode{}, durable: map[string]*inode{}, locked: map[string]bool{},
		rng: rand.New(rand.NewPCG(seed, 1)),
	}
}

// step counts a call. It reports the call during which power is lost.
func (m *memFS) step() (crash bool, err error) {
	if m.dead {
		return false, errCrashed
	}
	m.ops++
	if m.ops == m.crashAt {
		m.dead = true
		return true, errCrashed
	}
	return false, nil
}

// restart returns the disk after the crash: unsynced writes survive as a
// prefix cut at any byte, or as any subset of sectors; unsynced names as any
// subset.
func (m *memFS) restart(seed uint64, powerLoss bool) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	n := newMemFS(seed)
	if !powerLoss { // a killed process: the kernel has everything
		for name, f := range m.names {
			n.names[name] = &inode{cur: slices.Clone(f.cur), dur: slices.Clone(f.cur)}
		}
		n.durable = maps.Clone(n.names)
		return n
	}
	after := map[*inode]*inode{}
	lose := func(f *inode) *inode {
		if after[f] == nil {
			b := m.lose(f)
			after[f] = &inode{cur: b, dur: slices.Clone(b)}
		}
		return after[f]
	}
	for name, f := range m.durable {
		if m.names[name] == f || m.rng.IntN(2) == 0 {
			n.names[name] = lose(f)
		}
	}
	for name, f := range m.names {
		if m.durable[name] != f && m.rng.IntN(2) == 0 {
			n.names[name] = lose(f)
		}
	}
	n.durable = maps.Clone(n.names)
	return n
}

func (m *memFS) lose(f *inode) []byte {
	b := slices.Clone(f.dur)
	switch m.rng.IntN(3) {
	case 0: // writes in order, the last one cut at any byte
		for _, w := range f.writes[:m.rng.IntN(len(f.writes)+1)] {
			b = overwrite(b, w.off, w.data)
		}
		if len(f.writes) > 0 {
			w := f.writes[m.rng.IntN(len(f.writes))]
			b = overwrite(b, w.off, w.data[:m.rng.IntN(len(w.data)+1)])
		}
	case 1: // any subset of sectors
		for off := 0; off < len(f.cur); off += 512 {
			if m.rng.IntN(2) == 0 {
				b = overwrite(b, int64(off), f.cur[off:min(off+512, len(f.cur))])
			}
		}
	default: // any subset of writes
		for _, w := range f.writes {
			if m.rng.IntN(2) == 0 {
				b = overwrite(b, w.off, w.data)
			}
		}
	}
	if len(f.cur) < len(f.dur) && m.rng.IntN(2) == 0 { // cut, not synced
		b = b[:len(f.cur)]
	}
	return b
}

func overwrite(b []byte, off int64, data []byte) []byte {
	if grow := int(off) + len(data) - len(b); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[off:], data)
	return b
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errCrashed
	}
	var names []string
	for n := range m.names {
		if filepath.Dir(n) == dir {
			names = append(names, filepath.Base(n))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errCrashed
	}
	f := m.names[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memFile{m, f, name}, nil
}

func (m *memFS) OpenWrite(name string) (File, error) { return m.Open(name) }

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step(); err != nil {
		return nil, err
	}
	m.names[name] = &inode{}
	return &memFile{m, m.names[name], name}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step(); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step(); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.step(); err != nil {
		return err
	}
	for n := range m.durable {
		if filepath.Dir(n) == dir && m.names[n] == nil {
			delete(m.durable, n)
		}
	}
	for n, f := range m.names {
		if filepath.Dir(n) == dir {
			m.durable[n] = f
		}
	}
	return nil
}

type unlock func() error

func (u unlock) Close() error { return u() }

func (m *memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[name] {
		return nil, ErrLocked
	}
	m.locked[name] = true
	return unlock(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locked, name)
		return nil
	}), nil
}

func (m *memFS) Free(string) (uint64, error) { return 1 << 30, nil }

type memFile struct {
	m    *memFS
	f    *inode
	name string
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return 0, errCrashed
	}
	if off >= int64(len(f.f.cur)) {
		return 0, io.EOF
	}
	n := copy(b, f.f.cur[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	if hook := f.m.onWrite; hook != nil {
		if err := hook(f.name); err != nil {
			return 0, err
		}
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	crash, err := f.m.step()
	if crash {
		b = b[:f.m.rng.IntN(len(b)+1)]
	} else if err != nil {
		return 0, err
	}
	f.f.cur = overwrite(f.f.cur, off, b)
	f.f.writes = append(f.f.writes, write{off, slices.Clone(b)})
	return len(b), err
}

func (f *memFile) Close() error { return nil }

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.f.cur)), nil
}

func (f *memFile) Truncate(size int64) error {
	if hook := f.m.onCut; hook != nil {
		if err := hook(f.name); err != nil {
			return err
		}
	}
	return f.resize(size)
}

func (f *memFile) resize(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if _, err := f.m.step(); err != nil {
		return err
	}
	if size <= int64(len(f.f.cur)) {
		f.f.cur = f.f.cur[:size:size]
	} else {
		f.f.cur = overwrite(f.f.cur, size, nil)
	}
	return nil
}

func (f *memFile) Allocate(size int64) error {
	if hook := f.m.onAlloc; hook != nil {
		if err := hook(f.name); err != nil {
			return err
		}
	}
	return f.resize(size)
}

func (f *memFile) Datasync() error {
	f.m.mu.Lock()
	crash, err := f.m.step()
	if err != nil && !crash {
		f.m.mu.Unlock()
		return err
	}
	// What is written while the device works may or may not be in.
	image, n := slices.Clone(f.f.cur), len(f.f.writes)
	f.m.mu.Unlock()
	if crash {
		return err
	}
	if hook := f.m.onSync; hook != nil {
		if err := hook(f.name); err != nil {
			return err
		}
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return errCrashed
	}
	f.f.dur, f.f.writes = image, f.f.writes[n:]
	return nil
}
