package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Rig is one simulated machine.
type Rig struct {
	User           string  // name for authorize and submit; must not be empty
	Password       string  // "" is sent as "x"
	Agent          string  // user agent for subscribe; "" is sent as "cordee-fleet/1"
	Hashrate       float64 // hashes per second; 0 connects and never hashes
	VersionRolling bool    // ask for version rolling (BIP310) and use the bits granted
	ConfigureFirst bool    // configure before subscribe, as most firmware; else after it
}

// Config describes a fleet.
type Config struct {
	Addr string // host:port of the server
	Rigs []Rig  // at least one
	Seed uint64 // start of every random choice (phases, nonces, back-off)
	Log  zerolog.Logger

	// Ramp spreads the first connections evenly over this time. 0: all at once.
	Ramp time.Duration

	// SuggestDifficulty is sent after authorize when above 0.
	SuggestDifficulty float64

	// Dial opens connections; nil means net.Dialer with a 10 s timeout.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// TLS, where it is set, is spoken by every rig. A name to check the server's
	// certificate by is taken from Addr unless it has one.
	TLS *tls.Config

	// OnEvent sees everything that happens, in order for each rig. It is called
	// from the rigs' goroutines, several at once, and must not block.
	OnEvent func(Event)
}

// ErrConfig is wrapped by every error of New.
var ErrConfig = errors.New("fleet config")

func (c *Config) validate() error {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return fmt.Errorf("%w: address %q is not host:port: %w", ErrConfig, c.Addr, err)
	}
	if len(c.Rigs) == 0 {
		return fmt.Errorf("%w: no rigs: give at least one", ErrConfig)
	}
	if c.Ramp < 0 {
		return fmt.Errorf("%w: ramp %v is negative", ErrConfig, c.Ramp)
	}
	if s := c.SuggestDifficulty; s < 0 || math.IsNaN(s) || math.IsInf(s, 0) {
		return fmt.Errorf("%w: suggested difficulty %v: give a finite number, 0 for none", ErrConfig, s)
	}
	for i, r := range c.Rigs {
		if r.User == "" {
			return fmt.Errorf("%w: rig %d has no user name", ErrConfig, i)
		}
		if r.Hashrate < 0 || math.IsNaN(r.Hashrate) || math.IsInf(r.Hashrate, 0) {
			return fmt.Errorf("%w: rig %d (%s): hash rate %v: give hashes per second, 0 or more", ErrConfig, i, r.User, r.Hashrate)
		}
	}
	return nil
}

// Fleet runs rigs. Stats may be called from any goroutine at any time.
type Fleet struct {
	cfg     Config
	rigs    []*rig
	count   counters
	latency histogram
	rejects rejectTable
	started atomic.Bool
}

// New checks cfg and builds its fleet; nothing is dialled yet. Its errors wrap
// ErrConfig.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if cfg.TLS != nil {
		cfg.Dial = overTLS(cfg.Dial, cfg.TLS.Clone())
	}
	f := &Fleet{cfg: cfg}
	for i := range cfg.Rigs {
		f.rigs = append(f.rigs, newRig(f, i))
	}
	return f, nil
}

// dial is the type of Config.Dial.
type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// overTLS returns a dial whose connections speak TLS over those of below.
func overTLS(below dial, cfg *tls.Config) dial {
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1) // all are of one server
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := below(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := cfg.Clone()
		if own.ServerName == "" {
			own.ServerName, _, _ = net.SplitHostPort(addr) // was checked by New
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		secure := tls.Client(conn, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // nothing was said on it
			return nil, err
		}
		return secure, nil
	}
}

// Run connects the rigs and mines until ctx ends. A rig that loses its
// connection, or is told client.reconnect, dials again: after 0.1 to 0.3 s, and
// up to 7.5 s when it got no work from the last ones. When ctx ends the rigs stop hashing, wait at most
// one second for answers still due, and Run returns nil. A second call is an
// error.
func (f *Fleet) Run(ctx context.Context) error {
	if f.started.Swap(true) {
		return errors.New("fleet: Run was already called: make a new Fleet")
	}
	var wg sync.WaitGroup
	for i, r := range f.rigs {
		delay := f.cfg.Ramp * time.Duration(i) / time.Duration(len(f.rigs))
		wg.Go(func() {
			if sleep(ctx, delay) {
				r.run(ctx)
			}
		})
	}
	wg.Wait()
	return nil
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
