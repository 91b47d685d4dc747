package payout

import (
	"fmt"
)

// The checks below are the same for every Store; each returns ErrInvalid with
// what is wrong.

// Check returns ErrInvalid where m cannot be anybody's identity.
func (m *Meta) Check() error {
	switch {
	case m.Network == "" || len(m.Network) > MaxKeyBytes:
		return fmt.Errorf("network of %d bytes: %w", len(m.Network), ErrInvalid)
	case m.Incarnation == [16]byte{}:
		return fmt.Errorf("no incarnation: %w", ErrInvalid)
	case m.Schema != SchemaVersion:
		return fmt.Errorf("schema %d, this program writes %d: %w", m.Schema, SchemaVersion, ErrInvalid)
	}
	return nil
}

// Check returns ErrInvalid where m cannot stand in a chain.
func (m *Manifest) Check() error {
	switch {
	case m.Number == 0:
		return fmt.Errorf("slot 0 has no manifest: %w", ErrInvalid)
	case m.Number == 1 && m.Prev != [32]byte{}:
		return fmt.Errorf("slot 1 follows no manifest, its prev must be zero: %w", ErrInvalid)
	case m.Head == [32]byte{} || m.Head == m.Prev:
		return fmt.Errorf("manifest %d: head %x: %w", m.Number, m.Head, ErrInvalid)
	case len(m.Bytes) == 0 || len(m.Bytes) > MaxValueBytes:
		return fmt.Errorf("manifest %d of %d bytes: %w", m.Number, len(m.Bytes), ErrInvalid)
	}
	return nil
}

// CheckAppend returns ErrInvalid where records cannot follow expect.
func CheckAppend(expect [32]byte, records []LedgerRecord) error {
	if len(records) == 0 || len(records) > MaxAppend {
		return fmt.Errorf("%d records at once, 1 to %d: %w", len(records), MaxAppend, ErrInvalid)
	}
	keys := make(map[string]bool, len(records))
	for i, r := range records {
		switch {
		case r.Key == "" || len(r.Key) > MaxKeyBytes:
			return fmt.Errorf("record %d: key of %d bytes: %w", i, len(r.Key), ErrInvalid)
		case keys[r.Key]:
			return fmt.Errorf("record %d: key %q twice: %w", i, r.Key, ErrInvalid)
		case r.Head == [32]byte{} || r.Head == expect:
			return fmt.Errorf("record %d: head %x: %w", i, r.Head, ErrInvalid)
		case len(r.Data) > MaxValueBytes:
			return fmt.Errorf("record %d of %d bytes: %w", i, len(r.Data), ErrInvalid)
		}
		keys[r.Key] = true
		expect = r.Head
	}
	return nil
}

// CheckLease returns ErrInvalid where a lease has no name, holder or time.
func CheckLease(lease, holder string, ttl int64) error {
	if lease == "" || len(lease) > MaxKeyBytes || holder == "" || len(holder) > MaxKeyBytes {
		return fmt.Errorf("lease %q of holder %q: %w", lease, holder, ErrInvalid)
	}
	if ttl <= 0 || ttl > maxLease {
		return fmt.Errorf("lease %q for %d ms: %w", lease, ttl, ErrInvalid)
	}
	return nil
}

const maxLease = 24 * 60 * 60 * 1000 // milliseconds

// Page returns how many entries a call with this limit returns at most.
func Page(limit int) int { return max(0, min(limit, MaxPage)) }
