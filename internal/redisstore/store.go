package redisstore

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"cordee/payout"
)

//go:embed lua/*.lua
var sources embed.FS

// script returns the named file, behind the guard unless it looks at meta
// itself.
func script(name string) *redis.Script {
	b, err := sources.ReadFile("lua/" + name + ".lua")
	guard, err2 := sources.ReadFile("lua/guard.lua")
	if err := errors.Join(err, err2); err != nil {
		panic(err) // embedded files are there or nothing compiles
	}
	if name == "open" || name == "empty" {
		return redis.NewScript(string(b))
	}
	return redis.NewScript(string(guard) + string(b))
}

var (
	openScript    = script("open")
	applyScript   = script("apply")
	readScript    = script("read")
	runScript     = script("run")
	putSlotScript = script("putslot")
	appendScript  = script("append")
	acquireScript = script("acquire")
	renewScript   = script("renew")
)

// Store is a payout.Store in Redis. Use New.
type Store struct {
	config Config
	client *redis.Client
	keys   keys

	opened atomic.Pointer[payout.Meta]

	mu   sync.Mutex
	bits map[string]bool // nBits whose run keys are known to Run
}

var _ payout.Store = (*Store)(nil)

// New returns the store that c describes, without reaching for it. Errors are
// those of Config.Check.
func New(c Config) (*Store, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	return &Store{config: c, client: client, keys: keysOf(c.Name), bits: map[string]bool{}}, nil
}

// Close closes all connections; every later call fails.
func (s *Store) Close() error { return s.client.Close() }

// Open is payout.Store's. It refuses a server whose settings would lose a
// ledger with a *payout.SettingsError.
func (s *Store) Open(ctx context.Context, meta payout.Meta, mayInit bool) error {
	if err := meta.Check(); err != nil {
		return err
	}
	problems, err := s.settings(ctx)
	if err != nil {
		return err
	}
	if fatal := fatalOf(problems); len(fatal) > 0 {
		return &payout.SettingsError{Problems: fatal}
	}
	may := "0"
	if mayInit {
		may = "1"
	}
	genesis, schema, incarnation := hex.EncodeToString(meta.Genesis[:]), number(uint64(meta.Schema)), hexID(meta)
	status, rest, err := s.raw(ctx, openScript, s.keys.all(), may, meta.Network, genesis, schema, incarnation)
	if err != nil {
		return err
	}
	have := texts(rest)
	switch {
	case status == "headless":
		return fmt.Errorf("%s* has contents but no identity: %w", s.keys.prefix, payout.ErrIncarnationMissing)
	case status == "missing":
		return fmt.Errorf("%s* is empty: %w", s.keys.prefix, payout.ErrIncarnationMissing)
	case len(have) != 4:
		return fmt.Errorf("%s answers %v: %w", s.keys.meta(), have, payout.ErrCorrupt)
	case have[0] != meta.Network || have[1] != genesis:
		return fmt.Errorf("%s* is of network %q, genesis %s, not %q, %s: %w",
			s.keys.prefix, have[0], have[1], meta.Network, genesis, payout.ErrForeign)
	case have[3] != incarnation:
		return fmt.Errorf("%s* is incarnation %s, not %s: %w", s.keys.prefix, have[3], incarnation, payout.ErrForeign)
	case have[2] != schema:
		return fmt.Errorf("%s* has schema %s, this program writes %s: %w", s.keys.prefix, have[2], schema, payout.ErrForeign)
	}
	s.opened.Store(&meta)
	return nil
}

func hexID(m payout.Meta) string { return hex.EncodeToString(m.Incarnation[:]) }

// raw runs a script and returns its answer, which begins with a status.
func (s *Store) raw(ctx context.Context, script *redis.Script, keys []string, args ...any) (status string, rest []any, err error) {
	answer, err := script.Run(ctx, s.client, keys, args...).Slice()
	if err != nil {
		return "", nil, classify(ctx, err)
	}
	if len(answer) > 0 {
		status, _ = answer[0].(string)
	}
	if status == "" {
		return "", nil, fmt.Errorf("a script answered %v: %w", answer, payout.ErrCorrupt)
	}
	return status, answer[1:], nil
}

