package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

var eventName = regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)

// logLines parses the pool's log, all runs of it. Each line must be one JSON
// object with level, time and an event named area.what, and fields in ms must
// be numbers: what an operator's tools rely on. A last line without its end is
// one being written, or the last word of a killed run.
func (p *testPool) logLines() []map[string]any {
	p.t.Helper()
	text := p.log()
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	var lines []map[string]any
	for i, line := range strings.Split(text, "\n") {
		var v map[string]any
		d := json.NewDecoder(bytes.NewReader([]byte(line)))
		if err := d.Decode(&v); err != nil || d.More() {
			p.t.Fatalf("line %d of the log is not one JSON object: %v: %q", i+1, err, line)
		}
		for _, key := range []string{"level", "time", "event"} {
			if s, ok := v[key].(string); !ok || s == "" {
				p.t.Fatalf("line %d of the log has no %s: %s", i+1, key, line)
			}
		}
		if event, _ := v["event"].(string); !eventName.MatchString(event) {
			p.t.Errorf("event %q is not named area.what: %s", event, line)
		}
		for key, value := range v {
			if _, ok := value.(float64); strings.HasSuffix(key, "_ms") && !ok {
				p.t.Errorf("%s is not a number: %s", key, line)
			}
		}
		lines = append(lines, v)
	}
	return lines
}

// awaitLogged waits for n log lines of one event, and returns them. What the pool
// has logged is written a moment later: nothing in it waits for its log.
func (p *testPool) awaitLogged(event string, n int) (found []map[string]any) {
	p.t.Helper()
	eventually(p.t, patience, event+" in the log", func() error {
		if found = p.logged(event); len(found) < n {
			return fmt.Errorf("%d of %d", len(found), n)
		}
		return nil
	})
	return found
}

// logged returns the log lines of one event, oldest first.
func (p *testPool) logged(event string) []map[string]any {
	p.t.Helper()
	var found []map[string]any
	for _, l := range p.logLines() {
		if l["event"] == event {
			found = append(found, l)
		}
	}
	return found
}
