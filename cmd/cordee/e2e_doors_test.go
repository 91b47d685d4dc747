package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/fleet"
	"cordee/internal/harness"
	"cordee/internal/sandbox"
	"cordee/internal/web"
)

// TestDoors: one pool with a plain port, one of TLS and one behind a balancer.
// All are mined on, the certificate changes under the rigs without one of them
// noticing, and what has no business at a door is closed by name.
func TestDoors(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := newPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 5000})
	ports := freeAddrs(t, 2)
	first := harness.NewCertificate(t, "first", time.Now().Add(90*24*time.Hour))
	first.Write(t, p.dir)
	roots := first.Roots
	f, err := os.OpenFile(p.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, `
[[listener]]
address = %q
tls_cert = "cert.pem"
tls_key = "key.pem"
start_difficulty = 1e-6
min_difficulty = 1e-9

[[listener]]
address = %q
proxy_from = ["127.0.0.0/8"]

[limits]
per_ip = 20
`, ports[0], ports[1])
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p.start()

	plain, stopPlain := p.mine(2, 20_000, nil)
	secure, stopSecure := mineTLS(t, ports[0], roots)
	accepted := func(f *fleet.Fleet, more uint64) {
		t.Helper()
		from := f.Stats().Accepted
		eventually(t, patience, "accepted shares", func() error {
			if s := f.Stats(); s.Accepted < from+more {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
	accepted(plain, 3)
	accepted(secure, 3)

	t.Run("certificate", func(t *testing.T) {
		served := func() (string, error) {
			c, err := tls.Dial("tcp", ports[0], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return "", err
			}
			defer c.Close()
			return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
		}
		if got, err := served(); got != "first" {
			t.Fatalf("certificate %q, %v", got, err)
		}
		harness.NewCertificate(t, "second", time.Now().Add(90*24*time.Hour)).Write(t, p.dir)
		p.signal(syscall.SIGHUP)
		eventually(t, patience, "the new certificate", func() error {
			if got, err := served(); got != "second" {
				return fmt.Errorf("certificate %q, %w", got, err)
			}
			return nil
		})
		if err := os.WriteFile(filepath.Join(p.dir, "key.pem"), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGHUP)
		p.awaitLogged("tls.refused", 1)
		if got, err := served(); got != "second" {
			t.Errorf("after a bad key the certificate is %q, %v", got, err)
		}
		accepted(secure, 2)
		if s := secure.Stats(); s.Reconnects != 0 {
			t.Errorf("%d rigs were dropped for a certificate", s.Reconnects)
		}
		// The second of nine days is an alarm.
		expiry := func() (days float64) {
			_, page, err := p.get("/metrics")
			if err != nil {
				t.Fatal(err)
			}
			m := regexp.MustCompile(`(?m)^cordee_tls_certificate_expiry_seconds\{listener="` + ports[0] + `"\} (\S+)$`).FindStringSubmatch(page)
			if m == nil {
				t.Fatal("no metric of the certificate")
			}
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Error(err)
			}
			return v / 86400
		}
		if days := expiry(); days < 89 || days > 90 {
			t.Errorf("%.1f days left of 90", days)
		}
		harness.NewCertificate(t, "third", time.Now().Add(9*24*time.Hour)).Write(t, p.dir)
		p.signal(syscall.SIGHUP)
		eventually(t, patience, "an alarm", func() error {
			out, errOut, code := cordee(t, "status", "-c", p.config)
			if want := "the certificate of " + ports[0] + " is good for 8 days only"; code != 0 || !strings.Contains(out, want) {
				return fmt.Errorf("exit %d, no %q in\n%s%s", code, want, out, errOut)
			}
			return nil
		})
		if days := expiry(); days < 8 || days > 9 {
			t.Errorf("%.1f days left of 9", days)
		}
	})

	closed := func(addr, send, reason string) {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, send) // it may be closed before
		_, _ = io.Copy(io.Discard, c)
		eventually(t, patience, "a close as "+reason, func() error {
			ok := slices.ContainsFunc(p.closes(), func(x web.Close) bool {
				return x.Reason == reason && x.Remote == c.LocalAddr().String()
			})
			if !ok {
				return fmt.Errorf("%+v", p.closes())
			}
			return nil
		})
		if code, page, err := p.get("/metrics"); err != nil || code != 200 || !strings.Contains(page, reason) {
			t.Errorf("%s is not in the metrics: %d, %v", reason, code, err)
		}
	}
	closed(ports[0], hello, "not_tls")
	closed(ports[1], hello, "bad_proxy_header")
	closed(p.stratum, "PROXY TCP4 203.0.113.7 10.0.0.1 40000 3333\r\n", "bad_line")

	behind, err := net.Dial("tcp", ports[1])
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	if _, err := io.WriteString(behind, "PROXY TCP4 203.0.113.7 10.0.0.1 40000 3333\r\n"+hello); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the rig behind the balancer", func() error {
		var rigs web.Rigs
		if err := p.ask("/rigs", &rigs); err != nil {
			return err
		}
		if !slices.ContainsFunc(rigs.Rigs, func(r web.Rig) bool { return r.Remote == "203.0.113.7:40000" }) {
			return fmt.Errorf("%+v", rigs)
		}
		return nil
	})

	// Twice as many as one address may have: the rest is told so, by name, and the
	// address of another gets in.
	for range 40 {
		c, err := net.Dial("tcp", p.stratum)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	eventually(t, patience, "address_full", func() error {
		if !slices.ContainsFunc(p.closes(), func(x web.Close) bool { return x.Reason == "address_full" || x.Reason == "too_many_strangers" }) {
			return errors.New("nobody was refused")
		}
		return nil
	})
	other, err := net.Dial("tcp", ports[1])
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_ = other.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(other, "PROXY TCP4 203.0.113.8 10.0.0.1 40000 3333\r\n"+hello); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Read(make([]byte, 1)); err != nil {
		t.Errorf("an honest rig beside the crowd: %v", err)
	}
	stopPlain()
	stopSecure()
	p.stop()
}

