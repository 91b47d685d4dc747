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

// kernel is a way to hash one message, two, and many.
type kernel struct {
	name   string
	native bool    // one and two by instructions of our own, else by crypto/sha256
	widths []width // how many side by side, the widest first
}

// code says which function of the assembly hashes a group: Go would let what a
// function value is given escape to the heap.
type code uint8

// width is one size of the groups that Lanes hashes.
type width struct {
	by    code
	lanes int // what a group costs, it costs for any number up to this
	least int // as measured, fewer go faster in the next width, or without lanes
}

// stdlib is the kernel that is always there.
var stdlib = kernel{name: "crypto/sha256"}

// chosen is the kernel in use. Only tests change it once the program runs.
var chosen = choose(os.Getenv(Variable))

// Kernels names what this processor can run, the best first.
func Kernels() []string {
	var names []string
	for _, k := range kernels() {
		names = append(names, k.name)
	}
	return names
}

// Kernel names the implementation in use, for `cordee version` and bug
// reports.
func Kernel() string { return chosen.name }

// choose panics on a name that is not to be had: a test under another kernel
// than the one it names proves nothing.
func choose(name string) kernel {
	all := kernels()
	if name == "" {
		return all[0]
	}
	i := slices.IndexFunc(all, func(k kernel) bool { return k.name == name })
	if i < 0 {
		panic(fmt.Sprintf("%s=%s: no such kernel on this machine; set it to one of %s, or not at all",
			Variable, name, strings.Join(Kernels(), ", ")))
	}
	return all[i]
}
