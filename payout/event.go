package payout

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// EventKind says what happened to a ledger (ADR 0009).
type EventKind uint8

// The kinds of event.
const (
	BlockFound    EventKind = 1  // a block of ours is in the followed chain
	BlockOrphaned EventKind = 2  // it left that chain
	BlockRestored EventKind = 3  // it came back
	BlockMatured  EventKind = 4  // its coinbase may be spent
	BatchReserved EventKind = 5  // a payout batch was decided
	BatchPaid     EventKind = 6  // its transaction is in the chain
	BatchUnpaid   EventKind = 7  // and left it
	BatchCanceled EventKind = 8  // its anchor was spent otherwise: it can never be paid
	Halted        EventKind = 9  // payouts stopped, by a check or by hand
	Lifted        EventKind = 10 // and may go on
)

const eventVersion = 1

var (
	eventMagic = []byte("CLED")
	ledgerTag  = []byte("cordee/ledger/v1")
)

// ErrEvent reports an event, or bytes of one, that break a rule of ADR 0009.
var ErrEvent = errors.New("not a valid ledger event")

// Owner is whoever the pool owes: a member, or an account of the rules.
type Owner struct {
	Account string // "" for a member
	Member  uint16 // 0 for an account; else the index, 0 being parked work
}

// Compare orders members by index before accounts by name.
func (o Owner) Compare(p Owner) int {
	return cmp.Or(cmp.Compare(o.Account, p.Account), cmp.Compare(o.Member, p.Member))
}

// String returns the account, or "member" and the index.
func (o Owner) String() string {
	if o.Account != "" {
		return o.Account
	}
	return fmt.Sprintf("member %d", o.Member)
}

// Line is what a payout batch pays one owner.
type Line struct {
	Owner Owner
	Sats  int64
}

// Event is one entry of the ledger. Which fields have a meaning depends on
// Kind; the others are zero.
type Event struct {
	Kind    EventKind
	Block   chainhash.Hash // kinds 1 to 4, hashing byte order
	Receipt *Receipt       // kind 1: what its coinbase paid
	Batch   [32]byte       // kinds 5 to 8
	Lines   []Line         // kind 5, owners ascending
	Turn    uint16         // kinds 2, 3, 6, 7: which flip of its block or batch, from 1
	Height  int32          // kind 6: block that has the transaction
	TxID    chainhash.Hash // kind 6
	Fee     int64          // kind 6: sats of Lines that went to the network
	Name    string         // kinds 9, 10: 1 to 255 bytes
	Text    string         // kinds 9, 10: up to 65535 bytes
}

// Check returns ErrEvent, wrapped with what is wrong.
func (e *Event) Check() error {
	switch e.Kind {
	case BlockFound:
		if e.Receipt == nil {
			return fmt.Errorf("a found block without receipt: %w", ErrEvent)
		}
		if err := e.Receipt.Check(); err != nil {
			return fmt.Errorf("%w: %w", err, ErrEvent)
		}
	case BlockOrphaned, BatchPaid:
		if e.Turn%2 != 1 {
			return fmt.Errorf("turn %d of a first flip is even: %w", e.Turn, ErrEvent)
		}
	case BlockRestored, BatchUnpaid:
		if e.Turn%2 != 0 || e.Turn == 0 {
			return fmt.Errorf("turn %d of a flip back is odd or 0: %w", e.Turn, ErrEvent)
		}
	case BatchReserved:
		if err := e.checkLines(); err != nil {
			return err
		}
	case Halted, Lifted:
		if e.Name == "" || len(e.Name) > math.MaxUint8 || len(e.Text) > math.MaxUint16 {
			return fmt.Errorf("name of %d bytes, text of %d: %w", len(e.Name), len(e.Text), ErrEvent)
		}
	case BlockMatured, BatchCanceled:
	default:
		return fmt.Errorf("kind %d is unknown: %w", e.Kind, ErrEvent)
	}
	if e.Kind == BatchPaid && (e.Height <= 0 || e.Fee < 0 || e.Fee > maxMoney) {
		return fmt.Errorf("paid at height %d with a fee of %d sats: %w", e.Height, e.Fee, ErrEvent)
	}
	return nil
}

