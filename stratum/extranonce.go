package stratum

import (
	"sync"

	"cordee/pool"
)

// nonceSpace is how many extranonce1 values one prefix has.
const nonceSpace = 1 << 24

// nonceRestMillis is the least time a freed value rests, on top of the rule that
// a newer job set must have been published meanwhile.
const nonceRestMillis = 10 * 60_000

// bitset is 2^24 bits in pages that exist only once they are written: 2 MiB
// when all are.
type bitset [nonceSpace >> 16]*[1 << 10]uint64

func (b *bitset) has(v uint32) bool {
	p := b[v>>16]
	return p != nil && p[v>>6&0x3ff]&(1<<(v&63)) != 0
}

func (b *bitset) set(v uint32) {
	if b[v>>16] == nil {
		b[v>>16] = new([1 << 10]uint64)
	}
	b[v>>16][v>>6&0x3ff] |= 1 << (v & 63)
}

func (b *bitset) clear(v uint32) {
	if p := b[v>>16]; p != nil {
		p[v>>6&0x3ff] &^= 1 << (v & 63)
	}
}

// nonces hands out extranonce1 values: the edge's prefix and a count. A value is
// unique among live connections, and is not given again while a job that its
// last holder saw could still be issued: the new holder could send the old
// one's shares again. Memory is bounded whatever connects: a freed value is a
// bit in the current generation, and is free again two generations later.
type nonces struct {
	mu        sync.Mutex
	prefix    byte
	next      uint32
	live      bitset
	freed     bitset // since rotated
	freedPast bitset // in the generation before
	rotated   int64  // ms
	published uint64 // number of the job set at that time
}

// take returns a free value. now is in milliseconds, published counts job sets.
// It returns false when none of 2^24 is free.
func (n *nonces) take(now int64, published uint64) ([pool.Extranonce1Size]byte, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now-n.rotated >= nonceRestMillis && published != n.published {
		n.freedPast, n.freed = n.freed, bitset{}
		n.rotated, n.published = now, published
	}
	for range nonceSpace {
		v := n.next
		n.next = (n.next + 1) % nonceSpace
		if !n.live.has(v) && !n.freed.has(v) && !n.freedPast.has(v) {
			n.live.set(v)
			return [pool.Extranonce1Size]byte{n.prefix, byte(v >> 16), byte(v >> 8), byte(v)}, true
		}
	}
	return [pool.Extranonce1Size]byte{}, false
}

// free gives a value back. used says that its holder got work: else there is
// nothing that another could send again, and no loop of connections without work
// uses all values up.
func (n *nonces) free(e [pool.Extranonce1Size]byte, used bool) {
	v := uint32(e[1])<<16 | uint32(e[2])<<8 | uint32(e[3])
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live.clear(v)
	if used {
		n.freed.set(v)
	}
}
