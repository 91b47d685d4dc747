package payout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// SchemaVersion is the version of what a Store keeps, part of its identity.
const SchemaVersion uint32 = 1

// Bounds of one call, so that no call can keep a store busy for long.
const (
	MaxBatchSums  = 4096    // sums of one Batch
	MaxPage       = 1000    // entries one call returns, whatever limit asks for
	MaxAppend     = 256     // records of one Append
	MaxKeyBytes   = 160     // of a record's key, a lease or its holder
	MaxValueBytes = 1 << 20 // of a manifest or a record
)

// What a Store says. Every error of a Store wraps one of these, or is the
// context's own.
var (
	// ErrUnavailable: the store cannot be reached or cannot write now (gone,
	// slow, full, loading, a replica). Whether the write happened is not known;
	// the same call again is safe and tells.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrUnfit: the store would lose or evict what it is told; it is refused at
	// Open. SettingsError holds what to change.
	ErrUnfit = errors.New("the store is not fit to keep a ledger")
	// ErrForeign: the store is another pool's, another incarnation's or another
	// schema's. Nothing was read or written.
	ErrForeign = errors.New("the store belongs to another pool or incarnation")
	// ErrIncarnationMissing: the store is empty, or half empty, where history is
	// expected. It is never initialised over history: stop, find out, rebuild.
	ErrIncarnationMissing = errors.New("the store has lost its incarnation")
	// ErrNotOpen: a call before Open succeeded.
	ErrNotOpen = errors.New("the store is not open")
	// ErrInvalid: the arguments break a rule of the call; a bug of the caller.
	ErrInvalid = errors.New("not a valid request of the store")
	// ErrOverflow: a sum would exceed 2^63-1. Nothing was changed.
	ErrOverflow = errors.New("a sum exceeds 63 bits")
	// ErrCorrupt: what the store holds is not what was put there.
	ErrCorrupt = errors.New("the store holds what this program did not write")
	// ErrSlotClosed: the batch names a slot whose manifest is stored.
	ErrSlotClosed = errors.New("the slot is closed")
	// ErrConflict: something else stands where the call wants to write.
	ErrConflict = errors.New("the store holds something else there")
	// ErrHeadMoved: the ledger's head is not the one expected, and none of the
	// records is present: read on and decide anew.
	ErrHeadMoved = errors.New("the head of the ledger has moved")
	// ErrHeld: the lease is another holder's, or not the caller's any more.
	ErrHeld = errors.New("the lease is held by another")
)

// SettingsError is the ErrUnfit of Open, with every cause.
type SettingsError struct{ Problems []Problem }

func (e *SettingsError) Error() string {
	causes := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		causes[i] = p.String()
	}
	return ErrUnfit.Error() + ": " + strings.Join(causes, "; ")
}

// Unwrap returns ErrUnfit.
func (*SettingsError) Unwrap() error { return ErrUnfit }

// Problem is one thing about a store that somebody should change.
type Problem struct {
	Name  string // stable, for metrics and tests: "maxmemory-policy"
	What  string // what is wrong
	Do    string // what to change
	Fatal bool   // Open refuses it; otherwise a warning
}

func (p Problem) String() string { return p.Name + ": " + p.What + ": " + p.Do }

// Meta is the identity of a store.
type Meta struct {
	Network     string // "main", "regtest", …
	Genesis     [32]byte
	Schema      uint32   // SchemaVersion
	Incarnation [16]byte // a UUID drawn once, on the caller's disk before Open may initialise with it
}

// Batch is the work of shares From to To, both credited seq of one edge's
// epoch, in one slot.
type Batch struct {
	Edge     uint16
	Epoch    uint32
	Slot     uint32 // an open one, from 1
	From, To uint64 // from 1, both included
	Sums     []Sum  // ascending by (member, work_bits), none zero; empty where others carried the work
}

// Check returns ErrInvalid, or ErrOverflow, with what is wrong with b.
func (b *Batch) Check() error {
	switch {
	case b.Slot == 0:
		return fmt.Errorf("batch in slot 0, where nothing is credited: %w", ErrInvalid)
	case b.From == 0 || b.From > b.To || b.To > math.MaxInt64:
		return fmt.Errorf("batch of seq %d to %d: %w", b.From, b.To, ErrInvalid)
	case len(b.Sums) > MaxBatchSums:
		return fmt.Errorf("batch of %d sums, %d at most: %w", len(b.Sums), MaxBatchSums, ErrInvalid)
	}
	for i, s := range b.Sums {
		if s.Difficulty == 0 {
			return fmt.Errorf("batch sum %d is zero: %w", i, ErrInvalid)
		}
		if s.Difficulty > math.MaxInt64 {
			return fmt.Errorf("batch sum %d: %w", i, ErrOverflow)
		}
		if i > 0 && compareSums(b.Sums[i-1], s) >= 0 {
			return fmt.Errorf("batch sum %d: member %d nBits %08x does not ascend: %w", i, s.Member, s.WorkBits, ErrInvalid)
		}
	}
	return nil
}

func compareSums(a, b Sum) int {
	return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.WorkBits, b.WorkBits))
}

// SortSums puts sums in the order of batches and manifests.
func SortSums(sums []Sum) { slices.SortFunc(sums, compareSums) }

