package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// Compared is how much of something else was held against the files.
type Compared struct {
	Slots, Events, Blocks int
	Findings              []Finding
	Notes                 []string // what is no finding, and somebody should know
	Waiting               []string // blocks of ours in the chain that a running pool enters
}

func (c *Compared) found(invariant, where, format string, a ...any) {
	c.Findings = append(c.Findings, Finding{invariant, where, fmt.Sprintf(format, a...)})
}

// settleTries is how often a store that is being written is compared again.
const settleTries = 5

// CompareStore holds an open store against the files: manifests, events, marks
// and sums, as far as the store has them. One that is behind is noted; one that
// is ahead, or holds anything else, is found. It may be shipped to meanwhile.
// Errors are of reading: the files, or payout.ErrUnavailable.
func (f *Files) CompareStore(ctx context.Context, store payout.Store) (c Compared, err error) {
	for range settleTries {
		before, err := ends(ctx, store)
		if err == nil {
			c, err = f.compareStore(ctx, store, &before)
		}
		if errors.Is(err, payout.ErrCorrupt) {
			c.found("store", "store", "%v", err)
			return c, nil
		}
		if err != nil {
			return c, err
		}
		after, err := ends(ctx, store)
		if err != nil || len(c.Findings) == 0 || maps.Equal(before.marks, after.marks) && before.slot == after.slot && before.events == after.events {
			return c, err
		}
	}
	return c, nil
}

// storeEnds is how far a store is.
type storeEnds struct {
	slot   uint32
	top    [32]byte // head of that slot
	head   [32]byte // of the ledger
	events uint64
	marks  map[[2]uint32]uint64 // by edge, epoch
}

func ends(ctx context.Context, store payout.Store) (e storeEnds, err error) {
	if e.slot, e.top, err = store.LastSlot(ctx); err != nil {
		return e, err
	}
	if e.head, e.events, err = store.Head(ctx); err != nil {
		return e, err
	}
	marks, err := store.HWMs(ctx)
	e.marks = make(map[[2]uint32]uint64, len(marks))
	for _, m := range marks {
		e.marks[[2]uint32{uint32(m.Edge), m.Epoch}] = m.Seq
	}
	return e, err
}

func (f *Files) compareStore(ctx context.Context, store payout.Store, e *storeEnds) (c Compared, err error) {
	events, err := f.events.newest()
	if err != nil {
		return c, err
	}
	slots, err := f.slots.newest()
	if err != nil {
		return c, err
	}
	if e.slot > slots || e.events > uint64(events) {
		c.found("store", "store", "it has %d slots and %d events, the files %d and %d: were they restored from an old copy?", e.slot, e.events, slots, events)
	}
	if behind, late := int(slots)-int(e.slot), int(events)-int(e.events); behind > 0 || late > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("the store is %d slots and %d events behind the files: a running pool ships them", max(behind, 0), max(late, 0)))
	}
	marks, sums := map[[2]uint32]uint64{}, map[[2]uint32]uint64{}
	for n := uint32(1); n <= min(e.slot, slots); {
		page, err := store.Slots(ctx, n, payout.MaxPage)
		if err != nil {
			return c, err
		}
		for _, m := range page[:min(len(page), int(min(e.slot, slots)-n)+1)] {
			s, err := f.Slot(n)
			if err != nil {
				return c, err
			}
			encoded, err := f.slots.get(n)
			if err != nil {
				return c, err
			}
			if !bytes.Equal(m.Bytes, encoded) || m.Head != s.Head() || m.Prev != s.Prev {
				c.found("store", fmt.Sprintf("slot %d", n), "its manifest is not the file's")
			}
			for _, r := range s.Ranges {
				marks[[2]uint32{uint32(r.Edge), r.Epoch}] = r.Last
			}
			for _, v := range s.Sums {
				sums[[2]uint32{uint32(v.Member), v.WorkBits}] += v.Difficulty
			}
			c.Slots++
			n++
		}
		if len(page) == 0 {
			c.found("store", fmt.Sprintf("slot %d", n), "it is missing, the store says it has %d", e.slot)
			break
		}
	}
	if e.slot > 0 && e.slot <= slots {
		s, err := f.Slot(e.slot)
		if err != nil {
			return c, err
		}
		if s.Head() != e.top {
			c.found("store", "newest slot", "slot %d has head %x there, the file's %x", e.slot, e.top, s.Head())
		}
	}
	if e.slot <= slots { // otherwise the files cannot say what they are
		if err := compareSums(ctx, &c, store, e, marks, sums); err != nil {
			return c, err
		}
	}
	return c, f.compareEvents(ctx, &c, store, e, min(uint64(events), e.events))
}

