package payout

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

const slotVersion = 1

var (
	slotMagic = []byte("CSLT")
	slotTag   = []byte("cordee/slot/v1")
)

// ErrSlot reports a slot manifest, or bytes of one, that break a rule of ADR
// 0006.
var ErrSlot = errors.New("not a valid slot manifest")

// Range is the credited shares of one edge's epoch that a slot holds.
type Range struct {
	Edge        uint16
	Epoch       uint32
	First, Last uint64 // seq, both included, from 1
}

// Sum is the work of one member in a slot, against one block target.
type Sum struct {
	Member     uint16
	WorkBits   uint32
	Difficulty uint64 // pool.Difficulty units
}

// Slot is the manifest of a closed stretch of the share log (ADR 0006). The
// order of shares inside it is (edge, epoch, seq).
type Slot struct {
	Number     uint32   // from 1: slot 0 is empty and has no manifest
	Prev       [32]byte // head of slot Number-1, zero for slot 1
	Ranges     []Range  // ascending by (edge, epoch), one each
	Sums       []Sum    // ascending by (member, work_bits), none zero
	RecordRoot [32]byte // RecordRoot of the share record bodies in order
	SumRoot    [32]byte // SumRoot of the members' work
}

// Check returns ErrSlot, wrapped with what is wrong, where s breaks a rule.
func (s *Slot) Check() error {
	if s.Number == 0 {
		return fmt.Errorf("slot 0 has no manifest: %w", ErrSlot)
	}
	if s.Number == 1 && s.Prev != [32]byte{} {
		return fmt.Errorf("slot 1 follows no manifest, its prev must be zero: %w", ErrSlot)
	}
	if len(s.Ranges) > math.MaxUint16 || uint64(len(s.Sums)) > math.MaxUint32 {
		return fmt.Errorf("%d ranges, %d sums are too many: %w", len(s.Ranges), len(s.Sums), ErrSlot)
	}
	for i, r := range s.Ranges {
		if r.First == 0 || r.First > r.Last {
			return fmt.Errorf("range %d: seq %d to %d: %w", i, r.First, r.Last, ErrSlot)
		}
		if i == 0 {
			continue
		}
		p := s.Ranges[i-1]
		if cmp.Or(cmp.Compare(p.Edge, r.Edge), cmp.Compare(p.Epoch, r.Epoch)) >= 0 {
			return fmt.Errorf("range %d: edge %d epoch %d does not ascend: %w", i, r.Edge, r.Epoch, ErrSlot)
		}
	}
	for i, d := range s.Sums {
		if d.Difficulty == 0 {
			return fmt.Errorf("sum %d is zero: %w", i, ErrSlot)
		}
		if i == 0 {
			continue
		}
		p := s.Sums[i-1]
		if cmp.Or(cmp.Compare(p.Member, d.Member), cmp.Compare(p.WorkBits, d.WorkBits)) >= 0 {
			return fmt.Errorf("sum %d: member %d nBits %08x does not ascend: %w", i, d.Member, d.WorkBits, ErrSlot)
		}
	}
	if (len(s.Ranges) == 0) != (len(s.Sums) == 0) {
		return fmt.Errorf("%d ranges with %d sums: every credited share has work: %w", len(s.Ranges), len(s.Sums), ErrSlot)
	}
	return nil
}

// Encode returns s's one encoding, without signature, or what Check says.
func (s *Slot) Encode() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s.append(nil), nil
}

func (s *Slot) append(b []byte) []byte {
	b = append(b, slotMagic...)
	b = append(b, slotVersion)
	b = binary.BigEndian.AppendUint32(b, s.Number)
	b = append(b, s.Prev[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Ranges)))
	for _, r := range s.Ranges {
		b = binary.BigEndian.AppendUint16(b, r.Edge)
		b = binary.BigEndian.AppendUint32(b, r.Epoch)
		b = binary.BigEndian.AppendUint64(b, r.First)
		b = binary.BigEndian.AppendUint64(b, r.Last)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Sums)))
	for _, d := range s.Sums {
		b = binary.BigEndian.AppendUint16(b, d.Member)
		b = binary.BigEndian.AppendUint32(b, d.WorkBits)
		b = binary.BigEndian.AppendUint64(b, d.Difficulty)
	}
	b = append(b, s.RecordRoot[:]...)
	return append(b, s.SumRoot[:]...)
}

// message returns what is hashed for the head and signed.
func (s *Slot) message() []byte { return s.append(bytes.Clone(slotTag)) }

// Head returns the slot's name, which the next slot and every job cite. It
// means nothing for a slot that Check refuses.
func (s *Slot) Head() [32]byte { return sha256.Sum256(s.message()) }

// Sign returns s's encoding followed by key's signature of it.
func (s *Slot) Sign(key ed25519.PrivateKey) ([]byte, error) {
	b, err := s.Encode()
	if err != nil {
		return nil, err
	}
	return append(b, ed25519.Sign(key, s.message())...), nil
}

