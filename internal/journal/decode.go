package journal

import (
	"bytes"
	"fmt"

	"cordee/pool"
)

// reader takes fixed fields from a body; after a shortage it gives zeros and
// bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return make([]byte, n)
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) rest() []byte {
	v := r.b
	r.b = nil
	return v
}

func (r *reader) u8() uint8   { return r.bytes(1)[0] }
func (r *reader) u16() uint16 { return le.Uint16(r.bytes(2)) }
func (r *reader) u32() uint32 { return le.Uint32(r.bytes(4)) }
func (r *reader) u64() uint64 { return le.Uint64(r.bytes(8)) }

// end returns ErrRecord for a body that was too short or too long.
func (r *reader) end(k Kind) error {
	if r.bad {
		return fmt.Errorf("%s record is too short: %w", k, ErrRecord)
	}
	if len(r.b) != 0 {
		return fmt.Errorf("%s record has %d bytes too many: %w", k, len(r.b), ErrRecord)
	}
	return nil
}

// Decode returns the record of a body. Nothing in it points into body. An
// unknown type is ErrNewer, a malformed body ErrRecord.
func Decode(k Kind, body []byte) (Record, error) {
	r := &reader{b: body}
	switch k {
	case KindEpoch:
		e := Epoch{Edge: r.u16(), Prefix: r.u8()}
		if r.u8() != 0 {
			return nil, fmt.Errorf("epoch record's reserved byte is not 0: %w", ErrRecord)
		}
		e.Epoch, e.When = r.u32(), int64(r.u64())
		copy(e.Genesis[:], r.bytes(32))
		e.Program = string(r.rest())
		return e, r.end(k)
	case KindRig:
		g := Rig{Number: r.u32(), Member: r.u16(), Name: string(r.rest())}
		return g, r.end(k)
	case KindJob:
		return decodeJob(r)
	case KindShare, KindAnswer:
		var s Share
		err := DecodeShare(k, body, &s)
		return s, err
	case KindReceipt:
		return Receipt{bytes.Clone(body)}, nil
	case KindBlock:
		var b BlockRecord
		copy(b.Hash[:], r.bytes(32))
		b.Height, b.When, b.Event = int32(r.u32()), int64(r.u64()), Event(r.u8())
		b.Node = string(r.bytes(int(r.u8())))
		b.Answer = string(r.rest())
		return b, r.end(k)
	case KindSealed:
		s := Sealed{LastSeq: r.u64()}
		copy(s.Chain[:], r.bytes(32))
		return s, r.end(k)
	case KindSlot:
		return Slot{bytes.Clone(body)}, nil
	default:
		return nil, fmt.Errorf("record %s: %w", k, ErrNewer)
	}
}

// DecodeShare decodes the body of a share or an answer without allocation.
func DecodeShare(k Kind, body []byte, s *Share) error {
	if len(body) != shareSize {
		return fmt.Errorf("%s record of %d bytes, want %d: %w", k, len(body), shareSize, ErrRecord)
	}
	*s = Share{
		Seq:        le.Uint64(body[0:]),
		When:       int64(le.Uint64(body[8:])),
		Rig:        le.Uint32(body[16:]),
		Member:     le.Uint16(body[20:]),
		Class:      body[22],
		Variant:    body[23],
		Counter:    le.Uint32(body[24:]),
		WorkBits:   le.Uint32(body[28:]),
		Difficulty: pool.Difficulty(le.Uint64(body[32:])),
		NTime:      le.Uint32(body[52:]),
		Nonce:      le.Uint32(body[56:]),
		Version:    le.Uint32(body[60:]),
	}
	copy(s.Extranonce1[:], body[40:44])
	copy(s.Extranonce2[:], body[44:52])
	copy(s.Hash[:], body[64:96])
	if s.Kind() != k || (s.Seq == 0) != (k == KindAnswer) {
		return fmt.Errorf("%s record with seq %d and difficulty %d: %w", k, s.Seq, s.Difficulty, ErrRecord)
	}
	return nil
}

// walkRecords calls each for the records of a frame's payload; at is the
// record's offset within the payload.
func walkRecords(payload []byte, each func(at int, k Kind, body []byte) error) error {
	for at := 0; at < len(payload); {
		if len(payload)-at < recordHead {
			return fmt.Errorf("%d bytes behind the last record: %w", len(payload)-at, ErrRecord)
		}
		k, v, n := Kind(payload[at]), payload[at+1], int(le.Uint16(payload[at+2:]))
		if v > version || k >= kinds {
			return fmt.Errorf("%s record of version %d: %w", k, v, ErrNewer)
		}
		if v == 0 || k == 0 || len(payload)-at-recordHead < n {
			return fmt.Errorf("%s record of version %d with %d bytes: %w", k, v, n, ErrRecord)
		}
		if err := each(at, k, payload[at+recordHead:at+recordHead+n]); err != nil {
			return err
		}
		at += recordHead + n
	}
	return nil
}
