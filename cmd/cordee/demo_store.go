package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"cordee/internal/sandbox"
)

// startStore starts a Redis for the demo's pool where there is one on PATH, and
// says where credits are kept.
func (d *theDemo) startStore(ctx context.Context) error {
	r, err := sandbox.StartRedis(ctx, filepath.Join(d.dir, "redis"))
	switch {
	case errors.Is(err, sandbox.ErrNoRedis):
		fmt.Fprintln(d.out, "store in memory: there is no redis-server on PATH")
		return nil
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	}
	d.redis = r
	fmt.Fprintf(d.out, "store redis at %s, synced at every write\n", r.Addr)
	return nil
}

func (d *theDemo) stopStore(ctx context.Context) error {
	if d.redis == nil {
		return nil
	}
	return d.redis.Stop(ctx)
}

// redisAddr is where the demo's Redis listens, "" without one.
func (d *theDemo) redisAddr() string {
	if d.redis == nil {
		return ""
	}
	return d.redis.Addr
}

// storeLines are the keys of cordee.toml at its top, and its table, for a Redis
// at addr; "" is none.
func storeLines(addr string) (top, table string) {
	if addr == "" {
		return "store = \"memory\"\n", ""
	}
	return "store = \"redis\"\n", fmt.Sprintf("\n[redis]\nmode = \"single\"\naddresses = [%q]\nname = \"demo\"\n", addr)
}
