package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/certfile"
	"cordee/internal/config"
	"cordee/internal/edge"
	"cordee/internal/web"
	"cordee/stratum"
)

// expiryNear is when a certificate should long have been renewed.
const expiryNear = 14 * 24 * time.Hour

// doors are the open ports for rigs, and what they serve TLS with.
type doors struct {
	rigs  []edge.Listener
	certs []servedPair
}

// servedPair is the certificate of one listener.
type servedPair struct {
	listener string // as cordee.toml has it
	*certfile.Pair
}

// certificates says until when each certificate in force is good. A port that
// nobody knocks at has its files looked at all the same.
func (d *doors) certificates() []web.Certificate {
	out := []web.Certificate{}
	for _, c := range d.certs {
		c.Look()
		out = append(out, web.Certificate{Listener: c.listener, NotAfter: c.NotAfter()})
	}
	return out
}

// listen opens every [[listener]], or none.
func listen(ctx context.Context, cfg *config.Config, log zerolog.Logger) (d doors, err error) {
	defer func() {
		if err != nil {
			d.close() // the error to tell is this one
		}
	}()
	for _, l := range cfg.Listeners {
		door := stratum.Door{
			StartDifficulty: l.Start, MinDifficulty: l.Min, MaxDifficulty: l.Max, SharesPerMinute: float64(l.SharesPerMinute),
			ProxyFrom: l.ProxyFrom,
		}
		if l.TLSCert != "" {
			pair, err := openPair(l, log)
			if err != nil {
				return d, err
			}
			d.certs = append(d.certs, servedPair{l.Address, pair})
			door.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.GetCertificate}
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.Address)
		if err != nil {
			return d, portAdvice("[[listener]]", l.Address, err)
		}
		address := ln.Addr().String() // with the port that 0 became
		door.Reopen = func() (net.Listener, error) {
			ln, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(ctx), "tcp", address)
			if err != nil {
				return nil, portAdvice("[[listener]]", l.Address, err)
			}
			return ln, nil
		}
		d.rigs = append(d.rigs, edge.Listener{Listener: ln, Door: door})
	}
	return d, nil
}

func (d *doors) close() {
	for _, ln := range d.rigs {
		_ = ln.Close() // nobody was welcome yet
	}
}

// openPair reads a listener's certificate, and tells the log of it now and
// whenever it is read again.
func openPair(l config.Listener, log zerolog.Logger) (*certfile.Pair, error) {
	told := func(notAfter time.Time, err error) {
		if err != nil {
			log.Error().Str("event", "tls.refused").Str("address", l.Address).Err(err).Time("not_after", notAfter).
				Msg("the new certificate was refused; the old one stays in force")
			return
		}
		line := log.Info()
		if time.Until(notAfter) < expiryNear {
			line = log.Warn()
		}
		line.Str("event", "tls.certificate").Str("address", l.Address).Time("not_after", notAfter).
			Msg("certificate in force; renew it before its time is over")
	}
	pair, err := certfile.Open(l.TLSCert, l.TLSKey, told)
	if err != nil {
		return nil, fmt.Errorf("[[listener]] address %q: %w", l.Address, err)
	}
	told(pair.NotAfter(), nil)
	return pair, nil
}

// worklessBurst is how many connections of one address may end without work
// before it is slowed down.
const worklessBurst = 1024

// capsOf bounds the connections of one place. However few files there are,
// strangers of one address take at most a quarter of them.
func capsOf(cfg *config.Config, room int) stratum.Caps {
	l := cfg.Limits
	return stratum.Caps{
		Strangers: min(l.StrangersPerIP, max(room/4, 1)), PerAddress: l.PerIP, PerNetwork: l.PerNetwork, Trusted: l.Trusted,
		Workless: max(worklessBurst, 2*l.StrangersPerIP),
	}
}
