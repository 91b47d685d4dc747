package payout

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// ErrLedger reports an event that contradicts the ledger, or a ledger that
// breaks one of its laws. Payouts must stop.
var ErrLedger = errors.New("ledger does not add up")

// Balance is what the pool owes one owner, and what it has paid, in sats.
type Balance struct {
	// Immature is of blocks that may still be orphaned. It is negative where
	// such blocks paid more than they credited, out of Mature.
	Immature int64
	Mature   int64
	Reserved int64 // in an open batch
	Paid     int64 // by coinbases of active blocks and by batches
	Since    int32 // height since when it is owed something, 0 if it is not
}

// Owed returns what a coinbase may pay: all that no batch has reserved.
func (b Balance) Owed() int64 { return b.Immature + b.Mature }

// BlockState is where a block of ours stands.
type BlockState uint8

// The states of a block.
const (
	Active   BlockState = 1 // in the followed chain
	Mature   BlockState = 2 // and its coinbase may be spent
	Orphaned BlockState = 3
)

// Block is a block of ours in the ledger.
type Block struct {
	Hash    chainhash.Hash
	Receipt *Receipt
	State   BlockState
	Turn    uint16 // how often it was orphaned or restored
	moves   []move
}

// move is what a block or batch does to one owner.
type move struct {
	owner        Owner
	credit, paid int64
}

// touch is what one block or one batch does to an owner while it is active.
type touch struct {
	block        *Block // nil where batch is not
	batch        *batch
	credit, paid int64
}

// height returns that of x, 0 where it is not active.
func (x *touch) height() int32 {
	switch {
	case x.block != nil && x.block.State != Orphaned:
		return x.block.Receipt.Height
	case x.batch != nil && x.batch.paid:
		return x.batch.height
	}
	return 0
}

type batch struct {
	lines    []Line
	paid     bool
	canceled bool
	turn     uint16
	height   int32
	fee      int64
}

// Ledger is a fold over events (ADR 0009). It keeps no clock and no file; one
// goroutine at a time may use it.
type Ledger struct {
	head     [32]byte
	balances map[Owner]*Balance
	totals   map[Purse]int64
	blocks   map[chainhash.Hash]*Block
	order    []chainhash.Hash // of blocks, as found
	batches  map[[32]byte]*batch
	halts    map[string]bool
	touched  map[Owner][]touch // as they came
	waits    map[Owner]wait    // of what is active in touched
}

// NewLedger returns the ledger before its first event.
func NewLedger() *Ledger {
	return &Ledger{
		balances: make(map[Owner]*Balance), totals: make(map[Purse]int64),
		blocks: make(map[chainhash.Hash]*Block), batches: make(map[[32]byte]*batch),
		halts: make(map[string]bool), touched: make(map[Owner][]touch), waits: make(map[Owner]wait),
	}
}

// Head returns the ledger's name: a hash over every event in it.
func (l *Ledger) Head() [32]byte { return l.head }

// Balance returns what o is owed and was paid.
func (l *Ledger) Balance(o Owner) Balance {
	if b := l.balances[o]; b != nil {
		return *b
	}
	return Balance{}
}

// Owners returns everyone who ever moved, members by index before accounts.
func (l *Ledger) Owners() []Owner {
	return slices.SortedFunc(maps.Keys(l.balances), Owner.Compare)
}

// Treasury returns the sats that the treasury holds by the ledger.
func (l *Ledger) Treasury() int64 { return l.totals[PurseTreasury] }

// Blocks returns all blocks, in the order in which they were found.
func (l *Ledger) Blocks() []Block {
	out := make([]Block, len(l.order))
	for i, h := range l.order {
		out[i] = *l.blocks[h]
	}
	return out
}

// Block returns the block of that hash.
func (l *Ledger) Block(hash chainhash.Hash) (Block, bool) {
	if b := l.blocks[hash]; b != nil {
		return *b, true
	}
	return Block{}, false
}

// Halts returns the names under which payouts are halted, sorted.
func (l *Ledger) Halts() []string { return slices.Sorted(maps.Keys(l.halts)) }

// Carry returns what every member is owed, for an Order whose LedgerHead is
// Head.
func (l *Ledger) Carry() map[uint16]Carry {
	out := make(map[uint16]Carry)
	for o, b := range l.balances {
		if sats := b.Owed(); o.Account == "" && sats > 0 {
			out[o.Member] = Carry{Sats: sats, Since: b.Since}
		}
	}
	return out
}

// Reservable returns what a batch may reserve of o's balance: what is mature,
// less what immature coinbases have paid beyond what they credited.
func (l *Ledger) Reservable(o Owner) int64 {
	free := l.Balance(o).Mature
	for _, x := range l.touched[o] {
		if x.block != nil && x.block.State == Active {
			free += min(x.credit-x.paid, 0)
		}
	}
	return max(free, 0)
}

// Apply enters e, or leaves the ledger as it is where e has been before, or is
// of a turn that has. An error, ErrEvent or ErrLedger, changes nothing either.
func (l *Ledger) Apply(e *Event) error {
	encoded, err := e.Encode()
	if err != nil {
		return err
	}
	postings, commit, err := l.plan(e)
	if err != nil || commit == nil {
		return err
	}
	if err := checkPostings(postings); err != nil {
		return err
	}
	commit()
	for _, p := range postings {
		l.post(p)
	}
	for i, p := range postings {
		if p.Purse.owned() && (i == 0 || !postings[i-1].Purse.owned() || postings[i-1].Owner != p.Owner) {
			l.balances[p.Owner].Since = l.wait(e.Kind, p.Owner).since
		}
	}
	l.head = LedgerHead(l.head, encoded)
	return nil
}

