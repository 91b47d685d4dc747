package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wide is SHA-256 of one message in every 32-bit lane of a register: n messages
// of as many blocks each.
type wide struct {
	n    int  // lanes: 8 of a YMM register, 16 of a ZMM
	evex bool // AVX-512: 32 registers, one instruction to rotate, one for any function of three words
}

var (
	ymm = []VecPhysical{
		Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15,
		Y16, Y17, Y18, Y19, Y20, Y21, Y22, Y23, Y24, Y25, Y26, Y27, Y28, Y29, Y30, Y31,
	}
	zmm = []VecPhysical{
		Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
	}
)

// v is a register: 0 to 7 hold the state, 8 to 15 are nobody's for long, 16 to
// 31 (AVX-512) hold the schedule.
func (k wide) v(i int) VecPhysical {
	if k.n == 16 {
		return zmm[i]
	}
	return ymm[i]
}

// saved is the place of word i of the state before a block, w that of word t of
// the schedule where it is in memory.
func (k wide) saved(i int) Mem { return Mem{Base: frame}.Offset(4 * k.n * i) }
func (k wide) w(t int) Mem     { return k.saved(8 + t%16) }

// open readies what the rounds hand on: b^c, which is the a^b of a round
// before the first.
func (k wide) open() {
	if !k.evex {
		VPXOR(k.v(1), k.v(2), k.v(15))
	}
}

// round is round t of 16: names move through the registers, the words stay. kw
// adds W+K to h.
func (k wide) round(t int, kw func(h VecPhysical)) {
	at := func(i int) VecPhysical { return k.v((i - t + 16) % 8) }
	a, b, c, d, e, f, g, h := at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)
	x, y := k.v(8), k.v(9)
	kw(h)
	k.sigma(x, e, 6, 11, 25)
	VPADDD(x, h, h)
	if k.evex {
		VMOVDQA32(e, y)
		VPTERNLOGD(U8(0xca), g, f, y) // e?f:g
	} else {
		VPXOR(f, g, y)
		VPAND(e, y, y)
		VPXOR(g, y, y)
	}
	VPADDD(y, h, h)
	VPADDD(h, d, d)
	k.sigma(x, a, 2, 13, 22)
	VPADDD(x, h, h)
	if k.evex {
		VMOVDQA32(a, y)
		VPTERNLOGD(U8(0xe8), c, b, y) // of most of a, b, c
	} else { // b unless a and c agree against it; a^b is the next round's b^c
		y, bc := k.v(14+t%2), k.v(14+(t+1)%2)
		VPXOR(a, b, y)
		VPAND(y, bc, bc)
		VPXOR(b, bc, bc)
		VPADDD(bc, h, h)
		return
	}
	VPADDD(y, h, h)
}

// sigma is from rotated right by p, q and r, the three xored. Below 0, r is a
// shift, as in the schedule. x, and the registers behind it, are overwritten.
func (k wide) sigma(x, from VecPhysical, p, q, r int) {
	y, z := k.v(10), k.v(11)
	third := func(to VecPhysical) {
		if r < 0 {
			VPSRLD(U8(-r), from, to)
		} else {
			VPRORD(U8(r), from, to)
		}
	}
	if k.evex {
		VPRORD(U8(p), from, x)
		VPRORD(U8(q), from, y)
		third(z)
		VPTERNLOGD(U8(0x96), z, y, x) // xor of three
		return
	}
	VPSRLD(U8(p), from, x)
	VPSLLD(U8(32-p), from, y)
	VPXOR(y, x, x)
	VPSRLD(U8(q), from, y)
	VPSLLD(U8(32-q), from, z)
	VPXOR(y, x, x)
	VPXOR(z, x, x)
	if r < 0 {
		VPSRLD(U8(-r), from, y)
		VPXOR(y, x, x)
		return
	}
	VPSRLD(U8(r), from, y)
	VPSLLD(U8(32-r), from, z)
	VPXOR(y, x, x)
	VPXOR(z, x, x)
}

// schedule makes word t of the next 16 in the place of the one it follows, and
// adds it to h.
func (k wide) schedule(t int, h VecPhysical) {
	x, y := k.v(8), k.v(9)
	if k.evex {
		at := func(i int) VecPhysical { return k.v(16 + (t+i)%16) }
		w := at(0)
		k.sigma(x, at(1), 7, 18, -3)
		VPADDD(at(9), w, w)
		k.sigma(y, at(14), 17, 19, -10)
		VPADDD(x, w, w)
		VPADDD(y, w, w)
		VPADDD(w, h, h)
		return
	}
	m := k.v(12)
	VMOVDQU(k.w(t+1), m)
	k.sigma(x, m, 7, 18, -3)
	VMOVDQU(k.w(t+14), m)
	VPADDD(k.w(t), x, x)
	VPADDD(k.w(t+9), x, x)
	k.sigma(y, m, 17, 19, -10)
	VPADDD(y, x, x)
	VMOVDQU(x, k.w(t))
	VPADDD(x, h, h)
}

