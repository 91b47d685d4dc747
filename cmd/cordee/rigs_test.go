package main

import (
	"strings"
	"testing"
	"time"

	"cordee/internal/web"
)

// What operators read when a rig is missing.
func TestRigsAndCloses(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	old := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = old })
	for _, c := range []struct {
		name  string
		print func(w *strings.Builder)
		want  string
	}{
		{"rigs", func(w *strings.Builder) {
			printRigs(w, web.Rigs{Rigs: []web.Rig{
				{Remote: "203.0.113.9:1", Since: now.Add(-3 * time.Second), Agent: "scanner"},
				{Name: "jura.dole.b", Agent: "bitaxe/1", Class: "default", ClassFrom: "large", Remote: "203.0.113.7:40001", Hashrate: 1.1e12, Difficulty: "4096", Accepted: 7, Rejects: map[string]uint64{"stale": 2}, LastShare: now.Add(-9 * time.Second), Since: now.Add(-26 * time.Hour)},
				{Name: "jura.dole.a", Agent: "x", Class: "large", Remote: "203.0.113.7:40002", Since: now.Add(-200 * time.Millisecond)},
			}}, "", now)
		}, `
rig              hashrate  difficulty   shares  rejects  last share  here for  class                      from               agent
jura.dole.a      0 H/s     no work yet  0       none     never       200ms     large                      203.0.113.7:40002  x
jura.dole.b      1.1 TH/s  4096         7       stale 2  9s ago      1d2h00m   default (down from large)  203.0.113.7:40001  bitaxe/1
(not signed in)                                                      3s                                   203.0.113.9:1      scanner
2 signed in, 1.1 TH/s
`},
		{"no rigs", func(w *strings.Builder) { printRigs(w, web.Rigs{}, "jura", now) }, "\nno rig of member jura is connected\n"},
		{"closes", func(w *strings.Builder) {
			printCloses(w, web.Closes{Closes: []web.Close{
				{At: now, Reason: "hangup", Remote: "10.0.0.2:5", Age: 0.0021, Times: 4711},
				{At: now.Add(-time.Minute), Reason: "denied", Remote: "203.0.113.9:1", Agent: "cgminer/4.11.1", Refused: "jurra.dole.c", Age: 12, Times: 1},
				{At: now.Add(-time.Hour), Reason: "slow_reader", Remote: "203.0.113.7:9", Name: "jura.dole.a", Refused: "other", Agent: "x", Shares: 7, Age: 7200, Times: 1},
			}})
		}, `
closed                   reason        after  shares  from           name                   agent
2026-03-01 12:00:00 UTC  hangup ×4711  2ms    0       10.0.0.2:5                            
2026-03-01 11:59:00 UTC  denied        12s    0       203.0.113.9:1  refused: jurra.dole.c  cgminer/4.11.1
2026-03-01 11:00:00 UTC  slow_reader   2h00m  7       203.0.113.7:9  jura.dole.a            x
`},
		{"status", func(w *strings.Builder) {
			printStatus(w, web.Status{Network: "main", Working: 3, Connections: 5, Hashrate: 1e15, Started: now, Certificates: []web.Certificate{{Listener: ":3443", NotAfter: time.Now().Add(-time.Hour)}}})
		}, ""},
	} {
		var w strings.Builder
		c.print(&w)
		got := "\n" + w.String()
		if c.want != "" && got != c.want {
			t.Errorf("%s:%s\nwant:%s", c.name, got, c.want)
		}
		for _, want := range []string{"3 connected, 1 PH/s; 2 more have not signed in", "the certificate of :3443 is not valid any more"} {
			if c.want == "" && !strings.Contains(got, want) {
				t.Errorf("%s: no %q in %s", c.name, want, got)
			}
		}
	}
}
