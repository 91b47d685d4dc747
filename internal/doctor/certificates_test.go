package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"cordee/internal/doctor"
)

// A certificate is told of before its time is over, and after; and one that does
// not fit its key before the pool is restarted with it.
func TestCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(30 * 24 * time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "regtest")
	h.replace("cordee.toml", `# tls_cert = "fullchain.pem"`, `tls_cert = "fullchain.pem"`)
	h.replace("cordee.toml", `# tls_key`, `tls_key`)
	h.write("fullchain.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	h.only(doctor.Fail, "certificate :3333", "privkey.pem")
	h.write("privkey.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})))
	if r := h.run(); !r.OK {
		t.Errorf("%+v", r.Checks)
	}
	for left, want := range map[time.Duration]doctor.State{13 * 24 * time.Hour: doctor.Warn, -time.Hour: doctor.Fail} {
		h.opts.Now = func() time.Time { return end.Add(-left) }
		found := false
		for _, c := range h.run().Checks {
			found = found || c.State == want && c.Name == "certificate :3333"
		}
		if !found {
			t.Errorf("%v before its end: %+v", left, h.run().Checks)
		}
	}
}
