package payout

import (
	"fmt"
	"reflect"
	"slices"
)

// Purse is a kind of account of the ledger's two books.
type Purse uint8

// The purses. Mined to Paid are the book of claims, the others that of coins.
const (
	PurseMined    Purse = 1 // what blocks were worth, negative
	PurseImmature Purse = 2 // of an owner
	PurseMature   Purse = 3 // of an owner
	PurseReserved Purse = 4 // of an owner
	PursePaid     Purse = 5 // of an owner
	PurseChain    Purse = 6 // where coins come from, negative
	PurseTreasury Purse = 7
	PurseOutside  Purse = 8 // members' and accounts' own scripts
	PurseNetwork  Purse = 9 // fees of payout transactions
)

func (p Purse) owned() bool { return p >= PurseImmature && p <= PursePaid }

func (p Purse) book() int {
	if p <= PursePaid {
		return 0
	}
	return 1
}

// Posting adds sats to one account.
type Posting struct {
	Purse Purse
	Owner Owner // zero unless the purse is an owner's
	Sats  int64
}

// checkPostings is invariant I6: an event sums to zero in both books.
func checkPostings(list []Posting) error {
	var books [2]int64
	for _, p := range list {
		books[p.Purse.book()] += p.Sats
	}
	if books != [2]int64{} {
		return fmt.Errorf("an event posts %d sats of claims and %d of coins, not 0: %w", books[0], books[1], ErrLedger)
	}
	return nil
}

// transfer posts sats of o from one purse to another.
func transfer(list []Posting, o Owner, from, to Purse, sats int64) []Posting {
	return append(list, Posting{from, o, -sats}, Posting{to, o, sats})
}

// movesOf returns what a block paying by r does to each owner, and what its
// treasury gets.
func movesOf(r *Receipt) (moves []move, treasury int64, err error) {
	byOwner := make(map[Owner]int)
	at := func(o Owner) *move {
		i, known := byOwner[o]
		if !known {
			i = len(moves)
			byOwner[o] = i
			moves = append(moves, move{owner: o})
		}
		return &moves[i]
	}
	for _, c := range r.Credits {
		at(Owner{Member: c.Member}).credit += c.Sats
	}
	for _, f := range r.Fees {
		at(Owner{Account: f.Account}).credit += f.Sats
	}
	if len(r.Credits)+len(r.Fees) == 0 {
		at(Owner{Account: UnallocatedAccount}).credit += r.Reward
	}
	fee := 0 // fees are paid in their order, see payFees
	for _, p := range r.Settlement {
		switch p.Kind {
		case ToMember:
			at(Owner{Member: p.Member}).paid += p.Sats
		case ToTreasury:
			treasury += p.Sats
		case ToFee:
			for fee < len(r.Fees) && r.Fees[fee].Sats == 0 {
				fee++
			}
			if fee == len(r.Fees) || r.Fees[fee].Sats != p.Sats {
				return nil, 0, fmt.Errorf("a fee of %d sats is paid that no account earned: %w", p.Sats, ErrLedger)
			}
			at(Owner{Account: r.Fees[fee].Account}).paid += p.Sats
			fee++
		}
	}
	moves = slices.DeleteFunc(moves, func(m move) bool { return m.credit == 0 && m.paid == 0 })
	return moves, treasury, nil
}

// blockPostings returns what a found or restored block posts; sign is -1 for
// the opposite.
func blockPostings(b *Block, treasury, sign int64) []Posting {
	list := []Posting{
		{Purse: PurseMined, Sats: -sign * b.Receipt.Reward},
		{Purse: PurseChain, Sats: -sign * b.Receipt.Reward},
		{Purse: PurseTreasury, Sats: sign * treasury},
		{Purse: PurseOutside, Sats: sign * (b.Receipt.Reward - treasury)},
	}
	for _, m := range b.moves {
		list = append(list, Posting{PurseImmature, m.owner, sign * (m.credit - m.paid)}, Posting{PursePaid, m.owner, sign * m.paid})
	}
	return list
}

// plan returns what e posts and how to enter it; no commit where e has been
// before.
func (l *Ledger) plan(e *Event) (list []Posting, commit func(), err error) {
	switch e.Kind {
	case BlockFound, BlockOrphaned, BlockRestored, BlockMatured:
		return l.planBlock(e)
	case BatchReserved, BatchPaid, BatchUnpaid, BatchCanceled:
		return l.planBatch(e)
	case Halted:
		if l.halts[e.Name] {
			return nil, nil, nil
		}
		return nil, func() { l.halts[e.Name] = true }, nil
	case Lifted:
		if !l.halts[e.Name] {
			return nil, nil, nil
		}
		return nil, func() { delete(l.halts, e.Name) }, nil
	}
	return nil, nil, fmt.Errorf("kind %d: %w", e.Kind, ErrEvent)
}

