package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/config"
	"cordee/internal/keeper"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// storePatience is how long a start waits for a store that does not answer. It
// then mines without: shares, slots and blocks wait on disk.
const storePatience = 3 * time.Second

// poolStore is the store that cordee.toml names.
type poolStore struct {
	payout.Store
	io.Closer
	meta     payout.Meta
	volatile bool // begins empty at each start
}

// openStore returns the store of cfg, whose data directory exists. One that is
// wrong is an error that says what to change. One that is away is not: an edge
// starts and mines without it (decision 10), and shipping opens it when it is
// back.
func openStore(ctx context.Context, cfg *config.Config, log zerolog.Logger) (*poolStore, error) {
	incarnation, err := readIncarnation(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	s := &poolStore{volatile: cfg.Redis == nil, meta: payout.Meta{
		Network: cfg.Network.Name, Genesis: *cfg.Network.Params.GenesisHash,
		Schema: payout.SchemaVersion, Incarnation: incarnation,
	}}
	if cfg.Redis == nil {
		s.Store = payout.NewMemory(func() int64 { return time.Now().UnixMilli() })
		s.Closer = io.NopCloser(nil)
		return s, nil
	}
	r, err := redisstore.New(redisConfig(cfg.Redis))
	if err != nil {
		return nil, fmt.Errorf("[redis]: %w", err)
	}
	s.Store, s.Closer = r, r
	where := strings.Join(cfg.Redis.Addresses, ", ")
	patience, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	err = keeper.OpenStore(patience, cfg.DataDir, s, s.meta, s.volatile)
	switch {
	case err == nil:
		log.Info().Str("event", "store.open").Str("redis", where).Str("name", cfg.Redis.Name).Msg("the store is ours and fit")
		return s, nil
	case ctx.Err() != nil:
		return nil, errors.Join(ctx.Err(), r.Close())
	case errors.Is(err, payout.ErrUnavailable):
		log.Warn().Str("event", "store.unavailable").Str("redis", where).Err(err).
			Msg("the store is away at the start: mining begins without it, and it is filled when it is back")
		return s, nil
	}
	return nil, errors.Join(storeAdvice(cfg, where, err), r.Close())
}

// storeAdvice adds to an error of Open what an operator can do.
func storeAdvice(cfg *config.Config, where string, err error) error {
	mark := filepath.Join(cfg.DataDir, keeper.StoreMark)
	advice := ""
	_, settings := errors.AsType[*payout.SettingsError](err)
	switch {
	case settings: // it says for each of them what to change
	case errors.Is(err, payout.ErrUnfit):
		advice = "check username and password_file of [redis], and what the server lets that user do"
	case errors.Is(err, payout.ErrForeign):
		advice = "point addresses, db or name of [redis] at this pool's own store; where it is, data_dir is not the one it was filled from"
	case errors.Is(err, payout.ErrIncarnationMissing):
		advice = fmt.Sprintf("it was filled before: find out who emptied it, and give its data back; or, to fill it anew from slots and ledger in data_dir, "+
			"run `cordee ledger rebuild` (or empty what is left under {cordee:%s} and remove %s)", cfg.Redis.Name, mark)
	}
	if advice != "" {
		return fmt.Errorf("[redis] %s: %w\n%s", where, err, advice)
	}
	return fmt.Errorf("[redis] %s: %w", where, err)
}

func redisConfig(r *config.Redis) redisstore.Config {
	c := redisstore.Config{
		Mode: redisstore.Single, Addrs: r.Addresses, Master: r.Master, Name: r.Name, DB: r.DB,
		Username: r.Username, PasswordFile: r.PasswordFile, SentinelPasswordFile: r.SentinelPasswordFile,
		TrustSettings: r.TrustSettings, Timeout: r.Timeout,
	}
	if r.Sentinel {
		c.Mode = redisstore.Sentinel
	}
	return c
}
