package journal

import (
	"errors"
	"fmt"
	"testing"
)

// Rig names are free: one member's, or all parked strangers', must not use up
// the numbers of everybody else.
func TestRigNamesOfOneMember(t *testing.T) {
	j, _ := open4(t, Config{FS: newMemFS(1), MaxRigs: 64})
	take := func(member uint16) (n int) {
		for n < 100 {
			if _, err := j.RigNumber(member, fmt.Sprintf("a.b.r%d", n)); errors.Is(err, ErrTooManyRigs) {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for member, want := range []int{16, 16, 16, 16, 0} { // a quarter each, then all are given
		if n := take(uint16(member)); n != want {
			t.Errorf("member %d got %d names, want %d", member, n, want)
		}
	}
	if n, err := j.RigNumber(0, "a.b.r3"); n != 4 || err != nil {
		t.Errorf("a name that has its number: %d, %v", n, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
