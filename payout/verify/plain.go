package verify

// This file lends the naive walk to who recomputes real blocks with it. Nothing
// of it is package payout's.

// NaiveClaim is what a member could be paid by one coinbase.
type NaiveClaim struct {
	ID    string // name in the register, for ties
	Owed  int64  // sats
	Since int64  // height at which the oldest of it came to be, or of the last payment
	Least int64  // sats; less is not worth an output
}

// NaiveCredits divides value by the walk over shares, newest first, from the
// one with seq cut on. shares ascend by seq and name their compact target by its
// index in nbits; prevHash is in display hex. Every share must have a difficulty
// above 0, every target be one that blocks can have.
func NaiveCredits(p *Params, nbits []uint32, shares []Share, cut uint64, prevHash string, value int64) Expected {
	v := &Vector{Params: *p, Shares: shares, epochs: nbits}
	v.Params.WindowRule = "unit"
	v.Blocks = []VectorBlock{{PrevHash: prevHash, CutSeq: cut, Value: value}}
	return naiveBlock(v, 0)
}

// NaiveChoice returns who gets one of m outputs, in payment order (decision 17).
func NaiveChoice(claims []NaiveClaim, m int, prevHash string) []NaiveClaim {
	return naiveChoice(claims, m, prevHash)
}

// NaivePay pays chosen in their order out of left sats, each what it is owed or
// what is left, none below its Least.
func NaivePay(chosen []NaiveClaim, left int64) (paid []LegAmount, rest int64) {
	return naivePay(chosen, left)
}

// NaiveLegs divides what a member gets over at least one destination. dust has
// the sats below which one of that type is folded into the largest.
func NaiveLegs(sats int64, legs []Destination, dust map[string]int64, prevHash string) []LegAmount {
	return naiveLegs(sats, legs, dust, prevHash)
}
