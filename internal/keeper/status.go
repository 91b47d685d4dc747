package keeper

import (
	"maps"
	"slices"
	"time"

	"cordee/payout"
)

// Status is what pages show of the accounts. Amounts are sats.
type Status struct {
	Slot        uint32 // newest closed; 0 before the first
	StoreSlot   uint32 // newest in the store, as last seen
	Events      int    // of the ledger
	StoreEvents uint32
	Ship        string    // one of the Ship states
	ShipSince   time.Time // of Ship; zero before the first round
	ShipWhy     string
	// StoreProblems is what should be changed about the store, worst first.
	StoreProblems []string
	Halts         []string
	Trouble       map[string]string // what fails now, by part: slots, chain, store, payout
	Draining      bool              // jobs on the present tip may pay carry
	Treasury      int64
	// Class is the largest class that a job of the newest template was made for;
	// MemberStatus.Direct is of it. Credits are common to all classes. "" is none.
	Class   string
	Members []MemberStatus // ascending by index
	Blocks  []BlockStatus  // oldest first
}

// MemberStatus is one member in three amounts that are never summed: expected
// is of a block that is not found.
type MemberStatus struct {
	Member   uint16
	ID       string
	Expected int64 // credit of the newest template's value by the newest cut, if it were found
	Direct   int64 // would be paid by that block's own coinbase, carry among it, if a rig of Status.Class found it
	Maturing int64 // credited by blocks that may still be orphaned, less what they paid
	Carried  int64 // mature and not paid yet
	Reserved int64 // in a batch
	Paid     int64
}

// BlockStatus is a block of ours in the ledger.
type BlockStatus struct {
	Hash    string
	State   string // "immature", "mature", "orphaned"
	Receipt *payout.Receipt
}

// Status returns the accounts as they are. It waits for no store and no node.
func (k *Keeper) Status() Status {
	members := k.cfg.Members.Members()
	k.mu.Lock()
	s := Status{
		Slot: k.lastSlot, StoreSlot: k.status.slot, StoreEvents: k.status.event, Ship: k.status.state, ShipSince: k.status.since, ShipWhy: k.status.why,
		StoreProblems: problemTexts(k.problems), Trouble: maps.Clone(k.trouble), Draining: k.tip == k.covered && k.tip.Height > 0,
	}
	expected := k.expected
	k.mu.Unlock()
	if s.Ship == "" {
		s.Ship = ShipStarting
	}

	k.writing.Lock()
	defer k.writing.Unlock()
	s.Events, s.Halts, s.Treasury = len(k.heads), k.ledger.Halts(), k.ledger.Treasury()
	if len(s.Halts) > 0 {
		s.Draining = false
	}
	rows := map[uint16]MemberStatus{}
	for m := range members {
		rows[m] = MemberStatus{}
	}
	for _, o := range k.ledger.Owners() {
		if b := k.ledger.Balance(o); o.Account == "" {
			rows[o.Member] = MemberStatus{Maturing: b.Immature, Carried: b.Mature, Reserved: b.Reserved, Paid: b.Paid}
		}
	}
	if r := expected.receipt; r != nil {
		s.Class = expected.class.Name
		for _, c := range r.Credits {
			row := rows[c.Member]
			row.Expected = c.Sats
			rows[c.Member] = row
		}
		for _, p := range r.Settlement {
			if p.Kind == payout.ToMember {
				row := rows[p.Member]
				row.Direct += p.Sats
				rows[p.Member] = row
			}
		}
	}
	for m, row := range rows {
		row.Member, row.ID = m, members[m].ID
		s.Members = append(s.Members, row)
	}
	slices.SortFunc(s.Members, func(a, b MemberStatus) int { return int(a.Member) - int(b.Member) })
	states := [...]string{payout.Active: "immature", payout.Mature: "mature", payout.Orphaned: "orphaned"}
	for _, b := range k.ledger.Blocks() {
		s.Blocks = append(s.Blocks, BlockStatus{Hash: b.Hash.String(), State: states[b.State], Receipt: b.Receipt})
	}
	return s
}
