package journal

import (
	"errors"
	"math"
	"path/filepath"
)

// Weight is what work is summed by: a member and the target its work is
// measured against.
type Weight struct {
	Member   uint16
	WorkBits uint32
}

// EpochReport is what one epoch holds.
type EpochReport struct {
	Edge         uint16
	Prefix       byte
	Epoch        uint32
	FirstSegment uint32 // oldest one still there
	Segments     int
	Frames       int
	FirstSeq     uint64 // first that can stand in the oldest segment
	LastSeq      uint64 // last credited; below FirstSeq where there is none
	Counts       [kinds]int
	Sums         map[Weight]uint64 // Difficulty units; stays at the maximum on overflow
	Sealed       bool              // ended cleanly
	Live         bool              // the newest, and not ended: a process writes it, or was killed
	Damaged      bool
}

// Report is what Verify found.
type Report struct {
	Epochs []EpochReport
	Damage []*DamageError
	// TailFile is the newest segment, TailEnd the end of its last good frame,
	// TailBytes what stands unfinished behind it: a commit in flight or a torn
	// one.
	TailFile           string
	TailEnd, TailBytes int64
}

// Count returns the number of records of a type.
func (r *Report) Count(k Kind) int {
	n := 0
	for i := range r.Epochs {
		n += r.Epochs[i].Counts[k]
	}
	return n
}

func addSaturating(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// Verify reads every byte of the journal in dir, changes nothing, and may run
// beside the process that writes it: it stops at the live tail. It goes on
// behind damage; the error then joins one DamageError for each range. Bytes of
// a newer program stop it with ErrNewer, and an error of each stops it too.
// each may be nil.
func Verify(dir string, each func(RecordInfo) error) (Report, error) {
	return verify(diskFS{}, dir, each)
}

func verify(fs FS, dir string, each func(RecordInfo) error) (Report, error) {
	s := scan{fs: fs, dir: dir, each: func(r *RecordInfo) error {
		if each == nil {
			return nil
		}
		return each(*r)
	}}
	err := s.all()
	rep := Report{
		Epochs: s.epochs, Damage: s.damage,
		TailFile: s.tail.file, TailEnd: s.tail.end, TailBytes: s.tail.torn,
	}
	errs := []error{err}
	for _, d := range s.damage {
		errs = append(errs, d)
	}
	return rep, errors.Join(errs...)
}

// Read hands every record of the journal in dir to each, oldest first, up to
// the live tail. Unlike Verify it stops at the first damage: what comes behind
// a hole must not be summed up as if nothing were missing.
func Read(dir string, each func(RecordInfo, Record) error) error {
	s := scan{fs: diskFS{}, dir: dir}
	s.each = func(r *RecordInfo) error {
		if len(s.damage) != 0 {
			return s.damage[0]
		}
		rec, err := r.Decode()
		if err != nil {
			return err
		}
		return each(*r, rec)
	}
	if err := s.all(); err != nil {
		return err
	}
	if len(s.damage) != 0 {
		return s.damage[0]
	}
	return nil
}

// path joins a name to the journal's directory.
func (s *scan) path(name string) string { return filepath.Join(s.dir, name) }