// TestNoWorkNoOpenPort: a pool whose node is gone for a minute has no open port,
// so that rigs fail over at once, and opens it when the node is back. It takes
// more than that minute: CORDEE_SLOW=1 runs it.
func TestNoWorkNoOpenPort(t *testing.T) {
	if os.Getenv("CORDEE_SLOW") == "" {
		t.Skip("takes 70 s: set CORDEE_SLOW=1")
	}
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 5000})
	rig := p.dialRig("alpes.annecy.raw")
	dial := func() error {
		c, err := net.Dial("tcp", p.stratum)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, "the port is closed", func() error {
		if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("dial: %w", err)
		}
		return nil
	})
	eventually(t, patience, "the rig is sent away", func() error {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		if rig.ended == nil {
			return errors.New("it is connected")
		}
		return nil
	})
	p.awaitLogged("listener.closed", 1)
	p.awaitLogged("template.none", 1)
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the port is open", dial)
	p.dialRig("alpes.annecy.raw") // which waits for work
	p.stop()
}

// mineTLS runs two rigs on the TLS port addr.
func mineTLS(t *testing.T, addr string, roots *x509.CertPool) (f *fleet.Fleet, stop func()) {
	t.Helper()
	f, err := fleet.New(fleet.Config{
		Addr: addr, Seed: 1, Log: zerolog.Nop(), TLS: &tls.Config{RootCAs: roots},
		Rigs: []fleet.Rig{{User: "alpes.annecy.tls-1", Hashrate: 20_000, VersionRolling: true}, {User: "jura.dole.tls-2", Hashrate: 20_000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	ended := false
	stop = func() {
		if !ended {
			ended = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("fleet: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return f, stop
}
