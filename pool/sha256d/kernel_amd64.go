//go:build !purego

package sha256d

import "golang.org/x/sys/cpu"

//go:generate go run -C ../../tools/avo . -kernels shani -pkg sha256d -out ../../pool/sha256d/shani_amd64.s -stubs ../../pool/sha256d/shani_amd64.go
//go:generate go run -C ../../tools/avo . -kernels lanes -pkg sha256d -out ../../pool/sha256d/lanes_amd64.s -stubs ../../pool/sha256d/lanes_amd64.go

// pairs says that two messages go by sum2 and fold2.
const pairs = true

const (
	avx512x16 code = iota
	avx512x8
	avx2x8
)

// start is the initial state in the order of SHA-NI's registers: FEBA, HGDC.
var start = [8]uint32{
	0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667, 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372,
}

// features is what decides which kernels there are.
type features struct{ sha, avx512, avx2 bool }

// detect asks the processor, and the operating system through
// golang.org/x/sys/cpu whether it saves the wide registers. That package does
// not tell of SHA-NI, which needs no more of it than SSE, which every one for
// amd64 saves.
func detect() features {
	f := features{
		avx512: cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX2,
		avx2:   cpu.X86.HasAVX2,
	}
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	if last, _, _, _ := cpuid(0, 0); last >= 7 {
		_, _, c, _ := cpuid(1, 0)
		_, b, _, _ := cpuid(7, 0)
		f.sha = c&ssse3 != 0 && c&sse41 != 0 && b&sha != 0
	}
	return f
}

func kernels() []kernel { return detect().kernels() }

// kernels orders by what was measured, docs/adr/0013-hash-kernels.md. A kernel
// without SHA-NI leaves single messages to crypto/sha256.
func (f features) kernels() []kernel {
	var all []kernel
	if f.sha && f.avx512 {
		all = append(all, kernel{name: "sha-ni+avx512", native: true, widths: []width{{avx512x16, 16, 13}}})
	}
	if f.sha {
		all = append(all, kernel{name: "sha-ni", native: true})
	}
	if f.avx512 {
		all = append(all, kernel{name: "avx512", widths: []width{{avx512x16, 16, 9}, {avx512x8, 8, 2}}})
	}
	if f.avx2 {
		all = append(all, kernel{name: "avx2", widths: []width{{avx2x8, 8, 3}}})
	}
	return append(all, stdlib)
}

func blocks(state *[8]uint32, body []byte) { blocksSHANI(state, body) }

func sum(dst *[Size]byte, from *[8]uint32, body, tail []byte) { sumSHANI(dst, from, body, tail) }

func sum2(dst *[2][Size]byte, from0, from1 *[8]uint32, body0, body1, tail0, tail1 []byte) {
	sum2SHANI(dst, from0, from1, body0, body1, tail0, tail1)
}

func fold(hash *[Size]byte, branches [][Size]byte) { foldSHANI(hash, branches) }

func fold2(hashes *[2][Size]byte, branches0, branches1 [][Size]byte) {
	fold2SHANI(hashes, branches0, branches1)
}

func foldLanes(by code, l *Lanes, branches [][Size]byte) {
	switch by {
	case avx512x16:
		fold16AVX512(&l.digests, &l.from, &l.data[0], l.blocks, branches, &l.frame)
	case avx512x8:
		fold8AVX512(&l.digests, &l.from, &l.data[0], l.blocks, branches, &l.frame)
	case avx2x8:
		fold8AVX2(&l.digests, &l.from, &l.data[0], l.blocks, branches, &l.frame)
	}
}
