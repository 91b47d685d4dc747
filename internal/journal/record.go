package journal

import (
	"fmt"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// Kind is the type byte of a record.
type Kind uint8

// The record types of ADR 0002. Slot is reserved for manifests (ADR 0006).
const (
	KindEpoch   Kind = 1
	KindRig     Kind = 2
	KindJob     Kind = 3
	KindShare   Kind = 4
	KindAnswer  Kind = 5
	KindReceipt Kind = 6
	KindBlock   Kind = 7
	KindSealed  Kind = 8
	KindSlot    Kind = 9
)

// kinds is one more than the highest type.
const kinds = 10

var kindNames = [kinds]string{"", "epoch", "rig", "job", "share", "answer", "receipt", "block", "sealed", "slot"}

// String returns the name of ADR 0002.
func (k Kind) String() string {
	if k == 0 || int(k) >= kinds {
		return fmt.Sprintf("type %d", uint8(k))
	}
	return kindNames[k]
}

// Record is one entry of the log. The types are those of this package.
type Record interface {
	Kind() Kind
	// appendBody appends the body. The caller checks its length.
	appendBody(b []byte) []byte
}

// Epoch is the first record of an epoch, written by Open.
type Epoch struct {
	Edge    uint16
	Prefix  byte
	Epoch   uint32
	When    int64 // Unix ms
	Genesis chainhash.Hash
	Program string
}

// Rig gives a worker's full name its number in this epoch.
type Rig struct {
	Number uint32
	Member uint16
	Name   string
}

// shareSize is the length of a share's body, in bytes.
const shareSize = 96

// Share is an accepted share. With Difficulty 0 it is an answer: the rig heard
// true, nothing was credited, and it has no seq.
type Share struct {
	Seq         uint64 // set by AppendShares; 0 for an answer
	When        int64  // Unix ms
	Rig         uint32 // number of a Rig record
	Member      uint16 // of the coinbase that was hashed
	Class       uint8
	Variant     uint8
	Counter     uint32 // of the job
	WorkBits    uint32
	Difficulty  pool.Difficulty // credit
	Extranonce1 [4]byte
	Extranonce2 [8]byte
	NTime       uint32
	Nonce       uint32
	Version     uint32
	Hash        chainhash.Hash // hashing byte order
}

// Receipt holds the bytes of ADR 0004, at most 65535.
type Receipt struct{ Bytes []byte }

// Event is what happened to a block of ours.
type Event uint8

// The events of a BlockRecord.
const (
	BlockCandidate Event = 1 // written to disk
	BlockSubmitted Event = 2 // sent to Node
	BlockAccepted  Event = 3 // Node has it in its active chain or took it
	BlockRefused   Event = 4 // Node's Answer says why
)

// String returns the event's name.
func (e Event) String() string {
	names := [...]string{"", "candidate", "submitted", "accepted", "refused"}
	if e == 0 || int(e) >= len(names) {
		return fmt.Sprintf("event %d", uint8(e))
	}
	return names[e]
}

// BlockRecord is one event of a block.
type BlockRecord struct {
	Hash   chainhash.Hash
	Height int32
	When   int64 // Unix ms
	Event  Event
	Node   string // at most 255 bytes
	Answer string
}

// Sealed is the last record of an epoch that ended cleanly, written by Close.
type Sealed struct {
	LastSeq uint64
	Chain   [32]byte // running hash over all frames before this one
}

// Slot holds a manifest of ADR 0006.
type Slot struct{ Bytes []byte }

// Kind is KindEpoch.
func (Epoch) Kind() Kind { return KindEpoch }

// Kind is KindRig.
func (Rig) Kind() Kind { return KindRig }

// Kind is KindShare, or KindAnswer where nothing is credited.
func (s Share) Kind() Kind {
	if s.Difficulty == 0 {
		return KindAnswer
	}
	return KindShare
}

// Kind is KindReceipt.
func (Receipt) Kind() Kind { return KindReceipt }

// Kind is KindBlock.
func (BlockRecord) Kind() Kind { return KindBlock }

// Kind is KindSealed.
func (Sealed) Kind() Kind { return KindSealed }

// Kind is KindSlot.
func (Slot) Kind() Kind { return KindSlot }

func (r Epoch) appendBody(b []byte) []byte {
	b = le.AppendUint16(b, r.Edge)
	b = append(b, r.Prefix, 0)
	b = le.AppendUint32(b, r.Epoch)
	b = le.AppendUint64(b, uint64(r.When))
	b = append(b, r.Genesis[:]...)
	return append(b, r.Program...)
}

func (r Rig) appendBody(b []byte) []byte {
	b = le.AppendUint32(b, r.Number)
	b = le.AppendUint16(b, r.Member)
	return append(b, r.Name...)
}

func (s Share) appendBody(b []byte) []byte { return appendShare(b, &s) }

// appendShare is appendBody without a copy.
func appendShare(b []byte, s *Share) []byte {
	b = le.AppendUint64(b, s.Seq)
	b = le.AppendUint64(b, uint64(s.When))
	b = le.AppendUint32(b, s.Rig)
	b = le.AppendUint16(b, s.Member)
	b = append(b, s.Class, s.Variant)
	b = le.AppendUint32(b, s.Counter)
	b = le.AppendUint32(b, s.WorkBits)
	b = le.AppendUint64(b, uint64(s.Difficulty))
	b = append(b, s.Extranonce1[:]...)
	b = append(b, s.Extranonce2[:]...)
	b = le.AppendUint32(b, s.NTime)
	b = le.AppendUint32(b, s.Nonce)
	b = le.AppendUint32(b, s.Version)
	return append(b, s.Hash[:]...)
}

func (r Receipt) appendBody(b []byte) []byte { return append(b, r.Bytes...) }

func (r BlockRecord) appendBody(b []byte) []byte {
	b = append(b, r.Hash[:]...)
	b = le.AppendUint32(b, uint32(r.Height))
	b = le.AppendUint64(b, uint64(r.When))
	node := r.Node[:min(len(r.Node), 255)]
	b = append(b, byte(r.Event), byte(len(node)))
	b = append(b, node...)
	return append(b, r.Answer...)
}

func (r Sealed) appendBody(b []byte) []byte {
	b = le.AppendUint64(b, r.LastSeq)
	return append(b, r.Chain[:]...)
}

func (r Slot) appendBody(b []byte) []byte { return append(b, r.Bytes...) }

// appendRecord appends head and body of r, or returns ErrTooLarge.
func appendRecord(b []byte, r Record) ([]byte, error) {
	start := len(b)
	b = r.appendBody(append(b, byte(r.Kind()), version, 0, 0))
	n := len(b) - start - recordHead
	if n > maxBody {
		return b[:start], fmt.Errorf("%s of %d bytes, at most %d: %w", r.Kind(), n, maxBody, ErrTooLarge)
	}
	le.PutUint16(b[start+2:], uint16(n))
	return b, nil
}
