package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The general registers of foldLanes. AX is nobody's for long.
var (
	dst      = RDI
	data     = RSI // where the next block of lane 0 is
	stride   = R8  // from a lane's data to the next one's
	stride3  = R12
	left     = RCX // blocks of a message
	branches = R10
	levels   = R11
	frame    = RDX // aligned: the state before a block, then, without AVX-512, the schedule
	consts   = R9
	stage    = RBX // which block is under way: 0 of a message, 1 a digest, 2 a node
)

// foldLanes is the whole way of a batch, the digests staying in registers from
// level to level as the words of all lanes: nothing is turned into bytes on the
// way. There is one copy of the rounds, and stage says where they came from.
func foldLanes(name string, k wide) {
	TEXT(name, NOSPLIT,
		"func(dst *[16][32]byte, from *[16][8]uint32, data *byte, blocks int, branches [][32]byte, frame *[832]byte)")
	Pragma("noescape")
	Doc(name+" puts into dst, for each lane, the root that the second hash of a message reaches through branches (none,",
		"or some): from a state on, blocks blocks (one at least) of data, where the lanes lie one behind the other.")
	Load(Param("dst"), dst)
	Load(Param("from"), RAX)
	Load(Param("data"), data)
	Load(Param("blocks"), left)
	Load(Param("branches").Base(), branches)
	Load(Param("branches").Len(), levels)
	Load(Param("frame"), frame)
	ADDQ(Imm(63), frame)
	ANDQ(I32(-64), frame)
	MOVQ(left, stride)
	SHLQ(Imm(6), stride)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	Comment("the states, in the order of start: FEBA, HGDC")
	for half, words := range [2][4]int{{5, 4, 1, 0}, {7, 6, 3, 2}} {
		k.rows(func(lane int) Mem { return Mem{Base: RAX}.Offset(32*lane + 16*half) }, nil)
		k.transpose(k.v(words[0]), k.v(words[1]), k.v(words[2]), k.v(words[3]))
	}
	XORL(EBX, EBX)

	Label("message")
	k.save()
	k.load()
	ADDQ(Imm(64), data)

	Label("compress")
	LEAQ(roundK(), consts)
	k.open()
	for t := range 16 {
		Commentf("round %d", t)
		k.round(t, func(h VecPhysical) {
			k.add(h, Mem{Base: consts}.Offset(4*t))
			if k.evex {
				VPADDD(k.v(16+t), h, h)
			} else {
				VPADDD(k.w(t), h, h)
			}
		})
	}
	MOVL(U32(3), EAX)
	Label("rounds")
	ADDQ(Imm(64), consts)
	for t := range 16 {
		Commentf("rounds %d, %d and %d", 16+t, 32+t, 48+t)
		k.round(t, func(h VecPhysical) {
			k.add(h, Mem{Base: consts}.Offset(4*t))
			k.schedule(t, h)
		})
	}
	DECL(EAX)
	JNZ(LabelRef("rounds"))
	CMPL(stage.As32(), Imm(1))
	JEQ(LabelRef("hashed"))
	JHI(LabelRef("joined"))
	k.addSaved()
	DECQ(left)
	JNZ(LabelRef("message"))

	Label("digest")
	Comment("the second hash: a digest, then what pads 32 bytes")
	k.words()
	for i := range 8 {
		k.set(8+i, func(x VecPhysical) { VPBROADCASTD(pad32().Offset(4*i), x) })
	}
	k.begin()
	MOVL(U32(1), stage.As32())
	JMP(LabelRef("compress"))

	Label("hashed")
	k.addStart()
	TESTQ(levels, levels)
	JZ(LabelRef("store"))
	Comment("a node: the digest and its sibling, the same for all lanes")
	k.words()
	for i := range 8 {
		k.set(8+i, func(x VecPhysical) {
			VPBROADCASTD(Mem{Base: branches}.Offset(4*i), x)
			VPSHUFB(flip(), x, x)
		})
	}
	ADDQ(Imm(32), branches)
	DECQ(levels)
	k.begin()
	MOVL(U32(2), stage.As32())
	JMP(LabelRef("compress"))

	Label("joined")
	k.addStart()
	k.save()
	Comment("the padding of a node: its schedule is a constant")
	LEAQ(pad64(), consts)
	MOVL(U32(4), EAX)
	k.open()
	Label("padding")
	for t := range 16 {
		Commentf("rounds %d, %d, %d and %d", t, 16+t, 32+t, 48+t)
		k.round(t, func(h VecPhysical) { k.add(h, Mem{Base: consts}.Offset(4*t)) })
	}
	ADDQ(Imm(64), consts)
	DECL(EAX)
	JNZ(LabelRef("padding"))
	k.addSaved()
	JMP(LabelRef("digest"))

	Label("store")
	for half := range 2 {
		Commentf("words %d to %d of the digests, big-endian", 4*half, 4*half+3)
		x := [4]VecPhysical{k.v(4 * half), k.v(4*half + 1), k.v(4*half + 2), k.v(4*half + 3)}
		for i := range 4 {
			k.move(x[i], k.v(8+i))
		}
		k.transpose(x[0], x[1], x[2], x[3])
		for j, r := range x {
			VPSHUFB(flip(), r, r)
			for part := range k.n / 4 {
				k.extract(part, r, Mem{Base: dst}.Offset(32*(4*part+j)+16*half))
			}
		}
	}
	VZEROUPPER()
	RET()
}
