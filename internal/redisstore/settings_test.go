package redisstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// wantUnfit wants Open to refuse s for the named fatal problems, and no other.
func wantUnfit(tb testing.TB, s payout.Store, names ...string) {
	tb.Helper()
	err := s.Open(tb.Context(), harness.StoreMeta(1), true)
	unfit, ok := errors.AsType[*payout.SettingsError](err)
	if !ok || !errors.Is(err, payout.ErrUnfit) {
		tb.Fatalf("Open says %v, want %v", err, names)
	}
	var got []string
	for _, p := range unfit.Problems {
		got = append(got, p.Name)
		if p.What == "" || p.Do == "" || !p.Fatal || !strings.Contains(err.Error(), p.Do) {
			tb.Errorf("%q does not say what to do about %+v", err, p)
		}
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		tb.Errorf("problems are %v, want %v", got, names)
	}
}

// TestSettings changes one setting of a real server at a time.
func TestSettings(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	for _, set := range []struct{ problem, name, wrong, right string }{
		{"maxmemory-policy", "maxmemory-policy", "allkeys-lru", "noeviction"},
		{"maxmemory-policy", "maxmemory-policy", "volatile-ttl", "noeviction"},
		{"appendfsync", "appendfsync", "no", "always"},
		{"appendonly", "appendonly", "no", "yes"},
	} {
		opened, _ := fresh(t, r.Addr)
		openStore(t, opened, true)
		do(t, c, "CONFIG", "SET", set.name, set.wrong)
		s, _ := fresh(t, r.Addr)
		wantUnfit(t, s, set.problem)
		if _, _, err := s.Apply(t.Context(), batch(1, 2)); !errors.Is(err, payout.ErrNotOpen) {
			t.Errorf("%s %s: Apply after the refusal: %v", set.name, set.wrong, err)
		}
		wantProblem(t, opened, set.problem) // noticed later, too
		do(t, c, "CONFIG", "SET", set.name, set.right)
		openStore(t, s, true)
	}
	do(t, c, "CONFIG", "SET", "appendfsync", "everysec")
	s, _ := fresh(t, r.Addr)
	openStore(t, s, true)
}

func TestClusterIsRefused(t *testing.T) {
	r := harness.StartRedis(t, "--cluster-enabled", "yes")
	s, _ := fresh(t, r.Addr)
	wantUnfit(t, s, "cluster")
}

// TestReplica: a replica is refused; a primary that becomes one is ridden out.
func TestReplica(t *testing.T) {
	r := harness.StartRedis(t)
	replica := harness.StartRedis(t)
	c := admin(t, replica.Addr)
	host, port, _ := strings.Cut(r.Addr, ":")
	before, _ := fresh(t, replica.Addr)
	openStore(t, before, true)

	do(t, c, "REPLICAOF", host, port)
	s, _ := fresh(t, replica.Addr)
	wantUnfit(t, s, "role")
	if _, _, err := before.Apply(t.Context(), batch(1, 2)); !errors.Is(err, payout.ErrUnavailable) && !errors.Is(err, payout.ErrIncarnationMissing) {
		t.Errorf("Apply to what became a replica: %v", err)
	}
	wantProblem(t, before, "role")
}

