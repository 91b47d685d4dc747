package sha256d

import "testing"

// Choose is what the environment variable is given to.
var Choose = choose

// EachKernel runs f once under every kernel of this machine. Not beside other
// tests of this package.
func EachKernel(f func(kernel string)) {
	chosen := native
	defer func() { native = chosen }()
	for _, name := range Kernels() {
		native = choose(name)
		f(name)
	}
}

// UnderEachKernel is EachKernel with a subtest of each.
func UnderEachKernel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	EachKernel(func(kernel string) { t.Run(kernel, f) })
}
