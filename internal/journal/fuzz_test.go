package journal

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzJournalDecode gives the readers any bytes: as the body of a record, as
// the payload of a true frame, and as a whole segment. Nothing panics, and
// what decodes encodes to the same bytes.
func FuzzJournalDecode(f *testing.F) {
	var all []byte
	for _, r := range goldenRecords() {
		b, err := appendRecord(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	h := header{epoch: 1, firstSeq: 1}
	f.Add(append(h.encode(), sealFrame(append(make([]byte, frameHead), all...), h.crc, headerSize, headerSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 {
			if r, err := Decode(Kind(b[0]), b[1:]); err == nil && len(b) <= maxBody {
				if got := r.appendBody(nil); !bytes.Equal(got, b[1:]) {
					t.Errorf("%s: %x encodes to %x", r.Kind(), b[1:], got)
				}
			}
		}
		h := header{epoch: 1, firstSeq: 1}
		segment := append(h.encode(), sealFrame(append(make([]byte, frameHead), b...), h.crc, headerSize, headerSize)...)
		for _, data := range [][]byte{b, segment, append(segment, b...)} {
			disk := newMemFS(1)
			disk.names["/j/"+segmentName(1, 0)] = &inode{cur: data}
			_, err := verify(disk, "/j", nil)
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("unnamed error %v", err)
			}
		}
	})
}