// TestAccess: passwords come from files, and a user may lack CONFIG.
func TestAccess(t *testing.T) {
	r := harness.StartRedis(t)
	c := admin(t, r.Addr)
	do(t, c, "ACL", "SETUSER", "pool", "on", ">first", "~{cordee:*", "+@all", "-@dangerous", "-@admin", "+info")
	file := filepath.Join(t.TempDir(), "password")
	password := func(p string) {
		if err := os.WriteFile(file, []byte(p+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	password("first")
	_, config := fresh(t, r.Addr)
	config.Username, config.PasswordFile = "pool", file
	wantUnfit(t, connect(t, config), "config-forbidden")
	config.TrustSettings = true
	s := connect(t, config)
	openStore(t, s, true)
	apply(t, s, batch(1, 5), 5)
	if problems, err := s.Health(t.Context()); err != nil || len(problems) != 1 || problems[0].Name != "config-forbidden" || problems[0].Fatal {
		t.Errorf("problems are %v, %v; want config-forbidden, a warning", problems, err)
	}
	if _, err := s.Run(t.Context()); err != nil {
		t.Error(err)
	}

	// The password changes in both places; new connections use it.
	do(t, c, "ACL", "SETUSER", "pool", "<first", ">second")
	again := connect(t, config)
	if err := again.Open(t.Context(), harness.StoreMeta(1), false); !errors.Is(err, payout.ErrUnfit) {
		t.Errorf("Open with an old password: %v", err)
	}
	password("second")
	openStore(t, again, false)
}

// TestSentinel finds the primary through a real sentinel, before and after a
// failover.
func TestSentinel(t *testing.T) {
	r := harness.StartRedis(t)
	host, port, _ := strings.Cut(r.Addr, ":")
	replica := harness.StartRedis(t, "--replicaof", host+" "+port)
	sentinel := harness.StartSentinel(t, "ledger", r)

	s, config := fresh(t, sentinel.Addr)
	wantUnfit(t, s, "sentinel") // in mode single
	config.Mode, config.Master = redisstore.Sentinel, "nobody"
	if err := connect(t, config).Open(t.Context(), harness.StoreMeta(1), true); !errors.Is(err, payout.ErrUnavailable) {
		t.Errorf("Open of a master that no sentinel knows: %v", err)
	}
	config.Master = "ledger"
	s = connect(t, config)
	openStore(t, s, true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := ship(ctx, s, 50, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	wantWork(t, s, 50)

	// What the replica has not got yet is shipped again by its mark.
	c, asker := admin(t, replica.Addr), admin(t, sentinel.Addr)
	for {
		replicas, _ := asker.Do(ctx, "SENTINEL", "REPLICAS", "ledger").Slice()
		info, err := c.Info(ctx, "replication").Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(replicas) == 1 && strings.Contains(info, "master_link_status:up") {
			break
		}
	}
	if err := asker.Do(ctx, "SENTINEL", "SET", "ledger", "down-after-milliseconds", "300").Err(); err != nil {
		t.Fatal(err)
	}
	r.Kill()
	if err := ship(ctx, s, 90, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	wantWork(t, s, 90)
	if role := do(t, c, "ROLE").([]any)[0]; role != "master" {
		t.Errorf("the replica is %v", role)
	}
}

func TestConfigCheck(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := redisstore.Config{Mode: redisstore.Single, Addrs: []string{"127.0.0.1:6379"}, Name: "cordee"}
	for want, change := range map[string]func(*redisstore.Config){
		`mode "" is unknown`:           func(c *redisstore.Config) { c.Mode = "" },
		`mode "cluster" is unknown`:    func(c *redisstore.Config) { c.Mode = "cluster" },
		"takes one address, not 2":     func(c *redisstore.Config) { c.Addrs = []string{"a:1", "b:1"} },
		`master "m" means nothing`:     func(c *redisstore.Config) { c.Master = "m" },
		"and the name of the master":   func(c *redisstore.Config) { c.Mode = redisstore.Sentinel },
		`address "redis": write host:`: func(c *redisstore.Config) { c.Addrs = []string{"redis"} },
		`name "": write 1 to 32`:       func(c *redisstore.Config) { c.Name = "" },
		`name "a}b": write`:            func(c *redisstore.Config) { c.Name = "a}b" },
		"none may be negative":         func(c *redisstore.Config) { c.DB = -1 },
		"no such file":                 func(c *redisstore.Config) { c.PasswordFile = empty + "x" },
		"is empty: write the password": func(c *redisstore.Config) { c.SentinelPasswordFile = empty },
	} {
		c := good
		change(&c)
		if _, err := redisstore.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	s, err := redisstore.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
