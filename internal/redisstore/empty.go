package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cordee/payout"
)

var emptyScript = script("empty")

// scanPage is how many keys of the server one step of Keys looks at.
const scanPage = 1000

// Keys returns the names of all keys of this pool, sorted. It walks over every
// key of the server: never where rigs wait for it.
func (s *Store) Keys(ctx context.Context) ([]string, error) {
	names := map[string]bool{} // a walk may name a key twice
	for cursor := uint64(0); ; {
		page, next, err := s.client.Scan(ctx, cursor, s.keys.prefix+"*", scanPage).Result()
		if err != nil {
			return nil, classify(ctx, err)
		}
		for _, k := range page {
			names[k] = true
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	list := make([]string, 0, len(names))
	for k := range names {
		list = append(list, k)
	}
	slices.Sort(list)
	return list, nil
}

// Empty deletes keys, which Keys named, at once or not at all: meta's pool is
// not there any more. What is another incarnation's is ErrForeign and stays;
// what has no incarnation is nobody's. Fill it anew before anybody counts on it.
func (s *Store) Empty(ctx context.Context, meta payout.Meta, keys []string) error {
	status, rest, err := s.raw(ctx, emptyScript, append([]string{s.keys.meta()}, keys...), hexID(meta))
	switch {
	case err != nil:
		return err
	case status == "foreign":
		return fmt.Errorf("%s* is incarnation %s, not %s: %w", s.keys.prefix, strings.Join(texts(rest), " "), hexID(meta), payout.ErrForeign)
	case status != "ok":
		return errors.Join(payout.ErrCorrupt, fmt.Errorf("a script answered %s", status))
	}
	s.opened.Store(nil)
	return nil
}
