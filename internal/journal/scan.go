package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// RecordInfo is one record as it stands in a segment.
type RecordInfo struct {
	File    string
	Offset  int64 // of the record's type byte in File
	Edge    uint16
	Epoch   uint32
	Segment uint32
	Kind    Kind
	Seq     uint64 // of a share, else 0
	Body    []byte // valid during the call only
}

// Decode returns the record.
func (r *RecordInfo) Decode() (Record, error) { return Decode(r.Kind, r.Body) }

// tail is where the newest segment ends.
type tail struct {
	file string
	end  int64 // behind the last good frame
	torn int64 // bytes of a torn tail behind it, 0 for a clean end
	open bool  // not cut yet: still preallocated
}

// scan is one pass over a journal directory, oldest segment first. Damage is
// collected, everything else is handed on.
type scan struct {
	fs     FS
	dir    string
	each   func(*RecordInfo) error
	damage []*DamageError
	epochs []EpochReport
	tail   tail
	buf    []byte

	// of the running epoch
	epoch   *EpochReport
	next    uint32 // segment number
	chain   [32]byte
	seq     uint64 // last
	skipped bool   // damage came before: chain and seq cannot be compared
}

// segmentRef is a segment by its name.
type segmentRef struct{ epoch, number uint32 }

// listSegments returns the segments of dir in order.
func listSegments(fs FS, dir string) ([]segmentRef, error) {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var refs []segmentRef
	for _, n := range names {
		if e, k, ok := parseSegmentName(n); ok {
			refs = append(refs, segmentRef{e, k})
		}
	}
	slices.SortFunc(refs, func(a, b segmentRef) int {
		if a.epoch != b.epoch {
			return int(int64(a.epoch) - int64(b.epoch))
		}
		return int(int64(a.number) - int64(b.number))
	})
	return refs, nil
}

// all reads every segment, as run does.
func (s *scan) all() error {
	refs, err := listSegments(s.fs, s.dir)
	if err != nil {
		return err
	}
	return s.run(refs)
}

// run reads refs, the newest last. It returns an error only where reading itself
// failed, each said stop, or the bytes are of a newer program (ErrNewer);
// damage is in s.damage.
func (s *scan) run(refs []segmentRef) error {
	for i, ref := range refs {
		if err := s.segment(ref, i == len(refs)-1); err != nil {
			return err
		}
	}
	s.endEpoch(true)
	return nil
}

func (s *scan) damaged(file string, from, to int64, format string, args ...any) {
	d := &DamageError{File: s.path(file), From: from, To: to, Why: fmt.Sprintf(format, args...)}
	s.damage = append(s.damage, d)
	s.skipped = true
	if s.epoch != nil {
		s.epoch.Damaged = true
	}
}

// endEpoch judges an epoch that no segment follows any more.
func (s *scan) endEpoch(last bool) {
	if s.epoch == nil {
		return
	}
	s.epoch.LastSeq = s.seq
	if last {
		s.epoch.Live = s.tail.open && !s.epoch.Sealed
	}
	s.epoch = nil
}

// place compares a segment's name with what must come next.
func (s *scan) place(ref segmentRef, name string) {
	if s.epoch != nil && s.epoch.Epoch == ref.epoch {
		if ref.number != s.next {
			s.damaged(segmentName(ref.epoch, s.next), 0, 0, "the file is missing: %s follows", name)
		}
		s.epoch.Segments++
		s.next = ref.number + 1
		return
	}
	before := uint32(0)
	if s.epoch != nil {
		before = s.epoch.Epoch
	}
	s.endEpoch(false)
	s.epochs = append(s.epochs, EpochReport{Epoch: ref.epoch, Segments: 1, FirstSegment: ref.number, Sums: map[Weight]uint64{}})
	s.epoch = &s.epochs[len(s.epochs)-1]
	s.skipped = false
	s.next, s.seq, s.chain = ref.number+1, 0, [32]byte{}
	// Only the oldest files are ever deleted: a hole later is a loss.
	if before != 0 && ref.epoch != before+1 {
		s.damaged(segmentName(before+1, 0), 0, 0, "epoch %d is missing: epoch %d follows", before+1, ref.epoch)
	}
	if before != 0 && ref.number != 0 {
		s.damaged(segmentName(ref.epoch, 0), 0, 0, "the file is missing: %s follows", name)
	}
}

