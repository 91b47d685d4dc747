package stratum

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// Config is what a Server needs. Network and Pool are required, the rest has
// useful zero values.
type Config struct {
	Network *pool.Network
	Pool    Pool

	// Prefix is the first byte of every extranonce1. It is unique to this edge
	// for ever, so that two edges never hand out the same one (decision 10).
	Prefix byte

	// StartDifficulty is what a rig of which nothing is known starts with, in
	// units of the network's scale; 0 is difficulty 4096. MinDifficulty is the
	// floor; 0 is one unit. Whatever is sent is a power of two, at least the
	// floor and at most the job's network difficulty, which wins.
	StartDifficulty, MinDifficulty pool.Difficulty

	// Firmware is the table of firmware classes at first; nil puts every rig in
	// the default class. See SetFirmware.
	Firmware *Firmware
	// NewClass is called when a rig has a class that the newest set has no job
	// of, so that one is published soon; nil leaves it to the next. It must not
	// block and not call back.
	NewClass func()

	SharesPerMinute float64 // aimed at per connection; 0 is 10
	MaxConns        int     // 0 is 20 000
	Caps            Caps    // of one address and its neighbours
	Limits          Limits
	Log             zerolog.Logger
}

// Door is what the rigs of one listener are asked for; a zero number takes the
// Config's.
type Door struct {
	StartDifficulty, MinDifficulty pool.Difficulty
	MaxDifficulty                  pool.Difficulty // a power of two, at least both others; 0 is no bound
	SharesPerMinute                float64

	// TLS, where it is set, is spoken by every rig. It should have
	// GetCertificate, not GetConfigForClient, so that session tickets work.
	TLS *tls.Config

	// ProxyFrom are the networks whose connections must begin with a header of
	// the PROXY protocol. Nobody else's header is read.
	ProxyFrom []netip.Prefix

	// Reopen listens on the same address again. Without it the listener stays
	// open while work is withdrawn, and connections are closed one by one.
	Reopen func() (net.Listener, error)
}

// filled returns d with c's values for what it leaves open.
func (d Door) filled(c *Config) Door {
	setZero(&d.StartDifficulty, c.StartDifficulty)
	setZero(&d.MinDifficulty, c.MinDifficulty)
	setZero(&d.SharesPerMinute, c.SharesPerMinute)
	return d
}

// Limits are the bounds of one connection. A zero field takes the default
// (decision 39).
type Limits struct {
	Authorize   time.Duration // from accept to subscribed and authorized; 30 s
	HalfLine    time.Duration // age of an unfinished line; 10 s
	Idle        time.Duration // without a line; 60 min
	WriteStall  time.Duration // a full socket that takes nothing; 10 s
	DrainGrace  time.Duration // what rigs get to leave by themselves; 1 s
	DrainSpread time.Duration // over which rigs are asked to, at most, and at most 1 ms a rig; 3 s
	Greeting    time.Duration // from accept to the end of PROXY header and TLS handshake; 10 s
	Share       time.Duration // between two shares, on average; 2 ms, below 1 ms is no bound
	Request     time.Duration // between two lines that are no submits, on average; 8 ms, below 1 ms is no bound
	FirstLine   int           // bytes of a line before authorize; 4 KiB
	Line        int           // bytes of a line after it; 8 KiB, and never more
	Outbox      int           // bytes waiting for a rig that does not read; 64 KiB
	Names       int           // authorized names; 128
}

// Fixed by protocol or by memory, not by taste.
const (
	maxLine     = 8 << 10
	deskSize    = 2 * maxLine // what one read can bring: an unfinished line and as much again
	maxID       = 64          // bytes of a request id that is echoed
	maxAgent    = 128
	maxName     = 128
	maxPassword = 64
	maxConns    = 1 << 20 // extranonce1 counts to 2^24
	maxDenied   = 3       // failed authorizes, then the connection ends

	jobCreditMillis   = 5 * 60_000 // a job is creditable that long after a newer one
	raiseGraceMillis  = 10_000     // the same, after a raise that said clean
	tickMillis        = 10_000     // between two looks of vardiff without a share
	suggestGapMillis  = 10_000     // between two suggestions that are honoured
	rejectLogInterval = 100        // one reject in so many is logged, per connection
)

var errConfig = errors.New("stratum: bad config")

// withDefaults checks c and fills in its zero values.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Network == nil:
		return c, fmt.Errorf("%w: Network is missing", errConfig)
	case c.Pool == nil:
		return c, fmt.Errorf("%w: Pool is missing", errConfig)
	case c.SharesPerMinute < 0 || c.SharesPerMinute > 600:
		return c, fmt.Errorf("%w: SharesPerMinute is %v, must be above 0 and at most 600", errConfig, c.SharesPerMinute)
	case c.MaxConns < 0 || c.MaxConns > maxConns:
		return c, fmt.Errorf("%w: MaxConns is %d, must be 1 to %d", errConfig, c.MaxConns, maxConns)
	case c.Caps.Strangers < 0 || c.Caps.PerAddress < 0 || c.Caps.PerNetwork < 0 || c.Caps.Workless < 0:
		return c, fmt.Errorf("%w: Caps are %+v, must not be negative", errConfig, c.Caps)
	case c.Limits.Line > maxLine || c.Limits.FirstLine > maxLine:
		return c, fmt.Errorf("%w: a line may have at most %d bytes", errConfig, maxLine)
	}
	setZero(&c.StartDifficulty, 4096*pool.Difficulty(c.Network.Scale))
	setZero(&c.MinDifficulty, 1)
	setZero(&c.SharesPerMinute, 10)
	setZero(&c.MaxConns, 20_000)
	l := &c.Limits
	setZero(&l.Authorize, 30*time.Second)
	setZero(&l.HalfLine, 10*time.Second)
	setZero(&l.Idle, time.Hour)
	setZero(&l.WriteStall, 10*time.Second)
	setZero(&l.DrainGrace, time.Second)
	setZero(&l.DrainSpread, 3*time.Second)
	setZero(&l.Greeting, 10*time.Second)
	setZero(&l.Share, validationMillis*time.Millisecond)
	setZero(&l.Request, requestMillis*time.Millisecond)
	setZero(&l.FirstLine, 4<<10)
	setZero(&l.Line, maxLine)
	setZero(&l.Outbox, 64<<10)
	setZero(&l.Names, 128)
	return c, nil
}

func setZero[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
