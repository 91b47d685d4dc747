package keeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/payout"
)

// maxHaltText bounds the text of a halt and the reason of a lift, in bytes.
const maxHaltText = 1000

// ErrNoHalt reports a halt that is not in force.
var ErrNoHalt = errors.New("no such halt is in force")

// HaltLine is one event of the ledger about halts.
type HaltLine struct {
	Event  int  // its number in the ledger, from 1
	Lifted bool // false: payouts stop here
	Name   string
	Text   string // why they stop, or why it was lifted
}

// haltLog is every halt and lift in the ledger, oldest first.
type haltLog []HaltLine

// take adds event n if it is one.
func (l *haltLog) take(n int, e *payout.Event) {
	if e.Kind == payout.Halted || e.Kind == payout.Lifted {
		*l = append(*l, HaltLine{Event: n, Lifted: e.Kind == payout.Lifted, Name: e.Name, Text: e.Text})
	}
}

// inForce returns the halts that no lift ended, oldest first.
func (l haltLog) inForce() []HaltLine {
	var open []HaltLine
	for _, h := range l {
		if h.Lifted {
			open = slices.DeleteFunc(open, func(o HaltLine) bool { return o.Name == h.Name })
		} else {
			open = append(open, h)
		}
	}
	return open
}

// decided reports whether a halt with this very name and text was lifted:
// people have read that and decided.
func (l haltLog) decided(name, text string) bool {
	for i, h := range l {
		if !h.Lifted && h.Name == name && h.Text == text &&
			slices.ContainsFunc(l[i:], func(x HaltLine) bool { return x.Lifted && x.Name == name }) {
			return true
		}
	}
	return false
}

// shorten keeps a text within what an event takes.
func shorten(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxHaltText)], "")
}

// Halt stops payouts under a name, until Lift of the same. Jobs built from now
// on pay the treasury; credits go on.
func (k *Keeper) Halt(name, text string) error {
	if slices.Contains(k.book.Load().halts, name) {
		return nil
	}
	text = shorten(text)
	err := k.append(&payout.Event{Kind: payout.Halted, Name: name, Text: text})
	k.log.Error().Str("event", "payout.halted").Str("name", name).Str("why", text).AnErr("write", err).
		Msg("payouts are halted, mining goes on: find out why, then cordee halt lift")
	return err
}

// haltBlock is Halt for what a block says and will always say. Where people
// have lifted that very halt it does nothing: the block stays as it is.
func (k *Keeper) haltBlock(name, text string) error {
	if k.decided(name, text) {
		return nil
	}
	return k.Halt(name, text)
}

func (k *Keeper) decided(name, text string) bool {
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.haltLog.decided(name, shorten(text))
}

// Lift ends the halt of that name, for a reason that the ledger keeps. What led
// to it is looked at again at once: a store that is still wrong halts anew, and
// blocks that were not entered are compared again, with the journal's receipt
// this time. One that still differs stays out of the ledger, and halts no more.
// ErrNoHalt lists the halts there are.
func (k *Keeper) Lift(name, reason string) error {
	if halts := k.Halts(); !slices.Contains(halts, name) {
		if len(halts) == 0 {
			return fmt.Errorf("%q: %w: payouts are not halted", name, ErrNoHalt)
		}
		return fmt.Errorf("%q: %w; there is %s", name, ErrNoHalt, strings.Join(halts, ", "))
	}
	reason = shorten(reason)
	if err := k.append(&payout.Event{Kind: payout.Lifted, Name: name, Text: reason}); err != nil {
		return err
	}
	k.log.Warn().Str("event", "payout.lifted").Str("name", name).Str("reason", reason).Msg("a halt was lifted; payouts go on where no other is in force")
	k.mu.Lock()
	for _, c := range k.candidates {
		c.halted = c.halted && c.aside
	}
	k.mu.Unlock()
	poke(k.pokeChain)
	poke(k.pokeLift)
	return nil
}

// Halts returns the names under which payouts are halted.
func (k *Keeper) Halts() []string { return slices.Clone(k.book.Load().halts) }

// HaltLog returns every halt and lift of the ledger, oldest first.
func (k *Keeper) HaltLog() []HaltLine {
	k.writing.Lock()
	defer k.writing.Unlock()
	return slices.Clone(k.haltLog)
}

// InForce returns those halts of a log that no lift ended.
func InForce(log []HaltLine) []HaltLine { return haltLog(log).inForce() }

// receiptOf returns the receipt that a block of ours is entered with. Where the
// block is not what its receipt says payouts halt and there is none; lifted by
// people, that halt lets the journal speak, and a block that is not what the
// journal says either is set aside.
func (k *Keeper) receiptOf(hash chainhash.Hash, height int32, block *wire.MsgBlock) (*payout.Receipt, error) {
	k.mu.Lock()
	c := k.candidates[hash]
	k.mu.Unlock()
	r, _, err := k.settle(block, c.receipt)
	name := "block.mismatch"
	switch {
	case errors.Is(err, ErrNoReceipt):
		name = "block.no-receipt"
	case !errors.Is(err, ErrMismatch):
		return r, err
	}
	text := fmt.Sprintf("block %s at height %d: %v", hash, height, err)
	aside := k.decided(name, text)
	if aside {
		r, _, err := k.settle(block, nil)
		if err == nil || !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrNoReceipt) {
			return r, err
		}
	}
	k.mu.Lock()
	c.halted, c.aside = true, aside
	k.mu.Unlock()
	if aside {
		k.log.Warn().Str("event", "block.set_aside").Stringer("hash", hash).Int32("height", height).Str("why", text).
			Msg("a block whose halt was lifted still differs: it stays out of the ledger, what it earned is credited to nobody")
		return nil, nil
	}
	return nil, k.Halt(name, text)
}
