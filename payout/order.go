package payout

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"cordee/pool"
)

// ErrBudget reports a class or a template that leaves no room for a coinbase.
var ErrBudget = errors.New("no room for the treasury output")

// Carry is what a member is owed from before this block, by the ledger.
type Carry struct {
	Sats  int64 // may be drained by this block
	Since int32 // height, see Claim
}

// Member is what a settlement needs of the register.
type Member struct {
	ID   string // name
	Legs []Leg  // none: not payable by coinbase, all is carried
}

// Order is one receipt to be made: a split and where it is to be paid.
type Order struct {
	Template   *pool.Template
	Class      pool.Class
	ScriptSig  int // bytes of the coinbase script; pool.MaxScriptSig is always enough
	Split      *Split
	Slot       uint32   // the cut
	SlotHead   [32]byte // of its manifest
	LedgerHead [32]byte // of the ledger that Carry was read from
	// Drain says that the ledger head covers the template's parent. Without it
	// nobody gets more than this block's own credit (decision 15).
	Drain    bool
	KeepFees bool // leave fees in the treasury, as Class.KeepFees does
	Carry    map[uint16]Carry
	Members  map[uint16]Member
	Treasury []byte // output script
}

// Sizes of a coinbase in bytes, without witness, and what a block weighs beside
// its transactions.
const (
	coinbaseFixed = 4 + 1 + 36 + 1 + 4 + 4 // version, count, outpoint, script length, sequence, lock time
	commitmentOut = 8 + 1 + 38             // the witness commitment
	blockFixed    = 4 * (80 + 3)           // header, transaction count
	witnessWeight = 2 + 1 + 1 + 32         // marker, flag, one stack item
)

// outputSize returns the bytes of an output of script.
func outputSize(script []byte) int { return 8 + varIntSize(len(script)) + len(script) }

func varIntSize(n int) int {
	switch {
	case n < 0xfd:
		return 1
	case n <= 0xffff:
		return 3
	}
	return 5
}

// room counts what a coinbase may still hold.
type room struct{ bytes, outputs, limit int }

// newRoom returns the room beside witness commitment and treasury.
func newRoom(o *Order) room {
	limit := o.Class.MaxCoinbase
	free := (pool.MaxBlockWeight - o.Template.Weight() - blockFixed - witnessWeight) / 4
	if free < int64(limit) {
		limit = int(free)
	}
	return room{coinbaseFixed + o.ScriptSig + commitmentOut + outputSize(o.Treasury), 2, limit}
}

// with returns the room once n outputs of that many bytes together are added.
func (r room) with(bytes, n int) room {
	return room{r.bytes + bytes, r.outputs + n, r.limit}
}

func (r room) fits() bool { return r.bytes+varIntSize(r.outputs) <= r.limit }

// Receipt returns o's settlement and split as the receipt that the coinbase of
// its job commits to. Outputs stand in the order members by index, fees,
// treasury; an output of nothing is left out, unless it is the only one. The
// error names what is wrong with o; there is no receipt that does not sum to
// the template's value.
func (r *Rules) Receipt(o *Order) (*Receipt, error) {
	switch {
	case len(o.Treasury) == 0 || len(o.Treasury) > math.MaxUint16:
		return nil, fmt.Errorf("it has %d: %w", len(o.Treasury), ErrTreasury)
	case o.ScriptSig <= 0 || o.ScriptSig > pool.MaxScriptSig:
		return nil, fmt.Errorf("coinbase script of %d bytes, %d are allowed: %w", o.ScriptSig, pool.MaxScriptSig, ErrBudget)
	case o.Split.Reward != o.Template.Value:
		return nil, fmt.Errorf("the split is of %d sats, the template's value is %d: %w", o.Split.Reward, o.Template.Value, ErrSplit)
	}
	space := newRoom(o)
	if !space.fits() {
		return nil, fmt.Errorf("class %q allows a coinbase of %d bytes, template %d weight units: %w",
			o.Class.Name, o.Class.MaxCoinbase, o.Template.Weight(), ErrBudget)
	}
	out := &Receipt{
		Rule: r.Version, Slot: o.Slot, SlotHead: o.SlotHead, LedgerHead: o.LedgerHead, Drain: o.Drain,
		Height: o.Template.Height, PrevHash: o.Template.PrevHash, WorkBits: o.Template.WorkBits,
		Reward: o.Template.Value, Class: o.Class.ID,
	}
	out.Credits, out.Fees = o.Split.entries()

	fees := r.payFees(o, &space)
	paid, err := r.payMembers(o, space)
	if err != nil {
		return nil, err
	}
	rest := out.Reward
	for _, p := range append(paid, fees...) {
		out.Settlement = append(out.Settlement, p)
		rest -= p.Sats
	}
	if rest != 0 || len(out.Settlement) == 0 {
		out.Settlement = append(out.Settlement, Payment{Kind: ToTreasury, Sats: rest, Script: o.Treasury})
	}
	if err := out.Check(); err != nil {
		return nil, err
	}
	return out, nil
}

