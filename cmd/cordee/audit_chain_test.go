package main

import (
	"strings"
	"testing"

	"cordee/internal/audit"
)

// TestAuditSaysWhatIsNotCovered: blocks whose shares are gone do not read as
// recomputed.
func TestAuditSaysWhatIsNotCovered(t *testing.T) {
	var out strings.Builder
	printAudit(&out, &audit.Report{OK: true, Slots: 9, Missing: 4, Uncovered: 1, Blocks: []audit.Block{
		{Height: 7, Agree: true}, {Height: 8, Agree: true, Covered: true},
	}})
	for _, want := range []string{"no longer covered\n", "agrees\n", "the first 4 slots: 1 blocks are no longer covered", "every satoshi that can be recomputed agrees"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}
