package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/fleet"
	"cordee/internal/harness"
	"cordee/internal/sandbox"
	"cordee/internal/web"
)

// TestBalancers mines through real balancers, configured by what
// docs/operating.md prints, over each of their ports. Shares are accepted, and
// the pool knows each rig by its own address.
func TestBalancers(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := func(lang string) string {
		_, rest, ok := strings.Cut(string(text), "\n```"+lang+"\n")
		config, _, end := strings.Cut(rest, "\n```\n")
		if !ok || !end {
			t.Fatalf("docs/operating.md has no %s", lang)
		}
		return config + "\n"
	}
	haproxy := func(file string) []string { return []string{"-db", "-f", file} }
	for name, b := range map[string]struct {
		program, config string
		args            func(file string) []string
	}{
		"haproxy": {"haproxy", printed("haproxy"), haproxy},
		"haproxy, version 1": {
			"haproxy", strings.ReplaceAll(printed("haproxy"), "send-proxy-v2", "send-proxy"), haproxy,
		},
		"nginx": {"nginx", printed("nginx"), func(file string) []string {
			dir := filepath.Dir(file)
			return []string{"-c", file, "-e", filepath.Join(dir, "error.log"), "-g", "daemon off; master_process off; pid " + filepath.Join(dir, "pid") + ";"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := exec.LookPath(b.program)
			if err != nil {
				t.Skipf("no %s in PATH", b.program)
			}
			t.Parallel()
			p, ports, cert := poolBehind(t)
			cert.Write(t, p.dir)
			pem := filepath.Join(p.dir, "both.pem")
			if err := os.WriteFile(pem, slices.Concat(cert.PEM, cert.Key), 0o600); err != nil {
				t.Fatal(err)
			}
			doors := freeAddrs(t, 3)
			replaced := []string{
				"10.0.0.9:3333", ports[0], "10.0.0.9:3443", ports[1],
				"/etc/haproxy/pool.example.pem", pem,
				"/etc/nginx/fullchain.pem", filepath.Join(p.dir, "cert.pem"), "/etc/nginx/privkey.pem", filepath.Join(p.dir, "key.pem"),
				"worker_rlimit_nofile 65536", "worker_rlimit_nofile 4096", "worker_connections 40000", "worker_connections 1000", "maxconn 20000", "maxconn 500",
			}
			for i, port := range []string{"3333", "3443", "3444"} {
				replaced = append(replaced, "bind :"+port, "bind "+doors[i], "listen "+port, "listen "+doors[i])
			}
			file := filepath.Join(p.dir, "balancer.conf")
			if err := os.WriteFile(file, []byte(strings.NewReplacer(replaced...).Replace(b.config)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, _ := exec.CommandContext(t.Context(), program, append(b.args(file), "-t")...).CombinedOutput(); strings.Contains(string(out), `unknown directive "stream"`) {
				t.Skipf("%s has no module stream", b.program)
			}
			balance(t, program, b.args(file), doors)

			for i, ends := range []*tls.Config{nil, {RootCAs: cert.Roots}, {RootCAs: cert.Roots}} {
				mineThrough(t, p, doors[i], fmt.Sprintf("alpes.annecy.door-%d", i), ends)
			}
			p.stop()
		})
	}
}

// poolBehind starts a pool that has a plain port and one of TLS for balancers
// only.
func poolBehind(t *testing.T) (p *testPool, ports []string, cert *harness.Certificate) {
	t.Helper()
	p = newPool(t, poolOptions{nodes: []*sandbox.Node{realNode(t)}, hashesPerBlock: 1e12, hashesPerShare: 5000})
	cert = harness.NewCertificate(t, "balanced", time.Now().Add(90*24*time.Hour))
	cert.Write(t, p.dir)
	ports = freeAddrs(t, 2)
	f, err := os.OpenFile(p.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, more := range []string{"", "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n"} {
		_, werr := fmt.Fprintf(f, "\n[[listener]]\naddress = %q\nproxy_from = [\"127.0.0.0/8\"]\nstart_difficulty = 1e-6\nmin_difficulty = 1e-9\n%s", ports[i], more)
		err = errors.Join(err, werr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p.start()
	return p, ports, cert
}

// balance runs a balancer until the test ends, and waits for its doors.
func balance(t *testing.T, program string, args, doors []string) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), program, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it keeps nothing
		<-exited
		if t.Failed() {
			t.Logf("%s said:\n%s", program, out.String())
		}
	})
	for _, door := range doors {
		eventually(t, patience, program+" at "+door, func() error {
			select {
			case err := <-exited:
				exited <- err
				t.Fatalf("%s ended: %v", program, err)
			default:
			}
			c, err := net.Dial("tcp", door)
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
}

// mineThrough has a rig mine at door until shares are accepted, and holds its
// address against the one that the pool has.
func mineThrough(t *testing.T, p *testPool, door, user string, ends *tls.Config) {
	t.Helper()
	var mu sync.Mutex
	var local string
	f, err := fleet.New(fleet.Config{
		Addr: door, Seed: rand.Uint64(), Log: zerolog.Nop(), TLS: ends, Rigs: []fleet.Rig{{User: user, Hashrate: 20_000, VersionRolling: true}},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, network, addr)
			if err == nil {
				mu.Lock()
				local = c.LocalAddr().String()
				mu.Unlock()
			}
			return c, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("fleet: %v", err)
		}
	}()
	eventually(t, patience, "shares of "+user, func() error {
		if s := f.Stats(); s.Accepted < 3 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	var rigs web.Rigs
	if err := p.ask("/rigs", &rigs); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.ContainsFunc(rigs.Rigs, func(r web.Rig) bool { return r.Name == user && r.Remote == local }) {
		t.Errorf("%s came from %s, the pool has %+v", user, local, rigs.Rigs)
	}
}
