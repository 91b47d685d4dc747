package sha256d

import (
	"crypto/sha256"
	"encoding/binary"
)

// Size is the length of a digest in bytes, blockSize that of what SHA-256
// compresses at a time.
const (
	Size      = sha256.Size
	blockSize = sha256.BlockSize
)

// Midstate is what SHA-256 remembers of the beginning of a message: who hashes
// many messages that begin alike pays for the beginning once. The zero Midstate
// remembers nothing and fits every message. Not valid in another process: its
// form is the kernel's own.
type Midstate struct {
	state [8]uint32
	n     int // bytes remembered, a multiple of blockSize
}

// NewMidstate remembers as much of prefix as whole blocks hold, which may be
// nothing.
func NewMidstate(prefix []byte) Midstate {
	var m Midstate
	if n := len(prefix) &^ (blockSize - 1); n > 0 && chosen.native {
		m = Midstate{state: start, n: n}
		blocks(&m.state, prefix[:n])
	}
	return m
}

// Sum returns SHA-256(SHA-256(msg)). msg is the whole message, beginning as
// m's prefix did.
func (m *Midstate) Sum(msg []byte) (digest [Size]byte) {
	if !chosen.native {
		return standard(msg)
	}
	var end [2 * blockSize]byte
	body, tail := m.split(&end, msg)
	sum(&digest, m.from(), body, tail)
	return digest
}

// SumPair is a.Sum(x) and b.Sum(y). Where the kernel has lanes and both
// messages have as many blocks to hash, it costs less than the two.
func SumPair(a, b *Midstate, x, y []byte) (digests [2][Size]byte) {
	if pairs && chosen.native {
		var ends [2][2 * blockSize]byte
		bodyX, tailX := a.split(&ends[0], x)
		bodyY, tailY := b.split(&ends[1], y)
		if len(bodyX) == len(bodyY) && len(tailX) == len(tailY) {
			sum2(&digests, a.from(), b.from(), bodyX, bodyY, tailX, tailY)
			return digests
		}
	}
	digests[0], digests[1] = a.Sum(x), b.Sum(y)
	return digests
}

// Sum returns SHA-256(SHA-256(data)).
func Sum(data []byte) [Size]byte {
	var none Midstate
	return none.Sum(data)
}

// Fold returns the merkle root that leaf reaches through branches, its
// siblings from the leaf upward. Leaf is the leftmost of the tree (the
// coinbase), so every sibling stands on its right. All hashes are in hashing
// byte order, never display order.
func Fold(leaf [Size]byte, branches [][Size]byte) [Size]byte {
	if len(branches) == 0 {
		return leaf
	}
	if chosen.native {
		fold(&leaf, branches)
		return leaf
	}
	var pair [2 * Size]byte
	for i := range branches {
		copy(pair[:Size], leaf[:])
		copy(pair[Size:], branches[i][:])
		leaf = standard(pair[:])
	}
	return leaf
}

// FoldPair is Fold of each leaf through its own branches. Where the kernel has
// lanes and there are as many of both, it costs less than the two.
func FoldPair(leaves [2][Size]byte, x, y [][Size]byte) [2][Size]byte {
	if pairs && chosen.native && len(x) == len(y) && len(x) > 0 {
		fold2(&leaves, x, y)
		return leaves
	}
	return [2][Size]byte{Fold(leaves[0], x), Fold(leaves[1], y)}
}

// standard is the kernel of the standard library, which every other one must
// agree with.
func standard(data []byte) [Size]byte {
	first := sha256.Sum256(data)
	return sha256.Sum256(first[:])
}

// from returns the state to go on from.
func (m *Midstate) from() *[8]uint32 {
	if m.n == 0 {
		return &start
	}
	return &m.state
}

// split returns what is left of msg to hash: its whole blocks, then one or two
// more in end, which hold the rest and what pads it (FIPS 180-4, 5.1.1).
func (m *Midstate) split(end *[2 * blockSize]byte, msg []byte) (body, tail []byte) {
	rest := msg[m.n:]
	whole := len(rest) &^ (blockSize - 1)
	n := copy(end[:], rest[whole:])
	end[n] = 0x80
	size := blockSize
	if n+1+8 > blockSize {
		size = 2 * blockSize
	}
	binary.BigEndian.PutUint64(end[size-8:], uint64(len(msg))*8)
	return rest[:whole], end[:size]
}
