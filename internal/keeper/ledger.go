package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"cordee/payout"
)

// book is what receipts need of the ledger. It never changes.
type book struct {
	head  [32]byte
	carry map[uint16]payout.Carry
	halts []string
}

// loadLedger folds the events on disk. Each file is an event followed by the
// ledger's head behind it, so that every byte and the order are checked.
func (k *Keeper) loadLedger() (err error) {
	k.ledger, err = k.fold(k.events.last, func(n uint32, e *payout.Event, r *payout.LedgerRecord, _ []payout.Posting) {
		k.heads = append(k.heads, r.Head)
		k.haltLog.take(int(n), e)
	})
	if err == nil {
		k.publishBook()
	}
	return err
}

// eventKey names event n in the store. What happens to a block once has one
// name, whatever its number.
func eventKey(n uint32, e *payout.Event) string {
	switch e.Kind {
	case payout.BlockFound:
		return e.Block.String() + ":found"
	case payout.BlockOrphaned, payout.BlockRestored:
		return fmt.Sprintf("%s:turn:%d", e.Block, e.Turn)
	case payout.BlockMatured:
		return e.Block.String() + ":matured"
	default:
		return fmt.Sprintf("event:%d", n)
	}
}

func (k *Keeper) publishBook() {
	k.book.Store(&book{head: k.ledger.Head(), carry: k.ledger.Carry(), halts: k.ledger.Halts()})
}

// append enters e in the ledger: on disk first, then in memory. An event that
// has been changes nothing.
func (k *Keeper) append(e *payout.Event) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	if _, err := k.ledger.Postings(e); err != nil {
		return err
	}
	if k.hasBeen(e) {
		return nil
	}
	data, err := e.Encode()
	if err != nil {
		return err
	}
	head := payout.LedgerHead(k.ledger.Head(), data)
	if err := k.events.put(append(bytes.Clone(data), head[:]...)); err != nil {
		return fmt.Errorf("ledger event: %w", err)
	}
	if err := k.ledger.Apply(e); err != nil { // seen only where the ledger itself is wrong
		name := k.events.path(k.events.last)
		k.events.last--
		return errors.Join(err, os.Remove(name), syncDir(filepath.Dir(name)))
	}
	k.heads = append(k.heads, head)
	k.haltLog.take(len(k.heads), e)
	k.publishBook()
	poke(k.pokeShip)
	return nil
}

// hasBeen reports an event that Apply would leave out.
func (k *Keeper) hasBeen(e *payout.Event) bool {
	b, known := k.ledger.Block(e.Block)
	switch e.Kind {
	case payout.BlockFound:
		return known
	case payout.BlockOrphaned, payout.BlockRestored:
		return e.Turn <= b.Turn
	case payout.BlockMatured:
		return b.State == payout.Mature
	case payout.Halted:
		return slices.Contains(k.ledger.Halts(), e.Name)
	case payout.Lifted:
		return !slices.Contains(k.ledger.Halts(), e.Name)
	default:
		return false
	}
}
