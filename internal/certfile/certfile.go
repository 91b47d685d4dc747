// Package certfile keeps a TLS certificate and its key as they stand in two
// files, and reads them again when the files change: certificates are renewed
// every few weeks, and rigs must not be dropped for it.
package certfile

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often a handshake, or whoever watches, makes the files be
// looked at.
const lookEvery = time.Minute

// Pair is a certificate and its key. Its methods may be called from many
// goroutines.
type Pair struct {
	cert, key string
	changed   func(notAfter time.Time, err error)
	now       func() time.Time

	current atomic.Pointer[tls.Certificate]
	looked  atomic.Int64 // unix ns of the last look

	mu    sync.Mutex
	tried [2]stamp // the files when they were last read, well or not
}

// stamp tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the PEM files cert, which may hold a chain, and key. changed is
// called after each later reading: err is nil for a pair that is in force from
// now on, else it says why the old one stays. It may be nil.
func Open(cert, key string, changed func(notAfter time.Time, err error)) (*Pair, error) {
	p := &Pair{cert: cert, key: key, changed: changed, now: time.Now}
	if err := p.read(); err != nil {
		return nil, err
	}
	p.looked.Store(p.now().UnixNano())
	return p, nil
}

// NotAfter is when the certificate in force ends.
func (p *Pair) NotAfter() time.Time { return p.current.Load().Leaf.NotAfter }

// GetCertificate is for tls.Config. It returns the pair in force, after a Look.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.Look()
	return p.current.Load(), nil
}

// Look reads the files if they have changed, at most once a minute. Others do
// not wait for that: they go on with the pair in force.
func (p *Pair) Look() {
	now, last := p.now().UnixNano(), p.looked.Load()
	if now-last >= int64(lookEvery) && p.looked.CompareAndSwap(last, now) {
		_ = p.reread(false) // told to changed; there is a pair in any case
	}
}

// Reload reads the files now, whether they changed or not. On an error the old
// pair stays in force.
func (p *Pair) Reload() error { return p.reread(true) }

// reread reads the files if they are others than last time, or if it must.
func (p *Pair) reread(must bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !must && p.stamps() == p.tried {
		return nil
	}
	err := p.read()
	if p.changed != nil {
		p.changed(p.NotAfter(), err)
	}
	return err
}

func (p *Pair) read() error {
	// Before the files: a change in between is then seen by the next look.
	p.tried = p.stamps()
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", p.cert, p.key, err)
	}
	// A pool that starts with an expired pair serves the rigs that do not look at
	// it, and those of other ports; but nobody replaces a good one by it.
	old, now := p.current.Load(), p.now()
	if old != nil && now.Before(old.Leaf.NotAfter) && now.After(c.Leaf.NotAfter) {
		return fmt.Errorf("certificate %s: %w on %s", p.cert, ErrExpired, c.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	p.current.Store(&c)
	return nil
}

// ErrExpired is wrapped by the error of a new certificate whose time is over.
var ErrExpired = errors.New("expired")

// stamps returns what the files are like now. A file that cannot be seen has the
// zero stamp.
func (p *Pair) stamps() (s [2]stamp) {
	for i, name := range []string{p.cert, p.key} {
		if st, err := os.Stat(name); err == nil {
			s[i] = stamp{st.ModTime(), st.Size()}
		}
	}
	return s
}