// Mark is the high-water mark of one edge's epoch: shares 1 to Seq are applied.
type Mark struct {
	Edge  uint16
	Epoch uint32
	Seq   uint64
}

// Manifest is a closed slot as its store keeps it: opaque bytes in a chain.
type Manifest struct {
	Number     uint32   // from 1
	Prev, Head [32]byte // Prev of slot 1 is zero
	Bytes      []byte
}

// LedgerRecord is one line of the ledger: opaque bytes under a key that makes
// writing them twice harmless.
type LedgerRecord struct {
	Key  string   // unique in the ledger: block hash and kind, say
	Head [32]byte // the ledger's head once this record is in; chained by the caller
	Data []byte
}

// Store keeps what all machines of a pool share: running sums of work, slot
// manifests, the ledger. The journal stays the truth about shares; a
// store can be rebuilt from manifests and journal.
//
// Rules of every method:
//   - It is atomic and linearizable: done wholly or not at all, also when the
//     process or the store is killed inside.
//   - A write again with the same arguments changes nothing and succeeds as
//     the first time did, but where a method says more.
//   - Slices passed in are read until the method returns and not kept. Slices
//     returned belong to the caller.
//   - Safe for concurrent use.
type Store interface {
	// Open checks the store and that it is meta's. An empty one is initialised
	// if mayInit, which the caller says only where the journal has no history;
	// otherwise it is ErrIncarnationMissing, like one that has contents but no
	// identity. Errors: ErrUnfit, ErrForeign, ErrIncarnationMissing. Every other
	// method checks the incarnation again as part of what it does.
	Open(ctx context.Context, meta Meta, mayInit bool) error

	// Health returns what should be changed, worst first, or ErrUnavailable.
	Health(ctx context.Context) ([]Problem, error)

	ShareStore
	SlotStore
	LedgerStore
	LeaseStore
}

// ShareStore keeps sums of work per (member, work_bits).
type ShareStore interface {
	// Apply adds b's sums to the running sums and to those of its slot, if
	// b.From follows the high-water mark hwm of (edge, epoch), and returns
	// (b.To, true). Otherwise it changes nothing and returns (hwm, false): the
	// caller cuts its batch anew from hwm+1. Whoever gets ErrUnavailable asks
	// again: (b.To, false) then says that the first call was applied.
	//
	// A batch for a slot whose manifest is stored is ErrSlotClosed: ship all
	// shares of a slot before PutSlot. A store that came back older than it was
	// (a backup, a failover) tells by a lower mark and an older LastSlot, and is
	// healed the same way: slot by slot, its shares, then its manifest.
	Apply(ctx context.Context, b Batch) (hwm uint64, applied bool, err error)
	// HWM returns the high-water mark, 0 where nothing was applied.
	HWM(ctx context.Context, edge uint16, epoch uint32) (uint64, error)
	// HWMs returns all of them, ascending by (edge, epoch).
	HWMs(ctx context.Context) ([]Mark, error)
	// Run returns all sums since the beginning, ascending as in a manifest.
	Run(ctx context.Context) ([]Sum, error)
	// Deltas returns the sums of one slot. They are kept while it is open and
	// until the slot after it closes; then only its manifest has them.
	Deltas(ctx context.Context, slot uint32) ([]Sum, error)
}

// SlotStore keeps the chain of manifests.
type SlotStore interface {
	// PutSlot stores m as the newest. It is ErrConflict unless m.Number follows
	// the last one and m.Prev is its head, or the same manifest stands there.
	PutSlot(ctx context.Context, m Manifest) error
	// LastSlot returns the newest, zeros where there is none.
	LastSlot(ctx context.Context) (number uint32, head [32]byte, err error)
	// Slots returns up to limit manifests from number on, ascending.
	Slots(ctx context.Context, from uint32, limit int) ([]Manifest, error)
}

// LedgerStore keeps the chain of records.
type LedgerStore interface {
	// Append adds records behind the one whose head is expect (zero: the
	// beginning) and returns the new head. Where all are present already with
	// the same contents it returns the ledger's present head and nil; where some
	// are, or one with other contents, ErrConflict; where none is and the
	// head is another one, that head and ErrHeadMoved.
	Append(ctx context.Context, expect [32]byte, records ...LedgerRecord) (head [32]byte, err error)
	// Head returns the newest head and the number of records.
	Head(ctx context.Context) (head [32]byte, count uint64, err error)
	// Records returns up to limit records from the from-th on, counted from 1.
	Records(ctx context.Context, from uint64, limit int) ([]LedgerRecord, error)
}

// LeaseStore says who does a job that one process should do. A lease detects a
// double; it is no lock, for its time may end while the holder still works.
type LeaseStore interface {
	// Acquire takes the lease for ttl milliseconds, or prolongs the holder's own,
	// and returns its fencing token, which grows with every change of holder.
	// ErrHeld names the holder it has.
	Acquire(ctx context.Context, lease, holder string, ttl int64) (token uint64, err error)
	// Renew prolongs it, or returns ErrHeld where it is not token's any more.
	Renew(ctx context.Context, lease, holder string, token uint64, ttl int64) error
	// Release gives it back. One that is not token's stays as it is, without error.
	Release(ctx context.Context, lease, holder string, token uint64) error
}
