package pool

import (
	"encoding/binary"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool/sha256d"
)

// Submission is what a rig claims, parsed to fixed binary: no spelling of it is
// left that could make one share look like two. Version is final, after the
// merge of BIP310 (see MergeVersion).
type Submission struct {
	Work            *Work
	Extranonce1     [Extranonce1Size]byte // of the connection the job was issued on
	Extranonce2     [Extranonce2Size]byte // the first Extranonce2Size bytes count
	Extranonce2Size uint8                 // 4 to 8
	NTime           uint32                // seconds
	Nonce           uint32
	Version         uint32
}

// Hashed is a submission's header, its hash, and whether that is a block.
type Hashed struct {
	Header [80]byte
	Hash   chainhash.Hash // hashing byte order
	Block  bool           // meets the template's BlockTarget: hand it to the block lane now
}

// MergeVersion returns the header version that a rig hashed: base with the bits
// under mask replaced by bits (BIP310). ok is false where bits has any outside
// mask; the version is then what such firmware hashes, so that a block in it
// can still be tested.
func MergeVersion(base, bits, mask uint32) (version uint32, ok bool) {
	return base&^mask | bits, bits&^mask == 0
}

// Hash appends to dst the header and hash of every submission. It is the only
// place where a header is built. It never fails and never judges: whatever the
// share rules say later, a block among them is marked here.
func Hash(dst []Hashed, subs []Submission) []Hashed {
	var buf [1024]byte
	dst, _ = hashAll(dst, subs, buf[:0])
	return dst
}

// hashAll is Hash with a buffer to put coinbases together in, which it returns
// for the next batch in case it had to grow.
func hashAll(dst []Hashed, subs []Submission, buf []byte) ([]Hashed, []byte) {
	for i := range subs {
		s := &subs[i]
		t := s.Work.Template
		buf = s.Work.Coinbase(buf[:0], s)
		root := sha256d.Fold(sha256d.Sum(buf), t.Branches)

		dst = append(dst, Hashed{})
		h := &dst[len(dst)-1]
		binary.LittleEndian.PutUint32(h.Header[0:], s.Version)
		copy(h.Header[4:], t.PrevHash[:])
		copy(h.Header[36:], root[:])
		binary.LittleEndian.PutUint32(h.Header[68:], s.NTime)
		binary.LittleEndian.PutUint32(h.Header[72:], t.Bits)
		binary.LittleEndian.PutUint32(h.Header[76:], s.Nonce)
		h.Hash = chainhash.Hash(sha256d.Sum(h.Header[:]))
		h.Block = t.BlockTarget.Met(&h.Hash)
	}
	return dst, buf
}
