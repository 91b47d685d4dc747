package web

import (
	"strings"
	"time"

	"cordee/pool"
)

// The money states of a Split.
const (
	SplitImmature = "immature" // its coinbase may not be spent yet
	SplitMature   = "mature"
	SplitOrphaned = "orphaned" // pays nobody
)

// Split is how the receipt of a block divides it. Credits and fees add up to
// the reward, but for a block that was the treasury's whole (rule 0), which has
// none. What the coinbase pays and leaves to the treasury adds up to it always.
type Split struct {
	State    string       `json:"state"` // one of the money states
	Slot     uint32       `json:"slot"`  // the newest that it counts
	Reward   int64        `json:"reward_sats"`
	Treasury int64        `json:"treasury_sats"` // left to the treasury by the coinbase
	Receipt  string       `json:"receipt"`       // the commitment in the coinbase, hex
	Members  []Portion    `json:"members"`       // ascending by index
	Fees     []FeePortion `json:"fees"`
}

// Portion is a member's part of a block in sats. Paid may exceed Credit where
// the block also pays what was carried, and is 0 where it is carried on.
type Portion struct {
	Member string `json:"member"`
	Index  uint16 `json:"index"` // 0 is parked work
	Credit int64  `json:"credit_sats"`
	Paid   int64  `json:"paid_sats"` // by outputs of this coinbase
}

// FeePortion is the part of an account of the rules.
type FeePortion struct {
	Account string `json:"account"`
	Credit  int64  `json:"credit_sats"`
	Paid    int64  `json:"paid_sats"` // by an output of this coinbase
}

// Payouts is what members were paid, newest block first.
type Payouts struct {
	Payouts []Payout `json:"payouts"`
}

// Payout is one payment to one member by one block.
type Payout struct {
	Member        string    `json:"member"`
	Index         uint16    `json:"index"`
	Height        int32     `json:"height"`
	Hash          string    `json:"hash"`
	Sats          int64     `json:"sats"`
	State         string    `json:"state"` // a money state
	Confirmations int64     `json:"confirmations"`
	Found         time.Time `json:"found,omitzero"` // zero where an earlier run found it
}

// PayoutsOf lists what b paid to one member, or to all for "". A member who
// was not paid by a block has no entry.
func PayoutsOf(b Blocks, member string) Payouts {
	out := Payouts{Payouts: []Payout{}}
	for _, x := range b.Blocks {
		if x.Split == nil {
			continue
		}
		for _, m := range x.Split.Members {
			if m.Paid == 0 || member != "" && m.Member != member {
				continue
			}
			out.Payouts = append(out.Payouts, Payout{
				Member: m.Member, Index: m.Index, Height: x.Height, Hash: x.Hash, Sats: m.Paid,
				State: x.Split.State, Confirmations: x.Confirmations, Found: x.Found,
			})
		}
	}
	return out
}

// only returns the block of that hash, alone, or none.
func (b Blocks) only(hash string) Blocks {
	for _, x := range b.Blocks {
		if x.Hash == hash {
			return Blocks{Blocks: []Block{x}}
		}
	}
	return Blocks{Blocks: []Block{}}
}

// validHash says whether s is a block's hash as nodes print it.
func validHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Lengths of an address, the id of a member of an open pool, in bytes.
const (
	minAddress = 26
	maxAddress = 90
)

// validMember says whether s may name a member. It is asked before the source.
func validMember(s string) bool {
	return pool.ValidID(s, pool.MaxMemberID) || len(s) >= minAddress && pool.ValidID(strings.ToLower(s), maxAddress)
}
