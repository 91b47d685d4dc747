package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"cordee/internal/doctor"
	"cordee/internal/sandbox"
)

// TestDoctorBesidePool: the doctor looks while the pool mines, and sees that it
// does; killed, it leaves a socket that is nobody's.
func TestDoctorBesidePool(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: easy})
	look := func() map[string]doctor.Check {
		t.Helper()
		out, errOut, code := cordee(t, "doctor", "--json", "-c", p.config)
		var r doctor.Report
		if err := json.Unmarshal([]byte(lastLine(out)), &r); err != nil || (code == 0) != r.OK {
			t.Fatalf("exit %d, %v\n%s%s", code, err, out, errOut)
		}
		checks := map[string]doctor.Check{}
		for _, c := range r.Checks {
			checks[c.Name] = c
			if c.State == doctor.Fail {
				t.Errorf("%+v", c)
			}
		}
		return checks
	}
	checks := look()
	if c := checks["pool"]; !strings.HasPrefix(c.Text, "it runs on regtest") {
		t.Errorf("%+v", c)
	}
	if c := checks["pool: template"]; c.State != doctor.Good {
		t.Errorf("%+v", c)
	}
	if c := checks["journal"]; !strings.Contains(c.Text, "being written") {
		t.Errorf("%+v", c)
	}
	// What a real Core keeps free, 8000 where nobody asks for more, is enough for
	// the default class and not for large, which no rig mines here yet; btcd does not tell.
	if c := checks["node n0: reserved weight"]; n.Kind == sandbox.Core && (c.State != doctor.Warn || !strings.Contains(c.Do, "26368")) ||
		n.Kind != sandbox.Core && c.State != doctor.Unknown {
		t.Errorf("%+v", c)
	}
	p.kill()
	checks = look()
	if c := checks["pool"]; !strings.HasPrefix(c.Text, "none is running") {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(p.dataDir() + "/cordee.sock"); err != nil {
		t.Errorf("a killed pool takes its socket along: %v", err)
	}
	if c := checks["journal"]; !strings.Contains(c.Text, "not sealed") {
		t.Errorf("%+v", c)
	}
}
