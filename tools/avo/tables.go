package main

import (
	"math/bits"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// k are SHA-256's round constants (FIPS 180-4, 4.2.2).
var k = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// iv is the initial state a to h (FIPS 180-4, 5.3.3).
var iv = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// schedule returns W+K of all 64 rounds for a block.
func schedule(block [16]uint32) [64]uint32 {
	var w [64]uint32
	copy(w[:], block[:])
	for t := 16; t < 64; t++ {
		a, b := w[t-15], w[t-2]
		s0 := bits.RotateLeft32(a, -7) ^ bits.RotateLeft32(a, -18) ^ a>>3
		s1 := bits.RotateLeft32(b, -17) ^ bits.RotateLeft32(b, -19) ^ b>>10
		w[t] = w[t-16] + s0 + w[t-7] + s1
	}
	for t := range w {
		w[t] += k[t]
	}
	return w
}

// table declares 32-bit words once and returns their place. The linker aligns a
// symbol of 32 bytes and more at 32, which operands of SSE need.
func table(name string, words ...uint32) Mem {
	if at, ok := tables[name]; ok {
		return at
	}
	at := GLOBL(name, RODATA|NOPTR)
	for i, w := range words {
		DATA(4*i, U32(w))
	}
	tables[name] = at
	return at
}

var tables = map[string]Mem{}

// roundK holds K.
func roundK() Mem { return table("roundK", k[:]...) }

// pad64 holds W+K of the block that follows any message of 64 bytes: one bit,
// zeros, the length. It is the same for every node of a merkle tree.
func pad64() Mem {
	w := schedule([16]uint32{0: 0x80000000, 15: 512})
	return table("pad64", w[:]...)
}

// pad32 holds words 8 to 15 of a block whose message is a digest.
func pad32() Mem {
	return table("pad32", 0x80000000, 0, 0, 0, 0, 0, 0, 256)
}

// start holds the initial state as SHA-NI wants it, ABEF and CDGH, each from
// the low lane up.
func start() Mem {
	return table("start", iv[5], iv[4], iv[1], iv[0], iv[7], iv[6], iv[3], iv[2])
}

// initial holds it in its own order.
func initial() Mem { return table("initial", iv[:]...) }

// flip reverses the bytes of each word: messages are big-endian. Once for each
// quarter of the widest register.
func flip() Mem {
	quarter := []uint32{0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f}
	return table("flip", slices.Repeat(quarter, 4)...)
}
