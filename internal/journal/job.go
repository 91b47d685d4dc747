package journal

import (
	"fmt"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// Job is all that is needed to rebuild the header of any share of a job, and
// so to judge it again.
type Job struct {
	Counter    uint32
	Tip        uint64
	Slot       uint32
	Class      uint8
	Drain      uint8 // drain mode of its settlement
	Height     int32
	WorkBits   uint32
	TemplateID chainhash.Hash
	Commitment [32]byte
	ReceiptID  [32]byte
	Version    uint32
	Bits       uint32
	Tag        string // at most 255 bytes
	Coinb2     []byte // coinbase behind extranonce2, at most 65535 bytes
	Branches   [][32]byte
	PrevHash   chainhash.Hash
	MinTime    uint32 // seconds
	CurTime    uint32 // seconds
	Value      int64  // sats
}

// JobRecord returns the record of j. Its slices are j's own, which never
// change.
func JobRecord(j *pool.Job, templateID chainhash.Hash, receiptID [32]byte, drain uint8) Job {
	t := j.Template
	return Job{
		Counter:    j.Counter,
		Tip:        j.Tip,
		Slot:       j.Payout.Slot,
		Class:      j.Class.ID,
		Drain:      drain,
		Height:     t.Height,
		WorkBits:   t.WorkBits,
		TemplateID: templateID,
		Commitment: j.Payout.Commitment,
		ReceiptID:  receiptID,
		Version:    t.Version,
		Bits:       t.Bits,
		Tag:        j.Tag,
		Coinb2:     j.Work(0, 0).Coinb2,
		Branches:   t.Branches,
		PrevHash:   t.PrevHash,
		MinTime:    t.MinTime,
		CurTime:    t.CurTime,
		Value:      t.Value,
	}
}

// Kind is KindJob.
func (Job) Kind() Kind { return KindJob }

func (r Job) appendBody(b []byte) []byte {
	b = le.AppendUint32(b, r.Counter)
	b = le.AppendUint64(b, r.Tip)
	b = le.AppendUint32(b, r.Slot)
	b = append(b, r.Class, r.Drain)
	b = le.AppendUint32(b, uint32(r.Height))
	b = le.AppendUint32(b, r.WorkBits)
	b = append(b, r.TemplateID[:]...)
	b = append(b, r.Commitment[:]...)
	b = append(b, r.ReceiptID[:]...)
	b = le.AppendUint32(b, r.Version)
	b = le.AppendUint32(b, r.Bits)
	b = le.AppendUint16(b, uint16(len(r.Coinb2)))
	b = append(b, byte(len(r.Tag)))
	b = append(b, r.Tag...)
	b = append(b, r.Coinb2...)
	b = append(b, byte(len(r.Branches)))
	for i := range r.Branches {
		b = append(b, r.Branches[i][:]...)
	}
	b = append(b, r.PrevHash[:]...)
	b = le.AppendUint32(b, r.MinTime)
	b = le.AppendUint32(b, r.CurTime)
	return le.AppendUint64(b, uint64(r.Value))
}

// check refuses a job whose parts do not fit their length fields.
func (r *Job) check() error {
	if len(r.Coinb2) > maxBody || len(r.Tag) > 255 || len(r.Branches) > 255 {
		return fmt.Errorf("job with coinb2 of %d bytes, tag of %d, %d branches: %w",
			len(r.Coinb2), len(r.Tag), len(r.Branches), ErrTooLarge)
	}
	return nil
}

func decodeJob(r *reader) (Record, error) {
	j := Job{Counter: r.u32(), Tip: r.u64(), Slot: r.u32(), Class: r.u8(), Drain: r.u8()}
	j.Height, j.WorkBits = int32(r.u32()), r.u32()
	copy(j.TemplateID[:], r.bytes(32))
	copy(j.Commitment[:], r.bytes(32))
	copy(j.ReceiptID[:], r.bytes(32))
	j.Version, j.Bits = r.u32(), r.u32()
	coinb2, tag := int(r.u16()), int(r.u8())
	j.Tag = string(r.bytes(tag))
	j.Coinb2 = append([]byte(nil), r.bytes(coinb2)...)
	for n := r.u8(); n > 0 && !r.bad; n-- {
		j.Branches = append(j.Branches, [32]byte(r.bytes(32)))
	}
	copy(j.PrevHash[:], r.bytes(32))
	j.MinTime, j.CurTime, j.Value = r.u32(), r.u32(), int64(r.u64())
	return j, r.end(KindJob)
}
