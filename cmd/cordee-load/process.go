package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is a server whose cost is measured; 0 measures none.
type process int

// check says whether the process can be looked at.
func (p process) check() error {
	if p == 0 {
		return nil
	}
	if p < 0 {
		return fmt.Errorf("--pid %d: give the process id of the server", p)
	}
	if _, err := p.cpu(); err != nil {
		return fmt.Errorf("--pid %d: %w: give the id of a running process, on Linux", p, err)
	}
	return nil
}

// cpu returns the processor time that the process has used, user and system, of
// all its threads. The kernel rounds it to 10 ms.
func (p process) cpu() (time.Duration, error) {
	if p == 0 {
		return 0, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
	if err != nil {
		return 0, err
	}
	// The name before may hold anything, also a parenthesis.
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 13 {
		return 0, errors.New("/proc/PID/stat is not as Linux writes it")
	}
	user, err1 := strconv.ParseUint(f[11], 10, 63)
	system, err2 := strconv.ParseUint(f[12], 10, 63)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2) // in USER_HZ
}

// rss returns the bytes of memory that the process has in use.
func (p process) rss() (uint64, error) {
	if p == 0 {
		return 0, nil
	}
	// The first is exact, and only its owner may read it.
	for _, name := range []string{"smaps_rollup", "status"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p, name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && (f[0] == "Rss:" || f[0] == "VmRSS:") {
				kib, err := strconv.ParseUint(f[1], 10, 53)
				return kib << 10, err
			}
		}
	}
	return 0, fmt.Errorf("/proc/%d has no figure of its memory: does it still run?", p)
}
