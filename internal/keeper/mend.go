package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cordee/payout"
)

// mostMended bounds the files that one start puts back: beyond it a backup is
// the better source.
const mostMended = 1000

// errUnproven reports a copy that nothing proves.
var errUnproven = errors.New("the store's copy is not proven")

// Start is New, but puts back each file that does not hold from the store's
// copy, where that is proven: a manifest by our signature and its neighbours, an
// event by the heads before and behind it. What stood there is kept in damaged/.
// Anything else is refused as New does, with what the store said.
func Start(ctx context.Context, cfg Config) (*Keeper, error) {
	for range mostMended {
		k, err := New(cfg)
		bad, ok := errors.AsType[*damaged](err)
		if !ok {
			return k, err
		}
		kept, merr := mend(ctx, &cfg, bad)
		if merr != nil {
			return nil, fmt.Errorf("%w; it cannot be put back from the store: %w", err, merr)
		}
		cfg.Logger.Error().Str("event", "files.mended").Str("file", bad.shelf.path(bad.number)).AnErr("was", bad.why).Str("kept", kept).
			Msg("a file of slots or ledger did not hold and was put back from the store's proven copy: look at the disk")
	}
	return nil, fmt.Errorf("more than %d files do not hold: restore them from a backup: %w", mostMended, ErrDamaged)
}

// mend puts one file back and returns where the bad one is, "" for none.
func mend(ctx context.Context, cfg *Config, bad *damaged) (kept string, err error) {
	f, err := Open(cfg)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var content []byte
	if bad.shelf.ext == f.slots.ext {
		content, err = f.provenSlot(ctx, cfg.Store, bad.number)
	} else {
		content, err = f.provenEvent(ctx, cfg.Store, bad.number)
	}
	if err != nil {
		return "", err
	}
	name := bad.shelf.path(bad.number)
	if _, err := os.Stat(name); err == nil {
		dir := filepath.Join(cfg.Dir, "damaged")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		kept = filepath.Join(dir, fmt.Sprintf("%s.%d", filepath.Base(name), time.Now().UnixNano()))
		if err := os.Rename(name, kept); err != nil {
			return "", err
		}
	}
	return kept, writeFile(name, content)
}

// provenSlot returns what slot file n must hold.
func (f *Files) provenSlot(ctx context.Context, store payout.Store, n uint32) ([]byte, error) {
	page, err := store.Slots(ctx, n, 1)
	if err != nil {
		return nil, err
	}
	if len(page) == 0 {
		return nil, fmt.Errorf("it has no slot %d: %w", n, errUnproven)
	}
	s, err := payout.OpenSlot(page[0].Bytes, f.key)
	if err != nil || s.Number != n {
		return nil, fmt.Errorf("slot %d is not signed by this pool: %w", n, errUnproven)
	}
	if before, err := f.Slot(n - 1); n > 1 && err == nil && before.Head() != s.Prev {
		return nil, fmt.Errorf("slot %d does not follow the one before: %w", n, errUnproven)
	}
	if behind, err := f.Slot(n + 1); err == nil && behind.Prev != s.Head() {
		return nil, fmt.Errorf("the slot behind slot %d follows another: %w", n, errUnproven)
	}
	return page[0].Bytes, nil
}

// provenEvent returns what event file n must hold. Nothing signs an event: it is
// proven by the head that its own file still ends with, or that the event behind
// it has.
func (f *Files) provenEvent(ctx context.Context, store payout.Store, n uint32) ([]byte, error) {
	page, err := store.Records(ctx, uint64(n), 1)
	if err != nil {
		return nil, err
	}
	if len(page) == 0 {
		return nil, fmt.Errorf("it has no event %d: %w", n, errUnproven)
	}
	r, prev := page[0], [32]byte{}
	if n > 1 {
		before, err := f.event(n - 1)
		if err != nil {
			return nil, err
		}
		prev = before.Head
	}
	if payout.LedgerHead(prev, r.Data) != r.Head {
		return nil, fmt.Errorf("event %d does not follow the one before: %w", n, errUnproven)
	}
	old, _ := f.events.get(n) // nothing where it is missing
	behind, err := f.event(n + 1)
	if !bytes.HasSuffix(old, r.Head[:]) && (err != nil || payout.LedgerHead(r.Head, behind.Data) != behind.Head) {
		return nil, fmt.Errorf("neither event %d's own file nor the event behind it has the head of the store's: %w", n, errUnproven)
	}
	return append(bytes.Clone(r.Data), r.Head[:]...), nil
}
