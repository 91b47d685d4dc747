// Package sha256d is the hot path: double SHA-256 as Bitcoin uses it, over
// headers, coinbases and merkle branches.
//
// It is the lowest floor of the house and imports nothing of ours. One kernel
// is chosen when the program starts: the SHA instructions of amd64 or arm64
// where the processor has them, the wide registers of amd64, else
// crypto/sha256. Kernel names it, and the environment variable CORDEE_SHA256
// asks for another of Kernels. All give the same results; the standard
// library's is the measure of the others.
//
// What a kernel of our own gains, for a share of 250 bytes of coinbase and 12
// branches, as a ratio to crypto/sha256 on the same processor:
//
//	                    with SHA-NI  without
//	alone                 0.53         1     a digest stays in registers while Fold climbs,
//	                                         a Midstate stands for what coinbases begin with
//	one of a pair         0.28               SumPair and FoldPair hash two at once, since one
//	                                         waits for the latency of its rounds
//	one of 16, AVX-512    0.24         0.10  Lanes hash one in each 32-bit lane of a register
//	one of 8, AVX2                     0.18
//
// What was left out (four chains of SHA-NI, lanes over several connections) and
// how these were measured stands in docs/adr/0013-hash-kernels.md.
package sha256d
