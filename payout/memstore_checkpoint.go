package payout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

const checkpointVersion = 2

var checkpointMagic = []byte("CMEM")

// Checkpoint returns all that m holds but its leases, in one canonical encoding
// of version 2, big-endian:
//
//	"CMEM" ‖ version u8 ‖ initialised u8 ‖ network (u16 length) ‖ genesis 32 ‖ schema u32 ‖ incarnation 16
//	marks   count u32 ‖ (edge u16 ‖ epoch u32 ‖ seq u64)*
//	run     count u32 ‖ (member u16 ‖ work_bits u32 ‖ difficulty u64)*
//	deltas  count u32 ‖ (slot u32 ‖ sums as in run)*
//	slots   count u32 ‖ (head 32 ‖ bytes (u32 length))*
//	records count u32 ‖ (key (u16) ‖ head 32 ‖ data (u32))*
//	fence u64 ‖ SHA-256 of all before it
func (m *Memory) Checkpoint() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	be := binary.BigEndian
	b := append(bytes.Clone(checkpointMagic), checkpointVersion)
	var meta Meta
	if m.meta != nil {
		meta = *m.meta
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append16(b, meta.Network)
	b = append(b, meta.Genesis[:]...)
	b = be.AppendUint32(b, meta.Schema)
	b = append(b, meta.Incarnation[:]...)

	b = be.AppendUint32(b, uint32(len(m.hwm)))
	for _, k := range m.marks() {
		b = be.AppendUint64(be.AppendUint32(be.AppendUint16(b, k.Edge), k.Epoch), k.Seq)
	}
	b = m.run.append(b)
	b = be.AppendUint32(b, uint32(len(m.deltas)))
	for _, n := range sortedKeys(m.deltas) {
		b = m.deltas[n].append(be.AppendUint32(b, n))
	}
	b = be.AppendUint32(b, uint32(len(m.slots)))
	for _, s := range m.slots {
		b = append32(append(b, s.Head[:]...), s.Bytes)
	}
	b = be.AppendUint32(b, uint32(len(m.records)))
	for _, r := range m.records {
		b = append32(append(append16(b, r.Key), r.Head[:]...), r.Data)
	}
	b = be.AppendUint64(b, m.fence)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func append16(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func append32(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func (s workSums) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	for _, d := range s.sorted() {
		b = binary.BigEndian.AppendUint16(b, d.Member)
		b = binary.BigEndian.AppendUint32(b, d.WorkBits)
		b = binary.BigEndian.AppendUint64(b, d.Difficulty)
	}
	return b
}

func sortedKeys[V any](m map[uint32]V) []uint32 {
	keys := make([]uint32, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Restore makes m hold what the checkpoint b says, or changes nothing and
// returns ErrCorrupt. Leases are not restored.
func (m *Memory) Restore(b []byte) error {
	state, err := decodeCheckpoint(b)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memoryState = *state
	m.leases = map[string]memoryLease{}
	return nil
}

func decodeCheckpoint(b []byte) (*memoryState, error) {
	n := len(b) - sha256.Size
	if n < len(checkpointMagic)+1 || !bytes.HasPrefix(b, checkpointMagic) {
		return nil, fmt.Errorf("checkpoint of %d bytes does not start with %q: %w", len(b), checkpointMagic, ErrCorrupt)
	}
	if v := b[len(checkpointMagic)]; v != checkpointVersion {
		return nil, fmt.Errorf("checkpoint of version %d, this program reads %d: %w", v, checkpointVersion, ErrCorrupt)
	}
	if sum := sha256.Sum256(b[:n]); !bytes.Equal(sum[:], b[n:]) {
		return nil, fmt.Errorf("checkpoint of %d bytes: its checksum is wrong: %w", len(b), ErrCorrupt)
	}
	m := NewMemory(nil)
	c := &cursor{b: b[len(checkpointMagic)+1 : n]}
	initialised := c.u8()
	meta := Meta{Network: string(c.take(int(c.u16()))), Genesis: c.hash(), Schema: c.u32()}
	copy(meta.Incarnation[:], c.take(16))
	if initialised == 1 {
		m.meta = &meta
	}
	for range c.entries(int(c.u32()), 14) {
		at := edgeEpoch{c.u16(), c.u32()}
		m.hwm[at] = c.u64()
	}
	m.run = c.sums()
	for range c.entries(int(c.u32()), 8) {
		n := c.u32()
		m.deltas[n] = c.sums()
	}
	var prev [32]byte
	for i := range c.entries(int(c.u32()), 36) {
		s := Manifest{Number: uint32(i) + 1, Prev: prev, Head: c.hash()}
		s.Bytes = bytes.Clone(c.take(int(c.u32())))
		m.slots = append(m.slots, s)
		prev = s.Head
	}
	for i := range c.entries(int(c.u32()), 38) {
		r := LedgerRecord{Key: string(c.take(int(c.u16()))), Head: c.hash()}
		r.Data = bytes.Clone(c.take(int(c.u32())))
		m.records = append(m.records, r)
		m.keys[r.Key] = i
	}
	m.fence = c.u64()
	if c.err == nil && len(c.b) != 0 {
		c.err = fmt.Errorf("%d bytes follow its end", len(c.b))
	}
	if c.err == nil && !bytes.Equal(m.Checkpoint(), b) {
		c.err = fmt.Errorf("it is not the one encoding of what it holds")
	}
	if c.err == nil {
		for _, d := range m.run {
			if d == 0 || d > math.MaxInt64 {
				c.err = fmt.Errorf("a sum is %d", d)
			}
		}
	}
	if c.err != nil {
		return nil, fmt.Errorf("checkpoint of %d bytes: %w: %w", len(b), c.err, ErrCorrupt)
	}
	return &m.memoryState, nil
}

func (c *cursor) sums() workSums {
	s := workSums{}
	for range c.entries(int(c.u32()), 14) {
		of := memberBits{c.u16(), c.u32()}
		s[of] = c.u64()
	}
	return s
}
