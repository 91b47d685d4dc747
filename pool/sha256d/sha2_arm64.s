//go:build !purego

#include "textflag.h"

// SHA-256 by the SHA2 instructions of ARMv8. The state is ABCD in V2 and EFGH in
// V3, the schedule stands in V4 to V7, word 0 of the block in the low lane of V4.
// V16 to V31 hold K in every function. Written by hand; no lanes: what they gain
// was never measured on this architecture.

// Four rounds with W+K in wk. SHA256H2 wants the ABCD that SHA256H has replaced,
// which V8 keeps.
#define ROUNDS4(wk) \
	SHA256H  wk.S4, V3, V2 \
	SHA256H2 wk.S4, V8, V3 \
	VMOV     V2.B16, V8.B16

// Four rounds with the words in a, which become those of 16 rounds later.
#define ROUNDS4_NEXT(k, a, b, c, d) \
	VADD      k.S4, a.S4, V9.S4 \
	SHA256SU0 b.S4, a.S4 \
	SHA256SU1 d.S4, c.S4, a.S4 \
	ROUNDS4(V9)

// Four of the last 16 rounds: no words are needed after them.
#define ROUNDS4_LAST(k, a) \
	VADD k.S4, a.S4, V9.S4 \
	ROUNDS4(V9)

#define BLOCK \
	VMOV V2.B16, V8.B16 \
	ROUNDS4_NEXT(V16, V4, V5, V6, V7) /* rounds 0 to 3 */ \
	ROUNDS4_NEXT(V17, V5, V6, V7, V4) /* rounds 4 to 7 */ \
	ROUNDS4_NEXT(V18, V6, V7, V4, V5) /* rounds 8 to 11 */ \
	ROUNDS4_NEXT(V19, V7, V4, V5, V6) /* rounds 12 to 15 */ \
	ROUNDS4_NEXT(V20, V4, V5, V6, V7) /* rounds 16 to 19 */ \
	ROUNDS4_NEXT(V21, V5, V6, V7, V4) /* rounds 20 to 23 */ \
	ROUNDS4_NEXT(V22, V6, V7, V4, V5) /* rounds 24 to 27 */ \
	ROUNDS4_NEXT(V23, V7, V4, V5, V6) /* rounds 28 to 31 */ \
	ROUNDS4_NEXT(V24, V4, V5, V6, V7) /* rounds 32 to 35 */ \
	ROUNDS4_NEXT(V25, V5, V6, V7, V4) /* rounds 36 to 39 */ \
	ROUNDS4_NEXT(V26, V6, V7, V4, V5) /* rounds 40 to 43 */ \
	ROUNDS4_NEXT(V27, V7, V4, V5, V6) /* rounds 44 to 47 */ \
	ROUNDS4_LAST(V28, V4) /* rounds 48 to 51 */ \
	ROUNDS4_LAST(V29, V5) /* rounds 52 to 55 */ \
	ROUNDS4_LAST(V30, V6) /* rounds 56 to 59 */ \
	ROUNDS4_LAST(V31, V7) /* rounds 60 to 63 */

// 16 rounds of the block that pads 64 bytes, at R5: its W+K are constants.
#define PADDING16 \
	VLD1.P 64(R5), [V10.S4, V11.S4, V12.S4, V13.S4] \
	ROUNDS4(V10) \
	ROUNDS4(V11) \
	ROUNDS4(V12) \
	ROUNDS4(V13)

#define LOAD_K \
	MOVD   $·roundK(SB), R2 \
	VLD1.P 64(R2), [V16.S4, V17.S4, V18.S4, V19.S4] \
	VLD1.P 64(R2), [V20.S4, V21.S4, V22.S4, V23.S4] \
	VLD1.P 64(R2), [V24.S4, V25.S4, V26.S4, V27.S4] \
	VLD1   (R2), [V28.S4, V29.S4, V30.S4, V31.S4]

// The state V0, V1 through the message block at R1.
#define MESSAGE \
	VLD1.P 64(R1), [V4.B16, V5.B16, V6.B16, V7.B16] \
	VREV32 V4.B16, V4.B16 \
	VREV32 V5.B16, V5.B16 \
	VREV32 V6.B16, V6.B16 \
	VREV32 V7.B16, V7.B16 \
	VMOV   V0.B16, V2.B16 \
	VMOV   V1.B16, V3.B16 \
	BLOCK \
	VADD   V2.S4, V0.S4, V0.S4 \
	VADD   V3.S4, V1.S4, V1.S4

