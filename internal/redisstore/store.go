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

// script returns the named file, behind the guard unless it is open.lua.
func script(name string) *redis.Script {
	b, err := sources.ReadFile("lua/" + name + ".lua")
	guard, err2 := sources.ReadFile("lua/guard.lua")
	if err := errors.Join(err, err2); err != nil {
		panic(err) // embedded files are there or nothing compiles
	}
	if name == "open" {
		return redis.NewScript(string(b))
	}
	return redis.NewScript(string(guard) + string(b))
}

var (
	openScript    = script("open")
	applyScript   = script("apply")
	runScript     = script("run")
	putSlotScript = script("putslot")
	appendScript  = script("append")
	haltScript    = script("halt")
	liftScript    = script("lift")
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
	answer, err := s.raw(ctx, openScript, s.keys.all(), may, meta.Network, genesis, schema, incarnation)
	if err != nil {
		return err
	}
	switch {
	case answer[0] == "headless":
		return fmt.Errorf("%s* has contents but no identity: %w", s.keys.prefix, payout.ErrIncarnationMissing)
	case answer[0] == "missing":
		return fmt.Errorf("%s* is empty: %w", s.keys.prefix, payout.ErrIncarnationMissing)
	case answer[1] != meta.Network || answer[2] != genesis:
		return fmt.Errorf("%s* is of network %q, genesis %s, not %q, %s: %w",
			s.keys.prefix, answer[1], answer[2], meta.Network, genesis, payout.ErrForeign)
	case answer[4] != incarnation:
		return fmt.Errorf("%s* is incarnation %s, not %s: %w", s.keys.prefix, answer[4], incarnation, payout.ErrForeign)
	case answer[3] != schema:
		return fmt.Errorf("%s* has schema %s, this program writes %s: %w", s.keys.prefix, answer[3], schema, payout.ErrForeign)
	}
	s.opened.Store(&meta)
	return nil
}

func hexID(m payout.Meta) string { return hex.EncodeToString(m.Incarnation[:]) }

// raw runs a script and returns its answer, whose entries are texts.
func (s *Store) raw(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]string, error) {
	answer, err := script.Run(ctx, s.client, keys, args...).StringSlice()
	if err != nil {
		return nil, classify(ctx, err)
	}
	if len(answer) == 0 {
		return nil, fmt.Errorf("a script answered nothing: %w", payout.ErrCorrupt)
	}
	return answer, nil
}

// call is raw for a script with the guard: keys go behind meta, args behind the
// incarnation.
func (s *Store) call(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]string, error) {
	meta := s.opened.Load()
	if meta == nil {
		return nil, payout.ErrNotOpen
	}
	answer, err := s.raw(ctx, script, append([]string{s.keys.meta()}, keys...), append([]any{hexID(*meta)}, args...)...)
	if err != nil {
		return nil, err
	}
	if err := s.guarded(answer[0], answer[1:], hexID(*meta)); err != nil {
		return nil, err
	}
	return answer, nil
}

// guarded returns the error for what guard.lua answered.
func (s *Store) guarded(status string, rest []string, want string) error {
	switch status {
	case "missing":
		return fmt.Errorf("%s* has lost it since it was opened: %w", s.keys.prefix, payout.ErrIncarnationMissing)
	case "foreign":
		return fmt.Errorf("%s* is incarnation %s now, not %s: %w", s.keys.prefix, strings.Join(rest, " "), want, payout.ErrForeign)
	}
	return nil
}

// read runs the commands that ask puts into one MULTI behind the guard.
func (s *Store) read(ctx context.Context, ask func(redis.Pipeliner)) error {
	meta := s.opened.Load()
	if meta == nil {
		return payout.ErrNotOpen
	}
	var have *redis.StringCmd
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		have = p.HGet(ctx, s.keys.meta(), "incarnation")
		ask(p)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return classify(ctx, err)
	}
	switch incarnation, err := have.Result(); {
	case errors.Is(err, redis.Nil):
		return s.guarded("missing", nil, "")
	case err != nil:
		return classify(ctx, err)
	case incarnation != hexID(*meta):
		return s.guarded("foreign", []string{incarnation}, hexID(*meta))
	}
	return nil
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
