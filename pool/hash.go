package pool

import (
	"encoding/binary"
	"sync"

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
//
// Within a read submissions are mostly of one job, and hashing several such at
// once costs little more than one: in lanes as far as the kernel has them and
// enough are alike, else two by two.
func hashAll(dst []Hashed, subs []Submission, buf []byte) ([]Hashed, []byte) {
	for len(subs) > 0 {
		n := fit(subs)
		wide := n > 0
		if !wide {
			n = min(2, len(subs))
		}
		dst = append(dst, make([]Hashed, n)...)
		switch h := dst[len(dst)-n:]; {
		case wide:
			buf = hashLanes(h, subs[:n], buf)
		case n == 2:
			buf = hashPair((*[2]Hashed)(h), (*[2]Submission)(subs), buf)
		default:
			buf = hashOne(&h[0], &subs[0], buf)
		}
		subs = subs[n:]
	}
	return dst, buf
}

func hashOne(h *Hashed, s *Submission, buf []byte) []byte {
	buf = s.Work.Coinbase(buf[:0], s)
	h.setHeader(s, sha256d.Fold(s.Work.prefix.Sum(buf), s.Work.Template.Branches))
	h.setHash(s, sha256d.Sum(h.Header[:]))
	return buf
}

func hashPair(h *[2]Hashed, s *[2]Submission, buf []byte) []byte {
	buf = s[0].Work.Coinbase(buf[:0], &s[0])
	n := len(buf)
	buf = s[1].Work.Coinbase(buf, &s[1])
	leaves := sha256d.SumPair(&s[0].Work.prefix, &s[1].Work.prefix, buf[:n], buf[n:])
	roots := sha256d.FoldPair(leaves, s[0].Work.Template.Branches, s[1].Work.Template.Branches)
	for i := range h {
		h[i].setHeader(&s[i], roots[i])
	}
	var none sha256d.Midstate // a header begins with what the rig rolls
	hashes := sha256d.SumPair(&none, &none, h[0].Header[:], h[1].Header[:])
	for i := range h {
		h[i].setHash(&s[i], hashes[i])
	}
	return buf
}

// fit returns how many of subs, from the first on, to hash in lanes, 0 for none.
// What is in lanes climbs the same branches, and their coinbases have as many
// blocks to hash.
func fit(subs []Submission) int {
	n := sha256d.Fit(len(subs))
	if n == 0 {
		return 0
	}
	first := &subs[0]
	blocks := first.blocks()
	for i := 1; i < n; i++ {
		if s := &subs[i]; s.Work.Template != first.Work.Template || s.blocks() != blocks {
			return sha256d.Fit(i)
		}
	}
	return n
}

// blocks returns how many blocks of s's coinbase its Work does not remember.
func (s *Submission) blocks() int {
	w := s.Work
	return w.prefix.Blocks(len(w.Coinb1) + Extranonce1Size + int(s.Extranonce2Size) + len(w.Coinb2))
}

// lanes are borrowed while a batch is hashed, which waits for nothing: there
// are as many as processors, not as rigs.
var lanes = sync.Pool{New: func() any { return new(sha256d.Lanes) }}

// hashLanes hashes submissions that are alike.
func hashLanes(h []Hashed, s []Submission, buf []byte) []byte {
	l := lanes.Get().(*sha256d.Lanes)
	for i := range s {
		buf = s[i].Work.Coinbase(buf[:0], &s[i])
		l.Add(&s[i].Work.prefix, buf)
	}
	for i, root := range l.Fold(s[0].Work.Template.Branches) {
		h[i].setHeader(&s[i], root)
	}
	var none sha256d.Midstate // a header begins with what the rig rolls
	for i := range h {
		l.Add(&none, h[i].Header[:])
	}
	for i, hash := range l.Fold(nil) {
		h[i].setHash(&s[i], hash)
	}
	lanes.Put(l)
	return buf
}

func (h *Hashed) setHeader(s *Submission, root [sha256d.Size]byte) {
	t := s.Work.Template
	binary.LittleEndian.PutUint32(h.Header[0:], s.Version)
	copy(h.Header[4:], t.PrevHash[:])
	copy(h.Header[36:], root[:])
	binary.LittleEndian.PutUint32(h.Header[68:], s.NTime)
	binary.LittleEndian.PutUint32(h.Header[72:], t.Bits)
	binary.LittleEndian.PutUint32(h.Header[76:], s.Nonce)
}

func (h *Hashed) setHash(s *Submission, hash [sha256d.Size]byte) {
	h.Hash = chainhash.Hash(hash)
	h.Block = s.Work.Template.BlockTarget.Met(&h.Hash)
}
