package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cordee/internal/config"
)

// TestDemoStore: the demo keeps credits in Redis where there is one and says so
// either way, and what it writes is a configuration.
func TestDemoStore(t *testing.T) {
	for _, c := range []struct{ name, path, says, writes string }{
		{"without", t.TempDir(), "store in memory: there is no redis-server on PATH", `store = "memory"`},
		{"with", os.Getenv("PATH"), "store redis at 127.0.0.1:", `store = "redis"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath("redis-server"); err != nil && c.name == "with" && os.Getenv("CI") != "true" {
				t.Skip("no redis-server on PATH: run make deps, or install redis-server")
			}
			t.Setenv("PATH", c.path)
			var out bytes.Buffer
			d := theDemo{out: &out, dir: t.TempDir()}
			// Not the test's context: the server is stopped by its cleanup.
			if err := d.startStore(context.Background()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.stop(d.stopStore) })
			if !strings.HasPrefix(out.String(), c.says) {
				t.Errorf("it says %q", out.String())
			}
			path, err := demoSetup{
				dir: d.dir, url: "http://127.0.0.1:18443", cookie: "c", stratum: "127.0.0.1:0", web: "127.0.0.1:0",
				redis: d.redisAddr(), regtestDifficulty: 0.01, startDifficulty: 0.001,
			}.write()
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), c.writes) || (cfg.Redis != nil) != (d.redis != nil) {
				t.Errorf("it writes\n%s", text)
			}
			if cfg.Redis == nil {
				return
			}
			cfg.DataDir = t.TempDir()
			if _, err := openNow(t, cfg); err != nil {
				t.Errorf("the demo's own Redis is refused: %v", err)
			}
		})
	}
}
