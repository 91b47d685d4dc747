package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// maxRigs bounds --rigs: one address has fewer local ports than this.
const maxRigs = 60000

// plan is a checked command line.
type plan struct {
	fleet    fleet.Config
	hashrate float64 // of all rigs, hashes per second
	duration time.Duration
	json     bool
	quiet    bool
	verbose  bool
}

// planOf checks the command line. Its errors say what to write instead.
func planOf(c *cli.Context) (*plan, error) {
	if c.Args().Present() {
		return nil, fmt.Errorf("unexpected argument %q: everything is given by options, see cordee-load --help", c.Args().First())
	}
	addr, secure, err := parseURL(c.String("url"))
	if err != nil {
		return nil, err
	}
	user := c.String("user")
	if user == "" {
		return nil, errors.New("--user is missing: give the name the server knows, as --user member.site.rig%d")
	}
	rigs := c.Int("rigs")
	if rigs < 1 || rigs > maxRigs {
		return nil, fmt.Errorf("--rigs %d: give 1 to %d", rigs, maxRigs)
	}
	rate, err := parseRate(c.String("hashrate"))
	if err != nil {
		return nil, err
	}
	p := &plan{
		hashrate: rate, duration: c.Duration("duration"),
		json: c.Bool("json"), quiet: c.Bool("quiet"), verbose: c.Bool("verbose"),
	}
	if p.duration <= 0 {
		return nil, fmt.Errorf("--duration %v: give a time above 0, as 30s", p.duration)
	}
	ramp := c.Duration("ramp")
	if ramp < 0 {
		return nil, fmt.Errorf("--ramp %v: give 0s or more", ramp)
	}
	if ramp >= p.duration {
		return nil, fmt.Errorf("--ramp %v leaves nothing of --duration %v: give a shorter ramp, as --ramp 0s", ramp, p.duration)
	}
	suggest := c.Float64("suggest-difficulty")
	if suggest < 0 || math.IsNaN(suggest) || math.IsInf(suggest, 0) {
		return nil, fmt.Errorf("--suggest-difficulty %v: give a number above 0, or leave it out", suggest)
	}
	p.fleet = fleet.Config{Addr: addr, Seed: c.Uint64("seed"), Ramp: ramp, SuggestDifficulty: suggest}
	switch {
	case secure:
		p.fleet.TLS = &tls.Config{InsecureSkipVerify: c.Bool("insecure")} //nolint:gosec // asked for, as most rigs do
	case c.Bool("insecure"):
		return nil, errors.New("--insecure is about certificates: use --url stratum+ssl://HOST:PORT with it")
	}
	for i := range rigs {
		p.fleet.Rigs = append(p.fleet.Rigs, fleet.Rig{
			User:           strings.ReplaceAll(user, "%d", strconv.Itoa(i+1)),
			Password:       c.String("password"),
			Agent:          c.String("agent"),
			Hashrate:       rate / float64(rigs),
			VersionRolling: c.Bool("version-rolling"),
			ConfigureFirst: true,
		})
	}
	return p, nil
}

// parseURL accepts host:port, with or without stratum+tcp://, and stratum+ssl://
// for TLS.
func parseURL(s string) (addr string, secure bool, err error) {
	if s == "" {
		return "", false, errors.New("--url is missing: name the server, as --url 127.0.0.1:3333")
	}
	addr = s
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		switch strings.ToLower(scheme) {
		case "stratum+tcp":
		case "stratum+ssl", "stratum+tls":
			secure = true
		default:
			return "", false, fmt.Errorf("--url %q: %s is not spoken here: use stratum+tcp://HOST:PORT, stratum+ssl://HOST:PORT or HOST:PORT", s, scheme)
		}
		addr = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "", false, fmt.Errorf("--url %q: give host and port, as 127.0.0.1:3333 or [::1]:3333", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", false, fmt.Errorf("--url %q: port %q is not a number from 1 to 65535", s, port)
	}
	return addr, secure, nil
}

// parseRate reads hashes per second with an optional k, M or G.
func parseRate(s string) (float64, error) {
	text, factor := s, 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			text, factor = t, f
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	v *= factor
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
		return 0, fmt.Errorf("--hashrate %q: give hashes per second above 0, as 500k, 1M or 2.5e6", s)
	}
	return v, nil
}
