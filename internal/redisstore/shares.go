package redisstore

import (
	"context"
	"fmt"
	"math"
	"slices"

	"cordee/payout"
)

// Apply is payout.Store's: one call of apply.lua.
func (s *Store) Apply(ctx context.Context, b payout.Batch) (hwm uint64, applied bool, err error) {
	if err := b.Check(); err != nil {
		return 0, false, err
	}
	// KEYS 2 to 5; the runs follow from 6 on.
	keys := []string{s.keys.hwm(), s.keys.state(), s.keys.runs(), s.keys.delta(b.Slot)}
	const firstRun = 6
	place := map[uint32]string{}
	args := make([]any, 0, 4+5*len(b.Sums))
	args = append(args, markField(b.Edge, b.Epoch), number(b.From-1), number(b.To), number(uint64(b.Slot)))
	for _, sum := range b.Sums {
		at, known := place[sum.WorkBits]
		if !known {
			at = number(uint64(firstRun + len(place)))
			place[sum.WorkBits] = at
			keys = append(keys, s.keys.run(sum.WorkBits))
		}
		args = append(args, at, bitsField(sum.WorkBits), number(uint64(sum.Member)),
			number(sum.Difficulty), number(math.MaxInt64-sum.Difficulty))
	}
	answer, err := s.call(ctx, applyScript, keys, args...)
	if err != nil {
		return 0, false, err
	}
	switch answer[0] {
	case "ok":
		return b.To, true, nil
	case "stale":
		hwm, err = parseNumber(answer[1], "the high-water mark")
		return hwm, false, err
	case "closed":
		return b.From - 1, false, fmt.Errorf("batch for slot %d, the last closed is %s: %w", b.Slot, answer[1], payout.ErrSlotClosed)
	case "overflow":
		return b.From - 1, false, fmt.Errorf("%s, %s: %s and this batch: %w", answer[1], answer[2], answer[3], payout.ErrOverflow)
	}
	return 0, false, fmt.Errorf("%v: %w", answer, payout.ErrCorrupt)
}

// HWM is payout.Store's.
func (s *Store) HWM(ctx context.Context, edge uint16, epoch uint32) (uint64, error) {
	values, err := s.read(ctx, hash{s.keys.hwm(), []string{markField(edge, epoch)}})
	if err != nil {
		return 0, err
	}
	return parseNumber(orZero(texts(values[0])[0]), "the high-water mark")
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// HWMs is payout.Store's.
func (s *Store) HWMs(ctx context.Context) ([]payout.Mark, error) {
	all, err := s.readAll(ctx, s.keys.hwm())
	if err != nil {
		return nil, err
	}
	marks := make([]payout.Mark, 0, len(all))
	for field, value := range all {
		m, err := parseMark(field, value)
		if err != nil {
			return nil, err
		}
		marks = append(marks, m)
	}
	payout.SortMarks(marks)
	return marks, nil
}

// Deltas is payout.Store's.
func (s *Store) Deltas(ctx context.Context, slot uint32) ([]payout.Sum, error) {
	all, err := s.readAll(ctx, s.keys.delta(slot))
	if err != nil {
		return nil, err
	}
	sums := make([]payout.Sum, 0, len(all))
	for field, value := range all {
		sum, err := parseDelta(field, value)
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	payout.SortSums(sums)
	return sums, nil
}

// Run is payout.Store's. The script may only touch keys it was given, so the
// first call after a new nBits learns of it and asks again.
func (s *Store) Run(ctx context.Context) ([]payout.Sum, error) {
	for {
		bits := s.knownBits()
		keys, args := []string{s.keys.runs()}, []any{}
		for _, b := range bits {
			keys, args = append(keys, s.keys.prefix+"run:"+b), append(args, b)
		}
		status, rest, err := s.guarded(ctx, runScript, keys, args...)
		switch {
		case err != nil:
			return nil, err
		case status == "unknown" && len(rest) == 1:
			s.learn(texts(rest[0]))
		case status == "ok" && len(rest) == len(bits):
			return parseRuns(bits, rest)
		default:
			return nil, fmt.Errorf("%d runs of %d: %w", len(rest), len(bits), payout.ErrCorrupt)
		}
	}
}

func parseRuns(bits []string, runs []any) ([]payout.Sum, error) {
	sums := []payout.Sum{}
	for i, b := range bits {
		pairs := texts(runs[i])
		for j := 0; j+1 < len(pairs); j += 2 {
			sum, err := parseDelta(pairs[j]+":"+b, pairs[j+1])
			if err != nil {
				return nil, err
			}
			sums = append(sums, sum)
		}
	}
	payout.SortSums(sums)
	return sums, nil
}

func (s *Store) knownBits() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	bits := make([]string, 0, len(s.bits))
	for b := range s.bits {
		bits = append(bits, b)
	}
	slices.Sort(bits)
	return bits
}

func (s *Store) learn(bits []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range bits {
		s.bits[b] = true
	}
}
