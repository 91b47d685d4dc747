package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"cordee/payout"
)

// asked are the settings of CONFIG GET that judge looks at.
var asked = []string{"maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "min-replicas-to-write"}

// facts is what a server says about itself.
type facts struct {
	info   map[string]string // INFO
	config map[string]string // CONFIG GET of asked; nil where forbidden
	trust  bool              // Config.TrustSettings
}

// Health is payout.Store's. After Open it says, too, when the store is not the
// one that was opened.
func (s *Store) Health(ctx context.Context) ([]payout.Problem, error) {
	problems, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	if s.opened.Load() != nil {
		switch _, err := s.read(ctx); {
		case errors.Is(err, payout.ErrIncarnationMissing):
			problems = append(problems, payout.Problem{
				Name: "incarnation", What: err.Error(), Fatal: true,
				Do: "find out who emptied it; give the old data back, or rebuild the ledger from manifests and journal",
			})
		case errors.Is(err, payout.ErrForeign):
			problems = append(problems, payout.Problem{
				Name: "incarnation", What: err.Error(), Fatal: true,
				Do: "point address and database at this pool's own store",
			})
		case err != nil:
			return nil, err
		}
	}
	return sorted(problems), nil
}

// sorted puts the worst first.
func sorted(problems []payout.Problem) []payout.Problem {
	slices.SortStableFunc(problems, func(a, b payout.Problem) int { return -cmp.Compare(rank(a), rank(b)) })
	return problems
}

func rank(p payout.Problem) int {
	if p.Fatal {
		return 1
	}
	return 0
}

func fatalOf(problems []payout.Problem) []payout.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p payout.Problem) bool { return !p.Fatal })
}

// settings asks the server and judges the answers.
func (s *Store) settings(ctx context.Context) ([]payout.Problem, error) {
	f, err := s.facts(ctx)
	if err != nil {
		return nil, err
	}
	return f.judge(), nil
}

// facts asks the server.
func (s *Store) facts(ctx context.Context) (facts, error) {
	f := facts{trust: s.config.TrustSettings}
	info, err := s.client.Info(ctx, "everything").Result()
	switch {
	case err == nil:
		f.info = parseInfo(info)
	case !refused(err):
		return f, classify(ctx, err)
	}
	f.config = map[string]string{}
	for _, name := range asked { // one by one: several names at once are of Redis 7
		values, err := s.client.ConfigGet(ctx, name).Result()
		if refused(err) {
			f.config = nil
			break
		}
		if err != nil {
			return f, classify(ctx, err)
		}
		f.config[name] = values[name]
	}
	return f, nil
}

// refused reports whether the server knows who asks and does not let him.
func refused(err error) bool {
	return err != nil && (redis.IsPermissionError(err) || strings.Contains(err.Error(), "unknown command"))
}

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// judge names everything that should be changed.
func (f facts) judge() []payout.Problem {
	var list []payout.Problem
	add := func(fatal bool, name, do, what string, a ...any) {
		list = append(list, payout.Problem{Name: name, What: fmt.Sprintf(what, a...), Do: do, Fatal: fatal})
	}
	if f.info["redis_mode"] == "sentinel" {
		add(true, "sentinel", `write mode "sentinel" and the master's name, or the address of the server itself`,
			"the address is a sentinel's")
		return list
	}
	if f.info == nil {
		add(!f.trust, "info-forbidden", "allow INFO to the pool's user", "the server does not answer INFO")
	} else {
		f.judgeInfo(add)
	}
	if f.config == nil {
		add(!f.trust, "config-forbidden",
			"allow CONFIG GET to the pool's user; where the server is managed, see yourself that appendfsync is everysec "+
				"or always and set trust_settings", "the server does not show its settings")
		return list
	}
	switch fsync := f.config["appendfsync"]; {
	case fsync == "no":
		add(true, "appendfsync", "CONFIG SET appendfsync everysec, or always, and in redis.conf",
			"it is no: a power cut loses half a minute")
	case fsync == "always" && f.config["no-appendfsync-on-rewrite"] == "yes":
		add(false, "no-appendfsync-on-rewrite", "CONFIG SET no-appendfsync-on-rewrite no, and in redis.conf",
			"it is yes: nothing is synced while the AOF is rewritten")
	}
	if replicas, _ := strconv.Atoi(f.info["connected_slaves"]); replicas > 0 && f.config["min-replicas-to-write"] == "0" {
		add(false, "min-replicas-to-write", "CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 10, and in redis.conf",
			"it is 0 with %d replicas: an isolated primary goes on writing what a failover drops", replicas)
	}
	return list
}

// Full names the problem of a store that takes nothing more. It does not stop a
// pool, which ships later.
const Full = "memory-full"

func (f facts) judgeInfo(add func(fatal bool, name, do, what string, a ...any)) {
	if v := f.info["redis_version"]; older(v, 6, 2) {
		add(true, "version", "install Redis 6.2 or newer, or Valkey", "it is Redis %q", v)
	}
	if f.info["cluster_enabled"] == "1" {
		add(true, "cluster", "use one primary with replicas, cluster-enabled no", "the server is a node of a cluster")
	}
	if role := f.info["role"]; role != "master" {
		add(true, "role", "point the address at the primary, or use sentinels", "it is a replica (role %q)", role)
	}
	if policy := f.info["maxmemory_policy"]; policy != "noeviction" {
		add(true, "maxmemory-policy", "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
			"it is %q: when memory is short the ledger would be thrown away", policy)
	}
	if f.info["aof_enabled"] != "1" {
		add(true, "appendonly", "CONFIG SET appendonly yes, and in redis.conf", "it is no: a crash loses minutes")
	}
	if status := f.info["aof_last_write_status"]; f.info["aof_enabled"] == "1" && status != "ok" {
		add(true, "aof_last_write_status", "make room on the server's disk and read its log", "it is %q", status)
	}
	for _, name := range []string{"aof_last_bgrewrite_status", "rdb_last_bgsave_status"} {
		if status := f.info[name]; status != "ok" && status != "" {
			add(false, name, "make room on the server's disk and read its log", "it is %q", status)
		}
	}
	used, _ := strconv.ParseUint(f.info["used_memory"], 10, 64)
	switch limit, _ := strconv.ParseUint(f.info["maxmemory"], 10, 64); {
	case limit == 0:
	case used >= limit:
		add(false, Full, "raise maxmemory: files keep everything, and fill it then", "%d of %d bytes are used: nothing more can be written", used, limit)
	case used/7 >= limit/10:
		add(false, "memory", "raise maxmemory", "%d of %d bytes are used", used, limit)
	}
}

// older reports whether version is none, or below major.minor.
func older(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n != 2 {
		return true
	}
	return a < major || a == major && b < minor
}