func (s *scan) segment(ref segmentRef, last bool) error {
	name := segmentName(ref.epoch, ref.number)
	f, err := s.fs.Open(s.path(name))
	if err != nil {
		return err
	}
	defer f.Close() // opened to read
	data, err := s.read(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	s.place(ref, name)
	h, err := parseHeader(data)
	if errors.Is(err, ErrNewer) {
		return fmt.Errorf("%s: %w", s.path(name), err)
	}
	if err == nil && (h.epoch != ref.epoch || h.number != ref.number) {
		err = fmt.Errorf("holds epoch %d segment %d", h.epoch, h.number)
	}
	if last {
		s.tail = tail{file: name, end: int64(len(data))}
	}
	if err != nil {
		// Without its header no checksum of the segment can be tried.
		s.damaged(name, 0, int64(len(data)), "%v", err)
		return nil
	}
	if s.epoch.Segments == 1 {
		s.epoch.Edge, s.epoch.Prefix = h.edge, h.prefix
		s.epoch.FirstSeq = h.firstSeq
		s.seq, s.chain = h.firstSeq-1, h.chain
		if h.number == 0 && (h.firstSeq != 1 || h.chain != [32]byte{}) {
			s.damaged(name, 0, headerSize, "first segment begins at seq %d with a running hash", h.firstSeq)
		}
	}
	if s.skipped {
		if h.firstSeq > s.seq+1 {
			d := s.damage[len(s.damage)-1]
			d.FirstSeq, d.LastSeq = s.seq+1, h.firstSeq-1
		}
		s.seq, s.chain = h.firstSeq-1, h.chain
		s.skipped = false
	} else if h.chain != s.chain || h.firstSeq != s.seq+1 {
		s.damaged(name, 0, headerSize, "running hash and seq %d do not follow the segment before (seq %d)", h.firstSeq, s.seq)
		s.seq, s.chain = h.firstSeq-1, h.chain
	}
	return s.frames(f, name, data, &h, last)
}

// read returns the whole file in s.buf.
func (s *scan) read(f File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxSegmentSize {
		return nil, fmt.Errorf("%d bytes, a segment has at most %d", size, maxSegmentSize)
	}
	if int64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	data := s.buf[:size]
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}

// frames walks a segment. Only the newest one may have a torn tail, and only
// while its size says that nobody cut it.
func (s *scan) frames(f File, name string, data []byte, h *header, last bool) error {
	open := last && len(data)%pageSize == 0
	off := int64(headerSize)
	for {
		if fr, ok := frameAt(data, h.crc, off); ok {
			if err := s.frame(name, h, &fr); err != nil {
				return err
			}
			off = fr.end
			continue
		}
		if allZero(data[off:]) && (open || int64(len(data))-off <= align || len(data)%pageSize == 0) {
			break
		}
		next, witness := nextFrame(data, h.crc, off)
		if open && !witness {
			if last {
				s.tail = tail{file: name, end: off, torn: int64(len(data)) - off, open: true}
			}
			return nil
		}
		if open {
			// A running process may have written the frame at off after we
			// read it, and the witness before: it is whole by now.
			if _, err := f.ReadAt(data[off:], off); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if _, ok := frameAt(data, h.crc, off); ok {
				continue
			}
		}
		why := "no true frame"
		if witness {
			why = "no true frame, and a later one proves that it was durable"
		}
		s.damaged(name, off, next, "%s", why)
		off = next
		if off == int64(len(data)) {
			break
		}
	}
	if last {
		s.tail = tail{file: name, end: off, open: open}
	}
	return nil
}

// nextFrame looks for a true frame behind a bad one at off. It returns the
// first one's offset, or the end of data, and whether any of them proves that
// off was durable.
func nextFrame(data []byte, headerCRC uint32, off int64) (next int64, witness bool) {
	next = int64(len(data))
	for p := off + align; p+frameHead <= int64(len(data)); p += align {
		if le.Uint32(data[p:]) == 0 {
			continue
		}
		fr, ok := frameAt(data, headerCRC, p)
		if !ok {
			continue
		}
		next = min(next, p)
		if fr.synced > off {
			return next, true
		}
	}
	return next, false
}

// frame checks and hands on the records of a true frame.
func (s *scan) frame(name string, h *header, fr *frame) error {
	err := walkRecords(fr.payload, func(at int, k Kind, body []byte) error {
		info := RecordInfo{
			File: name, Offset: fr.off + frameHead + int64(at), Edge: h.edge, Epoch: h.epoch,
			Segment: h.number, Kind: k, Body: body,
		}
		return s.record(&info)
	})
	s.chain = chainFrame(s.chain, fr.raw)
	s.epoch.Frames++
	if _, malformed := errors.AsType[*malformedError](err); malformed || errors.Is(err, ErrRecord) {
		s.damaged(name, fr.off, fr.end, "%v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s at %d: %w", s.path(name), fr.off, err)
	}
	return nil
}

// malformedError is a record that contradicts what came before it.
type malformedError struct{ why string }

func (e *malformedError) Error() string { return e.why }

func (s *scan) record(r *RecordInfo) error {
	e := s.epoch
	if e.Sealed {
		return &malformedError{"a record stands behind the sealed one"}
	}
	switch r.Kind {
	case KindShare, KindAnswer:
		var sh Share
		if err := DecodeShare(r.Kind, r.Body, &sh); err != nil {
			return err
		}
		if r.Kind == KindAnswer {
			break
		}
		r.Seq = sh.Seq
		if sh.Seq != s.seq+1 {
			gap := sh.Seq > s.seq+1
			if !s.skipped || !gap {
				return &malformedError{fmt.Sprintf("share %d follows share %d", sh.Seq, s.seq)}
			}
			d := s.damage[len(s.damage)-1]
			d.FirstSeq, d.LastSeq = s.seq+1, sh.Seq-1
		}
		s.seq = sh.Seq
		w := Weight{sh.Member, sh.WorkBits}
		e.Sums[w] = addSaturating(e.Sums[w], uint64(sh.Difficulty))
	case KindSealed:
		rec, err := Decode(r.Kind, r.Body)
		if err != nil {
			return err
		}
		sealed, _ := rec.(Sealed)
		e.Sealed = true
		if !s.skipped && (sealed.LastSeq != s.seq || sealed.Chain != s.chain) {
			return &malformedError{fmt.Sprintf("sealed record (seq %d) does not fit the epoch (seq %d)", sealed.LastSeq, s.seq)}
		}
	default:
		if _, err := Decode(r.Kind, r.Body); err != nil {
			return err
		}
	}
	e.Counts[r.Kind]++
	return s.each(r)
}
