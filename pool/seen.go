package pool

import (
	"encoding/binary"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// MaxSeen is how many accepted shares one connection may have on one tip.
// Vardiff keeps a rig near 10 a minute, so this is days of work in one block
// interval, or a flood.
const MaxSeen = 1 << 16

// Seen remembers the header hashes a connection was answered true for, on one
// tip. It holds 8 bytes a hash in open addressing: at MaxSeen entries an honest
// share collides with probability 2^16/2^64. The zero value is ready.
type Seen struct {
	table []uint64 // power of two, 0 is empty
	n     int
}

// key folds a hash to 8 bytes. The low bytes are those that proof of work
// leaves random.
func key(h *chainhash.Hash) uint64 {
	return max(binary.LittleEndian.Uint64(h[:8]), 1)
}

// Has reports whether h was added since the last Reset.
func (s *Seen) Has(h *chainhash.Hash) bool {
	if s.n == 0 {
		return false
	}
	k, mask := key(h), uint64(len(s.table)-1)
	for i := k & mask; s.table[i] != 0; i = (i + 1) & mask {
		if s.table[i] == k {
			return true
		}
	}
	return false
}

// Add remembers h. It returns false, and remembers nothing, once MaxSeen
// hashes are held.
func (s *Seen) Add(h *chainhash.Hash) bool {
	if s.n >= MaxSeen {
		return false
	}
	if 4*(s.n+1) > 3*len(s.table) {
		s.grow()
	}
	s.put(key(h))
	s.n++
	return true
}

// Len returns how many hashes are held.
func (s *Seen) Len() int { return s.n }

// Reset forgets everything: on a new tip, whose jobs make every older share
// stale. A small table is kept.
func (s *Seen) Reset() {
	if len(s.table) > 64 {
		s.table = nil
	}
	clear(s.table)
	s.n = 0
}

func (s *Seen) grow() {
	old := s.table
	s.table = make([]uint64, max(2*len(old), 16))
	for _, k := range old {
		if k != 0 {
			s.put(k)
		}
	}
}

func (s *Seen) put(k uint64) {
	mask := uint64(len(s.table) - 1)
	i := k & mask
	for s.table[i] != 0 {
		i = (i + 1) & mask
	}
	s.table[i] = k
}
