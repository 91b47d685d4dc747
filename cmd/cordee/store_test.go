package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/config"
	"cordee/internal/harness"
	"cordee/internal/keeper"
	"cordee/payout"
	"cordee/pool"
)

// onRedis is a pool's configuration as far as its store goes, in a data
// directory of its own.
func onRedis(t *testing.T, addr string) *config.Config {
	t.Helper()
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	return &config.Config{
		Network: n, DataDir: t.TempDir(),
		Redis: &config.Redis{Addresses: []string{addr}, Name: "cordee", Timeout: 5 * time.Second},
	}
}

// openNow opens cfg's store and closes it with the test.
func openNow(t *testing.T, cfg *config.Config) (*poolStore, error) {
	t.Helper()
	s, err := openStore(t.Context(), cfg, zerolog.Nop())
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// redisDo sends commands to the server at addr: each must be answered OK.
func redisDo(t *testing.T, addr string, commands ...string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewScanner(conn)
	for _, c := range commands {
		if _, err := conn.Write([]byte(c + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if !answers.Scan() || answers.Text() != "+OK" {
			t.Fatalf("%s: %q, %v", c, answers.Text(), answers.Err())
		}
	}
}

// TestStoreRefused: a Redis that would lose the ledger, or is not ours, is
// refused with what to change, and nothing else changes the pool's mind.
func TestStoreRefused(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t)
	do := func(commands ...string) { redisDo(t, r.Addr, commands...) }
	cfg := onRedis(t, r.Addr)
	refused := func(cfg *config.Config, want error, words ...string) {
		t.Helper()
		_, err := openNow(t, cfg)
		if !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
			return
		}
		for _, w := range append(words, "[redis] "+r.Addr) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %v does not say %q", err, w)
			}
		}
	}
	for _, set := range [][3]string{{"appendonly", "no", "yes"}, {"maxmemory-policy", "allkeys-lru", "noeviction"}, {"appendfsync", "no", "always"}} {
		do("CONFIG SET " + set[0] + " " + set[1])
		refused(cfg, payout.ErrUnfit, set[0], "CONFIG SET "+set[0])
		do("CONFIG SET " + set[0] + " " + set[2])
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, keeper.StoreMark)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused store is marked as ours: %v", err)
	}

	do("CONFIG SET requirepass secret")
	refused(cfg, payout.ErrUnfit, "password_file")
	do("AUTH secret", `CONFIG SET requirepass ""`)

	for range 2 { // ours, and again at the next start
		if s, err := openNow(t, cfg); err != nil || s.volatile {
			t.Fatal(err)
		}
	}
	refused(onRedis(t, r.Addr), payout.ErrForeign, "name of [redis]") // another pool of that name
	other := onRedis(t, r.Addr)
	other.Redis.Name = "other"
	if _, err := openNow(t, other); err != nil {
		t.Errorf("two pools in one server: %v", err)
	}

	// Emptied behind our back: never begun anew without a word.
	do("FLUSHALL")
	mark := filepath.Join(cfg.DataDir, keeper.StoreMark)
	refused(cfg, payout.ErrIncarnationMissing, "remove "+mark)
	if err := os.Remove(mark); err != nil { // the advice is good
		t.Fatal(err)
	}
	if _, err := openNow(t, cfg); err != nil {
		t.Error(err)
	}
}

// TestStoreAway: nobody at the address is no reason not to mine, and says
// nothing about whether the store was ours.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	cfg := onRedis(t, freeAddrs(t, 1)[0])
	s, err := openNow(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.LastSlot(t.Context()); !errors.Is(err, payout.ErrNotOpen) {
		t.Errorf("a store that is away answers %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, keeper.StoreMark)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a store that was never seen is marked as filled: %v", err)
	}
	cfg.Redis.PasswordFile = filepath.Join(cfg.DataDir, "none")
	if _, err := openNow(t, cfg); err == nil || !strings.Contains(err.Error(), "[redis]: ") {
		t.Errorf("without its password: %v", err)
	}
}

// TestRedisConfig: what config accepts, the store does too.
func TestRedisConfig(t *testing.T) {
	t.Parallel()
	for _, r := range []config.Redis{
		{Addresses: []string{"127.0.0.1:6379"}, Name: "cordee", DB: 15, Timeout: 10 * time.Second, TrustSettings: true},
		{Sentinel: true, Master: "m", Addresses: []string{"[::1]:26379", "b:1"}, Name: strings.Repeat("a-9", 10)},
	} {
		c := redisConfig(&r)
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
		if c.DB != r.DB || c.TrustSettings != r.TrustSettings || c.Timeout != r.Timeout || c.Master != r.Master {
			t.Errorf("%+v became %+v", r, c)
		}
	}
}
