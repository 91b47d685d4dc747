package verify

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"math/big"
	"sort"
	"strconv"
)

// This file is the plain reading of the rule: every share, newest first, and
// schoolbook arithmetic. It shares no code with package payout on purpose.

// naiveTarget expands a compact target.
func naiveTarget(nbits uint32) *big.Int {
	mantissa := big.NewInt(int64(nbits & 0x7fffff))
	if exponent := uint(nbits >> 24); exponent >= 3 {
		return mantissa.Lsh(mantissa, 8*(exponent-3))
	} else {
		return mantissa.Rsh(mantissa, 8*(3-exponent))
	}
}

// naiveCapacity returns floor(x_milli * T1 * scale / 1000).
func naiveCapacity(xMilli, scale uint64) *big.Int {
	c, _ := new(big.Int).SetString("ffff0000000000000000000000000000000000000000000000000000", 16)
	c.Mul(c, new(big.Int).SetUint64(xMilli))
	c.Mul(c, new(big.Int).SetUint64(scale))
	return c.Quo(c, big.NewInt(1000))
}

// naiveWindow is what the walk finds.
type naiveWindow struct {
	weights map[string]*big.Int
	weight  *big.Int
	counted int
	oldest  uint64
	clipped *big.Int // of the oldest, nil where it counts whole
	full    *big.Int
}

// walkShares walks shares with seq at most cut, newest first, until capacity is
// used up. targets are those of the epochs.
func walkShares(shares []Share, targets []*big.Int, cut uint64, capacity *big.Int) naiveWindow {
	w := naiveWindow{weights: map[string]*big.Int{}, weight: new(big.Int)}
	rem := new(big.Int).Set(capacity)
	for i := len(shares) - 1; i >= 0 && rem.Sign() > 0; i-- {
		s := shares[i]
		if s.Seq > cut {
			continue
		}
		full := new(big.Int).SetUint64(s.Difficulty)
		full.Mul(full, targets[s.Epoch])
		take := new(big.Int).Set(full)
		if take.Cmp(rem) > 0 {
			take.Set(rem)
			w.clipped, w.full = new(big.Int).Set(take), full
		}
		if w.weights[s.Member] == nil {
			w.weights[s.Member] = new(big.Int)
		}
		w.weights[s.Member].Add(w.weights[s.Member], take)
		w.weight.Add(w.weight, take)
		rem.Sub(rem, take)
		w.counted++
		w.oldest = s.Seq
	}
	return w
}

// lessHash orders ties: SHA256(prevhash ":" id), the smaller first.
func lessHash(prevHex, a, b string) bool {
	x, y := sha256.Sum256([]byte(prevHex+":"+a)), sha256.Sum256([]byte(prevHex+":"+b))
	return bytes.Compare(x[:], y[:]) < 0
}

// naiveShares divides amount by weight with the largest remainders.
func naiveShares(amount int64, weights map[string]*big.Int, prevHex string) map[string]int64 {
	sum := new(big.Int)
	for _, w := range weights {
		sum.Add(sum, w)
	}
	got := map[string]int64{}
	rest := map[string]*big.Int{}
	var ids []string
	left := amount
	for id, w := range weights {
		exact := new(big.Int).Mul(big.NewInt(amount), w)
		got[id] = new(big.Int).Quo(exact, sum).Int64()
		rest[id] = new(big.Int).Rem(exact, sum)
		left -= got[id]
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool {
		if c := rest[ids[i]].Cmp(rest[ids[j]]); c != 0 {
			return c > 0
		}
		return lessHash(prevHex, ids[i], ids[j])
	})
	for i := int64(0); i < left; i++ {
		got[ids[i]]++
	}
	return got
}

// naiveBlock computes one block of v.
func naiveBlock(v *Vector, n int) Expected {
	b := v.Blocks[n]
	var targets []*big.Int
	for _, bits := range v.epochs {
		if v.Params.WindowRule == "work" { // everything at the block's own difficulty
			bits = b.bits
		}
		targets = append(targets, naiveTarget(bits))
	}
	capacity := naiveCapacity(v.Params.XMilli, v.Params.Scale)
	w := walkShares(v.Shares, targets, b.CutSeq, capacity)

	e := Expected{
		Capacity: capacity.String(), Weight: w.weight.String(), Counted: w.counted,
		Weights: map[string]string{}, Fees: map[string]int64{}, Credits: map[string]int64{},
	}
	ppm := new(big.Int).Mul(w.weight, big.NewInt(1_000_000))
	e.FilledPPM = ppm.Quo(ppm, capacity).Int64()
	if w.counted > 0 {
		e.OldestSeq = &w.oldest
	}
	if w.clipped != nil {
		e.Partial = []string{strconv.FormatUint(w.oldest, 10), w.clipped.String(), w.full.String()}
	}
	for id, x := range w.weights {
		e.Weights[id] = x.String()
	}
	e.Distributable = b.Value
	for _, f := range v.Params.Fees {
		x := new(big.Int).Mul(big.NewInt(b.Value), big.NewInt(f.BP))
		e.Fees[f.Account] = x.Quo(x, big.NewInt(10000)).Int64()
		e.Distributable -= e.Fees[f.Account]
	}
	if w.counted == 0 {
		e.Unallocated = e.Distributable
		return e
	}
	const reserve = "\x00reserve"
	if missing := new(big.Int).Sub(capacity, w.weight); v.Params.Underfill == "reserve" && missing.Sign() > 0 {
		w.weights[reserve] = missing
	}
	e.Credits = naiveShares(e.Distributable, w.weights, b.PrevHash)
	e.Reserve = e.Credits[reserve]
	delete(e.Credits, reserve)
	return e
}

