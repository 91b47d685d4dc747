package sha256d

import (
	"testing"
	"unsafe"
)

// Choose is what the environment variable is given to.
func Choose(name string) (kernel string) { return choose(name).name }

// Widths returns how many messages Lanes takes at once under the kernel in use.
func Widths() (lanes []int) {
	for _, w := range chosen.widths {
		lanes = append(lanes, w.lanes)
	}
	return lanes
}

// LanesAt returns Lanes that end where memory does, its messages where data
// does: room for MaxLanes of as many blocks as that holds. Neither may be of the
// heap, which looks for no pointers there.
func LanesAt(memory, data []byte) *Lanes {
	l := (*Lanes)(unsafe.Pointer(&memory[len(memory)-int(unsafe.Sizeof(Lanes{}))]))
	*l = Lanes{data: data}
	return l
}

// EachKernel runs f once under every kernel of this machine. Not beside other
// tests of this package.
func EachKernel(f func(kernel string)) {
	before := chosen
	defer func() { chosen = before }()
	for _, name := range Kernels() {
		chosen = choose(name)
		f(name)
	}
}

// UnderEachKernel is EachKernel with a subtest of each.
func UnderEachKernel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	EachKernel(func(kernel string) { t.Run(kernel, f) })
}
