package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func cpuid() {
	TEXT("cpuid", NOSPLIT, "func(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)")
	Doc("cpuid asks the processor what it can do.")
	Load(Param("leaf"), EAX)
	Load(Param("subleaf"), ECX)
	CPUID()
	Store(EAX, Return("eax"))
	Store(EBX, Return("ebx"))
	Store(ECX, Return("ecx"))
	Store(EDX, Return("edx"))
	RET()
}

// blocks is the only function that gives a state back, in the order it works
// with: who keeps a midstate need not know it.
func blocks() {
	TEXT("blocksSHANI", NOSPLIT, "func(state *[8]uint32, body []byte)")
	Pragma("noescape")
	Doc("blocksSHANI takes state through the whole blocks of body, one at least.")
	ls := lanes(1)
	l := ls[0]
	l.saved = AllocLocal(32)
	Load(Param("state"), RDX)
	Load(Param("body").Base(), l.p)
	Load(Param("body").Len(), RCX)
	MOVOU(Mem{Base: RDX}, l.abef)
	MOVOU(Mem{Base: RDX}.Offset(16), l.cdgh)
	MOVO(flip(), order)
	SHRQ(Imm(6), RCX)
	Label("block")
	saveFrame(ls)
	message(ls)
	addFrame(ls)
	ADDQ(Imm(64), l.p)
	DECQ(RCX)
	JNZ(LabelRef("block"))
	MOVOU(l.abef, Mem{Base: RDX})
	MOVOU(l.cdgh, Mem{Base: RDX}.Offset(16))
	RET()
}

// sum hashes one message in each lane, all of one length: from a midstate on,
// the whole blocks of body, then those of tail, then the digest of that again.
func sum(name, signature string, n int) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name+" puts into dst the second hash of a message: from a state on, the blocks of body (none, or some)",
		"and of tail (one at least).")
	if n > 1 {
		Comment("Both lanes have lengths alike: those of the first count.")
	}
	ls := lanes(n)
	tails := []Register{R8, R9}
	Load(Param("dst"), RDX)
	for i, l := range ls {
		l.saved = AllocLocal(32)
		Load(Param(suffix("from", ls, i)), RAX)
		MOVOU(Mem{Base: RAX}, l.abef)
		MOVOU(Mem{Base: RAX}.Offset(16), l.cdgh)
		Load(Param(suffix("body", ls, i)).Base(), l.p)
		Load(Param(suffix("tail", ls, i)).Base(), tails[i])
	}
	Load(Param(suffix("body", ls, 0)).Len(), RCX)
	Load(Param(suffix("tail", ls, 0)).Len(), RBX)
	MOVO(flip(), order)
	SHRQ(Imm(6), RCX)
	JZ(LabelRef("tail"))
	Label("block")
	saveFrame(ls)
	message(ls)
	addFrame(ls)
	for _, l := range ls {
		ADDQ(Imm(64), l.p)
	}
	DECQ(RCX)
	JNZ(LabelRef("block"))
	Label("tail")
	Comment("body has ended: go on with tail, once")
	for i, l := range ls {
		MOVQ(tails[i], l.p)
	}
	MOVQ(RBX, RCX)
	XORL(EBX, EBX)
	SHRQ(Imm(6), RCX)
	JNZ(LabelRef("block"))
	straighten(ls)
	Comment("the second hash")
	begin(ls)
	digest(ls)
	addStart(ls)
	straighten(ls)
	store(ls, RDX)
	RET()
}

// fold climbs a merkle tree from its leftmost leaf in each lane, the digest
// staying in registers from level to level.
func fold(name, signature string, n int) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " replaces hash, a leaf, by the root it reaches through branches (one at least).")
	if n > 1 {
		Comment("Both lanes have as many branches: those of the first count.")
	}
	ls := lanes(n)
	Load(Param("hash"), RDX)
	for i, l := range ls {
		Load(Param(suffix("branches", ls, i)).Base(), l.p)
	}
	Load(Param(suffix("branches", ls, 0)).Len(), RCX)
	MOVO(flip(), order)
	for i, l := range ls {
		for j := range 2 {
			MOVOU(Mem{Base: RDX}.Offset(32*i+16*j), l.m[j])
			PSHUFB(order, l.m[j])
		}
	}
	Label("level")
	Comment("the two digests")
	begin(ls)
	node(ls)
	addStart(ls)
	Comment("their padding")
	save(ls)
	padding(ls)
	add(ls)
	straighten(ls)
	Comment("the second hash")
	begin(ls)
	digest(ls)
	addStart(ls)
	straighten(ls)
	for _, l := range ls {
		ADDQ(Imm(32), l.p)
	}
	DECQ(RCX)
	JNZ(LabelRef("level"))
	store(ls, RDX)
	RET()
}
