package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemoLosesItsNode: a demo cannot go on without its node, and says so
// instead of waiting.
func TestDemoLosesItsNode(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	var out, errOut output
	cmd := exec.CommandContext(ctx, "cordee", "demo", "--blocks", "1000", "--every", "1s", "--json")
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*patience, "a block of the demo", func() error {
		if !strings.Contains(errOut.String(), "BLOCK ") {
			return errors.New("none yet")
		}
		return nil
	})
	killNode(t, cmd.Process.Pid)
	died := time.Now()
	err := cmd.Wait()
	if took := time.Since(died); took > patience {
		t.Errorf("the demo took %s to see that its node is gone", took)
	}
	var s demoSummary
	if jerr := json.Unmarshal([]byte(lastLine(out.String())), &s); jerr != nil || err == nil || cmd.ProcessState.ExitCode() != exitFailed {
		t.Fatalf("%v, %v\n%s%s", err, jerr, out.String(), errOut.String())
	}
	if s.OK || !strings.Contains(s.Problem, "node") || len(s.Blocks) == 0 {
		t.Errorf("%+v", s)
	}
}

// killNode sends SIGKILL to the child of parent that is neither `cordee serve` nor its
// store.
func killNode(t *testing.T, parent int) {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(parent), "task", "*", "children"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("the tasks of %d: %v, %v", parent, lists, err)
	}
	killed := 0
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that ended since
		}
		for child := range strings.FieldsSeq(string(b)) {
			line, err := os.ReadFile(filepath.Join("/proc", child, "cmdline"))
			if err != nil || strings.Contains(string(line), "\x00serve\x00") || strings.Contains(string(line), "redis-server") {
				continue
			}
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed++
		}
	}
	if killed != 1 {
		t.Fatalf("%d nodes killed, want the one of the demo", killed)
	}
}
