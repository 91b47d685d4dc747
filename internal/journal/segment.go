package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Sizes of the format (ADR 0002), in bytes.
const (
	headerSize = 64   // of a segment
	frameHead  = 16   // length, crc, synced
	align      = 8    // of a frame's offset
	pageSize   = 4096 // preallocated sizes are multiples of it, closed ones are not
	recordHead = 4    // type, version, length
	maxBody    = 1<<16 - 1
	version    = 1
)

var (
	magic      = [8]byte{'C', 'O', 'R', 'D', 'J', 'R', 'N', version}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// header is what a segment says of itself.
type header struct {
	edge     uint16
	prefix   byte
	epoch    uint32
	number   uint32   // within the epoch, from 0
	firstSeq uint64   // first credited seq that can stand in it
	chain    [32]byte // running hash over the frames of the epoch's earlier segments
	crc      uint32   // of bytes 0..59, part of every frame's checksum
}

// encode returns the header's bytes and fills in crc.
func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic[:])
	le.PutUint16(b[8:], h.edge)
	b[10] = h.prefix
	le.PutUint32(b[12:], h.epoch)
	le.PutUint32(b[16:], h.number)
	le.PutUint64(b[20:], h.firstSeq)
	copy(b[28:60], h.chain[:])
	h.crc = crc32.Checksum(b[:60], castagnoli)
	le.PutUint32(b[60:], h.crc)
	return b
}

// parseHeader decodes the first bytes of a segment. The error is ErrNewer for
// a later version of the format, else plain text for a DamageError.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, fmt.Errorf("%d bytes, a segment header has %d", len(b), headerSize)
	}
	crc := crc32.Checksum(b[:60], castagnoli)
	whole := crc == le.Uint32(b[60:])
	if string(b[:7]) != string(magic[:7]) {
		return header{}, fmt.Errorf("does not begin with %q", magic[:7])
	}
	if b[7] != version {
		if b[7] > version && whole {
			return header{}, fmt.Errorf("segment format version %d, this program reads %d: %w", b[7], version, ErrNewer)
		}
		return header{}, fmt.Errorf("format version %d with a header checksum that does not hold", b[7])
	}
	if !whole || b[11] != 0 {
		return header{}, fmt.Errorf("header checksum does not hold")
	}
	h := header{
		edge:     le.Uint16(b[8:]),
		prefix:   b[10],
		epoch:    le.Uint32(b[12:]),
		number:   le.Uint32(b[16:]),
		firstSeq: le.Uint64(b[20:]),
		crc:      crc,
	}
	copy(h.chain[:], b[28:60])
	return h, nil
}

// segmentName returns the file name of a segment.
func segmentName(epoch, number uint32) string {
	return fmt.Sprintf("seg-%08x-%08x.cj", epoch, number)
}

// parseSegmentName is the inverse; ok is false for any other file.
func parseSegmentName(name string) (epoch, number uint32, ok bool) {
	mid, found := strings.CutPrefix(name, "seg-")
	mid, found2 := strings.CutSuffix(mid, ".cj")
	if !found || !found2 || len(mid) != 17 || mid[8] != '-' {
		return 0, 0, false
	}
	e, err1 := strconv.ParseUint(mid[:8], 16, 32)
	n, err2 := strconv.ParseUint(mid[9:], 16, 32)
	if err1 != nil || err2 != nil || segmentName(uint32(e), uint32(n)) != name {
		return 0, 0, false
	}
	return uint32(e), uint32(n), true
}

// padded rounds n up to the frame alignment.
func padded(n int) int { return (n + align - 1) &^ (align - 1) }

// frameCRC binds a frame to its place: a frame copied from another segment or
// offset does not hold.
func frameCRC(headerCRC uint32, off int64, length uint32, synced uint64, payload []byte) uint32 {
	var b [24]byte
	le.PutUint32(b[0:], headerCRC)
	le.PutUint64(b[4:], uint64(off))
	le.PutUint32(b[12:], length)
	le.PutUint64(b[16:], synced)
	// By hand: given to crc32, the array would escape to the heap.
	crc := ^uint32(0)
	for _, c := range b {
		crc = castagnoli[byte(crc)^c] ^ crc>>8
	}
	return crc32.Update(^crc, castagnoli, payload)
}

// sealFrame fills in the head of a frame whose payload stands behind it, and
// appends the padding.
func sealFrame(b []byte, headerCRC uint32, off int64, synced uint64) []byte {
	payload := b[frameHead:]
	le.PutUint32(b[0:], uint32(len(payload)))
	le.PutUint64(b[8:], synced)
	le.PutUint32(b[4:], frameCRC(headerCRC, off, uint32(len(payload)), synced, payload))
	for len(b)%align != 0 {
		b = append(b, 0)
	}
	return b
}

// frame is one group commit as read back.
type frame struct {
	off, end int64
	synced   int64
	payload  []byte
	raw      []byte // head, payload and padding
}

// frameAt reads the frame at off of a segment's bytes. ok is false for
// anything but a whole true frame: its length, checksum, padding and synced
// must hold.
func frameAt(data []byte, headerCRC uint32, off int64) (f frame, ok bool) {
	return frameFrom(data, 0, headerCRC, off)
}

// frameFrom is frameAt where data begins at offset base of the segment.
func frameFrom(data []byte, base int64, headerCRC uint32, off int64) (f frame, ok bool) {
	if off-base+frameHead > int64(len(data)) {
		return f, false
	}
	head := data[off-base : off-base+frameHead]
	length, synced := le.Uint32(head), le.Uint64(head[8:])
	if length == 0 || synced < headerSize || synced > uint64(off) || synced%align != 0 {
		return f, false
	}
	end := off + frameHead + (int64(length)+align-1)&^(align-1)
	if end-base > int64(len(data)) {
		return f, false
	}
	f = frame{off: off, end: end, synced: int64(synced), raw: data[off-base : end-base]}
	f.payload = f.raw[frameHead : frameHead+int64(length)]
	if frameCRC(headerCRC, off, length, synced, f.payload) != le.Uint32(head[4:]) {
		return f, false
	}
	return f, allZero(f.raw[frameHead+int64(length):])
}

// chainFrame returns the running hash behind a frame.
func chainFrame(chain [32]byte, raw []byte) [32]byte {
	h := sha256.New()
	h.Write(chain[:])
	h.Write(raw)
	return [32]byte(h.Sum(nil))
}

// allZero reports whether b holds only zeros.
func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// closedSize is the length to which a segment is cut behind its last frame.
// It is never a multiple of a page, as every preallocated size is: so a
// finished segment is known as such even when its last frame is damaged.
func closedSize(end int64) int64 {
	if end%pageSize == 0 {
		return end + align
	}
	return end
}
