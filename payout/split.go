package payout

import (
	"fmt"
	"math/big"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// Split is who earned what of one reward. It is common to all classes of a job.
type Split struct {
	Reward        int64    // sats; subsidy + fees of the template
	Fees          []Fee    // of the rules, in their order
	Distributable int64    // Reward less Fees
	Credits       []Credit // every member with weight, ascending; some may be 0 sats
	Reserve       int64    // kept back by an unfilled window
	Unallocated   int64    // all of Distributable where nobody had worked
}

// Split divides reward by what is in the window. prev is the block to build on,
// for ties; id gives a member's name in the register, and need not know member
// 0. On any doubt the error is ErrSplit: it never returns a split that does not
// add up.
func (r *Rules) Split(reward int64, prev chainhash.Hash, w *Weights, id func(member uint16) string) (*Split, error) {
	if reward < 0 || reward > maxMoney {
		return nil, fmt.Errorf("reward of %d sats is out of range: %w", reward, ErrSplit)
	}
	s := &Split{Reward: reward, Distributable: reward}
	for _, f := range r.Fees {
		v := portion(reward, f.BP)
		s.Fees = append(s.Fees, Fee{Account: f.Account, Sats: v})
		s.Distributable -= v
	}
	if len(w.Members) == 0 {
		s.Unallocated = s.Distributable
		return s.checked()
	}
	parts := make([]part, 0, len(w.Members)+1)
	seen := make(map[string]uint16, len(w.Members))
	for _, m := range w.Members {
		name := id(m.Member)
		if name == "" && m.Member == 0 {
			name = ParkedID
		}
		if other, twice := seen[name]; name == "" || twice {
			return nil, fmt.Errorf("member %d is named %q in the register, as is member %d: %w", m.Member, name, other, ErrSplit)
		}
		seen[name] = m.Member
		parts = append(parts, part{id: name, weight: m.Units})
	}
	if missing := new(big.Int).Sub(w.Capacity, w.Total); r.Underfill == ReserveMissed && missing.Sign() > 0 {
		parts = append(parts, part{id: reserveID, weight: missing})
	}
	if err := apportion(s.Distributable, parts, prev); err != nil {
		return nil, err
	}
	for i, m := range w.Members {
		s.Credits = append(s.Credits, Credit{Member: m.Member, Sats: parts[i].sats})
	}
	if len(parts) > len(w.Members) {
		s.Reserve = parts[len(parts)-1].sats
	}
	return s.checked()
}

// checked returns s where invariant I1 holds: nothing of a reward is lost,
// nothing is made.
func (s *Split) checked() (*Split, error) {
	sum := s.Reserve + s.Unallocated
	for _, f := range s.Fees {
		sum += f.Sats
	}
	for _, c := range s.Credits {
		sum += c.Sats
	}
	if sum != s.Reward {
		return nil, fmt.Errorf("credits, fees, reserve and unallocated sum to %d sats, the reward is %d: %w", sum, s.Reward, ErrSplit)
	}
	return s, nil
}

// entries returns s as a receipt lists it: no zero credits, and what goes to no
// member by name behind the fees.
func (s *Split) entries() (credits []Credit, fees []Fee) {
	for _, c := range s.Credits {
		if c.Sats != 0 {
			credits = append(credits, c)
		}
	}
	fees = append(fees, s.Fees...)
	if s.Reserve != 0 {
		fees = append(fees, Fee{Account: ReserveAccount, Sats: s.Reserve})
	}
	if s.Unallocated != 0 {
		fees = append(fees, Fee{Account: UnallocatedAccount, Sats: s.Unallocated})
	}
	return credits, fees
}
