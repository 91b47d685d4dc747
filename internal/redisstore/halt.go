package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cordee/payout"
)

// haltLine is a payout.HaltRecord as its hash keeps it, under its number.
type haltLine struct {
	Lifted bool   `json:"lifted"`
	Reason string `json:"reason"`
	Who    string `json:"who"`
	At     int64  `json:"at"`
}

func encodeHalt(h payout.HaltRecord) string {
	b, err := json.Marshal(haltLine{h.Lifted, h.Reason, h.Who, h.At})
	if err != nil {
		panic(err) // bools, texts and integers always marshal
	}
	return string(b)
}

func parseHalt(at, line string) (payout.HaltRecord, error) {
	n, err := parseNumber(at, "the number of a halt")
	if err != nil {
		return payout.HaltRecord{}, err
	}
	var l haltLine
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		return payout.HaltRecord{}, fmt.Errorf("halt %d is %q: %w: %w", n, line, err, payout.ErrCorrupt)
	}
	return payout.HaltRecord{Number: n, Lifted: l.Lifted, Reason: l.Reason, Who: l.Who, At: l.At}, nil
}

// Halted is payout.Store's.
func (s *Store) Halted(ctx context.Context) (payout.HaltRecord, error) {
	for {
		count, err := s.lastHalt(ctx)
		if err != nil || count == "" {
			return payout.HaltRecord{}, err
		}
		values, err := s.read(ctx, hash{s.keys.halts(), []string{count}}, hash{s.keys.state(), []string{"halts"}})
		if err != nil {
			return payout.HaltRecord{}, err
		}
		if texts(values[1])[0] == count { // otherwise a newer line came in between
			return parseHalt(count, texts(values[0])[0])
		}
	}
}

// lastHalt returns the number of the newest line, "" where there is none.
func (s *Store) lastHalt(ctx context.Context) (string, error) {
	values, err := s.read(ctx, hash{s.keys.state(), []string{"halts"}})
	if err != nil {
		return "", err
	}
	return texts(values[0])[0], nil
}

// Halt is payout.Store's: one call of halt.lua.
func (s *Store) Halt(ctx context.Context, reason, who string, at int64) (payout.HaltRecord, error) {
	if err := payout.CheckHalt(reason, who); err != nil {
		return payout.HaltRecord{}, err
	}
	line := encodeHalt(payout.HaltRecord{Reason: reason, Who: who, At: at})
	answer, err := s.call(ctx, haltScript, []string{s.keys.state(), s.keys.halts(), s.keys.causes()}, reason, line)
	if err != nil {
		return payout.HaltRecord{}, err
	}
	if len(answer) != 3 {
		return payout.HaltRecord{}, fmt.Errorf("%v: %w", answer, payout.ErrCorrupt)
	}
	return parseHalt(answer[1], answer[2])
}

// Lift is payout.Store's: one call of lift.lua.
func (s *Store) Lift(ctx context.Context, n uint64, reason, who string, at int64) (payout.HaltRecord, error) {
	if err := payout.CheckHalt(reason, who); err != nil {
		return payout.HaltRecord{}, err
	}
	h := payout.HaltRecord{Number: n + 1, Lifted: true, Reason: reason, Who: who, At: at}
	answer, err := s.call(ctx, liftScript, []string{s.keys.state(), s.keys.halts(), s.keys.causes()},
		number(n), number(n+1), encodeHalt(h))
	if err != nil {
		return payout.HaltRecord{}, err
	}
	if answer[0] == "ok" {
		return h, nil
	}
	if len(answer) != 3 {
		return payout.HaltRecord{}, fmt.Errorf("%v: %w", answer, payout.ErrCorrupt)
	}
	var last payout.HaltRecord
	if answer[1] != "0" {
		if last, err = parseHalt(answer[1], answer[2]); err != nil {
			return last, err
		}
	}
	if answer[0] == "none" {
		return last, fmt.Errorf("payouts are not halted: %w", payout.ErrConflict)
	}
	return last, fmt.Errorf("the newest halt is number %d, %q: read it first: %w", last.Number, last.Reason, payout.ErrConflict)
}

// Halts is payout.Store's.
func (s *Store) Halts(ctx context.Context, from uint64, limit int) ([]payout.HaltRecord, error) {
	page, err := s.page(ctx, s.keys.halts(), "halts", from, limit)
	if err != nil {
		return nil, err
	}
	halts := make([]payout.HaltRecord, len(page))
	for i, line := range page {
		if halts[i], err = parseHalt(number(max(from, 1)+uint64(i)), line); err != nil {
			return nil, err
		}
	}
	return halts, nil
}

// Acquire is payout.Store's: one call of acquire.lua. The lease ends by the
// server's clock.
func (s *Store) Acquire(ctx context.Context, lease, holder string, ttl int64) (token uint64, err error) {
	if err := payout.CheckLease(lease, holder, ttl); err != nil {
		return 0, err
	}
	answer, err := s.call(ctx, acquireScript, []string{s.keys.state(), s.keys.lease(lease)}, holder, ttl)
	if err != nil {
		return 0, err
	}
	if answer[0] == "held" {
		return 0, fmt.Errorf("%q: by %q: %w", lease, answer[1], payout.ErrHeld)
	}
	return parseNumber(answer[1], "a fencing token")
}

// Renew is payout.Store's: one call of renew.lua.
func (s *Store) Renew(ctx context.Context, lease, holder string, token uint64, ttl int64) error {
	if err := payout.CheckLease(lease, holder, ttl); err != nil {
		return err
	}
	return s.renew(ctx, lease, holder, token, ttl)
}

// Release is payout.Store's.
func (s *Store) Release(ctx context.Context, lease, holder string, token uint64) error {
	if err := payout.CheckLease(lease, holder, 1); err != nil {
		return err
	}
	if err := s.renew(ctx, lease, holder, token, 0); !errors.Is(err, payout.ErrHeld) {
		return err
	}
	return nil
}

func (s *Store) renew(ctx context.Context, lease, holder string, token uint64, ttl int64) error {
	answer, err := s.call(ctx, renewScript, []string{s.keys.lease(lease)}, number(token)+" "+holder, ttl)
	if err != nil {
		return err
	}
	if answer[0] == "held" {
		return fmt.Errorf("%q is not %q's with token %d any more: %w", lease, holder, token, payout.ErrHeld)
	}
	return nil
}
