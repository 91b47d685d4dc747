package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// ahead makes the next segment's file before it is needed, and cuts the last
// one when no commit needs it any more, beside the committer: creating, reserving
// and cutting take several journal commits of the file system. Nothing depends on
// it: where no file is ready the committer makes one itself, and an uncut segment
// ends in zeros.
type ahead struct {
	fs     FS
	dir    string
	size   int64
	asked  chan struct{} // one: a next segment is wanted
	ended  chan ended    // bounded: an uncut segment is a little too long
	done   chan struct{} // run ended
	number uint64        // of prepared files: a name is never used twice

	stopping atomic.Bool

	mu     sync.Mutex // guards:
	ready  *prepared
	failed uint64
}

// prepared is an empty file of a segment's size, durable under a temporary name:
// after a crash a start removes it.
type prepared struct {
	File
	name string
}

// ended is a segment whose last frame, ending at end, is durable.
type ended struct {
	File
	end int64
}

func newAhead(fs FS, dir string, size int64) *ahead {
	return &ahead{
		fs: fs, dir: dir, size: size,
		asked: make(chan struct{}, 1), ended: make(chan ended, 4), done: make(chan struct{}),
	}
}

// run works until stop.
func (a *ahead) run() {
	defer close(a.done)
	for {
		var err error
		select {
		case _, open := <-a.asked:
			if !open {
				return
			}
			err = a.prepare()
		case old := <-a.ended:
			err = old.cut()
		}
		if err != nil {
			a.mu.Lock()
			a.failed++
			a.mu.Unlock()
		}
	}
}

// ask says that a next segment will be needed. It never blocks.
func (a *ahead) ask() {
	select {
	case a.asked <- struct{}{}:
	default:
	}
}

func (a *ahead) prepare() error {
	a.mu.Lock()
	have := a.ready != nil
	a.mu.Unlock()
	if have {
		return nil
	}
	a.number++
	p, err := prepareSegment(a.fs, filepath.Join(a.dir, fmt.Sprintf("next-%08x.tmp", a.number)), a.size)
	if err != nil {
		return err
	}
	if err := a.fill(p); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready = p
	return nil
}

// take returns the prepared file, nil where there is none.
func (a *ahead) take() *prepared {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.ready
	a.ready = nil
	return p
}

// finish hands over a segment that another one follows. It never blocks.
func (a *ahead) finish(f File, end int64) {
	select {
	case a.ended <- ended{f, end}:
	default: // the disk stalls: it stays uncut
		_ = f.Close() // all of it is durable
	}
}

func (e ended) cut() error {
	return errors.Join(e.Truncate(closedSize(e.end)), e.Datasync(), e.Close())
}

// stop ends run and takes away what was prepared in vain. finish and ask must
// not be called any more.
func (a *ahead) stop() {
	a.stopping.Store(true)
	close(a.asked)
	<-a.done
	for len(a.ended) > 0 {
		_ = (<-a.ended).cut() // an uncut segment holds
	}
	if p := a.take(); p != nil {
		_ = errors.Join(p.Close(), a.fs.Remove(p.name)) // the next start removes it
	}
}

// failures returns how often a file could not be prepared or cut.
func (a *ahead) failures() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// prepareSegment reserves an empty file of that size, durable but for its name.
func prepareSegment(fs FS, tmp string, size int64) (*prepared, error) {
	f, err := fs.Create(tmp)
	if err != nil {
		return nil, err
	}
	p := &prepared{f, tmp}
	if err := f.Allocate(size); err != nil {
		return nil, p.drop(fs, "allocate", err)
	}
	if err := f.Datasync(); err != nil {
		return nil, p.drop(fs, "fdatasync", err)
	}
	return p, nil
}

// fillStep is what is written before the next fdatasync, in bytes: commits share
// the disk. fillWrite is one write of it, short enough for its zeros to stay in the
// processor's cache.
const (
	fillStep  = 1 << 20
	fillWrite = 64 << 10
)

var errStopped = errors.New("the journal is being closed")

// fill writes the zeros that a reserved file only reads as. Over blocks that were
// never written each commit changes the file system's map of the file too, and
// its fdatasync waits for that.
func (a *ahead) fill(p *prepared) error {
	zeros := make([]byte, min(a.size, fillWrite))
	for off := int64(0); off < a.size; {
		if a.stopping.Load() {
			return p.drop(a.fs, "fill", errStopped)
		}
		for end := min(off+fillStep, a.size); off < end; off += fillWrite {
			if _, err := p.WriteAt(zeros[:min(end-off, fillWrite)], off); err != nil {
				return p.drop(a.fs, "write", err)
			}
		}
		if err := p.Datasync(); err != nil {
			return p.drop(a.fs, "fdatasync", err)
		}
	}
	return nil
}

// drop takes p away and returns err with what failed.
func (p *prepared) drop(fs FS, what string, err error) error {
	return errors.Join(fmt.Errorf("%s %s: %w", what, p.name, err), p.Close(), fs.Remove(p.name))
}

// begin makes p the segment that head says: its header is durable before its
// name, and its name when begin returns. So no segment ever has a torn header.
func (p *prepared) begin(fs FS, dir string, head *header) (File, error) {
	if _, err := p.WriteAt(head.encode(), 0); err != nil {
		return nil, p.drop(fs, "write", err)
	}
	if err := p.Datasync(); err != nil {
		return nil, p.drop(fs, "fdatasync", err)
	}
	if err := fs.Rename(p.name, filepath.Join(dir, segmentName(head.epoch, head.number))); err != nil {
		return nil, p.drop(fs, "rename", err)
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("fsync of directory %s: %w", dir, err), p.Close())
	}
	return p.File, nil
}

// createSegment is both, in one.
func createSegment(fs FS, dir string, head *header, size int64) (File, error) {
	p, err := prepareSegment(fs, filepath.Join(dir, segmentName(head.epoch, head.number)+".tmp"), size)
	if err != nil {
		return nil, err
	}
	return p.begin(fs, dir, head)
}
