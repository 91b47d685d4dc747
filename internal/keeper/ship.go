package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cordee/payout"
)

// Delays of shipping.
const (
	shipEvery    = 10 * time.Second // the store is compared with the files this often without a poke
	shipSoonest  = time.Second      // first wait after a failure, doubled up to
	shipLatest   = 5 * time.Second
	storeTimeout = 10 * time.Second // of one call
)

// The states of shipping.
const (
	ShipStarting    = "starting"    // no round has ended yet
	ShipCurrent     = "current"     // the store has all
	ShipBehind      = "behind"      // it is catching up
	ShipUnavailable = "unavailable" // it cannot be reached; tried again
	ShipStopped     = "stopped"     // it is not ours or not what we wrote: payouts are halted
)

// ErrDiverged reports a store that holds another history than the files.
var ErrDiverged = errors.New("the store's history is not that of the files")

// shipStatus is what is known of the store.
type shipStatus struct {
	state string
	since time.Time // of state
	slot  uint32    // newest manifest in it
	event uint32    // newest event in it
	why   string
}

func (s *shipStatus) enter(state string, now time.Time) {
	if s.state != state {
		s.state, s.since = state, now
	}
}

// ship keeps the store up to the files until ctx ends.
func (k *Keeper) ship(ctx context.Context) {
	wait := shipSoonest
	for ctx.Err() == nil {
		err := k.Ship(ctx)
		next := shipEvery
		if err != nil {
			next = wait
			wait = min(2*wait, shipLatest)
		} else {
			wait = shipSoonest
		}
		timer := time.NewTimer(next)
		poked := k.pokeShip
		if err != nil {
			poked = nil // what is new does not bring the store back
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-poked:
		case <-k.pokeLift:
		}
		timer.Stop()
	}
}

// Ship brings the store up to the files once: sums and manifests of every slot
// it does not have, then the events of the ledger. It begins with what the store
// says it has, so one that went back, or is empty and may be, is filled again.
// ErrUnavailable of the store is to be tried again. Any other refusal of it, and
// ErrDiverged, halts payouts by name; lift the halt when the cause is found.
func (k *Keeper) Ship(ctx context.Context) error {
	k.shipping.Lock()
	defer k.shipping.Unlock()
	err := k.round(ctx)
	state, why := ShipCurrent, ""
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
	case errors.Is(err, payout.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		state, why = ShipUnavailable, err.Error()
	default:
		state, why = ShipStopped, err.Error()
	}
	k.mu.Lock()
	before := k.trouble["store"] // errors of one absence differ, so its text does not say whether it is new
	k.status.enter(state, k.now())
	k.status.why = why
	k.mu.Unlock()
	k.note("store", err)
	switch {
	case err == nil && before != "":
		poke(k.pokeHealth)
		k.log.Info().Str("event", "store.back").Msg("the store is back and has all that waited on disk")
	case state == ShipStopped:
		return errors.Join(err, k.Halt(storeHalt(err), err.Error()))
	case err != nil && before == "":
		k.log.Warn().Str("event", "store.unavailable").Err(err).
			Msg("the store is away: shares, slots and blocks wait on disk and are shipped when it is back")
	}
	return err
}

// storeHalt names the halt for what a store says.
func storeHalt(err error) string {
	for _, h := range []struct {
		err  error
		name string
	}{
		{payout.ErrForeign, "store.foreign"},
		{payout.ErrIncarnationMissing, "store.incarnation-missing"},
		{payout.ErrUnfit, "store.unfit"},
		{payout.ErrCorrupt, "store.corrupt"},
	} {
		if errors.Is(err, h.err) {
			return h.name
		}
	}
	return "store.diverged"
}

func (k *Keeper) round(ctx context.Context) error {
	if !k.opened {
		if err := OpenStore(ctx, k.cfg.Dir, k.cfg.Store, k.cfg.Meta, k.cfg.Volatile); err != nil {
			return err
		}
		k.opened = true
	}
	k.mu.Lock()
	slots := k.lastSlot
	k.mu.Unlock()
	k.writing.Lock()
	heads := slices.Clip(k.heads) // never changed in place
	k.writing.Unlock()
	shipper := shipper{Files: k.Files, store: k.cfg.Store, progress: func(slot, event uint32) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.status.slot, k.status.event = slot, event
		if slots > slot+1 { // to ship the newest is no catching up
			k.status.enter(ShipBehind, k.now())
		}
	}}
	return shipper.run(ctx, slots, heads)
}

// Rebuild fills a store, an empty one or a beginning of ours, from the files
// alone. It becomes what shipping would have made of it.
func (f *Files) Rebuild(ctx context.Context, store payout.Store, meta payout.Meta, progress func(slot, event uint32)) error {
	events, err := f.events.newest()
	if err != nil {
		return err
	}
	slots, err := f.slots.newest()
	if err != nil {
		return err
	}
	var heads [][32]byte
	if _, err := f.fold(events, func(_ uint32, _ *payout.Event, r *payout.LedgerRecord, _ []payout.Posting) {
		heads = append(heads, r.Head)
	}); err != nil {
		return err
	}
	if err := store.Open(ctx, meta, true); err != nil {
		return err
	}
	s := shipper{Files: f, store: store, progress: progress}
	return s.run(ctx, slots, heads)
}

