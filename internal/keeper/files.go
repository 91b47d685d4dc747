package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrDamaged reports a file of the keeper that is not what was written, or is
// gone. Nothing is guessed: restore it, from the store or another machine.
var ErrDamaged = errors.New("the keeper's files are damaged")

// damaged is the ErrDamaged of one numbered file.
type damaged struct {
	shelf  *shelf
	number uint32
	why    error
}

func (d *damaged) Error() string {
	return fmt.Sprintf("%s: %v: %v", d.shelf.path(d.number), d.why, ErrDamaged)
}

// Unwrap returns ErrDamaged and the cause.
func (d *damaged) Unwrap() []error { return []error{ErrDamaged, d.why} }

// damage says that file n does not hold, and why.
func (s *shelf) damage(n uint32, why error) error { return &damaged{s, n, why} }

var errMissing = errors.New("missing")

const temporary = ".tmp"

// shelf is a folder of files numbered from 1 without gaps. A file appears whole
// and durable or not at all: what a crash left unfinished has another name.
type shelf struct {
	dir  string
	ext  string // ".slot"
	last uint32 // number of the newest
}

// openShelf makes the folder, drops unfinished files and counts the others;
// first is the oldest number.
func openShelf(dir, ext string) (s *shelf, err error) {
	s = &shelf{dir: dir, ext: ext}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, temporary) { // written, never named: nobody has cited it
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return nil, err
			}
			continue
		}
		text, ok := strings.CutSuffix(name, ext)
		n, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil || filepath.Base(s.path(uint32(n))) != name {
			return nil, fmt.Errorf("%s: not a name of ours, move it away: %w", filepath.Join(dir, name), ErrDamaged)
		}
		if s.last == math.MaxUint32 || uint32(n) != s.last+1 { // entries are sorted
			return nil, s.damage(s.last+1, fmt.Errorf("%w, %s is there", errMissing, name))
		}
		s.last = uint32(n)
	}
	return s, syncDir(dir)
}

func (s *shelf) path(n uint32) string {
	return filepath.Join(s.dir, fmt.Sprintf("%010d%s", n, s.ext))
}

// put makes content file last+1. On an error no such file exists, or one that
// the next put replaces.
func (s *shelf) put(content []byte) error {
	if s.last == math.MaxUint32 {
		return fmt.Errorf("%s: all numbers are used", s.dir)
	}
	name := s.path(s.last + 1)
	if err := writeFile(name, content); err != nil {
		return err
	}
	s.last++
	return nil
}

// get returns the content of file n.
func (s *shelf) get(n uint32) ([]byte, error) {
	b, err := os.ReadFile(s.path(n)) // #nosec G304 -- built by this package
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.damage(n, errMissing)
	}
	return b, err
}

// writeFile makes content the file's, durable with its name.
func writeFile(name string, content []byte) error {
	tmp := name + temporary
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- built by this package
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- a configured directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
