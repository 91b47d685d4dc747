package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cordee/internal/config"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// slowStore is an answer of a store that is not beside the pool, or is starved.
const slowStore = 100 * time.Millisecond

// storeMark is the file that says that the store was filled once.
const storeMark = "store.opened"

// store looks at the copy of the ledger.
func (r *Report) store(ctx context.Context, o *Options, cfg *config.Config) {
	if cfg.Redis == nil {
		r.good("store", "memory: each start fills it from the files in %s, which are the only copy", cfg.DataDir)
		return
	}
	where := strings.Join(cfg.Redis.Addresses, ", ")
	if o.Store == nil {
		r.add("store", Unknown, "look with `redis-cli info`", "redis at %s is not looked at from here", where)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	x := o.Store(ctx, cfg)
	switch {
	case errors.Is(x.Err, payout.ErrUnavailable):
		r.add("store", Fail, "start redis-server, or correct addresses of [redis] and the firewall: the pool mines on and fills it later", "%s: %v", where, x.Err)
		return
	case x.Err != nil:
		r.add("store", Fail, "correct username and password_file of [redis], and what the server lets that user do", "%s: %v", where, x.Err)
		return
	case x.Latency > slowStore:
		r.add("store", Warn, "look at its machine and the way there: shares do not wait, the ledger's copy does", "redis %s at %s takes %d ms to answer", x.Version, where, x.Latency.Milliseconds())
	default:
		r.good("store", "redis %s at %s, answers within %.1f ms", x.Version, where, float64(x.Latency.Microseconds())/1000)
	}
	for _, p := range x.Problems {
		state := Warn
		if p.Fatal || p.Name == redisstore.Full {
			state = Fail
		}
		r.add("store: "+p.Name, state, p.Do, "%s", p.What)
	}
	_, err := os.Stat(filepath.Join(cfg.DataDir, storeMark))
	switch filled := err == nil; {
	case errors.Is(x.Identity, payout.ErrForeign):
		r.add("store: identity", Fail, "point addresses, db or name of [redis] at this pool's own store", "%v", x.Identity)
	case x.Identity != nil && filled:
		r.add("store: identity", Fail, "find out who emptied it; give its data back, or stop the pool and run `cordee ledger rebuild`", "%v", x.Identity)
	case x.Identity != nil:
		r.good("store: identity", "it is empty: the first start fills it")
	}
}
