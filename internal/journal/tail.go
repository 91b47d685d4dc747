package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"
)

// tailChunk is what one read of a Tail asks for, in bytes; a longer frame is
// read whole.
const tailChunk = 1 << 20

// Position is a place between two frames of the log.
type Position struct {
	Epoch   uint32
	Segment uint32
	Offset  int64 // bytes in the segment
}

// Compare orders positions as the log has them.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Segment, q.Segment), cmp.Compare(p.Offset, q.Offset))
}

// Durable returns the end of what an fdatasync covers, whatever Config.Ack says:
// no crash takes anything before it back.
func (j *Journal) Durable() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Position{j.epoch, j.head.number, j.synced}
}

// Tail reads the log in order, across segments and epochs, beside the process
// that writes it. It holds no file open between calls. One goroutine at a time
// may use it.
type Tail struct {
	fs    FS
	dir   string
	at    Position // Epoch 0: before the oldest segment
	head  header
	chain [32]byte
	seq   uint64 // last credited one of the epoch
	buf   []byte
}

// NewTail returns a tail that begins with the oldest segment in dir.
func NewTail(dir string) *Tail { return &Tail{fs: diskFS{}, dir: dir} }

// At returns where the next Read goes on.
func (t *Tail) At() Position { return t.at }

// Seek makes the next Read begin with the segment that share seq of epoch
// stands in, or would as the next one. A segment that is gone is ErrDamaged.
func (t *Tail) Seek(epoch uint32, seq uint64) error {
	refs, err := listSegments(t.fs, t.dir)
	if err != nil {
		return err
	}
	refs = slices.DeleteFunc(refs, func(r segmentRef) bool { return r.epoch != epoch })
	// firstSeq ascends: the last segment that begins at or before seq.
	var failed error
	n := sort.Search(len(refs), func(i int) bool {
		if failed == nil {
			failed = t.enter(refs[i])
		}
		return failed != nil || t.head.firstSeq > seq
	})
	if failed != nil {
		return failed
	}
	if n > 0 {
		return t.enter(refs[n-1])
	}
	return &DamageError{
		File: filepath.Join(t.dir, segmentName(epoch, 0)), Why: "the segment is missing", FirstSeq: seq, LastSeq: seq,
	}
}

// Read hands on every record from where the last Read ended up to until, or to
// the end of the log. A record is valid during the call only. Where each
// returns an error, Read returns it, and the frame is handed on again by the
// next Read. Bytes that should be whole and are not are a DamageError; shares
// without gaps in seq are part of that.
func (t *Tail) Read(until Position, each func(*RecordInfo) error) error {
	if t.at.Epoch == 0 {
		refs, err := listSegments(t.fs, t.dir)
		if err != nil || len(refs) == 0 {
			return err
		}
		if err := t.enter(refs[0]); err != nil {
			return err
		}
	}
	for t.at.Compare(until) < 0 {
		if err := t.segment(until, each); err != nil {
			return err
		}
		if t.at.Epoch == until.Epoch && t.at.Segment == until.Segment {
			return nil
		}
		next, ok, err := t.next()
		if err != nil || !ok {
			return err
		}
		if err := t.finished(); err != nil {
			return err
		}
		before, chain, seq := t.at, t.chain, t.seq
		if err := t.enter(next); err != nil {
			return err
		}
		if next.epoch == before.Epoch && (t.head.chain != chain || t.head.firstSeq != seq+1) {
			err := t.damage(0, headerSize, "does not follow segment %d, which ends with share %d", before.Segment, seq)
			t.at, t.chain, t.seq = before, chain, seq
			return err
		}
	}
	return nil
}

func (t *Tail) path() string {
	return filepath.Join(t.dir, segmentName(t.at.Epoch, t.at.Segment))
}

func (t *Tail) damage(from, to int64, format string, args ...any) error {
	return &DamageError{File: t.path(), From: from, To: to, Why: fmt.Sprintf(format, args...)}
}

// enter goes to the first frame of a segment.
func (t *Tail) enter(ref segmentRef) error {
	f, err := t.fs.Open(filepath.Join(t.dir, segmentName(ref.epoch, ref.number)))
	if err != nil {
		return err
	}
	defer f.Close() // opened to read
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := parseHeader(b[:n])
	if errors.Is(err, ErrNewer) {
		return err
	}
	t.at = Position{ref.epoch, ref.number, headerSize}
	if err == nil && (h.epoch != ref.epoch || h.number != ref.number) {
		err = fmt.Errorf("holds epoch %d segment %d", h.epoch, h.number)
	}
	if err != nil {
		return t.damage(0, headerSize, "%v", err)
	}
	t.head, t.chain, t.seq = h, h.chain, h.firstSeq-1
	return nil
}

// next returns the segment behind the present one.
func (t *Tail) next() (next segmentRef, ok bool, err error) {
	refs, err := listSegments(t.fs, t.dir)
	if err != nil {
		return next, false, err
	}
	i := slices.Index(refs, segmentRef{t.at.Epoch, t.at.Segment})
	if i < 0 {
		return next, false, t.damage(0, 0, "the file is missing")
	}
	if i+1 == len(refs) {
		return next, false, nil
	}
	next = refs[i+1]
	if next != (segmentRef{t.at.Epoch, t.at.Segment + 1}) && next != (segmentRef{t.at.Epoch + 1, 0}) {
		return next, false, t.damage(0, 0, "%s follows: a file between them is missing", segmentName(next.epoch, next.number))
	}
	return next, true, nil
}

