package doctor

import (
	"time"

	"cordee/internal/certfile"
	"cordee/internal/config"
)

// expiryNear is when a certificate should long have been renewed.
const expiryNear = 14 * 24 * time.Hour

// certificates looks at what TLS listeners serve, or would after a restart.
func (r *Report) certificates(o *Options, cfg *config.Config) {
	for _, l := range cfg.Listeners {
		if l.TLSCert == "" || l.TLSKey == "" {
			continue
		}
		name := "certificate " + l.Address
		const renew = "renew it: rigs that check it stay away; a running pool takes the new one by itself"
		p, err := certfile.Open(l.TLSCert, l.TLSKey, nil)
		if err != nil {
			r.add(name, Fail, "put the certificate and its own key there; a running pool keeps its old pair, but cannot start again", "%v", err)
			continue
		}
		end, left := p.NotAfter().UTC().Format(time.DateOnly), p.NotAfter().Sub(o.Now())
		switch {
		case left <= 0:
			r.add(name, Fail, renew, "%s: its time was over on %s", l.TLSCert, end)
		case left < expiryNear:
			r.add(name, Warn, renew, "%s: its time is over on %s", l.TLSCert, end)
		default:
			r.good(name, "%s: good until %s", l.TLSCert, end)
		}
	}
}
