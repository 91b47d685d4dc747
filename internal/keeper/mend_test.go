package keeper

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"cordee/payout"
)

// TestMend: a file that is spoilt or gone comes back from the store as it was,
// wherever that is proven, and is told; where nothing proves it, or there is no
// copy, the start is refused by name and nothing changes.
func TestMend(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b)
			b[(at+len(b))%len(b)] ^= 1
			return b
		}
	}
	gone := func([]byte) []byte { return nil }
	for _, c := range []struct {
		name   string
		folder string
		number uint32
		spoil  func([]byte) []byte // nil result: removed
		store  func(kt *kit) payout.Store
		refuse string
	}{
		{name: "old slot gone", folder: "slots", number: 1, spoil: gone},
		{name: "newest slot spoilt", folder: "slots", number: 6, spoil: flip(9)},
		{name: "a slot's signature", folder: "slots", number: 5, spoil: flip(-1)},
		{name: "event spoilt", folder: "ledger", number: 3, spoil: flip(60)},
		{name: "event's head spoilt", folder: "ledger", number: 3, spoil: flip(-1)},
		{name: "event gone", folder: "ledger", number: 1, spoil: gone},
		{name: "event emptied", folder: "ledger", number: 2, spoil: func([]byte) []byte { return []byte{} }},
		{name: "newest event spoilt", folder: "ledger", number: 8, spoil: flip(8)},
		{name: "newest event's head", folder: "ledger", number: 8, spoil: flip(-1), refuse: "not proven"},
		{name: "no copy", folder: "ledger", number: 3, spoil: gone, store: func(*kit) payout.Store {
			return fresh(t)
		}, refuse: "it has no event 3"},
		{name: "not open", folder: "slots", number: 6, spoil: flip(9), store: func(*kit) payout.Store {
			return payout.NewMemory(func() int64 { return 0 })
		}, refuse: "not open"},
		{name: "another history", folder: "slots", number: 6, spoil: flip(9), store: func(kt *kit) payout.Store {
			return forged{fresh(t), kt}
		}, refuse: "does not follow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kt := newKit(t, 3, nil)
			history(kt)
			copied := fresh(t)
			if err := kt.k.Rebuild(t.Context(), copied, kt.cfg.Meta, func(uint32, uint32) {}); err != nil {
				t.Fatal(err)
			}
			shelf := kt.k.slots
			if c.folder == "ledger" {
				shelf = kt.k.events
			}
			name := shelf.path(c.number)
			whole, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			bad := c.spoil(whole)
			if err = os.Remove(name); err == nil && bad != nil {
				err = os.WriteFile(name, bad, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			cfg := kt.cfg
			cfg.Store, cfg.Logger = copied, zerolog.New(&log)
			if c.store != nil {
				cfg.Store = c.store(kt)
			}
			k, err := Start(t.Context(), cfg)
			now, _ := os.ReadFile(name)
			if c.refuse != "" {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), c.refuse) || !bytes.Equal(now, bad) || log.Len() != 0 {
					t.Errorf("%v, log %s", err, log.String())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kept, _ := filepath.Glob(filepath.Join(cfg.Dir, "damaged", "*"))
			if !bytes.Equal(now, whole) || (len(kept) == 1) != (bad != nil) || strings.Count(log.String(), "files.mended") != 1 {
				t.Errorf("mended %t, kept %q, log %s", bytes.Equal(now, whole), kept, log.String())
			}
			if rep, _, err := k.Check(t.Context()); err != nil || len(rep.Findings) != 0 {
				t.Errorf("%+v, %v", rep, err)
			}
		})
	}
}

// forged is a store whose slots are signed by us and follow another history.
type forged struct {
	payout.Store
	kt *kit
}

func (f forged) Slots(_ context.Context, from uint32, _ int) ([]payout.Manifest, error) {
	s, err := f.kt.k.Slot(from - 1)
	if err != nil {
		return nil, err
	}
	s.Number, s.Prev = from, [32]byte{1}
	b, err := s.Sign(f.kt.cfg.Key)
	return []payout.Manifest{{Number: from, Bytes: b}}, err
}
