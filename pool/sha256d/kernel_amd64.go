//go:build !purego

package sha256d

//go:generate go run -C ../../tools/avo . -pkg sha256d -out ../../pool/sha256d/shani_amd64.s -stubs ../../pool/sha256d/shani_amd64.go

const (
	nativeName = "sha-ni"
	lanes      = 2
)

// start is the initial state in the order of SHA-NI's registers: FEBA, HGDC.
var start = [8]uint32{
	0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667, 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372,
}

// supported reports whether the processor has what shani_amd64.s is made of.
// golang.org/x/sys/cpu does not tell of SHA-NI. Nothing here needs more of the
// operating system than SSE, which every one for amd64 saves.
func supported() bool {
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	if last, _, _, _ := cpuid(0, 0); last < 7 {
		return false
	}
	_, _, c, _ := cpuid(1, 0)
	_, b, _, _ := cpuid(7, 0)
	return c&ssse3 != 0 && c&sse41 != 0 && b&sha != 0
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