// naiveLegs divides a member's credit over its destinations.
func naiveLegs(credit int64, legs []Destination, dust map[string]int64, prevHex string) []LegAmount {
	weights := map[string]*big.Int{}
	for _, l := range legs {
		weights[l.Address] = big.NewInt(l.BP)
	}
	got := naiveShares(credit, weights, prevHex)
	big := legs[0].Address
	for _, l := range legs {
		if got[l.Address] > got[big] {
			big = l.Address
		}
	}
	for _, l := range legs {
		if l.Address != big && got[l.Address] < dust[l.Type] {
			got[big] += got[l.Address]
			got[l.Address] = 0
		}
	}
	var out []LegAmount
	for _, l := range legs {
		if got[l.Address] > 0 {
			out = append(out, LegAmount{l.Address, got[l.Address]})
		}
	}
	return out
}

// naiveChoice returns who gets one of m outputs, in payment order: m - m/4 most
// owed, m/4 longest waiting, the smallest first.
func naiveChoice(claims []NaiveClaim, m int, prevHex string) []NaiveClaim {
	more := func(a, b NaiveClaim) bool {
		if a.Owed != b.Owed {
			return a.Owed > b.Owed
		}
		return lessHash(prevHex, a.ID, b.ID)
	}
	var all []NaiveClaim
	for _, c := range claims {
		if c.Owed > 0 && c.Owed >= c.Least {
			all = append(all, c)
		}
	}
	sort.Slice(all, func(i, j int) bool { return more(all[i], all[j]) })
	m = min(m, len(all))
	top, others := append([]NaiveClaim{}, all[:m-m/4]...), append([]NaiveClaim{}, all[m-m/4:]...)
	sort.Slice(others, func(i, j int) bool {
		if others[i].Since != others[j].Since {
			return others[i].Since < others[j].Since
		}
		return more(others[i], others[j])
	})
	slots := append(top, others[:m/4]...)
	sort.Slice(slots, func(i, j int) bool {
		if slots[i].Owed != slots[j].Owed {
			return slots[i].Owed < slots[j].Owed
		}
		return lessHash(prevHex, slots[i].ID, slots[j].ID)
	})
	return slots
}

// naivePay pays chosen in their order out of left.
func naivePay(chosen []NaiveClaim, left int64) (paid []LegAmount, rest int64) {
	paid = []LegAmount{}
	for _, c := range chosen {
		pay := min(c.Owed, left)
		if pay < c.Least || pay == 0 {
			continue
		}
		paid = append(paid, LegAmount{c.ID, pay})
		left -= pay
	}
	return paid, left
}

// naiveSettlements pays the blocks of v one after the other.
func naiveSettlements(v *Vector, dust map[string]int64, credits []map[string]int64) []Settlement {
	owed, since := map[string]int64{}, map[string]int64{}
	var all []Settlement
	for n, b := range v.Blocks {
		var left int64
		for id, sats := range credits[n] {
			if owed[id] == 0 && sats > 0 {
				since[id] = b.Height
			}
			owed[id] += sats
			left += sats
		}
		var claims []NaiveClaim
		for id := range owed {
			claims = append(claims, NaiveClaim{id, owed[id], since[id], max(v.Policy.MinPayout, dust[v.MemberTypes[id]])})
		}
		s := Settlement{Carry: map[string][2]int64{}}
		s.Outputs, s.Treasury = naivePay(naiveChoice(claims, v.Policy.MaxOutputs, b.PrevHash), left)
		for _, o := range s.Outputs {
			owed[o.To] -= o.Sats
			since[o.To] = b.Height
		}
		for id, sats := range owed {
			if sats > 0 {
				s.Carry[id] = [2]int64{sats, since[id]}
			}
		}
		all = append(all, s)
	}
	return all
}

// naiveLedger replays v's events over whole credits.
func naiveLedger(v *Vector, credits []map[string]int64) []Balances {
	immature, mature := map[string]int64{}, map[string]int64{}
	add := func(to map[string]int64, what map[string]int64, sign int64) {
		for id, sats := range what {
			if to[id] += sign * sats; to[id] == 0 {
				delete(to, id)
			}
		}
	}
	var all []Balances
	for _, e := range v.Events {
		switch e.Type {
		case "block":
			add(immature, credits[*e.Block], 1)
		case "orphan":
			add(immature, credits[*e.Block], -1)
		case "mature":
			add(immature, credits[*e.Block], -1)
			add(mature, credits[*e.Block], 1)
		case "payout":
			add(mature, e.Amounts, -1)
		}
		all = append(all, Balances{e, maps.Clone(immature), maps.Clone(mature)})
	}
	return all
}
