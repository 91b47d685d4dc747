package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/payout/verify"
)

// Finding is one place where the files contradict each other or the rules.
type Finding struct {
	Invariant string // "I1", "I3", "I4", "I6", "I7" of the payout notes, "files" or "journal"
	Where     string // a file, a slot or a block
	What      string
}

func (f Finding) String() string { return f.Invariant + " " + f.Where + ": " + f.What }

// Report is what Check looked at and found.
type Report struct {
	Slots, Events, Blocks int
	Shares                int // read back from the journal
	Unread                int // slots whose shares the journal does not give
	Findings              []Finding
}

// checker is one Check.
type checker struct {
	*Files
	Report
	heads  map[uint32][32]byte // of slots
	newest uint32              // slot there is
	unread struct {            // the first such slot
		slot uint32
		why  error
	}
}

func (c *checker) found(invariant, where, format string, a ...any) {
	c.Findings = append(c.Findings, Finding{invariant, where, fmt.Sprintf(format, a...)})
}

// Check reads everything the keeper has written and says what does not hold:
//
//	I1  credits and fees of every block sum to its reward
//	I3  shares follow one another without gap from slot to slot, and match the
//	    manifest; along the chain no block cites an older slot than the one before
//	I4  every balance is what active blocks and batches give
//	I6  every event sums to zero
//	I7  a naive walk over the shares of the window gives every block's credits
//
// Besides, every file holds, every member has the index that he worked under, and the journal gives the shares of every slot:
// those that it does not are compared by neither I3 nor I7.
//
// I7 is by the rules in force: a block from before a change of rules is found to
// differ. It runs beside the pool and changes nothing. The ledger is that of the
// events that hold; the error is of reading, or ctx's.
func (f *Files) Check(ctx context.Context) (Report, *payout.Ledger, error) {
	c := &checker{Files: f, heads: map[uint32][32]byte{}}
	events, err := f.events.newest() // first: what they cite is there
	if err != nil {
		return c.Report, nil, err
	}
	slots, err := f.slots.newest()
	if err != nil {
		return c.Report, nil, err
	}
	c.newest = slots
	if err := CheckIndexes(f.dir, f.members.Members()); err != nil {
		c.found("files", IndexFile, "%v", err)
	}
	if err := c.chain(ctx, slots); err != nil {
		return c.Report, nil, err
	}
	ledger, err := c.ledger(events)
	if err != nil {
		return c.Report, nil, err
	}
	return c.Report, ledger, c.blocks(ctx, ledger)
}

// chain goes through all slots.
func (c *checker) chain(ctx context.Context, last uint32) error {
	prev, at, told := [32]byte{}, map[uint32]uint64{}, false
	for n := uint32(1); n <= last; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := c.Slot(n)
		if errors.Is(err, ErrDamaged) {
			c.found("files", fmt.Sprintf("slot %d", n), "%v", err)
			told = true // and what follows cannot be compared with it
			continue
		}
		if err != nil {
			return err
		}
		c.Slots++
		where := fmt.Sprintf("slot %d", n)
		if s.Prev != prev && !told {
			c.found("I3", where, "does not follow the slot before")
		}
		prev = s.Head()
		c.heads[n] = prev
		for _, r := range s.Ranges {
			if r.First != at[r.Epoch]+1 && !told {
				c.found("I3", where, "epoch %d goes on with share %d after %d", r.Epoch, r.First, at[r.Epoch])
			}
			at[r.Epoch] = r.Last
		}
		told = false
		if err := c.shares(s, where); err != nil {
			return err
		}
	}
	if c.Unread > 0 {
		c.found("journal", fmt.Sprintf("%d slots", c.Unread), "it does not give their shares, slot %d is the first: %v", c.unread.slot, c.unread.why)
	}
	return nil
}

