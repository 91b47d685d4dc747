package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vectors = "../../payout/testdata/pplns-vectors.json"

func TestAuditVectors(t *testing.T) {
	good, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wrong := bytes.Replace(good, []byte(`"B": 117375002`), []byte(`"B": 117375001`), 1)
	unknown := bytes.Replace(good, []byte(`"cut_seq"`), []byte(`"cut_sequence"`), 1)
	const place = "wrong.json: V06-two-blocks-same-window, block 2, credits.B: expected 117375001, naive 117375002"
	for _, c := range []struct {
		name       string
		args       []string
		code       int
		out, error string
	}{
		{"all agree", []string{vectors}, 0, "every value agrees", ""},
		{"twice the file", []string{vectors, vectors}, 0, "every value agrees", ""},
		{"one value is wrong", []string{vectors, file("wrong.json", wrong)}, exitFailed, "differences: 1", place},
		{"an unknown field", []string{file("unknown.json", unknown)}, exitFailed, "", `unknown field "cut_sequence"`},
		{"no such file", []string{filepath.Join(dir, "none.json")}, exitFailed, "", "none.json"},
		{"json behind", []string{vectors, "--json"}, 0, `{"ok":true,`, ""},
		{"a flag of no meaning", []string{vectors, "--fast"}, exitMisuse, "", "--fast"},
		{"no file", nil, exitMisuse, "", "at least one FILE"},
	} {
		var out, complaint bytes.Buffer
		code := run(t.Context(), append([]string{"cordee", "audit", "vectors"}, c.args...), &out, &complaint)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(complaint.String(), c.error) {
			t.Errorf("%s: exit %d, %q, %q", c.name, code, &out, &complaint)
		}
	}
	var out, complaint bytes.Buffer
	code := run(t.Context(), []string{"cordee", "audit", "vectors", "--json", filepath.Join(dir, "wrong.json")}, &out, &complaint)
	var report auditReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || code != exitFailed || report.OK || len(report.Files[0].Differences) != 1 {
		t.Errorf("exit %d, %q, %v", code, &out, err)
	}
}