func compareSums(ctx context.Context, c *Compared, store payout.Store, e *storeEnds, marks, sums map[[2]uint32]uint64) error {
	compareMaps(c, "share mark of edge %d epoch %d", marks, e.marks)
	run, err := store.Run(ctx)
	if err != nil {
		return err
	}
	have := make(map[[2]uint32]uint64, len(run))
	for _, v := range run {
		have[[2]uint32{uint32(v.Member), v.WorkBits}] = v.Difficulty
	}
	compareMaps(c, "work of member %d at bits %08x", sums, have)
	return nil
}

// compareMaps finds each entry that differs, in the order of their keys.
func compareMaps(c *Compared, name string, want, have map[[2]uint32]uint64) {
	all := maps.Clone(want)
	maps.Copy(all, have)
	keys := slices.SortedFunc(maps.Keys(all), func(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) })
	for _, k := range keys {
		if want[k] != have[k] {
			c.found("store", fmt.Sprintf(name, k[0], k[1]), "it is %d, the manifests give %d", have[k], want[k])
		}
	}
}

func (f *Files) compareEvents(ctx context.Context, c *Compared, store payout.Store, e *storeEnds, last uint64) error {
	var head [32]byte
	for n := uint64(1); n <= last; {
		page, err := store.Records(ctx, n, payout.MaxPage)
		if err != nil {
			return err
		}
		for _, r := range page[:min(len(page), int(last-n)+1)] {
			want, err := f.event(uint32(n))
			if err != nil {
				return err
			}
			if r.Key != want.Key || r.Head != want.Head || !bytes.Equal(r.Data, want.Data) {
				c.found("store", fmt.Sprintf("event %d", n), "it is not the file's")
			}
			head = want.Head
			c.Events++
			n++
		}
		if len(page) == 0 {
			c.found("store", fmt.Sprintf("event %d", n), "it is missing, the store says it has %d", e.events)
			return nil
		}
	}
	if last == e.events && head != e.head {
		c.found("store", "ledger head", "it is %x, that of event %d is %x", e.head, last, head)
	}
	return nil
}

// CompareChain holds the blocks of a ledger, and the candidates on disk, against
// the chain: where they stand, and that each coinbase pays what the receipt
// says.
func (f *Files) CompareChain(ctx context.Context, chain Chain, l *payout.Ledger) (c Compared, err error) {
	for _, b := range l.Blocks() {
		where := fmt.Sprintf("block %s", b.Hash)
		height, conf, err := chain.InChain(ctx, b.Hash)
		if err != nil && !chain.Unknown(err) {
			return c, err
		}
		c.Blocks++
		stands := err == nil && conf > 0
		switch {
		case b.State == payout.Orphaned && stands:
			c.found("chain", where, "it is orphaned in the ledger, and in the chain at height %d", height)
		case b.State == payout.Orphaned:
		case !stands:
			c.found("chain", where, "it is credited at height %d, and not in the chain", b.Receipt.Height)
		case height != b.Receipt.Height:
			c.found("chain", where, "it is at height %d, its receipt says %d", height, b.Receipt.Height)
		case b.State == payout.Mature && conf < maturity:
			c.found("chain", where, "it is mature in the ledger with %d confirmations", conf)
		}
		if b.State == payout.Orphaned || !stands {
			continue
		}
		block, err := fetchBlock(ctx, chain, b.Hash)
		if err != nil {
			return c, err
		}
		script, err := pool.ParseScriptSig(block.Transactions[0].TxIn[0].SignatureScript)
		if err == nil {
			err = compare(b.Receipt, &script, block)
		}
		if err != nil {
			c.found("chain", where, "%v", err)
		}
	}
	return c, f.compareCandidates(ctx, &c, chain, l)
}

// compareCandidates notes blocks of ours in the chain that the ledger does not
// have.
func (f *Files) compareCandidates(ctx context.Context, c *Compared, chain Chain, l *payout.Ledger) error {
	candidates, err := journal.ReadCandidates(f.journal)
	if err != nil {
		return err
	}
	log, err := f.Halts()
	if err != nil && !errors.Is(err, ErrDamaged) { // told by Check
		return err
	}
	for _, x := range candidates {
		if _, known := l.Block(x.Hash); known {
			continue
		}
		_, conf, err := chain.InChain(ctx, x.Hash)
		if err != nil && !chain.Unknown(err) {
			return err
		}
		where := fmt.Sprintf("block %s", x.Hash)
		halted := slices.ContainsFunc(log, func(h HaltLine) bool { return strings.Contains(h.Text, x.Hash.String()) })
		switch {
		case err != nil || conf <= 0:
		case halted:
			c.Notes = append(c.Notes, where+" is in the chain and not in the ledger: `cordee halt show` says why")
		default:
			c.Waiting = append(c.Waiting, fmt.Sprintf("%s is ours, in the chain at height %d, and not in the ledger", where, x.Height))
		}
	}
	return nil
}
