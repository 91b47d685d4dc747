//go:build !purego

package sha256d

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

const pairs = false

// start is the initial state (FIPS 180-4, 5.3.3).
var start = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// roundK are the round constants (FIPS 180-4, 4.2.2).
var roundK = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// pad32 are words 8 to 15 of a block whose message is a digest.
var pad32 = [8]uint32{0: 0x80000000, 7: 8 * Size}

// pad64 is W+K of the block that follows any message of 64 bytes: one bit,
// zeros, the length. It is the same for every node of a merkle tree.
var pad64 = func() (w [64]uint32) {
	w[0], w[15] = 0x80000000, 8*2*Size
	for t := 16; t < 64; t++ {
		a, b := w[t-15], w[t-2]
		s0 := bits.RotateLeft32(a, -7) ^ bits.RotateLeft32(a, -18) ^ a>>3
		s1 := bits.RotateLeft32(b, -17) ^ bits.RotateLeft32(b, -19) ^ b>>10
		w[t] = w[t-16] + s0 + w[t-7] + s1
	}
	for t := range w {
		w[t] += roundK[t]
	}
	return w
}()

func kernels() []kernel {
	if cpu.ARM64.HasSHA2 {
		return []kernel{{name: "sha2", native: true}, stdlib}
	}
	return []kernel{stdlib}
}

//go:noescape
func blocks(state *[8]uint32, body []byte)

//go:noescape
func sum(dst *[Size]byte, from *[8]uint32, body, tail []byte)

//go:noescape
func fold(hash *[Size]byte, branches [][Size]byte)

// Never called, there being no pairs and no lanes.
func sum2(*[2][Size]byte, *[8]uint32, *[8]uint32, []byte, []byte, []byte, []byte) {}
func fold2(*[2][Size]byte, [][Size]byte, [][Size]byte)                            {}
func foldLanes(code, *Lanes, [][Size]byte)                                        {}
