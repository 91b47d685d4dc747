package payout

import (
	"context"
	"fmt"
	"slices"
)

// Append is Store's.
func (m *Memory) Append(ctx context.Context, expect [32]byte, records ...LedgerRecord) (head [32]byte, err error) {
	if err := CheckAppend(expect, records); err != nil {
		return head, err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return head, err
	}
	defer leave()
	head = m.head()
	present := 0
	for _, r := range records {
		at, known := m.keys[r.Key]
		if !known {
			continue
		}
		if have := m.records[at]; have.Head != r.Head || string(have.Data) != string(r.Data) {
			return head, fmt.Errorf("record %q is there with other contents: %w", r.Key, ErrConflict)
		}
		present++
	}
	switch {
	case present == len(records):
		return head, nil
	case present > 0:
		return head, fmt.Errorf("%d of %d records are there already: %w", present, len(records), ErrConflict)
	case head != expect:
		return head, fmt.Errorf("it is %x, not %x: %w", head, expect, ErrHeadMoved)
	}
	for _, r := range records {
		r.Data = slices.Clone(r.Data)
		m.keys[r.Key] = len(m.records)
		m.records = append(m.records, r)
	}
	return m.head(), nil
}

func (m *Memory) head() [32]byte {
	if len(m.records) == 0 {
		return [32]byte{}
	}
	return m.records[len(m.records)-1].Head
}

// Head is Store's.
func (m *Memory) Head(ctx context.Context) (head [32]byte, count uint64, err error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return head, 0, err
	}
	defer leave()
	return m.head(), uint64(len(m.records)), nil
}

// Records is Store's.
func (m *Memory) Records(ctx context.Context, from uint64, limit int) ([]LedgerRecord, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	page := slices.Clone(pageOf(m.records, from, limit))
	for i := range page {
		page[i].Data = slices.Clone(page[i].Data)
	}
	return page, nil
}

// Halted is Store's.
func (m *Memory) Halted(ctx context.Context) (HaltRecord, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return HaltRecord{}, err
	}
	defer leave()
	return m.lastHalt(), nil
}

func (m *Memory) lastHalt() HaltRecord {
	if len(m.halts) == 0 {
		return HaltRecord{}
	}
	return m.halts[len(m.halts)-1]
}

// Halt is Store's.
func (m *Memory) Halt(ctx context.Context, reason, who string, at int64) (HaltRecord, error) {
	if err := CheckHalt(reason, who); err != nil {
		return HaltRecord{}, err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return HaltRecord{}, err
	}
	defer leave()
	if i, inForce := m.cause[reason]; inForce {
		return m.halts[i], nil
	}
	m.cause[reason] = len(m.halts)
	h := HaltRecord{uint64(len(m.halts)) + 1, false, reason, who, at}
	m.halts = append(m.halts, h)
	return h, nil
}

// Lift is Store's.
func (m *Memory) Lift(ctx context.Context, number uint64, reason, who string, at int64) (HaltRecord, error) {
	if err := CheckHalt(reason, who); err != nil {
		return HaltRecord{}, err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return HaltRecord{}, err
	}
	defer leave()
	last := m.lastHalt()
	h := HaltRecord{number + 1, true, reason, who, at}
	switch {
	case last == h:
		return h, nil
	case last.Number == 0 || last.Lifted:
		return last, fmt.Errorf("payouts are not halted: %w", ErrConflict)
	case last.Number != number:
		return last, fmt.Errorf("the newest halt is number %d, %q: read it first: %w", last.Number, last.Reason, ErrConflict)
	}
	clear(m.cause)
	m.halts = append(m.halts, h)
	return h, nil
}

// Halts is Store's.
func (m *Memory) Halts(ctx context.Context, from uint64, limit int) ([]HaltRecord, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return slices.Clone(pageOf(m.halts, from, limit)), nil
}

// Acquire is Store's.
func (m *Memory) Acquire(ctx context.Context, lease, holder string, ttl int64) (token uint64, err error) {
	if err := CheckLease(lease, holder, ttl); err != nil {
		return 0, err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	now := m.now()
	l, held := m.leases[lease]
	switch held = held && now < l.until; {
	case !held:
		m.fence++
		l = memoryLease{holder: holder, token: m.fence}
	case l.holder != holder:
		return 0, fmt.Errorf("%q: by %q: %w", lease, l.holder, ErrHeld)
	}
	l.until = now + ttl
	m.leases[lease] = l
	return l.token, nil
}

// Renew is Store's.
func (m *Memory) Renew(ctx context.Context, lease, holder string, token uint64, ttl int64) error {
	if err := CheckLease(lease, holder, ttl); err != nil {
		return err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	now := m.now()
	l, held := m.leases[lease]
	if !held || now >= l.until || l.holder != holder || l.token != token {
		return fmt.Errorf("%q is not %q's with token %d any more: %w", lease, holder, token, ErrHeld)
	}
	l.until = now + ttl
	m.leases[lease] = l
	return nil
}

// Release is Store's.
func (m *Memory) Release(ctx context.Context, lease, holder string, token uint64) error {
	if err := CheckLease(lease, holder, 1); err != nil {
		return err
	}
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if l := m.leases[lease]; l.holder == holder && l.token == token {
		delete(m.leases, lease)
	}
	return nil
}
