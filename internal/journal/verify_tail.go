package journal

import (
	"errors"
	"fmt"
	"io"
)

// VerifyTail is the quick half of Verify: it reads the header of every segment
// of the journal in dir and all of the newest one, so that its time does not
// grow with the journal. The report counts that newest segment only. Damage
// inside of older segments is not looked for.
func VerifyTail(dir string) (Report, error) { return verifyTail(diskFS{}, dir) }

func verifyTail(fs FS, dir string) (Report, error) {
	refs, err := listSegments(fs, dir)
	if err != nil || len(refs) == 0 {
		return Report{}, err
	}
	s := scan{fs: fs, dir: dir, each: func(*RecordInfo) error { return nil }}
	newest := refs[len(refs)-1]
	for i, ref := range refs[:len(refs)-1] {
		if err := s.glance(ref, refs[i+1]); err != nil {
			return Report{}, err
		}
	}
	if err := s.segment(newest, true); err != nil {
		return Report{}, err
	}
	s.endEpoch(true)
	rep := Report{
		Epochs: s.epochs, Damage: s.damage,
		TailFile: s.tail.file, TailEnd: s.tail.end, TailBytes: s.tail.torn,
	}
	var errs []error
	for _, d := range s.damage {
		errs = append(errs, d)
	}
	return rep, errors.Join(errs...)
}

// glance looks at the header of the segment ref, and that the one behind it is
// the next.
func (s *scan) glance(ref, next segmentRef) error {
	name := segmentName(ref.epoch, ref.number)
	f, err := s.fs.Open(s.path(name))
	if err != nil {
		return err
	}
	defer f.Close() // opened to read
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	h, err := parseHeader(b[:n])
	switch {
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("%s: %w", s.path(name), err)
	case err != nil:
		s.damaged(name, 0, int64(n), "%v", err)
	case h.epoch != ref.epoch || h.number != ref.number:
		s.damaged(name, 0, headerSize, "holds epoch %d segment %d", h.epoch, h.number)
	}
	s.follows(ref, next)
	s.skipped = false
	return nil
}

// follows says where next is not the segment behind ref.
func (s *scan) follows(ref, next segmentRef) {
	if next == (segmentRef{ref.epoch, ref.number + 1}) || next == (segmentRef{ref.epoch + 1, 0}) {
		return
	}
	missing := segmentRef{ref.epoch, ref.number + 1}
	if next.epoch != ref.epoch {
		missing = segmentRef{ref.epoch + 1, 0}
	}
	s.damaged(segmentName(missing.epoch, missing.number), 0, 0, "the file is missing: %s follows", segmentName(next.epoch, next.number))
}