// OpenSlot returns the slot of what Sign gave, or ErrSlot where the bytes or
// the signature by key are wrong.
func OpenSlot(b []byte, key ed25519.PublicKey) (*Slot, error) {
	if len(b) < ed25519.SignatureSize {
		return nil, fmt.Errorf("%d bytes: %w: %w", len(b), errShort, ErrSlot)
	}
	n := len(b) - ed25519.SignatureSize
	s, err := DecodeSlot(b[:n])
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(key, s.message(), b[n:]) {
		return nil, fmt.Errorf("slot %d: signature is wrong, or of another slot key than this pool's: %w", s.Number, ErrSlot)
	}
	return s, nil
}

// DecodeSlot returns the slot that encodes to exactly b, checked, or ErrSlot
// wrapped with what is wrong.
func DecodeSlot(b []byte) (*Slot, error) {
	c := cursor{b: b}
	if magic := c.take(len(slotMagic)); !bytes.Equal(magic, slotMagic) {
		return nil, fmt.Errorf("does not start with %q: %w", slotMagic, ErrSlot)
	}
	if v := c.u8(); v != slotVersion {
		return nil, fmt.Errorf("version %d, this program reads %d: %w", v, slotVersion, ErrSlot)
	}
	s := &Slot{Number: c.u32(), Prev: c.hash()}
	for range c.entries(int(c.u16()), 2+4+8+8) {
		s.Ranges = append(s.Ranges, Range{Edge: c.u16(), Epoch: c.u32(), First: c.u64(), Last: c.u64()})
	}
	for range c.entries(int(c.u32()), 2+4+8) {
		s.Sums = append(s.Sums, Sum{Member: c.u16(), WorkBits: c.u32(), Difficulty: c.u64()})
	}
	s.RecordRoot, s.SumRoot = c.hash(), c.hash()
	if c.err != nil {
		return nil, fmt.Errorf("%d bytes: %w: %w", len(b), c.err, ErrSlot)
	}
	if len(c.b) != 0 {
		return nil, fmt.Errorf("%d bytes follow its end: %w", len(c.b), ErrSlot)
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s, nil
}

// RecordRoot returns the Merkle root over share record bodies in their order:
// leaf H(0 ‖ body), inner H(1 ‖ left ‖ right), an odd last node moving up
// unpaired. Of no bodies it is zero.
//
// The prefixes keep a leaf from being read as an inner node; moving up instead
// of doubling keeps two lists from having one root.
func RecordRoot(bodies [][]byte) [32]byte {
	level := make([][32]byte, len(bodies))
	var buf []byte
	for i, body := range bodies {
		buf = append(append(buf[:0], 0), body...)
		level[i] = sha256.Sum256(buf)
	}
	for len(level) > 1 {
		next := level[:0]
		for i := 0; i < len(level); i += 2 {
			if i+1 == len(level) {
				next = append(next, level[i])
				break
			}
			buf = append(append(append(buf[:0], 1), level[i][:]...), level[i+1][:]...)
			next = append(next, sha256.Sum256(buf))
		}
		level = next
	}
	if len(level) == 0 {
		return [32]byte{}
	}
	return level[0]
}

// SumLeaf is one member's work in a slot, hidden by a salt of its own.
type SumLeaf struct {
	Member     uint16
	Difficulty uint64 // pool.Difficulty units
	Salt       [32]byte
}

// SumRoot returns the root of the Merkle-sum tree over leaves in their order,
// and their total: leaf H(0 ‖ member ‖ difficulty ‖ salt), inner H(1 ‖ sum ‖
// hash of the left ‖ sum ‖ hash of the right), an odd last node moving up
// unpaired. A total above 64 bits is ErrSlot: a sum that wraps would hide work.
func SumRoot(leaves []SumLeaf) (root [32]byte, total uint64, err error) {
	type node struct {
		sum  uint64
		hash [32]byte
	}
	level := make([]node, len(leaves))
	for i, l := range leaves {
		b := binary.BigEndian.AppendUint16([]byte{0}, l.Member)
		b = binary.BigEndian.AppendUint64(b, l.Difficulty)
		level[i] = node{l.Difficulty, sha256.Sum256(append(b, l.Salt[:]...))}
	}
	for len(level) > 1 {
		next := level[:0]
		for i := 0; i < len(level); i += 2 {
			if i+1 == len(level) {
				next = append(next, level[i])
				break
			}
			l, r := level[i], level[i+1]
			b := binary.BigEndian.AppendUint64([]byte{1}, l.sum)
			b = append(b, l.hash[:]...)
			b = binary.BigEndian.AppendUint64(b, r.sum)
			sum, carry := bits.Add64(l.sum, r.sum, 0)
			if carry != 0 {
				return root, 0, fmt.Errorf("the sums exceed 64 bits: %w", ErrSlot)
			}
			next = append(next, node{sum, sha256.Sum256(append(b, r.hash[:]...))})
		}
		level = next
	}
	if len(level) == 0 {
		return root, 0, nil
	}
	return level[0].hash, level[0].sum, nil
}
