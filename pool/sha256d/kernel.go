package sha256d

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Variable is the environment variable that names the kernel to use, for tests
// and for whoever mistrusts the one chosen.
const Variable = "CORDEE_SHA256"

// stdlib names the kernel that is always there.
const stdlib = "crypto/sha256"

// native says that this architecture's own kernel is in use. Only tests change
// it once the program runs.
var native = choose(os.Getenv(Variable))

// Kernels names what this processor can run, the best first.
func Kernels() []string {
	if supported() {
		return []string{nativeName, stdlib}
	}
	return []string{stdlib}
}

// Kernel names the implementation in use, for `cordee version` and bug
// reports.
func Kernel() string {
	if native {
		return nativeName
	}
	return stdlib
}

// choose panics on a name that is not to be had: a test under another kernel
// than the one it names proves nothing.
func choose(name string) (native bool) {
	all := Kernels()
	if name == "" {
		name = all[0]
	}
	if !slices.Contains(all, name) {
		panic(fmt.Sprintf("%s=%s: no such kernel on this machine; set it to one of %s, or not at all",
			Variable, name, strings.Join(all, ", ")))
	}
	return name == nativeName
}
