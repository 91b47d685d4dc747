package main

import (
	"encoding/json"
	"testing"

	"cordee/pool"
)

// TestDemo: what a newcomer runs first ends well, and its last line says so to
// programs.
func TestDemo(t *testing.T) {
	t.Parallel()
	out, errOut, code := cordee(t, "demo", "--blocks", "3", "--every", "2s", "--json")
	var s demoSummary
	if err := json.Unmarshal([]byte(lastLine(out)), &s); err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errOut)
	}
	if !s.OK || s.Problem != "" || len(s.Blocks) < 3 || s.Rigs != 12 || s.Shares == 0 || s.Node == "" {
		t.Errorf("%+v", s)
	}
	on := 0
	for _, b := range s.Blocks {
		if b.OnChain {
			on++
		}
	}
	if on < 3 {
		t.Errorf("%d of the demo's blocks are on the chain: %+v", on, s.Blocks)
	}
	for name, n := range s.Answers {
		if n > 0 && name != pool.Accepted.Name() && name != "uncredited" && name != pool.Stale.Name() {
			t.Errorf("the demo's rigs heard %s %d times", name, n)
		}
	}
	if s.FirstRig.Count == 0 || s.Directory != "" {
		t.Errorf("latency of %d tips, directory %q", s.FirstRig.Count, s.Directory)
	}
}
