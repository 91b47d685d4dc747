// Command avo writes the amd64 assembly of cordee/pool/sha256d. Run it with
// go generate there, never by hand: a test compares the file with what this
// program writes.
//
// SHA-NI in one paragraph. The state lives in two registers, ABEF and CDGH.
// SHA256RNDS2 does two rounds on it, with the two W+K that stand in the low half
// of X0, and the next two rounds wait for its result: a single message is bound
// by that latency, 32 times over, and everything else fits beside it. So a
// second message through the same units costs little, and that is what the
// functions of two lanes are for.
//
// Wide lanes in another. Without SHA-NI a round is some 20 instructions of
// AVX-512 or 40 of AVX2, whether for one message or for one in each 32-bit lane
// of a register: 16 or 8 cost what one does. No message waits for another, so
// the units are always busy.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build" // avo's own idiom: the program reads as assembly
)

func main() {
	file := flag.String("kernels", "", "which `kernels` to write: shani or lanes")
	flag.Parse()
	ConstraintExpr("!purego")
	switch *file {
	case "shani":
		cpuid()
		blocks()
		sum("sumSHANI", "func(dst *[32]byte, from *[8]uint32, body, tail []byte)", 1)
		sum("sum2SHANI", "func(dst *[2][32]byte, from0, from1 *[8]uint32, body0, body1, tail0, tail1 []byte)", 2)
		fold("foldSHANI", "func(hash *[32]byte, branches [][32]byte)", 1)
		fold("fold2SHANI", "func(hash *[2][32]byte, branches0, branches1 [][32]byte)", 2)
	case "lanes":
		foldLanes("fold16AVX512", wide{n: 16, evex: true})
		foldLanes("fold8AVX512", wide{n: 8, evex: true})
		foldLanes("fold8AVX2", wide{n: 8})
	default:
		log.Fatalf("-kernels %q: there are only shani and lanes", *file)
	}
	Generate()
}
