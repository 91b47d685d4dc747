package certfile

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cordee/internal/harness"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// write puts a new self-signed pair into dir. Its files are as old as at, for
// two of the same size may come within one tick of a file system's clock.
func write(t *testing.T, dir, name string, at, notAfter time.Time) (cert, key string) {
	t.Helper()
	cert, key = harness.NewCertificate(t, name, notAfter).Write(t, dir)
	if err := errors.Join(os.Chtimes(cert, at, at), os.Chtimes(key, at, at)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func put(t *testing.T, name string, b []byte, at time.Time) {
	t.Helper()
	if err := errors.Join(os.WriteFile(name, b, 0o600), os.Chtimes(name, at, at)); err != nil {
		t.Fatal(err)
	}
}

// told is what a Pair said of later readings.
type told struct {
	mu   sync.Mutex
	errs []error
}

func (l *told) changed(_ time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func named(t *testing.T, p *Pair, want string) {
	t.Helper()
	c, err := p.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil || c.Leaf.Subject.CommonName != want {
		t.Fatalf("%v, %v, want %s", c.Leaf.Subject, err, want)
	}
}

// A port at which nobody knocks has its files looked at by whoever watches.
func TestLook(t *testing.T) {
	cert, key := write(t, t.TempDir(), "one", start, start.AddDate(0, 0, 9))
	p, err := Open(cert, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := start
	p.now = func() time.Time { return now }
	p.looked.Store(now.UnixNano())
	write(t, filepath.Dir(cert), "two", start.Add(time.Hour), start.AddDate(0, 0, 90))
	p.Look()
	if got := p.NotAfter(); !got.Equal(start.AddDate(0, 0, 9)) {
		t.Errorf("at once: %v", got)
	}
	now = now.Add(lookEvery)
	p.Look()
	if got := p.NotAfter(); !got.Equal(start.AddDate(0, 0, 90)) {
		t.Errorf("a minute later: %v", got)
	}
}

func TestPair(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "no"), filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	cert, key := write(t, dir, "one", start, start.AddDate(0, 3, 0))
	var said told
	p, err := Open(cert, key, said.changed)
	if err != nil {
		t.Fatal(err)
	}
	now := start
	p.now = func() time.Time { return now }
	p.looked.Store(now.UnixNano())
	named(t, p, "one")

	write(t, dir, "two", start.Add(time.Hour), start.AddDate(0, 6, 0))
	now = now.Add(lookEvery - 1)
	named(t, p, "one") // not looked at yet
	now = now.Add(1)
	named(t, p, "two")
	if len(said.errs) != 1 || said.errs[0] != nil || !p.NotAfter().Equal(start.AddDate(0, 6, 0)) {
		t.Errorf("told %v, ends %v", said.errs, p.NotAfter())
	}
	now = now.Add(lookEvery)
	named(t, p, "two")
	if len(said.errs) != 1 {
		t.Error("files that did not change were read again")
	}

	// A bad pair is told once, and again where somebody asks.
	put(t, key, []byte("nonsense"), start.Add(2*time.Hour))
	for range 3 {
		now = now.Add(lookEvery)
		named(t, p, "two")
	}
	if len(said.errs) != 2 || said.errs[1] == nil {
		t.Errorf("told %v", said.errs)
	}
	if err := p.Reload(); err == nil {
		t.Error("nonsense was taken")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery)
	named(t, p, "two")

	// An expired one replaces no good one, but an expired one.
	write(t, dir, "old", start.Add(3*time.Hour), start.Add(-time.Minute))
	if err := p.Reload(); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	named(t, p, "two")
	now = start.AddDate(1, 0, 0)
	if err := p.Reload(); err != nil {
		t.Error(err)
	}
	named(t, p, "old")
	write(t, dir, "new", start.Add(4*time.Hour), start.AddDate(2, 0, 0))
	if err := p.Reload(); err != nil {
		t.Error(err)
	}
	named(t, p, "new")
}

// Handshakes while the files are exchanged get one pair or the other.
func TestPairUnderWay(t *testing.T) {
	dir := t.TempDir()
	far := time.Now().AddDate(1, 0, 0)
	cert, key := write(t, dir, "a", start, far)
	p, err := Open(cert, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				p.looked.Store(0)
				c, err := p.GetCertificate(nil)
				if err != nil || len(c.Certificate) != 1 {
					t.Error(c, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		write(t, dir, "b", start.Add(time.Duration(i)*time.Second), far)
	}
	wg.Wait()
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	named(t, p, "b")
}