// Batches returns how a slot's sums are told to a store: ranges of shares,
// contiguous in every epoch, all sums with the first shares of the slot. They
// are a function of the manifest, so whoever ships it again cuts it the same
// way, and never needs the shares. There are no more sums than shares, so there
// is always a share to carry them.
func Batches(s *payout.Slot) []payout.Batch {
	var out []payout.Batch
	left := s.Sums
	for _, r := range s.Ranges {
		for from := r.First; from <= r.Last; {
			to, n := r.Last, min(len(left), payout.MaxBatchSums)
			if len(left) > n {
				to = from
			}
			out = append(out, payout.Batch{Edge: r.Edge, Epoch: r.Epoch, Slot: s.Number, From: from, To: to, Sums: left[:n]})
			left, from = left[n:], to+1
		}
	}
	return out
}

// shipper is one round against one store.
type shipper struct {
	*Files
	store    payout.Store
	progress func(slot, event uint32)
}

func (s *shipper) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, storeTimeout)
}

func (s *shipper) run(ctx context.Context, slots uint32, heads [][32]byte) error {
	last, err := s.slotsThere(ctx, slots)
	if err != nil {
		return err
	}
	head, count, err := s.eventsThere(ctx, heads) // before anything is written
	if err != nil {
		return err
	}
	for n := last + 1; n <= slots; n++ {
		m, err := s.Slot(n)
		if err != nil {
			return err
		}
		if err := s.put(ctx, m); err != nil {
			return fmt.Errorf("slot %d: %w", n, err)
		}
		s.progress(n, uint32(count))
	}
	return s.appendAll(ctx, slots, heads, head, int(count))
}

// slotsThere returns the store's newest manifest, which must be ours.
func (s *shipper) slotsThere(ctx context.Context, slots uint32) (uint32, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	last, head, err := s.store.LastSlot(ctx)
	if err != nil || last == 0 {
		return last, err
	}
	if last > slots {
		return 0, fmt.Errorf("it has slot %d, the files end with %d: were they restored from an old copy? %w", last, slots, ErrDiverged)
	}
	m, err := s.Slot(last)
	if err != nil {
		return 0, err
	}
	if m.Head() != head {
		return 0, fmt.Errorf("its slot %d has head %x, the file's %x: %w", last, head, m.Head(), ErrDiverged)
	}
	return last, nil
}

func (s *shipper) put(ctx context.Context, m *payout.Slot) error {
	for _, b := range Batches(m) {
		if err := s.batch(ctx, b); err != nil {
			return err
		}
	}
	encoded, err := s.slots.get(m.Number)
	if err != nil {
		return err
	}
	ctx, cancel := s.call(ctx)
	defer cancel()
	return s.store.PutSlot(ctx, payout.Manifest{Number: m.Number, Prev: m.Prev, Head: m.Head(), Bytes: encoded})
}

// batch applies b, unless it has been. A mark inside b or before it is no place
// where this program could have stopped.
func (s *shipper) batch(ctx context.Context, b payout.Batch) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	hwm, applied, err := s.store.Apply(ctx, b)
	if err != nil {
		return err
	}
	if !applied && hwm < b.To {
		return fmt.Errorf("edge %d epoch %d: it has shares to %d, the batch is %d to %d: %w", b.Edge, b.Epoch, hwm, b.From, b.To, ErrDiverged)
	}
	return nil
}

// eventsThere returns the head and length of the store's ledger, which must be
// ours.
func (s *shipper) eventsThere(ctx context.Context, heads [][32]byte) (head [32]byte, count uint64, err error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	head, count, err = s.store.Head(ctx)
	if err == nil && (count > uint64(len(heads)) || count > 0 && heads[count-1] != head) {
		err = fmt.Errorf("its ledger has %d events and head %x, the files %d events: %w", count, head, len(heads), ErrDiverged)
	}
	return head, count, err
}

// appendAll appends those behind the first n.
func (s *shipper) appendAll(ctx context.Context, slots uint32, heads [][32]byte, head [32]byte, n int) error {
	s.progress(slots, uint32(n))
	for n < len(heads) {
		var page []payout.LedgerRecord
		for n+len(page) < len(heads) && len(page) < payout.MaxAppend/8 {
			r, err := s.event(uint32(n + len(page) + 1))
			if err != nil {
				return err
			}
			page = append(page, r)
		}
		if err := s.append(ctx, head, page); err != nil {
			return fmt.Errorf("ledger event %d: %w", n+1, err)
		}
		n += len(page)
		head = page[len(page)-1].Head
		s.progress(slots, uint32(n))
	}
	return nil
}

func (s *shipper) append(ctx context.Context, expect [32]byte, page []payout.LedgerRecord) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	_, err := s.store.Append(ctx, expect, page...)
	if errors.Is(err, payout.ErrHeadMoved) {
		return fmt.Errorf("%w: somebody else writes it: %w", err, ErrDiverged)
	}
	return err
}
