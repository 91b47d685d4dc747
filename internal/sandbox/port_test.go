package sandbox

import (
	"net"
	"testing"
)

// TestPortsAreGivenOnce: two processes have no port in common, and one is given no
// port again that a child of its own may return to.
func TestPortsAreGivenOnce(t *testing.T) {
	a, b := takeLane(), takeLane()
	for _, l := range []*lane{a, b} {
		if l.guard == nil {
			t.Skip("every lane has its process: nothing is promised")
		}
		defer l.guard.Close()
	}
	given := map[string]bool{}
	for range laneSize / 4 {
		for _, l := range []*lane{a, b} {
			address, err := l.free()
			if err != nil {
				t.Fatal(err)
			}
			if given[address] {
				t.Fatalf("%s was given twice", address)
			}
			given[address] = true
		}
	}

	held, err := net.Listen("tcp", loopback(a.first+a.next))
	if err != nil {
		t.Skip(err) // somebody else is quicker than we are
	}
	defer held.Close()
	if address, err := a.free(); err != nil || address == held.Addr().String() {
		t.Errorf("%s, %v: somebody listens there", address, err)
	}
}