// callAny is raw for a script with the guard: keys go behind meta, args behind
// the incarnation. It returns what follows "ok".
func (s *Store) callAny(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]any, error) {
	status, rest, err := s.guarded(ctx, script, keys, args...)
	if err != nil {
		return nil, err
	}
	if status != "ok" {
		return nil, fmt.Errorf("a script answered %s %v: %w", status, rest, payout.ErrCorrupt)
	}
	return rest, nil
}

// call is raw for a script with the guard, whose answer is texts: status first.
func (s *Store) call(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]string, error) {
	status, rest, err := s.guarded(ctx, script, keys, args...)
	if err != nil {
		return nil, err
	}
	return append([]string{status}, texts(rest)...), nil
}

func (s *Store) guarded(ctx context.Context, script *redis.Script, keys []string, args ...any) (status string, rest []any, err error) {
	meta := s.opened.Load()
	if meta == nil {
		return "", nil, payout.ErrNotOpen
	}
	keys = append([]string{s.keys.meta()}, keys...)
	status, rest, err = s.raw(ctx, script, keys, append([]any{hexID(*meta)}, args...)...)
	switch {
	case err != nil:
		return "", nil, err
	case status == "missing":
		return "", nil, fmt.Errorf("%s* has lost it since it was opened: %w", s.keys.prefix, payout.ErrIncarnationMissing)
	case status == "foreign":
		return "", nil, fmt.Errorf("%s* is incarnation %s now, not %s: %w",
			s.keys.prefix, strings.Join(texts(rest), " "), hexID(*meta), payout.ErrForeign)
	}
	return status, rest, nil
}

// hash names fields of one hash; no fields are all of them.
type hash struct {
	key    string
	fields []string
}

// read returns per hash the values of its fields, nil for each there is none,
// or field and value in turns: all of one moment, behind the guard.
func (s *Store) read(ctx context.Context, hashes ...hash) ([][]any, error) {
	keys, args := make([]string, 0, len(hashes)), []any{}
	for _, h := range hashes {
		keys, args = append(keys, h.key), append(args, len(h.fields))
		for _, f := range h.fields {
			args = append(args, f)
		}
	}
	answer, err := s.callAny(ctx, readScript, keys, args...)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(hashes) {
		return nil, fmt.Errorf("%d answers for %d hashes: %w", len(answer), len(hashes), payout.ErrCorrupt)
	}
	values := make([][]any, len(hashes))
	for i, h := range hashes {
		list, ok := answer[i].([]any)
		if !ok {
			return nil, fmt.Errorf("%s answers %v: %w", h.key, answer[i], payout.ErrCorrupt)
		}
		values[i] = list
	}
	return values, nil
}

// readAll returns one hash.
func (s *Store) readAll(ctx context.Context, key string) (map[string]string, error) {
	values, err := s.read(ctx, hash{key: key})
	if err != nil {
		return nil, err
	}
	pairs := texts(values[0])
	all := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all, nil
}

// texts returns the texts of a list a script answered, "" for what is none.
func texts(v any) []string {
	list, _ := v.([]any)
	t := make([]string, len(list))
	for i, e := range list {
		t[i], _ = e.(string)
	}
	return t
}

// classify wraps err with the payout error that says what to do about it.
func classify(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("redis: %w (%w): %w", err, cause, payout.ErrUnavailable)
	}
	kind := payout.ErrUnavailable
	text := err.Error()
	switch {
	case redis.IsAuthError(err) || redis.IsPermissionError(err) || strings.Contains(text, "unknown command"):
		kind = payout.ErrUnfit
	case strings.Contains(text, "WRONGTYPE") || strings.Contains(text, "not an integer"):
		kind = payout.ErrCorrupt
	case strings.Contains(text, "would overflow"):
		kind = payout.ErrOverflow
	}
	return fmt.Errorf("redis: %w: %w", err, kind)
}