// The digest in V4, V5 becomes the digest of it: V14, V15 hold what pads 32
// bytes, V0, V1 the initial state.
#define SECOND_HASH \
	VMOV V14.B16, V6.B16 \
	VMOV V15.B16, V7.B16 \
	VMOV V0.B16, V2.B16 \
	VMOV V1.B16, V3.B16 \
	BLOCK \
	VADD V2.S4, V0.S4, V4.S4 \
	VADD V3.S4, V1.S4, V5.S4

// The initial state and the padding of 32 bytes, from one table to the next.
#define LOAD_START \
	MOVD $·start(SB), R2 \
	VLD1 (R2), [V0.S4, V1.S4] \
	MOVD $·pad32(SB), R2 \
	VLD1 (R2), [V14.S4, V15.S4]

#define STORE_DIGEST \
	VREV32 V4.B16, V4.B16 \
	VREV32 V5.B16, V5.B16 \
	VST1   [V4.B16, V5.B16], (R0)

// func blocks(state *[8]uint32, body []byte)
TEXT ·blocks(SB), NOSPLIT, $0-32
	MOVD state+0(FP), R0
	MOVD body_base+8(FP), R1
	MOVD body_len+16(FP), R3
	LSR  $6, R3, R3
	LOAD_K
	VLD1 (R0), [V0.S4, V1.S4]

block:
	MESSAGE
	SUB  $1, R3, R3
	CBNZ R3, block
	VST1 [V0.S4, V1.S4], (R0)
	RET

// func sum(dst *[32]byte, from *[8]uint32, body, tail []byte)
TEXT ·sum(SB), NOSPLIT, $0-64
	MOVD dst+0(FP), R0
	MOVD from+8(FP), R2
	VLD1 (R2), [V0.S4, V1.S4]
	MOVD body_base+16(FP), R1
	MOVD body_len+24(FP), R3
	MOVD tail_base+40(FP), R4
	MOVD tail_len+48(FP), R6
	LSR  $6, R3, R3
	LSR  $6, R6, R6
	LOAD_K
	CBZ  R3, tail

block:
	MESSAGE
	SUB  $1, R3, R3
	CBNZ R3, block

tail:
	// body has ended: go on with tail, once
	MOVD R4, R1
	MOVD R6, R3
	MOVD ZR, R6
	CBNZ R3, block

	VMOV V0.B16, V4.B16
	VMOV V1.B16, V5.B16
	LOAD_START
	SECOND_HASH
	STORE_DIGEST
	RET

// func fold(hash *[32]byte, branches [][32]byte)
TEXT ·fold(SB), NOSPLIT, $0-32
	MOVD   hash+0(FP), R0
	MOVD   branches_base+8(FP), R1
	MOVD   branches_len+16(FP), R3
	LOAD_K
	LOAD_START
	VLD1   (R0), [V4.B16, V5.B16]
	VREV32 V4.B16, V4.B16
	VREV32 V5.B16, V5.B16

level:
	// the two digests, the left one being in V4 and V5 already
	VLD1.P 32(R1), [V6.B16, V7.B16]
	VREV32 V6.B16, V6.B16
	VREV32 V7.B16, V7.B16
	VMOV   V0.B16, V2.B16
	VMOV   V1.B16, V3.B16
	BLOCK
	VADD   V0.S4, V2.S4, V2.S4
	VADD   V1.S4, V3.S4, V3.S4

	// their padding
	VMOV V2.B16, V4.B16
	VMOV V3.B16, V5.B16
	VMOV V2.B16, V8.B16
	MOVD $·pad64(SB), R5
	PADDING16 // rounds 0 to 15
	PADDING16 // rounds 16 to 31
	PADDING16 // rounds 32 to 47
	PADDING16 // rounds 48 to 63
	VADD V2.S4, V4.S4, V4.S4
	VADD V3.S4, V5.S4, V5.S4
	SECOND_HASH
	SUB  $1, R3, R3
	CBNZ R3, level
	STORE_DIGEST
	RET
