package payout

import (
	"encoding/binary"
	"errors"
)

var errShort = errors.New("bytes end too early")

// cursor reads big-endian fields off the front of b. After the first field that
// does not fit, err is set and every read gives zeros.
type cursor struct {
	b   []byte
	err error
}

// take returns the next n bytes, nil once b is too short.
func (c *cursor) take(n int) []byte {
	if c.err != nil || n > len(c.b) {
		c.err = errShort
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() uint8 {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) hash() (h [32]byte) {
	copy(h[:], c.take(32))
	return h
}

// entries returns n where n entries of at least size bytes can still follow,
// so that a claimed count cannot make a decoder allocate more than it was sent.
func (c *cursor) entries(n, size int) int {
	if c.err != nil || n > len(c.b)/size {
		c.err = errShort
		return 0
	}
	return n
}
