package redisstore

import (
	"context"
	"errors"
	"fmt"

	"cordee/payout"
)

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
