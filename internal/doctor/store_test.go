package doctor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cordee/internal/config"
	"cordee/internal/doctor"
	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// onRedis gives the house a store at addr, that belongs to its pool.
func (h *house) onRedis(addr string) {
	h.t.Helper()
	h.write("cordee.toml", "store = \"redis\"\n"+h.read("cordee.toml")+fmt.Sprintf("\n[redis]\nmode = \"single\"\naddresses = [%q]\nname = \"d\"\n", addr))
	h.opts.Store = func(ctx context.Context, cfg *config.Config) redisstore.Examination {
		meta := harness.StoreMeta(1)
		return redisstore.Examine(ctx, redisstore.Config{
			Mode: redisstore.Single, Addrs: cfg.Redis.Addresses, Name: cfg.Redis.Name, PasswordFile: cfg.Redis.PasswordFile, Timeout: time.Second,
		}, &meta)
	}
}

// says expects that this check alone is not ok, and words in it or in what to
// do about it.
func (h *house) says(state doctor.State, name string, words ...string) {
	h.t.Helper()
	c := h.only(state, name)
	for _, w := range words {
		if !strings.Contains(c.Text+" "+c.Do, w) {
			h.t.Errorf("%+v does not say %q", c, w)
		}
	}
}

// TestStore: one line a cause, from real servers with each setting wrong.
func TestStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  []string // of redis-server
		spoil func(t *testing.T, h *house, r *harness.Redis)
		state doctor.State
		check string
		words []string
	}{
		{name: "fit and empty", state: doctor.Good, check: "store: identity", words: []string{"the first start fills it"}},
		{name: "away", spoil: func(_ *testing.T, _ *house, r *harness.Redis) { r.Kill() }, state: doctor.Fail, check: "store", words: []string{"refused", "start redis-server"}},
		{name: "no AOF", args: []string{"--appendonly", "no"}, state: doctor.Fail, check: "store: appendonly", words: []string{"CONFIG SET appendonly yes"}},
		{name: "no fsync", args: []string{"--appendfsync", "no"}, state: doctor.Fail, check: "store: appendfsync", words: []string{"everysec"}},
		{name: "evicts", args: []string{"--maxmemory-policy", "allkeys-lru"}, state: doctor.Fail, check: "store: maxmemory-policy", words: []string{"noeviction"}},
		{name: "replica", args: []string{"--replicaof", "127.0.0.1 1"}, state: doctor.Fail, check: "store: role", words: []string{"primary"}},
		{name: "rewrite without fsync", args: []string{"--no-appendfsync-on-rewrite", "yes"}, state: doctor.Warn, check: "store: no-appendfsync-on-rewrite", words: []string{"CONFIG SET"}},
		{name: "password", args: []string{"--requirepass", "secret"}, state: doctor.Fail, check: "store", words: []string{"password_file"}},
		{name: "full", args: []string{"--maxmemory", "600kb"}, state: doctor.Fail, check: "store: memory-full", words: []string{"raise maxmemory"}},
		{name: "nearly full", spoil: func(t *testing.T, _ *house, r *harness.Redis) {
			info := r.Admin().InfoMap(t.Context(), "memory").Val()
			used, err := strconv.Atoi(info["Memory"]["used_memory"])
			if err == nil {
				err = r.Admin().ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used*10/8)).Err()
			}
			if err != nil {
				t.Fatal(err)
			}
		}, state: doctor.Warn, check: "store: memory", words: []string{"raise maxmemory"}},
		{name: "snapshot failed", spoil: func(t *testing.T, _ *house, r *harness.Redis) {
			admin := r.Admin()
			if err := os.Mkdir(filepath.Join(r.Dir, "dump.rdb"), 0o700); err != nil { // where the file should go
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(r.Dir, "dump.rdb", "x"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_ = admin.BgSave(t.Context()) // its answer is that it began
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			late := time.After(time.Minute)
			for !strings.Contains(admin.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err") {
				select {
				case <-tick.C:
				case <-late:
					t.Fatal("the snapshot did not fail")
				}
			}
		}, state: doctor.Warn, check: "store: rdb_last_bgsave_status", words: []string{"disk"}},
		{name: "another's", spoil: func(t *testing.T, _ *house, r *harness.Redis) {
			fill(t, r, 2)
		}, state: doctor.Fail, check: "store: identity", words: []string{"point addresses"}},
		{name: "emptied", spoil: func(t *testing.T, h *house, _ *harness.Redis) {
			cfg, err := config.Load(h.opts.Config)
			if err == nil {
				err = os.MkdirAll(cfg.DataDir, 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(cfg.DataDir, "store.opened"), []byte("x\n"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, state: doctor.Fail, check: "store: identity", words: []string{"cordee ledger rebuild"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := harness.StartRedis(t, c.args...)
			h := newHouse(t, "regtest")
			h.onRedis(r.Addr)
			if c.spoil != nil {
				c.spoil(t, h, r)
			}
			if c.state != doctor.Good {
				h.says(c.state, c.check, c.words...)
				return
			}
			for _, x := range h.run().Checks {
				if x.Name == c.check && x.State == doctor.Good && strings.Contains(x.Text, c.words[0]) {
					return
				}
			}
			t.Errorf("%+v", h.run().Checks)
		})
	}
}

// fill makes the store of the house somebody's.
func fill(t *testing.T, r *harness.Redis, whose byte) {
	t.Helper()
	s, err := redisstore.New(redisstore.Config{Mode: redisstore.Single, Addrs: []string{r.Addr}, Name: "d"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(t.Context(), harness.StoreMeta(whose), true); err != nil {
		t.Fatal(err)
	}
}

// A slow store is a warning; one in memory, and one that is not looked at, are
// said to be.
func TestStoreFromAfar(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "regtest")
	for _, x := range h.run().Checks {
		if x.Name == "store" && (x.State != doctor.Good || !strings.Contains(x.Text, "memory")) {
			t.Errorf("%+v", x)
		}
	}
	h.onRedis("127.0.0.1:1")
	h.opts.Store = func(context.Context, *config.Config) redisstore.Examination {
		return redisstore.Examination{Version: "7.0.15", Latency: 300 * time.Millisecond}
	}
	h.says(doctor.Warn, "store", "300 ms")
	h.opts.Store = func(context.Context, *config.Config) redisstore.Examination {
		return redisstore.Examination{Problems: []payout.Problem{{Name: "version", What: `it is Redis "5.0.3"`, Do: "install Redis 6.2 or newer", Fatal: true}}}
	}
	h.says(doctor.Fail, "store: version", "6.2")
	h.opts.Store = nil
	h.says(doctor.Unknown, "store", "redis-cli")
}
