package sha256d

import (
	"encoding/binary"
	"fmt"
)

// MaxLanes is how many messages Lanes holds.
const MaxLanes = 16

// Lanes hashes messages side by side, one in each 32-bit lane of the
// processor's wide registers: many cost little more than one. The zero value is
// empty. One goroutine at a time.
//
// It is some 2 KiB and room for the messages, which it keeps: too much for a
// goroutine's stack, so borrow one where it is needed.
type Lanes struct {
	n       int // messages in it
	blocks  int // of each
	from    [MaxLanes][8]uint32
	data    []byte // what is left of the messages to hash, padded, one behind the other
	digests [MaxLanes][Size]byte
	frame   [832]byte // of the kernel: a state and a schedule of 8 lanes, or a state of 16, aligned to 64
}

// Fit returns how many of n messages to hash with Lanes next, where they all
// have as many Blocks; 0 where they go faster through SumPair and Sum.
func Fit(n int) int {
	for _, w := range chosen.widths {
		if n >= w.least {
			return min(n, w.lanes)
		}
	}
	return 0
}

// Blocks returns how many blocks of 64 bytes are left to hash of a message of
// size bytes that begins as m's prefix did.
func (m *Midstate) Blocks(size int) int { return (size-m.n+8)/blockSize + 1 }

// Add puts a message into the next lane: the whole of msg, which begins as m's
// prefix did. It panics where the lanes are full or hold messages of another
// number of Blocks. msg may be changed once it returns.
func (l *Lanes) Add(m *Midstate, msg []byte) {
	blocks := m.Blocks(len(msg))
	if l.n == 0 {
		l.blocks = blocks
		if n := MaxLanes * blocks * blockSize; len(l.data) < n {
			l.data = make([]byte, n)
		}
	}
	if l.blocks != blocks {
		panic(fmt.Sprintf("sha256d: a message of %d blocks in lanes of %d", blocks, l.blocks))
	}
	l.from[l.n] = *m.from()
	size := blocks * blockSize
	lane := l.data[l.n*size:][:size]
	n := copy(lane, msg[m.n:])
	lane[n] = 0x80 // what pads a message: FIPS 180-4, 5.1.1
	clear(lane[n+1 : size-8])
	binary.BigEndian.PutUint64(lane[size-8:], uint64(len(msg))*8)
	l.n++
}

// Fold takes the messages out and returns, in their order and valid until the
// next call, Fold of the Sum of each through branches, which may be none. At
// least one message must be there, and the kernel must have lanes: as many, at
// most, as Fit ever returns.
func (l *Lanes) Fold(branches [][Size]byte) [][Size]byte {
	// The narrowest that holds them. What stands in lanes without a message is
	// hashed too, and nobody looks.
	i := len(chosen.widths) - 1
	for chosen.widths[i].lanes < l.n {
		i--
	}
	foldLanes(chosen.widths[i].by, l, branches)
	n := l.n
	l.n = 0
	return l.digests[:n]
}