// shares compares a manifest with the journal.
func (c *checker) shares(s *payout.Slot, where string) error {
	d := drawer{edge: c.edge, sums: map[sumKey]*uint64{}, limit: maxSlotShares + 1}
	for _, r := range s.Ranges {
		err := journal.ReadShares(c.journal, r.Epoch, r.First, r.Last, func(body []byte, x *journal.Share) error {
			return d.add(&journal.RecordInfo{Edge: r.Edge, Epoch: r.Epoch, Kind: journal.KindShare, Seq: x.Seq, Body: body})
		})
		if errors.Is(err, journal.ErrDamaged) || errors.Is(err, ErrDamaged) {
			if c.Unread++; c.Unread == 1 {
				c.unread.slot, c.unread.why = s.Number, err
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	c.Shares += d.tree.Len()
	again, err := d.manifest(s.Number, s.Prev, c.secret)
	if err != nil {
		return err
	}
	if again.Head() != s.Head() {
		c.found("I3", where, "the journal's shares do not give its manifest")
	}
	return nil
}

// ledger folds the events, as far as they hold.
func (c *checker) ledger(last uint32) (*payout.Ledger, error) {
	l, err := c.fold(last, func(n uint32, _ *payout.Event, _ *payout.LedgerRecord, postings []payout.Posting) {
		c.Events++
		var sum int64
		for _, p := range postings {
			sum += p.Sats
		}
		if sum != 0 {
			c.found("I6", fmt.Sprintf("event %d", n), "its postings sum to %d", sum)
		}
	})
	if d, ok := errors.AsType[*damaged](err); ok {
		invariant := "files"
		if errors.Is(err, errFollow) {
			invariant = "I6"
		}
		c.found(invariant, fmt.Sprintf("event %d", d.number), "%v", err)
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := l.Check(); err != nil {
		c.found("I4", "ledger", "%v", err)
	}
	return l, nil
}

func (c *checker) blocks(ctx context.Context, l *payout.Ledger) error {
	blocks := l.Blocks()
	slices.SortStableFunc(blocks, func(a, b payout.Block) int { return int(a.Receipt.Height) - int(b.Receipt.Height) })
	var cut uint32
	members := c.members.Members()
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.Blocks++
		r, where := b.Receipt, fmt.Sprintf("block %s", b.Hash)
		if err := r.Check(); err != nil {
			c.found("I1", where, "%v", err)
		}
		if r.Rule == payout.RuleTreasury {
			continue // cites no slot: before the first, or a split that could not be computed
		}
		if b.State != payout.Orphaned {
			if r.Slot < cut {
				c.found("I3", where, "cites slot %d, the block before it %d", r.Slot, cut)
			}
			cut = r.Slot
		}
		if r.Slot > c.newest {
			c.found("I3", where, "cites slot %d, the files end with slot %d", r.Slot, c.newest)
			continue
		}
		if head, known := c.heads[r.Slot]; known && head != r.SlotHead {
			c.found("I3", where, "cites slot %d by a head it does not have", r.Slot)
		}
		shares, err := c.window(r.Slot)
		if errors.Is(err, journal.ErrDamaged) || errors.Is(err, ErrDamaged) {
			continue // told by slots and shares
		}
		if err != nil {
			return err
		}
		want := verify.Credits(shares, c.rules, r.Reward, r.PrevHash, func(m uint16) string { return members[m].ID })
		have := make(map[uint16]int64, len(r.Credits))
		for _, x := range r.Credits {
			have[x.Member] = x.Sats
		}
		if !maps.Equal(have, want) {
			c.found("I7", where, "credits %v, the naive walk gives %v", have, want)
		}
	}
	return nil
}

// window returns all shares that a window ending with slot cut can count, oldest
// first.
func (c *checker) window(cut uint32) ([]payout.Record, error) {
	var lists [][]payout.Record
	weight, capacity := new(big.Int), c.rules.Capacity()
	for n := cut; n > 0 && weight.Cmp(capacity) < 0; n-- {
		s, err := c.Slot(n)
		if err == nil {
			err = addWeight(weight, s.Sums)
		}
		if err != nil {
			return nil, err
		}
		list, err := c.Records(n)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	slices.Reverse(lists)
	return slices.Concat(lists...), nil
}
