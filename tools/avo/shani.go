package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wk feeds SHA256RNDS2, always; tmp is nobody's for long, order holds flip.
var (
	wk    = X0
	tmp   = X13
	order = X14
)

// lane is one message under way.
type lane struct {
	abef, cdgh VecPhysical    // the state
	m          [4]VecPhysical // 16 words of the schedule, word 0 of the block in the low lane of m[0]
	p          Register       // what is read
	saved      Mem            // 32 bytes of the frame for the state before a block
}

// lanes returns the registers of n messages side by side.
func lanes(n int) []*lane {
	all := []*lane{
		{abef: X1, cdgh: X2, m: [4]VecPhysical{X3, X4, X5, X6}, p: RSI},
		{abef: X7, cdgh: X8, m: [4]VecPhysical{X9, X10, X11, X12}, p: RDI},
	}
	return all[:n]
}

// group is four rounds of every lane, g from 0 to 15. What it adds to K comes
// from m[g%4]; on the way it makes the words that group g+1 wants.
func group(ls []*lane, g int, load func(l *lane)) {
	Commentf("rounds %d to %d", 4*g, 4*g+3)
	at := func(l *lane, i int) VecPhysical { return l.m[(g+i+16)%4] }
	for _, l := range ls {
		load(l)
		SHA256RNDS2(wk, l.abef, l.cdgh)
		if g >= 3 && g < 15 { // w[t] needs w[t-7], which lies across two registers, then w[t-2]
			MOVO(at(l, 0), tmp)
			PALIGNR(Imm(4), at(l, -1), tmp)
			PADDL(tmp, at(l, 1))
			SHA256MSG2(at(l, 0), at(l, 1))
		}
		PSHUFD(Imm(0x0e), wk, wk)
		SHA256RNDS2(wk, l.cdgh, l.abef)
		if g >= 1 && g < 13 { // w[t-16] and w[t-15] of what group g+3 wants
			SHA256MSG1(at(l, 0), at(l, -1))
		}
	}
}

// words loads W+K of group g from the schedule.
func words(g int) func(*lane) {
	return func(l *lane) {
		MOVO(l.m[g%4], wk)
		PADDL(roundK().Offset(16*g), wk)
	}
}

// message is a block read from l.p: 64 rounds on the state there is.
func message(ls []*lane) {
	for g := range 16 {
		group(ls, g, func(l *lane) {
			if g < 4 {
				MOVOU(Mem{Base: l.p}.Offset(16*g), l.m[g])
				PSHUFB(order, l.m[g])
			}
			words(g)(l)
		})
	}
}

// node is a block of two digests, the left one in m[0] and m[1] and the right
// one read from l.p.
func node(ls []*lane) {
	for g := range 16 {
		group(ls, g, func(l *lane) {
			if g == 2 || g == 3 {
				MOVOU(Mem{Base: l.p}.Offset(16*(g-2)), l.m[g])
				PSHUFB(order, l.m[g])
			}
			words(g)(l)
		})
	}
}

// digest is the block of a second hash: a digest in m[0] and m[1], then what
// pads 32 bytes.
func digest(ls []*lane) {
	for g := range 16 {
		group(ls, g, func(l *lane) {
			if g == 2 || g == 3 {
				MOVO(pad32().Offset(16*(g-2)), l.m[g])
			}
			words(g)(l)
		})
	}
}

// padding is the block behind 64 bytes: its schedule is a constant, only the
// rounds are left. That is no faster, for the units of the rounds are what all
// waits for; it is less.
func padding(ls []*lane) {
	for g := range 16 {
		Commentf("rounds %d to %d", 4*g, 4*g+3)
		for _, l := range ls {
			MOVO(pad64().Offset(16*g), wk)
			SHA256RNDS2(wk, l.abef, l.cdgh)
			PSHUFD(Imm(0x0e), wk, wk)
			SHA256RNDS2(wk, l.cdgh, l.abef)
		}
	}
}

// begin sets the initial state.
func begin(ls []*lane) {
	Comment("the initial state")
	for _, l := range ls {
		MOVO(start(), l.abef)
		MOVO(start().Offset(16), l.cdgh)
	}
}

// addStart ends a block that began with begin.
func addStart(ls []*lane) {
	Comment("add the initial state")
	for _, l := range ls {
		PADDL(start(), l.abef)
		PADDL(start().Offset(16), l.cdgh)
	}
}

// save keeps the state for add, in registers that padding leaves alone.
func save(ls []*lane) {
	Comment("keep the state")
	for _, l := range ls {
		MOVO(l.abef, l.m[0])
		MOVO(l.cdgh, l.m[1])
	}
}

func add(ls []*lane) {
	Comment("add the state before the block")
	for _, l := range ls {
		PADDL(l.m[0], l.abef)
		PADDL(l.m[1], l.cdgh)
	}
}

// saveFrame keeps the state for addFrame, in the frame: message needs every
// register. Frames are not aligned to 16.
func saveFrame(ls []*lane) {
	Comment("keep the state")
	for _, l := range ls {
		MOVOU(l.abef, l.saved)
		MOVOU(l.cdgh, l.saved.Offset(16))
	}
}

func addFrame(ls []*lane) {
	Comment("add the state before the block")
	for _, l := range ls {
		MOVOU(l.saved, tmp)
		PADDL(tmp, l.abef)
		MOVOU(l.saved.Offset(16), tmp)
		PADDL(tmp, l.cdgh)
	}
}

// straighten puts the state, as the words of a digest in their order, into m[0]
// and m[1].
func straighten(ls []*lane) {
	Comment("ABEF, CDGH to ABCD, EFGH")
	for _, l := range ls {
		PSHUFD(Imm(0x1b), l.abef, l.m[0]) // ABEF
		PSHUFD(Imm(0xb1), l.cdgh, l.m[1]) // GHCD
		MOVO(l.m[0], tmp)
		PBLENDW(Imm(0xf0), l.m[1], l.m[0]) // ABCD
		PALIGNR(Imm(8), tmp, l.m[1])       // EFGH
	}
}

// store writes the digests of all lanes to dst, one behind the other.
func store(ls []*lane, dst Register) {
	Comment("the digest, big-endian")
	for i, l := range ls {
		for j := range 2 {
			PSHUFB(order, l.m[j])
			MOVOU(l.m[j], Mem{Base: dst}.Offset(32*i+16*j))
		}
	}
}

// suffix names a parameter: of its lane where there are two.
func suffix(name string, ls []*lane, i int) string {
	if len(ls) == 1 {
		return name
	}
	return fmt.Sprintf("%s%d", name, i)
}
