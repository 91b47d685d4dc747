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
func (k *Keeper) loadLedger() error {
	k.ledger = payout.NewLedger()
	for n := uint32(1); n <= k.events.last; n++ {
		r, err := k.event(n)
		if err != nil {
			return err
		}
		e, err := payout.DecodeEvent(r.Data)
		if err == nil {
			err = k.ledger.Apply(e)
		}
		if err == nil && k.ledger.Head() != r.Head {
			err = errors.New("its head does not follow")
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %w", k.events.path(n), err, ErrDamaged)
		}
		k.heads = append(k.heads, r.Head)
	}
	k.publishBook()
	return nil
}

// event returns event n as the store keeps it.
func (k *Keeper) event(n uint32) (payout.LedgerRecord, error) {
	b, err := k.events.get(n)
	if err != nil {
		return payout.LedgerRecord{}, err
	}
	if len(b) < 32 {
		return payout.LedgerRecord{}, fmt.Errorf("%s: %d bytes: %w", k.events.path(n), len(b), ErrDamaged)
	}
	r := payout.LedgerRecord{Data: b[:len(b)-32], Head: [32]byte(b[len(b)-32:])}
	e, err := payout.DecodeEvent(r.Data)
	if err != nil {
		return r, fmt.Errorf("%s: %w: %w", k.events.path(n), err, ErrDamaged)
	}
	r.Key = eventKey(n, e)
	return r, nil
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

// Halt stops payouts under a name, until Lift of the same. Jobs built from now
// on pay the treasury; credits go on.
func (k *Keeper) Halt(name, text string) error {
	if len(text) > 1000 {
		text = text[:1000]
	}
	if slices.Contains(k.book.Load().halts, name) {
		return nil
	}
	err := k.append(&payout.Event{Kind: payout.Halted, Name: name, Text: text})
	k.log.Error().Str("event", "payout.halted").Str("name", name).Str("why", text).AnErr("write", err).
		Msg("payouts are halted, mining goes on: find out why, then cordee halt lift")
	return err
}

// Lift ends the halt of that name, for a reason that the ledger keeps. One that
// is not in force is an error.
func (k *Keeper) Lift(name, reason string) error {
	if !slices.Contains(k.book.Load().halts, name) {
		return fmt.Errorf("no halt %q is in force", name)
	}
	return k.append(&payout.Event{Kind: payout.Lifted, Name: name, Text: reason})
}

// Halts returns the names under which payouts are halted.
func (k *Keeper) Halts() []string { return slices.Clone(k.book.Load().halts) }
