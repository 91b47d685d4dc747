package stratum

import (
	"testing"
	"unsafe"
)

// One byte more, and each rig costs 128.
func TestSessionFitsItsSizeClass(t *testing.T) {
	if n := unsafe.Sizeof(session{}); n > 1024 {
		t.Errorf("%d bytes, of 1024", n)
	}
}
