package doctor_test

import (
	"testing"
	"time"

	"cordee/internal/doctor"
	"cordee/internal/harness"
)

// A certificate is told of before its time is over, and after; and one that does
// not fit its key before the pool is restarted with it.
func TestCertificates(t *testing.T) {
	end := time.Now().Add(30 * 24 * time.Hour)
	pair := harness.NewCertificate(t, "pool", end)
	h := newHouse(t, "regtest")
	h.replace("cordee.toml", `# tls_cert = "fullchain.pem"`, `tls_cert = "fullchain.pem"`)
	h.replace("cordee.toml", `# tls_key`, `tls_key`)
	h.write("fullchain.pem", string(pair.PEM))
	h.only(doctor.Fail, "certificate :3333", "privkey.pem")
	h.write("privkey.pem", string(pair.Key))
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
