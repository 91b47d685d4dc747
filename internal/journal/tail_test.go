package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// line is a record as a reader saw it.
func line(r *RecordInfo) string {
	return fmt.Sprintf("%s %d %s %d %x", r.File, r.Offset, r.Kind, r.Seq, r.Body)
}

func readAll(t testing.TB, disk FS) (lines []string, shares map[uint32][][]byte) {
	t.Helper()
	shares = map[uint32][][]byte{}
	_, err := verify(disk, "/j", func(r RecordInfo) error {
		lines = append(lines, line(&r))
		if r.Kind == KindShare {
			shares[r.Epoch] = append(shares[r.Epoch], bytes.Clone(r.Body))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, shares
}

// TestTailSeesWhatIsDurable: a tail that follows a running journal over
// rotations and restarts gives every record once and in order, never one that
// is not durable, and any range of shares is found again.
func TestTailSeesWhatIsDurable(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		disk := newMemFS(1)
		cfg := Config{Dir: "/j", SegmentSize: 8192, FS: disk}
		j, _ := open4(t, cfg)
		tail := &Tail{fs: disk, dir: "/j"}
		var got []string
		stop := errors.New("stop")
		follow := func() {
			left := rapid.IntRange(0, 60).Draw(r, "records until the reader stops")
			err := tail.Read(j.Durable(), func(rec *RecordInfo) error {
				got = append(got, line(rec))
				if left--; left == 0 {
					return stop
				}
				return nil
			})
			if errors.Is(err, stop) { // the whole frame comes again
				at := tail.At()
				for len(got) > 0 {
					var file string
					var off int64
					if _, err := fmt.Sscanf(got[len(got)-1], "%s %d", &file, &off); err != nil {
						r.Fatal(err)
					}
					if file != segmentName(at.Epoch, at.Segment) || off < at.Offset {
						break
					}
					got = got[:len(got)-1]
				}
				err = nil
			}
			if err != nil {
				r.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			switch rapid.IntRange(0, 9).Draw(r, "step") {
			case 0:
				if err := j.Close(); err != nil {
					r.Fatal(err)
				}
				j, _ = open4(t, cfg)
			case 1, 2, 3:
				follow()
			default:
				shares := make([]Share, rapid.IntRange(1, 30).Draw(r, "shares"))
				for i := range shares {
					shares[i] = Share{Difficulty: 1, Nonce: uint32(i)}
				}
				tk, err := j.AppendShares(shares)
				mustWait(t, tk, err)
			}
		}
		end := j.Durable()
		if err := j.Close(); err != nil {
			r.Fatal(err)
		}
		want, shares := readAll(t, disk)
		if err := tail.Read(end, func(rec *RecordInfo) error { got = append(got, line(rec)); return nil }); err != nil {
			r.Fatal(err)
		}
		want = want[:len(want)-1] // sealed: behind what was durable
		if !slices.Equal(got, want) {
			r.Fatalf("tail gave %d records, the log has %d", len(got), len(want))
		}
		for epoch, bodies := range shares {
			first := rapid.IntRange(1, len(bodies)).Draw(r, "first")
			last := rapid.IntRange(first, len(bodies)).Draw(r, "last")
			var found [][]byte
			err := (&Tail{fs: disk, dir: "/j"}).shares(epoch, uint64(first), uint64(last), func(body []byte, s *Share) error {
				found = append(found, bytes.Clone(body))
				return nil
			})
			if err != nil || !slices.EqualFunc(found, bodies[first-1:last], bytes.Equal) {
				r.Fatalf("epoch %d, shares %d to %d: %d found, %v", epoch, first, last, len(found), err)
			}
			if err := (&Tail{fs: disk, dir: "/j"}).shares(epoch, uint64(last), uint64(len(bodies))+1, func([]byte, *Share) error { return nil }); !errors.Is(err, ErrDamaged) {
				r.Fatalf("a share that is not there: %v", err)
			}
		}
	})
}

// TestTailRefusesDamage: no flipped byte in front of the durable end, and no
// missing file, is passed over in silence.
func TestTailRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	j, _ := open4(t, Config{Dir: dir, SegmentSize: 8192})
	for range 12 {
		tk, err := j.AppendShares(make([]Share, 10))
		mustWait(t, tk, err)
		tk, err = j.AppendShares([]Share{{Difficulty: 1}, {Difficulty: 2}})
		mustWait(t, tk, err)
	}
	end := j.Durable()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if end.Segment < 1 {
		t.Fatal("the log did not rotate")
	}
	read := func() error { return NewTail(dir).Read(end, func(*RecordInfo) error { return nil }) }
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for n := range end.Segment + 1 {
		name := filepath.Join(dir, segmentName(1, n))
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(whole))
		if n == end.Segment {
			size = end.Offset
		}
		for at := int64(0); at < size; at += 7 {
			broken := bytes.Clone(whole)
			broken[at] ^= 0x20
			if err := os.WriteFile(name, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := read(); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatalf("segment %d, byte %d: %v", n, at, err)
			}
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, segmentName(1, 0))); err != nil {
		t.Fatal(err)
	}
	if err := ReadShares(dir, 1, 1, 1, func([]byte, *Share) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("the first segment is gone: %v", err)
	}
}
