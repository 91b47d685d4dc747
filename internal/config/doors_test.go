package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordee/internal/config"
	"cordee/internal/harness"
)

// The files of a TLS listener are looked at before a port is opened.
func TestCertificates(t *testing.T) {
	pair := harness.NewCertificate(t, "pool", time.Now().Add(time.Hour))
	cert, key := pair.PEM, pair.Key
	other := harness.NewCertificate(t, "pool", time.Now().Add(time.Hour)).Key
	for name, c := range map[string]struct {
		cert, key []byte
		mode      os.FileMode
		want      string
	}{
		"good":     {cert, key, 0o640, ""},
		"open key": {cert, key, 0o644, "listener[0].tls_key: "},
		"no key":   {cert, nil, 0, "key.pem does not exist"},
		"no cert":  {nil, key, 0o600, "cert.pem"},
		"others":   {cert, other, 0o600, "private key does not match"},
		"swapped":  {key, cert, 0o600, "listener[0].tls_cert: "},
		"nonsense": {[]byte("x"), key, 0o600, "failed to find any PEM data"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, minimal+"[[listener]]\naddress = \":3443\"\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n")
			dir := filepath.Dir(path)
			for file, b := range map[string][]byte{"cert.pem": c.cert, "key.pem": c.key} {
				if b == nil {
					continue
				}
				full := filepath.Join(dir, file)
				if err := os.WriteFile(full, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if file == "key.pem" {
					if err := os.Chmod(full, c.mode); err != nil {
						t.Fatal(err)
					}
				}
			}
			got, err := config.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			err = got.Check()
			switch {
			case c.want == "":
				if err != nil || got.Listeners[0].TLSCert != filepath.Join(dir, "cert.pem") || got.Listeners[0].TLSKey != filepath.Join(dir, "key.pem") {
					t.Errorf("%+v, %v", got, err)
				}
			case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "cordee.toml:"):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A limit that is not in the file follows one that is.
func TestLimitsFollow(t *testing.T) {
	for text, want := range map[string]config.Limits{
		"per_ip = 100":                   {PerIP: 100, PerNetwork: 8192, StrangersPerIP: 100},
		"per_ip = 10000":                 {PerIP: 10_000, PerNetwork: 10_000, StrangersPerIP: 512},
		"per_network = 300":              {PerIP: 300, PerNetwork: 300, StrangersPerIP: 300},
		"strangers_per_ip = 4096":        {PerIP: 4096, PerNetwork: 8192, StrangersPerIP: 4096},
		"per_ip = 5\nper_network = 5":    {PerIP: 5, PerNetwork: 5, StrangersPerIP: 5},
		"per_network = 5\nper_ip = 1000": {},
	} {
		c, err := config.Parse("cordee.toml", []byte(minimal+"[limits]\n"+text+"\n"))
		if (err != nil) != (want.PerIP == 0) {
			t.Errorf("%q: %v", text, err)
		}
		if l := want; err == nil && (c.Limits.PerIP != l.PerIP || c.Limits.PerNetwork != l.PerNetwork || c.Limits.StrangersPerIP != l.StrangersPerIP) {
			t.Errorf("%q: %+v, want %+v", text, c.Limits, l)
		}
	}
}
