package redisstore

import (
	"maps"
	"strings"
	"testing"
)

// TestJudge covers what no server at hand can be brought to say.
func TestJudge(t *testing.T) {
	sound := facts{
		info: map[string]string{
			"redis_version": "7.0.15", "redis_mode": "standalone", "role": "master", "cluster_enabled": "0",
			"maxmemory_policy": "noeviction", "aof_enabled": "1", "aof_last_write_status": "ok",
			"aof_last_bgrewrite_status": "ok", "rdb_last_bgsave_status": "ok",
			"used_memory": "70000000", "maxmemory": "0", "connected_slaves": "0",
		},
		config: map[string]string{"appendfsync": "everysec", "no-appendfsync-on-rewrite": "yes", "min-replicas-to-write": "0"},
	}
	if problems := sound.judge(); len(problems) != 0 {
		t.Fatalf("nothing is wrong, yet %v", problems)
	}
	for _, c := range []struct{ set, want string }{
		{"redis_version=6.0.16", "version!"},
		{"redis_version=5.9", "version!"},
		{"redis_version=", "version!"},
		{"redis_version=6.2.0", ""},
		{"redis_version=10.0", ""},
		{"cluster_enabled=1", "cluster!"},
		{"role=slave", "role!"},
		{"role=", "role!"},
		{"maxmemory_policy=", "maxmemory-policy!"},
		{"aof_enabled=0", "appendonly!"},
		{"aof_last_write_status=err", "aof_last_write_status!"},
		{"aof_last_bgrewrite_status=err", "aof_last_bgrewrite_status"},
		{"rdb_last_bgsave_status=err", "rdb_last_bgsave_status"},
		{"maxmemory=100000000", "memory"},
		{"maxmemory=101000000", ""},
		{"maxmemory=1", "memory-full"},
		{"connected_slaves=2", "min-replicas-to-write"},
		{"connected_slaves=2 min-replicas-to-write=1", ""},
		{"appendfsync=no", "appendfsync!"},
		{"appendfsync=always", "no-appendfsync-on-rewrite"},
		{"appendfsync=always no-appendfsync-on-rewrite=no", ""},
		{"role=slave aof_enabled=0", "role! appendonly!"},
	} {
		f := facts{info: maps.Clone(sound.info), config: maps.Clone(sound.config)}
		for set := range strings.FieldsSeq(c.set) {
			name, value, _ := strings.Cut(set, "=")
			if _, ok := f.info[name]; ok {
				f.info[name] = value
			} else {
				f.config[name] = value
			}
		}
		if got := names(f); got != c.want {
			t.Errorf("%s: %q, want %q", c.set, got, c.want)
		}
	}
	for _, c := range []struct {
		facts facts
		want  string
	}{
		{facts{info: sound.info}, "config-forbidden!"},
		{facts{info: sound.info, trust: true}, "config-forbidden"},
		{facts{config: sound.config}, "info-forbidden!"},
		{facts{trust: true}, "info-forbidden config-forbidden"},
	} {
		if got := names(c.facts); got != c.want {
			t.Errorf("%v: %q, want %q", c.facts, got, c.want)
		}
	}
}

// names returns the problems of f, fatal ones marked.
func names(f facts) string {
	var list []string
	for _, p := range f.judge() {
		name := p.Name
		if p.Fatal {
			name += "!"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}