func (e *Event) checkLines() error {
	if len(e.Lines) == 0 || len(e.Lines) > math.MaxUint16 {
		return fmt.Errorf("a batch of %d lines: %w", len(e.Lines), ErrEvent)
	}
	var sum int64
	for i, l := range e.Lines {
		switch {
		case l.Owner.Account != "" && l.Owner.Member != 0, len(l.Owner.Account) > math.MaxUint8:
			return fmt.Errorf("line %d: an account of %d bytes with member %d: %w", i, len(l.Owner.Account), l.Owner.Member, ErrEvent)
		case i > 0 && e.Lines[i-1].Owner.Compare(l.Owner) >= 0:
			return fmt.Errorf("line %d: %s does not ascend: %w", i, l.Owner, ErrEvent)
		case l.Sats == 0:
			return fmt.Errorf("line %d is zero: %w", i, ErrEvent)
		}
		if err := addSats(&sum, l.Sats); err != nil {
			return fmt.Errorf("line %d: %w: %w", i, err, ErrEvent)
		}
	}
	return nil
}

// Encode returns e's one encoding, or what Check says.
func (e *Event) Encode() ([]byte, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	b := append(bytes.Clone(eventMagic), eventVersion, byte(e.Kind))
	switch e.Kind {
	case BlockFound:
		receipt := e.Receipt.append(nil)
		b = append(b, e.Block[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(receipt)))
		b = append(b, receipt...)
	case BlockOrphaned, BlockRestored:
		b = append(b, e.Block[:]...)
		b = binary.BigEndian.AppendUint16(b, e.Turn)
	case BlockMatured:
		b = append(b, e.Block[:]...)
	case BatchReserved:
		b = append(b, e.Batch[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.Lines)))
		for _, l := range e.Lines {
			b = append(b, byte(len(l.Owner.Account)))
			b = append(b, l.Owner.Account...)
			b = binary.BigEndian.AppendUint16(b, l.Owner.Member)
			b = binary.BigEndian.AppendUint64(b, uint64(l.Sats))
		}
	case BatchPaid:
		b = append(b, e.Batch[:]...)
		b = binary.BigEndian.AppendUint16(b, e.Turn)
		b = binary.BigEndian.AppendUint32(b, uint32(e.Height))
		b = append(b, e.TxID[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.Fee))
	case BatchUnpaid:
		b = append(b, e.Batch[:]...)
		b = binary.BigEndian.AppendUint16(b, e.Turn)
	case BatchCanceled:
		b = append(b, e.Batch[:]...)
	case Halted, Lifted:
		b = append(b, byte(len(e.Name)))
		b = append(b, e.Name...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.Text)))
		b = append(b, e.Text...)
	}
	return b, nil
}

// DecodeEvent returns the event that encodes to exactly b, checked, or ErrEvent
// wrapped with what is wrong. It keeps nothing of b.
func DecodeEvent(b []byte) (*Event, error) {
	c := cursor{b: b}
	if magic := c.take(len(eventMagic)); !bytes.Equal(magic, eventMagic) {
		return nil, fmt.Errorf("does not start with %q: %w", eventMagic, ErrEvent)
	}
	if v := c.u8(); v != eventVersion {
		return nil, fmt.Errorf("version %d, this program reads %d: %w", v, eventVersion, ErrEvent)
	}
	e := &Event{Kind: EventKind(c.u8())}
	switch e.Kind {
	case BlockFound:
		e.Block = c.hash()
		n := c.u32()
		receipt, err := DecodeReceipt(c.take(c.entries(int(n), 1)))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, ErrEvent)
		}
		e.Receipt = receipt
	case BlockOrphaned, BlockRestored:
		e.Block, e.Turn = c.hash(), c.u16()
	case BlockMatured:
		e.Block = c.hash()
	case BatchReserved:
		e.Batch = c.hash()
		for range c.entries(int(c.u16()), 1+2+8) {
			account := string(c.take(int(c.u8())))
			e.Lines = append(e.Lines, Line{Owner{account, c.u16()}, int64(c.u64())})
		}
	case BatchPaid:
		e.Batch, e.Turn = c.hash(), c.u16()
		e.Height, e.TxID, e.Fee = int32(c.u32()), c.hash(), int64(c.u64())
	case BatchUnpaid:
		e.Batch, e.Turn = c.hash(), c.u16()
	case BatchCanceled:
		e.Batch = c.hash()
	case Halted, Lifted:
		e.Name = string(c.take(int(c.u8())))
		e.Text = string(c.take(int(c.u16())))
	}
	if c.err != nil {
		return nil, fmt.Errorf("%d bytes: %w: %w", len(b), c.err, ErrEvent)
	}
	if len(c.b) != 0 {
		return nil, fmt.Errorf("%d bytes follow its end: %w", len(c.b), ErrEvent)
	}
	if err := e.Check(); err != nil {
		return nil, err
	}
	return e, nil
}

// LedgerHead returns the name of the ledger named prev with event appended.
func LedgerHead(prev [32]byte, event []byte) [32]byte {
	b := append(bytes.Clone(ledgerTag), prev[:]...)
	return sha256.Sum256(append(b, event...))
}
