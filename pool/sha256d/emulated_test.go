//go:build linux && amd64

package sha256d_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The arm64 kernel is hand-written and most of us sit before amd64: its tests
// run in qemu, where there is one.
func TestArm64UnderEmulation(t *testing.T) {
	qemu := ""
	for _, name := range []string{"qemu-aarch64-static", "qemu-aarch64"} {
		if path, err := exec.LookPath(name); err == nil {
			qemu = path
		}
	}
	if qemu == "" || testing.Short() {
		t.Skip("needs qemu-aarch64 (apt install qemu-user-static), and the time to build for arm64")
	}
	binary := filepath.Join(t.TempDir(), "sha256d.test")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	for _, c := range []struct{ name, debug string }{{"sha2", ""}, {"crypto/sha256", "cpu.sha2=off"}} {
		cmd := exec.Command(qemu, binary, "-test.v", "-test.short")
		for _, v := range os.Environ() { // a kernel of amd64 may be named there
			if !strings.HasPrefix(v, "CORDEE_SHA256=") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "KERNEL_TEST_WANTS="+c.name, "GODEBUG="+c.debug)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
		for _, want := range []string{"--- PASS: TestVariable", "--- PASS: TestSumLengths/" + c.name, "--- PASS: TestKernelsAgree"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in:\n%s", c.name, want, out)
			}
		}
	}
}
