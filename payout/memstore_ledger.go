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