// payFees pays this block's fees in their order, up to the first that stays in
// the treasury because it has no script or is not worth an output; or none where
// they do not fit. Being a prefix, the payments name their accounts.
func (r *Rules) payFees(o *Order, space *room) (fees []Payment) {
	if o.KeepFees || o.Class.KeepFees {
		return nil
	}
	with := *space
	for i, f := range r.Fees {
		sats := o.Split.Fees[i].Sats
		if sats == 0 {
			continue
		}
		if len(f.Script) == 0 || sats < Dust(f.Script) {
			break
		}
		with = with.with(outputSize(f.Script), 1)
		fees = append(fees, Payment{Kind: ToFee, Sats: sats, Script: f.Script})
	}
	if !with.fits() {
		return nil
	}
	*space = with
	return fees
}

// claims returns what each member with a destination could be paid.
func (r *Rules) claims(o *Order) (claims []Claim, credited int64, err error) {
	owed := make(map[uint16]Carry, len(o.Split.Credits)+len(o.Carry))
	if o.Drain {
		for m, c := range o.Carry {
			if c.Sats > 0 {
				owed[m] = c
			}
		}
	}
	for _, c := range o.Split.Credits {
		credited += c.Sats
		have := owed[c.Member]
		if have.Sats == 0 {
			have.Since = o.Template.Height
			if before := o.Carry[c.Member]; before.Sats > 0 { // not drained, yet it waits
				have.Since = before.Since
			}
		}
		have.Sats += c.Sats
		owed[c.Member] = have
	}
	for m, c := range owed {
		who, known := o.Members[m]
		if !known && m != 0 {
			return nil, 0, fmt.Errorf("member %d is owed %d sats and is not in the register: %w", m, c.Sats, ErrRules)
		}
		if len(who.Legs) == 0 {
			continue
		}
		if err := checkLegs(who.Legs); err != nil {
			return nil, 0, fmt.Errorf("member %q: %w", who.ID, err)
		}
		least := r.MinPayout
		for _, l := range who.Legs {
			least = max(least, Dust(l.Script))
		}
		claims = append(claims, Claim{Member: m, ID: who.ID, Owed: c.Sats, Since: c.Since, Least: least})
	}
	return claims, credited, nil
}

// payMembers pays as many members as fit, by index.
func (r *Rules) payMembers(o *Order, space room) ([]Payment, error) {
	claims, credited, err := r.claims(o)
	if err != nil {
		return nil, err
	}
	candidates := NewCandidates(o.Template.PrevHash, claims)
	m := candidates.Len()
	if r.MaxOutputs > 0 {
		m = min(m, r.MaxOutputs)
	}
	// Who is chosen depends on how many are, and their sizes differ: the
	// largest number that fits is looked for from above, beginning where even
	// the smallest of them would not fit any more.
	smallest := space.limit
	for _, c := range claims {
		size := 0
		for _, l := range o.Members[c.Member].Legs {
			size += outputSize(l.Script)
		}
		smallest = min(smallest, size)
	}
	m = min(m, (space.limit-space.bytes)/max(smallest, 1))
	var chosen []Claim
	for ; m > 0; m-- {
		chosen = candidates.Choose(m)
		with := space
		for _, c := range chosen {
			for _, l := range o.Members[c.Member].Legs {
				with = with.with(outputSize(l.Script), 1)
			}
		}
		if with.fits() {
			break
		}
	}
	if m <= 0 {
		chosen = nil
	}
	paid, _ := Pay(chosen, credited)
	slices.SortFunc(paid, func(a, b Paid) int { return cmp.Compare(a.Member, b.Member) })
	var out []Payment
	for _, p := range paid {
		legs := o.Members[p.Member].Legs
		sats, err := Destinations(p.Sats, o.Template.PrevHash, legs)
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", o.Members[p.Member].ID, err)
		}
		for i, v := range sats {
			if v > 0 {
				out = append(out, Payment{Kind: ToMember, Member: p.Member, Sats: v, Script: legs[i].Script})
			}
		}
	}
	return out, nil
}