// Postings returns what Apply would post for e; none where e has been before.
func (l *Ledger) Postings(e *Event) ([]Posting, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	postings, commit, err := l.plan(e)
	if err != nil || commit == nil {
		return nil, err
	}
	return postings, nil
}

func (l *Ledger) post(p Posting) {
	l.totals[p.Purse] += p.Sats
	if !p.Purse.owned() {
		return
	}
	b := l.balances[p.Owner]
	if b == nil {
		b = new(Balance)
		l.balances[p.Owner] = b
	}
	switch p.Purse {
	case PurseImmature:
		b.Immature += p.Sats
	case PurseMature:
		b.Mature += p.Sats
	case PurseReserved:
		b.Reserved += p.Sats
	case PursePaid:
		b.Paid += p.Sats
	case PurseMined, PurseChain, PurseTreasury, PurseOutside, PurseNetwork: // nobody's
	}
}

// wait is since when an owner waits, and what the walk over his active blocks
// and batches needs to go on.
type wait struct {
	owed   int64
	since  int32
	height int32 // of the highest of them
}

// step goes on with what x does: a payment begins a new wait, and so does the
// first credit after nothing was owed.
func (w wait) step(x touch) wait {
	w.height = x.height()
	if x.paid > 0 || w.owed == 0 {
		w.since = w.height
	}
	if w.owed += x.credit - x.paid; w.owed == 0 {
		w.since = 0
	}
	return w
}

// wait brings the wait of o up to an event of that kind, which is entered. A
// block on top of all others, as nearly every one is, takes one step; maturity
// takes none.
func (l *Ledger) wait(kind EventKind, o Owner) wait {
	w, list := l.waits[o], l.touched[o]
	switch {
	case kind == BlockMatured:
		return w
	case kind == BlockFound && list[len(list)-1].height() >= w.height:
		w = w.step(list[len(list)-1])
	default:
		w = l.rewait(o)
	}
	l.waits[o] = w
	return w
}

// rewait recomputes from all that is active, by height.
func (l *Ledger) rewait(o Owner) (w wait) {
	steps := make([]touch, 0, len(l.touched[o]))
	for _, x := range l.touched[o] {
		if x.height() > 0 {
			steps = append(steps, x)
		}
	}
	slices.SortStableFunc(steps, func(a, b touch) int { return int(a.height()) - int(b.height()) })
	for _, s := range steps {
		w = w.step(s)
	}
	return w
}

// Check returns ErrLedger, wrapped with what is wrong, unless every law of ADR
// 0009 holds: both books sum to zero, every owner's balances are what active
// blocks and batches give, nobody was paid more than he earned, and the
// treasury holds what is owed.
func (l *Ledger) Check() error {
	want := make(map[Owner]*Balance)
	of := func(o Owner) *Balance {
		if want[o] == nil {
			want[o] = new(Balance)
		}
		return want[o]
	}
	for _, b := range l.blocks {
		for _, m := range b.moves {
			switch b.State {
			case Active:
				of(m.owner).Immature += m.credit - m.paid
				of(m.owner).Paid += m.paid
			case Mature:
				of(m.owner).Mature += m.credit - m.paid
				of(m.owner).Paid += m.paid
			case Orphaned:
			}
		}
	}
	for _, b := range l.batches {
		for _, x := range b.lines {
			switch {
			case b.paid:
				of(x.Owner).Mature -= x.Sats
				of(x.Owner).Paid += x.Sats
			case !b.canceled:
				of(x.Owner).Mature -= x.Sats
				of(x.Owner).Reserved += x.Sats
			}
		}
	}
	var owed int64
	for o, b := range l.balances {
		w := *of(o)
		w.Since = b.Since
		if *b != w {
			return fmt.Errorf("%s has %+v, its blocks and batches give %+v: %w", o, *b, w, ErrLedger)
		}
		if b.Owed() < 0 || b.Reserved < 0 || b.Paid < 0 {
			return fmt.Errorf("%s was paid more than it earned, %+v: %w", o, *b, ErrLedger)
		}
		if again := l.rewait(o); b.Since != again.since || l.waits[o] != again {
			return fmt.Errorf("%s waits since %d, its blocks say %d: %w", o, b.Since, again.since, ErrLedger)
		}
		owed += b.Owed() + b.Reserved
	}
	for o, w := range want {
		if l.balances[o] == nil && *w != (Balance{}) {
			return fmt.Errorf("%s has no balance, its blocks and batches give %+v: %w", o, *w, ErrLedger)
		}
	}
	var books [2]int64
	for p, v := range l.totals {
		books[p.book()] += v
	}
	if books != [2]int64{} {
		return fmt.Errorf("claims sum to %d sats, coins to %d, not to 0: %w", books[0], books[1], ErrLedger)
	}
	if l.Treasury() != owed {
		return fmt.Errorf("the treasury holds %d sats, %d are owed: %w", l.Treasury(), owed, ErrLedger)
	}
	return nil
}