func (l *Ledger) planBlock(e *Event) ([]Posting, func(), error) {
	b := l.blocks[e.Block]
	if e.Kind == BlockFound {
		if b != nil {
			if b.Receipt.ID() != e.Receipt.ID() {
				return nil, nil, fmt.Errorf("block %s was found before, with another receipt: %w", e.Block, ErrLedger)
			}
			return nil, nil, nil
		}
		moves, treasury, err := movesOf(e.Receipt)
		if err != nil {
			return nil, nil, fmt.Errorf("block %s: %w", e.Block, err)
		}
		b = &Block{Hash: e.Block, Receipt: e.Receipt, State: Active, moves: moves}
		return blockPostings(b, treasury, 1), func() {
			l.blocks[e.Block] = b
			l.order = append(l.order, e.Block)
			for _, m := range moves {
				l.touched[m.owner] = append(l.touched[m.owner], touch{block: b, credit: m.credit, paid: m.paid})
			}
		}, nil
	}
	switch {
	case b == nil:
		return nil, nil, fmt.Errorf("block %s was never found: %w", e.Block, ErrLedger)
	case e.Kind == BlockMatured && b.State == Orphaned:
		return nil, nil, fmt.Errorf("block %s cannot mature, it is orphaned: %w", e.Block, ErrLedger)
	case e.Kind == BlockMatured && b.State == Mature, e.Kind != BlockMatured && e.Turn <= b.Turn:
		return nil, nil, nil
	case e.Kind == BlockMatured:
		var list []Posting
		for _, m := range b.moves {
			list = transfer(list, m.owner, PurseImmature, PurseMature, m.credit-m.paid)
		}
		return list, func() { b.State = Mature }, nil
	case e.Turn != b.Turn+1:
		return nil, nil, fmt.Errorf("block %s: turn %d after %d: %w", e.Block, e.Turn, b.Turn, ErrLedger)
	case b.State == Mature:
		return nil, nil, fmt.Errorf("block %s was mature and left the chain: %w", e.Block, ErrLedger)
	}
	_, treasury, err := movesOf(b.Receipt)
	if err != nil {
		return nil, nil, err
	}
	state, sign := Orphaned, int64(-1)
	if e.Kind == BlockRestored {
		state, sign = Active, 1
	}
	return blockPostings(b, treasury, sign), func() { b.State, b.Turn = state, e.Turn }, nil
}

func (l *Ledger) planBatch(e *Event) (list []Posting, commit func(), err error) {
	b := l.batches[e.Batch]
	if e.Kind == BatchReserved {
		if b != nil {
			if !reflect.DeepEqual(b.lines, e.Lines) {
				return nil, nil, fmt.Errorf("batch %x was reserved before, with other lines: %w", e.Batch, ErrLedger)
			}
			return nil, nil, nil
		}
		for _, x := range e.Lines {
			if free := l.Reservable(x.Owner); x.Sats > free {
				return nil, nil, fmt.Errorf("batch %x reserves %d sats of %s, %d are free: %w", e.Batch, x.Sats, x.Owner, free, ErrLedger)
			}
			list = transfer(list, x.Owner, PurseMature, PurseReserved, x.Sats)
		}
		b = &batch{lines: slices.Clone(e.Lines)}
		return list, func() {
			l.batches[e.Batch] = b
			for _, x := range b.lines {
				l.touched[x.Owner] = append(l.touched[x.Owner], touch{batch: b, paid: x.Sats})
			}
		}, nil
	}
	if b == nil {
		return nil, nil, fmt.Errorf("batch %x was never reserved: %w", e.Batch, ErrLedger)
	}
	var sum int64
	for _, x := range b.lines {
		sum += x.Sats
	}
	switch {
	case e.Kind == BatchCanceled && b.canceled, e.Kind != BatchCanceled && e.Turn <= b.turn:
		return nil, nil, nil
	case b.canceled, e.Kind == BatchCanceled && b.paid:
		return nil, nil, fmt.Errorf("batch %x is %s: %w", e.Batch, map[bool]string{true: "canceled", false: "paid"}[b.canceled], ErrLedger)
	case e.Kind == BatchCanceled:
		for _, x := range b.lines {
			list = transfer(list, x.Owner, PurseReserved, PurseMature, x.Sats)
		}
		return list, func() { b.canceled = true }, nil
	case e.Turn != b.turn+1:
		return nil, nil, fmt.Errorf("batch %x: turn %d after %d: %w", e.Batch, e.Turn, b.turn, ErrLedger)
	case e.Fee > sum:
		return nil, nil, fmt.Errorf("batch %x of %d sats pays a network fee of %d: %w", e.Batch, sum, e.Fee, ErrLedger)
	}
	from, to, sign, fee, height := PurseReserved, PursePaid, int64(1), e.Fee, e.Height
	if e.Kind == BatchUnpaid {
		from, to, sign, fee, height = PursePaid, PurseReserved, -1, b.fee, 0
	}
	for _, x := range b.lines {
		list = transfer(list, x.Owner, from, to, x.Sats)
	}
	list = append(list, Posting{Purse: PurseTreasury, Sats: -sign * sum}, Posting{Purse: PurseOutside, Sats: sign * (sum - fee)},
		Posting{Purse: PurseNetwork, Sats: sign * fee})
	return list, func() { b.paid, b.turn, b.fee, b.height = sign > 0, e.Turn, fee, height }, nil
}
