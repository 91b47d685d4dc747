package config

import (
	"net/netip"
	"time"

	"cordee/internal/certfile"
	"cordee/internal/tomlfile"
)

// Values of [limits] that are not in the file (docs/adr/0012).
const (
	defaultPerIP      = 4096
	defaultPerNetwork = 8192
	defaultStrangers  = 512
	defaultShareGap   = 2 * time.Millisecond // as stratum has it
	maxPerIP          = 1 << 20
)

// tls reads the certificate of a listener: both files, or none.
func (b *builder) tls(at string, r rawListener, l *Listener) {
	cert, key := at+".tls_cert", at+".tls_key"
	switch {
	case r.TLSCert == "" && b.Has(cert):
		b.Errorf(cert, "must not be empty: leave tls_cert and tls_key out for a port without TLS")
	case r.TLSKey == "" && b.Has(key):
		b.Errorf(key, "must not be empty: leave tls_cert and tls_key out for a port without TLS")
	case r.TLSCert != "" && r.TLSKey == "" && !b.Failed(key):
		b.Errorf(cert, "write tls_key too: the name of the file that holds the certificate's key")
	case r.TLSKey != "" && r.TLSCert == "" && !b.Failed(cert):
		b.Errorf(key, "write tls_cert too: the name of the file that holds the certificate")
	}
	l.TLSCert, l.TLSKey = b.rel(cert, r.TLSCert), b.rel(key, r.TLSKey)
}

// networks reads a list of networks.
func (b *builder) networks(path string, list []string, what string) []netip.Prefix {
	if b.Has(path) && len(list) == 0 {
		b.Errorf(path, "names no network: leave it out, or write one, like [\"10.0.0.0/8\"]")
	}
	var out []netip.Prefix
	for i, s := range list {
		at := tomlfile.Index(path, i)
		p, err := netip.ParsePrefix(s)
		if addr, aerr := netip.ParseAddr(s); err != nil && aerr == nil && addr.Zone() == "" {
			b.Errorf(at, "%q has no length: write %q for this one address", s, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		switch {
		case err != nil:
			b.Errorf(at, "%q is not a network: write address and length, like \"10.0.0.0/8\" or \"2001:db8::/32\"", s)
		case p.Addr().Is4In6():
			b.Errorf(at, "%q is an IPv4 network in IPv6's clothes: write it as IPv4, like \"10.0.0.0/8\"", s)
		case p != p.Masked():
			b.Errorf(at, "%q is an address within a network: write the network, %q", s, p.Masked())
		case p.Bits() == 0:
			b.Errorf(at, "%q is the whole world: %s", s, what)
		default:
			out = append(out, p)
		}
	}
	return out
}

func (b *builder) limits() {
	r := b.raw.Limits
	l := &b.c.Limits
	l.PerIP = int(b.within("limits.per_ip", r.PerIP, 1, maxPerIP))
	l.PerNetwork = int(b.within("limits.per_network", r.PerNetwork, 1, maxPerIP))
	l.StrangersPerIP = int(b.within("limits.strangers_per_ip", r.StrangersPerIP, 1, maxPerIP))
	l.Trusted = b.networks("limits.trusted", r.Trusted, "leave it out and write higher numbers instead")

	if l.ShareGap = time.Duration(r.ShareGap); l.ShareGap > time.Second || l.ShareGap%time.Millisecond != 0 {
		b.Errorf("limits.share_gap", "%v is not within 0s and 1s in whole milliseconds: write \"2ms\", or \"0s\" for no bound", l.ShareGap)
	}

	// What is not in the file follows what is.
	switch {
	case !b.Has("limits.per_network"):
		l.PerNetwork = max(l.PerNetwork, l.PerIP)
	case !b.Has("limits.per_ip") && l.PerNetwork > 0:
		l.PerIP = min(l.PerIP, l.PerNetwork)
	case l.PerNetwork > 0 && l.PerIP > l.PerNetwork:
		b.Errorf("limits.per_ip", "%d is more than per_network, %d (line %d), and would mean nothing", l.PerIP, l.PerNetwork, b.Line("limits.per_network"))
	}
	switch {
	case !b.Has("limits.strangers_per_ip"):
		l.StrangersPerIP = min(l.StrangersPerIP, max(l.PerIP, 1))
	case l.PerIP > 0 && l.StrangersPerIP > l.PerIP:
		b.Errorf("limits.strangers_per_ip", "%d is more than per_ip, %d, and would mean nothing", l.StrangersPerIP, l.PerIP)
	}
}

// checkCertificates reads each listener's pair: what cannot be used is told
// before a port is opened. It is no part of Load: a pair that is just being
// replaced must not keep an operator from asking the running pool.
func checkCertificates(f *tomlfile.File, c *Config) {
	for i, l := range c.Listeners {
		cert, key := tomlfile.Index("listener", i)+".tls_cert", tomlfile.Index("listener", i)+".tls_key"
		if l.TLSCert == "" || l.TLSKey == "" || f.Failed(cert) || f.Failed(key) {
			continue
		}
		if err := secret(l.TLSKey); err != nil {
			f.Errorf(key, "%v", err)
			continue
		}
		if _, err := certfile.Open(l.TLSCert, l.TLSKey, nil); err != nil {
			f.Errorf(cert, "%v", err)
		}
	}
}
