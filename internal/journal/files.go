package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// laneSize bounds the files that wait for their background fsync.
const laneSize = 1024

// files are the templates and candidates: a file each, whole or absent for a
// process that is killed (write, then rename), made durable in the background.
// Nothing here touches the log or its locks.
type files struct {
	fs         FS
	templates  string
	candidates string
	lane       chan string
	stopped    chan struct{}
	dropped    atomic.Uint64
	failed     atomic.Uint64
	tmp        atomic.Uint64

	mu      sync.Mutex
	closed  bool
	heights map[chainhash.Hash]int32          // stored templates
	cited   map[chainhash.Hash]chainhash.Hash // candidate without a result -> its template
}

func openFiles(fs FS, dir string, rec *Recovery) (*files, error) {
	s := &files{
		fs:         fs,
		templates:  filepath.Join(dir, "templates"),
		candidates: filepath.Join(dir, "candidates"),
		lane:       make(chan string, laneSize),
		stopped:    make(chan struct{}),
		heights:    map[chainhash.Hash]int32{},
		cited:      map[chainhash.Hash]chainhash.Hash{},
	}
	for _, d := range []string{s.templates, s.candidates} {
		if err := fs.MkdirAll(d); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{dir, s.templates, s.candidates} {
		if err := removeTemporary(fs, d); err != nil {
			return nil, err
		}
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, err
	}
	if err := s.loadTemplates(); err != nil {
		return nil, err
	}
	if err := s.loadCandidates(rec); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

func removeTemporary(fs FS, dir string) error {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if isTemporary(n) {
			if err := fs.Remove(filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// put writes a whole file and hands it to the background fsync.
func (s *files) put(name string, content []byte) error {
	tmp := fmt.Sprintf("%s.%d.tmp", name, s.tmp.Add(1))
	f, err := s.fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(diskFull(err), s.fs.Remove(tmp))
	}
	if err := s.fs.Rename(tmp, name); err != nil {
		return errors.Join(err, s.fs.Remove(tmp))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	select {
	case s.lane <- name:
	default: // the disk stalls: the file is safe from a kill, not from a power loss
		s.dropped.Add(1)
	}
	return nil
}

// run is the background fsync, in order.
func (s *files) run() {
	defer close(s.stopped)
	for name := range s.lane {
		if err := s.sync(name); err != nil {
			s.failed.Add(1)
		}
	}
}

func (s *files) sync(name string) error {
	f, err := s.fs.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Datasync(), f.Close(), s.fs.SyncDir(filepath.Dir(name)))
}

// close waits for the files on their way.
func (s *files) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.lane)
	s.mu.Unlock()
	<-s.stopped
}

// load reads a whole file that ends in its checksum and begins with magic, and
// returns what stands between.
func (s *files) load(name, magic string) ([]byte, error) {
	_, b, err := s.loadSince(name, magic, magic[len(magic)-1])
	return b, err
}

// loadSince is load where the version, magic's last byte, may also be an older
// one down to oldest.
func (s *files) loadSince(name, magic string, oldest byte) (fileVersion byte, content []byte, err error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close() // opened to read
	size, err := f.Size()
	if err != nil {
		return 0, nil, err
	}
	if size < int64(len(magic))+4 || size > maxSegmentSize {
		return 0, nil, fmt.Errorf("%s: %d bytes: %w", name, size, ErrBadFile)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) {
		return 0, nil, fmt.Errorf("read %s: %w", name, err)
	}
	if string(b[:len(magic)-1]) == magic[:len(magic)-1] && b[len(magic)-1] > magic[len(magic)-1] {
		return 0, nil, fmt.Errorf("%s: file version %d: %w", name, b[len(magic)-1], ErrNewer)
	}
	end, n := len(b)-4, len(magic)-1
	if string(b[:n]) != magic[:n] || b[n] < oldest || crc32.Checksum(b[:end], castagnoli) != le.Uint32(b[end:]) {
		return 0, nil, fmt.Errorf("%s: checksum does not hold: %w", name, ErrBadFile)
	}
	return b[n], b[len(magic):end], nil
}

// signed appends the checksum that load wants.
func signed(b []byte) []byte { return le.AppendUint32(b, crc32.Checksum(b, castagnoli)) }

// hashOf returns the hash in a file name like <hash><ext>.
func hashOf(name, ext string) (chainhash.Hash, bool) {
	text, ok := strings.CutSuffix(name, ext)
	if !ok || len(text) != 2*chainhash.HashSize {
		return chainhash.Hash{}, false
	}
	h, err := chainhash.NewHashFromStr(text)
	if err != nil || h.String() != text {
		return chainhash.Hash{}, false
	}
	return *h, true
}