// add adds the word at m to every lane.
func (k wide) add(to VecPhysical, m Mem) {
	if k.evex {
		VPADDD_BCST(m, to, to)
		return
	}
	VPBROADCASTD(m, k.v(13))
	VPADDD(k.v(13), to, to)
}

// set makes word t of a block, by way of a register where the schedule is in
// memory.
func (k wide) set(t int, put func(VecPhysical)) {
	if k.evex {
		put(k.v(16 + t))
		return
	}
	x := k.v(8 + t%4)
	put(x)
	VMOVDQU(x, k.w(t))
}

// words makes the state the first half of a block.
func (k wide) words() {
	for i := range 8 {
		if k.evex {
			VMOVDQA32(k.v(i), k.v(16+i))
		} else {
			VMOVDQU(k.v(i), k.w(i))
		}
	}
}

func (k wide) begin() {
	Comment("the initial state")
	for i := range 8 {
		VPBROADCASTD(initial().Offset(4*i), k.v(i))
	}
}

func (k wide) addStart() {
	Comment("add the initial state")
	for i := range 8 {
		k.add(k.v(i), initial().Offset(4*i))
	}
}

func (k wide) save() {
	Comment("keep the state")
	for i := range 8 {
		k.move(k.v(i), k.saved(i))
	}
}

func (k wide) addSaved() {
	Comment("add the state before the block")
	for i := range 8 {
		VPADDD(k.saved(i), k.v(i), k.v(i))
	}
}

// load reads a block of every lane.
func (k wide) load() {
	for q := range 4 {
		Commentf("words %d to %d of every lane", 4*q, 4*q+3)
		LEAQ(Mem{Base: data}.Offset(16*q), RAX)
		k.rows(func(lane int) Mem {
			return [4]Mem{
				{Base: RAX},
				{Base: RAX, Index: stride, Scale: 1},
				{Base: RAX, Index: stride, Scale: 2},
				{Base: RAX, Index: stride3, Scale: 1},
			}[lane%4]
		}, func() { LEAQ(Mem{Base: RAX, Index: stride, Scale: 4}, RAX) })
		for j := range 4 {
			VPSHUFB(flip(), k.v(8+j), k.v(8+j))
		}
		if k.evex {
			k.transpose(k.v(16+4*q), k.v(17+4*q), k.v(18+4*q), k.v(19+4*q))
			continue
		}
		// The state is in memory, so its registers are free.
		k.transpose(k.v(0), k.v(1), k.v(2), k.v(3))
		for j := range 4 {
			VMOVDQU(k.v(j), k.w(4*q+j))
		}
	}
	if !k.evex {
		for i := range 8 {
			VMOVDQU(k.saved(i), k.v(i))
		}
	}
}

// rows reads four words of every lane: registers 8 to 11 get those of lanes 0
// to 3, and behind them those of lanes 4 to 7, and so on. next is called
// between two such fours.
func (k wide) rows(from func(lane int) Mem, next func()) {
	for part := range k.n / 4 {
		if part > 0 && next != nil {
			next()
		}
		for j := range 4 {
			m, r := from(4*part+j), k.v(8+j)
			switch {
			case part == 0:
				VMOVDQU(m, r.AsX())
			case k.n == 8 && !k.evex:
				VINSERTI128(Imm(uint64(part)), m, r, r)
			default:
				VINSERTI32X4(Imm(uint64(part)), m, r, r)
			}
		}
	}
}

// transpose turns registers 8 to 11, four words of a lane in each quarter, into
// four words of all lanes, and back: each takes what stood at its place.
func (k wide) transpose(w0, w1, w2, w3 VecPhysical) {
	r, x := k.v(8), [4]VecPhysical{k.v(12), k.v(13), k.v(14), k.v(15)}
	VPUNPCKLDQ(k.v(9), r, x[0])
	VPUNPCKHDQ(k.v(9), r, x[1])
	VPUNPCKLDQ(k.v(11), k.v(10), x[2])
	VPUNPCKHDQ(k.v(11), k.v(10), x[3])
	VPUNPCKLQDQ(x[2], x[0], w0)
	VPUNPCKHQDQ(x[2], x[0], w1)
	VPUNPCKLQDQ(x[3], x[1], w2)
	VPUNPCKHQDQ(x[3], x[1], w3)
}

func (k wide) move(from, to Op) {
	if k.evex {
		VMOVDQU32(from, to)
	} else {
		VMOVDQU(from, to)
	}
}

func (k wide) extract(part int, from VecPhysical, to Mem) {
	switch {
	case part == 0:
		VMOVDQU(from.AsX(), to)
	case k.evex:
		VEXTRACTI32X4(Imm(uint64(part)), from, to)
	default:
		VEXTRACTI128(Imm(uint64(part)), from, to)
	}
}
