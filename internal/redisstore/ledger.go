package redisstore

import (
	"context"
	"encoding/hex"
	"fmt"

	"cordee/payout"
)

// PutSlot is payout.Store's: one call of putslot.lua.
func (s *Store) PutSlot(ctx context.Context, m payout.Manifest) error {
	if err := m.Check(); err != nil {
		return err
	}
	value := make([]byte, 0, 64+len(m.Bytes))
	value = append(append(append(value, m.Head[:]...), m.Prev[:]...), m.Bytes...)
	answer, err := s.call(ctx, putSlotScript, []string{s.keys.state(), s.keys.slots(), s.keys.delta(m.Number - 1)},
		number(uint64(m.Number)), number(uint64(m.Number-1)), hexHash(m.Prev), hexHash(m.Head), value)
	if err != nil {
		return err
	}
	switch answer[0] {
	case "ok":
		return nil
	case "other":
		return fmt.Errorf("slot %d has another manifest: %w", m.Number, payout.ErrConflict)
	case "gap":
		return fmt.Errorf("slot %d cannot follow slot %s: %w", m.Number, answer[1], payout.ErrConflict)
	case "prev":
		return fmt.Errorf("slot %d follows %x, slot %s has head %s: %w", m.Number, m.Prev, answer[1], answer[2], payout.ErrConflict)
	}
	return fmt.Errorf("%v: %w", answer, payout.ErrCorrupt)
}

func hexHash(h [32]byte) string { return hex.EncodeToString(h[:]) }

// tip returns a chain's length and newest head, which are fields of state.
func (s *Store) tip(ctx context.Context, length, newest string) (count uint64, head [32]byte, err error) {
	values, err := s.read(ctx, hash{s.keys.state(), []string{length, newest}})
	if err != nil {
		return 0, head, err
	}
	v := texts(values[0])
	if v[0] == "" {
		return 0, head, nil
	}
	if count, err = parseNumber(v[0], "the length of a chain"); err != nil {
		return 0, head, err
	}
	head, err = parseHash(v[1], "the head of a chain")
	return count, head, err
}

// LastSlot is payout.Store's.
func (s *Store) LastSlot(ctx context.Context) (slot uint32, head [32]byte, err error) {
	count, head, err := s.tip(ctx, "slot", "slothead")
	return uint32(count), head, err
}

// page reads up to limit values of a hash whose fields are numbers from 1, from
// the from-th on. last is the field of state that holds the last one's number.
func (s *Store) page(ctx context.Context, key, last string, from uint64, limit int) ([]string, error) {
	from = max(from, 1)
	fields := make([]string, payout.Page(limit))
	for i := range fields {
		fields[i] = number(from + uint64(i))
	}
	if len(fields) == 0 {
		fields = []string{number(from)} // HMGET takes one at least
	}
	values, err := s.read(ctx, hash{key, fields}, hash{s.keys.state(), []string{last}})
	if err != nil {
		return nil, err
	}
	n, err := parseNumber(orZero(texts(values[1])[0]), "the length of a chain")
	if err != nil {
		return nil, err
	}
	var page []string
	for i, v := range values[0][:payout.Page(limit)] {
		if from+uint64(i) > n {
			break
		}
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s has no entry %d of %d: %w", key, from+uint64(i), n, payout.ErrCorrupt)
		}
		page = append(page, text)
	}
	return page, nil
}

// Slots is payout.Store's.
func (s *Store) Slots(ctx context.Context, from uint32, limit int) ([]payout.Manifest, error) {
	page, err := s.page(ctx, s.keys.slots(), "slot", uint64(from), limit)
	if err != nil {
		return nil, err
	}
	slots := make([]payout.Manifest, len(page))
	for i, v := range page {
		m := payout.Manifest{Number: max(from, 1) + uint32(i)}
		if len(v) <= 64 {
			return nil, fmt.Errorf("slot %d of %d bytes: %w", m.Number, len(v), payout.ErrCorrupt)
		}
		copy(m.Head[:], v)
		copy(m.Prev[:], v[32:])
		m.Bytes = []byte(v[64:])
		slots[i] = m
	}
	return slots, nil
}

// Append is payout.Store's: one call of append.lua.
func (s *Store) Append(ctx context.Context, expect [32]byte, records ...payout.LedgerRecord) (head [32]byte, err error) {
	if err := payout.CheckAppend(expect, records); err != nil {
		return head, err
	}
	args := make([]any, 0, 2+2*len(records))
	args = append(args, hexHash(expect), hexHash(records[len(records)-1].Head))
	for _, r := range records {
		value := make([]byte, 0, 33+len(r.Key)+len(r.Data))
		value = append(append(value, r.Head[:]...), byte(len(r.Key)))
		args = append(args, r.Key, append(append(value, r.Key...), r.Data...))
	}
	answer, err := s.call(ctx, appendScript, []string{s.keys.state(), s.keys.ledger(), s.keys.index()}, args...)
	if err != nil {
		return head, err
	}
	if len(answer) < 2 {
		return head, fmt.Errorf("%v: %w", answer, payout.ErrCorrupt)
	}
	if head, err = parseHash(answer[1], "the head of the ledger"); err != nil {
		return head, err
	}
	switch answer[0] {
	case "ok":
		return head, nil
	case "other":
		return head, fmt.Errorf("record %q is there with other contents: %w", answer[2], payout.ErrConflict)
	case "some":
		return head, fmt.Errorf("%s of %d records are there already: %w", answer[2], len(records), payout.ErrConflict)
	case "moved":
		return head, fmt.Errorf("it is %x, not %x: %w", head, expect, payout.ErrHeadMoved)
	}
	return head, fmt.Errorf("%v: %w", answer, payout.ErrCorrupt)
}

// Head is payout.Store's.
func (s *Store) Head(ctx context.Context) (head [32]byte, count uint64, err error) {
	count, head, err = s.tip(ctx, "records", "head")
	return head, count, err
}

// Records is payout.Store's.
func (s *Store) Records(ctx context.Context, from uint64, limit int) ([]payout.LedgerRecord, error) {
	page, err := s.page(ctx, s.keys.ledger(), "records", from, limit)
	if err != nil {
		return nil, err
	}
	records := make([]payout.LedgerRecord, len(page))
	for i, v := range page {
		if len(v) < 33 || len(v) < 33+int(v[32]) {
			return nil, fmt.Errorf("record %d of %d bytes: %w", max(from, 1)+uint64(i), len(v), payout.ErrCorrupt)
		}
		key := 33 + int(v[32])
		copy(records[i].Head[:], v)
		records[i].Key, records[i].Data = v[33:key], []byte(v[key:])
	}
	return records, nil
}
