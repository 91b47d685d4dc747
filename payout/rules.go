package payout

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// Underfill says what happens while the log holds less work than the window.
type Underfill uint8

// The ways to treat a window that is not full.
const (
	Normalize     Underfill = iota // divide by the work that exists
	ReserveMissed                  // what is missing counts as work of the account "reserve"
)

// Accounts that no rule file may name: a receipt lists them after its fees.
const (
	ReserveAccount     = "reserve"     // what an unfilled window keeps back
	UnallocatedAccount = "unallocated" // a reward for which nobody had worked yet
)

// Identities of those who are not in the register. No member's name starts
// with U+0000, so they cannot collide.
const (
	reserveID = "\x00reserve"
	ParkedID  = "\x00parked" // of member 0
)

const basis = 10_000 // basis points in a whole

// FeeRule is one account's part of every gross reward.
type FeeRule struct {
	Account string
	BP      int    // basis points of the reward, rounded down
	Script  []byte // paid there by the coinbase; nil leaves the fee in the treasury
}

// Rules are one version of unit-pplns-v1 as the pool's members agreed on it.
type Rules struct {
	Version    uint16     // RuleUnitPPLNS
	XMilli     uint64     // window in thousandths of an expected block
	Scale      pool.Scale // pool.Difficulty units in difficulty 1
	Underfill  Underfill
	Fees       []FeeRule // in the order of receipts; those with a script first
	MinPayout  int64     // sats; less is carried
	MaxOutputs int       // members paid by one coinbase; 0 leaves it to the class
}

// ErrRules reports rules that contradict themselves or this program.
var ErrRules = errors.New("not valid payout rules")

// Check returns ErrRules, wrapped with what is wrong.
func (r *Rules) Check() error {
	switch {
	case r.Version != RuleUnitPPLNS:
		return fmt.Errorf("version %d, this program knows %d: %w", r.Version, RuleUnitPPLNS, ErrRules)
	case r.XMilli == 0:
		return fmt.Errorf("a window of 0 expected blocks: %w", ErrRules)
	case r.Scale == 0:
		return fmt.Errorf("a difficulty scale of 0: %w", ErrRules)
	case r.Underfill > ReserveMissed:
		return fmt.Errorf("underfill %d is unknown: %w", r.Underfill, ErrRules)
	case r.MinPayout < 0 || r.MinPayout > maxMoney:
		return fmt.Errorf("minimum payout of %d sats: %w", r.MinPayout, ErrRules)
	case r.MaxOutputs < 0:
		return fmt.Errorf("at most %d outputs: %w", r.MaxOutputs, ErrRules)
	case len(r.Fees) > 255:
		return fmt.Errorf("%d fees, 255 are allowed: %w", len(r.Fees), ErrRules)
	case r.Capacity().Sign() == 0:
		return fmt.Errorf("a window that holds nothing: %w", ErrRules)
	}
	sum := 0
	for i, f := range r.Fees {
		switch {
		case f.Account == "" || len(f.Account) > math.MaxUint8:
			return fmt.Errorf("fee %d: account of %d bytes, 1 to 255 are allowed: %w", i+1, len(f.Account), ErrRules)
		case f.Account == ReserveAccount || f.Account == UnallocatedAccount:
			return fmt.Errorf("fee %d: account %q has a meaning of its own: %w", i+1, f.Account, ErrRules)
		case f.BP < 0 || f.BP > basis:
			return fmt.Errorf("fee %q: %d basis points, 0 to 10000 are allowed: %w", f.Account, f.BP, ErrRules)
		case len(f.Script) > math.MaxUint16:
			return fmt.Errorf("fee %q: script of %d bytes: %w", f.Account, len(f.Script), ErrRules)
		case i > 0 && len(f.Script) > 0 && len(r.Fees[i-1].Script) == 0:
			return fmt.Errorf("fee %q has an address, the one before it has none: put those with addresses first: %w", f.Account, ErrRules)
		case slices.ContainsFunc(r.Fees[:i], func(g FeeRule) bool { return g.Account == f.Account }):
			return fmt.Errorf("fee %q stands twice: %w", f.Account, ErrRules)
		}
		sum += f.BP
	}
	if sum > basis {
		return fmt.Errorf("fees of %d basis points exceed the reward: %w", sum, ErrRules)
	}
	return nil
}

// Capacity returns the window's size in units of weight, which are difficulty
// times block target: floor(x_milli * diff1 * scale / 1000). It does not depend
// on any block's difficulty, which is what keeps the rule fair across retargets.
func (r *Rules) Capacity() *big.Int {
	c := new(big.Int).Lsh(big.NewInt(0xFFFF), 208)
	c.Mul(c, new(big.Int).SetUint64(r.XMilli))
	c.Mul(c, new(big.Int).SetUint64(uint64(r.Scale)))
	return c.Div(c, big.NewInt(1000))
}

// portion returns floor(sats * bp / 10000) for sats >= 0 and bp up to 10000.
func portion(sats int64, bp int) int64 {
	hi, lo := bits.Mul64(uint64(sats), uint64(bp))
	q, _ := bits.Div64(hi, lo, basis) // hi < basis: sats is below 2^63 and bp at most 10000
	return int64(q)
}

// tieKeys returns what orders equals by their id: the smaller key wins. The
// previous block's hash, known when a job is built, rotates who that is.
func tieKeys(prev chainhash.Hash) func(id string) [32]byte {
	text := append([]byte(prev.String()), ':')
	n := len(text)
	return func(id string) [32]byte {
		text = append(text[:n], id...)
		return sha256.Sum256(text)
	}
}