// segment hands on the frames from t.at to the end of its segment, or to until.
func (t *Tail) segment(until Position, each func(*RecordInfo) error) error {
	f, err := t.fs.Open(t.path())
	if err != nil {
		return err
	}
	defer f.Close() // opened to read
	limit, err := f.Size()
	if err != nil {
		return err
	}
	if t.at.Epoch == until.Epoch && t.at.Segment == until.Segment {
		limit = min(limit, until.Offset)
	}
	for chunk := int64(tailChunk); t.at.Offset < limit; {
		n := min(chunk, limit-t.at.Offset)
		data, err := t.fill(f, t.at.Offset, n)
		if err != nil {
			return err
		}
		base := t.at.Offset
		for {
			fr, ok := frameFrom(data, base, t.head.crc, t.at.Offset)
			if !ok {
				break
			}
			if err := t.frame(&fr, each); err != nil {
				return err
			}
		}
		switch rest := data[t.at.Offset-base:]; {
		case t.at.Offset > base: // went on
			chunk = tailChunk
		case len(rest) >= frameHead && le.Uint32(rest) == 0, n == limit-t.at.Offset:
			if limit == until.Offset && t.at.Segment == until.Segment && t.at.Epoch == until.Epoch {
				return t.damage(t.at.Offset, limit, "no true frame in what was made durable")
			}
			return nil // the end, which finished looks at where a segment follows
		default:
			chunk *= 2
		}
	}
	return nil
}

// fill returns n bytes of f from off on.
func (t *Tail) fill(f File, off, n int64) ([]byte, error) {
	if int64(cap(t.buf)) < n {
		t.buf = make([]byte, n)
	}
	data := t.buf[:n]
	got, err := f.ReadAt(data, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", t.path(), err)
	}
	return data[:got], nil
}

// frame hands on the records of fr and goes behind it.
func (t *Tail) frame(fr *frame, each func(*RecordInfo) error) error {
	seq, file := t.seq, segmentName(t.at.Epoch, t.at.Segment)
	err := walkRecords(fr.payload, func(at int, k Kind, body []byte) error {
		r := RecordInfo{
			File: file, Offset: fr.off + frameHead + int64(at),
			Edge: t.head.edge, Epoch: t.at.Epoch, Segment: t.at.Segment, Kind: k, Body: body,
		}
		if k == KindShare {
			if len(body) != shareSize {
				return fmt.Errorf("share of %d bytes: %w", len(body), ErrRecord)
			}
			r.Seq = le.Uint64(body)
			if r.Seq != seq+1 {
				return fmt.Errorf("share %d follows share %d: %w", r.Seq, seq, ErrRecord)
			}
			seq = r.Seq
		}
		return each(&r)
	})
	if errors.Is(err, ErrRecord) {
		return t.damage(fr.off, fr.end, "%v", err)
	}
	if err != nil {
		return err
	}
	t.chain, t.seq, t.at.Offset = chainFrame(t.chain, fr.raw), seq, fr.end
	return nil
}

// finished returns a DamageError unless only zeros stand behind the last frame
// of a segment that another one follows.
func (t *Tail) finished() error {
	f, err := t.fs.Open(t.path())
	if err != nil {
		return err
	}
	defer f.Close() // opened to read
	size, err := f.Size()
	if err != nil {
		return err
	}
	for off := t.at.Offset; off < size; off += tailChunk {
		data, err := t.fill(f, off, min(tailChunk, size-off))
		if err != nil {
			return err
		}
		if !allZero(data) {
			return t.damage(off, size, "no true frame, and a segment follows")
		}
	}
	return nil
}

// errEnough ends a Read early.
var errEnough = errors.New("enough was read")

// ReadShares hands on the credited shares first to last of an epoch of the
// journal in dir, with their bodies, in order. body is valid during the call
// only. Where one of them is missing the error is ErrDamaged.
func ReadShares(dir string, epoch uint32, first, last uint64, each func(body []byte, s *Share) error) error {
	return NewTail(dir).shares(epoch, first, last, each)
}

func (t *Tail) shares(epoch uint32, first, last uint64, each func(body []byte, s *Share) error) error {
	if err := t.Seek(epoch, first); err != nil {
		return err
	}
	var s Share
	next := first
	err := t.Read(Position{Epoch: epoch + 1}, func(r *RecordInfo) error {
		if next > last {
			return errEnough
		}
		if r.Kind != KindShare || r.Epoch != epoch || r.Seq < next {
			return nil
		}
		if err := DecodeShare(r.Kind, r.Body, &s); err != nil {
			return err
		}
		next++
		return each(r.Body, &s)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if next <= last {
		d := &DamageError{File: t.path(), Why: "the log ends too early", FirstSeq: next, LastSeq: last}
		return d
	}
	return nil
}
