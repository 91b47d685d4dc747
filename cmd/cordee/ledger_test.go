package main

import "testing"

// A block that both looks at a running pool saw outside the ledger is a finding;
// one that came between them is not, and what a stopped pool left waits for its
// start.
func TestWaitingBlocks(t *testing.T) {
	first := &ledgerReport{Running: true}
	first.waiting([]string{"a"}, nil)
	second := &ledgerReport{Running: true}
	second.waiting([]string{"a", "b"}, first)
	stopped := &ledgerReport{}
	stopped.waiting([]string{"a"}, nil)
	for name, c := range map[string]struct {
		r               *ledgerReport
		findings, notes int
	}{"first look": {first, 1, 0}, "second look": {second, 1, 1}, "stopped": {stopped, 0, 1}} {
		if len(c.r.Findings) != c.findings || len(c.r.Notes) != c.notes {
			t.Errorf("%s: findings %v, notes %q", name, c.r.Findings, c.r.Notes)
		}
	}
	if second.Findings[0].What != "a" {
		t.Errorf("found %v", second.Findings)
	}
}
