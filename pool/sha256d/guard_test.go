//go:build linux

package sha256d_test

import (
	"syscall"
	"testing"
	"unsafe"

	"cordee/pool/sha256d"
)

// guarded returns memory that ends where the next byte is not to be touched,
// and begins behind another such page.
func guarded(t *testing.T) []byte {
	page := syscall.Getpagesize()
	m, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	for _, at := range []int{0, 2 * page} {
		if err := syscall.Mprotect(m[at:at+page], syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return m[page : 2*page]
}

// No kernel reads before or behind what it was given: here that is a crash.
func TestReadsNoFurther(t *testing.T) {
	memory := guarded(t)
	sha256d.UnderEachKernel(t, func(*testing.T) {
		for n := range 300 {
			for _, msg := range [][]byte{memory[:n], memory[len(memory)-n:]} {
				m := sha256d.NewMidstate(msg)
				sha256d.Sum(msg)
				m.Sum(msg)
				sha256d.SumPair(&m, &m, msg, msg)
				if n >= 32 {
					branches := unsafe.Slice((*[32]byte)(msg), n/32)
					sha256d.Fold([32]byte{}, branches)
					sha256d.FoldPair([2][32]byte{}, branches, branches)
				}
			}
		}
	})
}

// Nor do lanes, nor do they write behind what is theirs.
func TestLanesReachNoFurther(t *testing.T) {
	memory, messages, tree := guarded(t), guarded(t), guarded(t)
	var none sha256d.Midstate
	sha256d.UnderEachKernel(t, func(t *testing.T) {
		for _, most := range sha256d.Widths() {
			for off := range 8 { // where the frame lies within 64 bytes
				end := len(memory) - 8*off
				l := sha256d.LanesAt(memory[:end], messages)
				blocks := len(messages) / 64 / sha256d.MaxLanes
				for n := range 5 {
					for range most {
						l.Add(&none, make([]byte, 64*blocks-9))
					}
					var branches [][32]byte
					if n > 0 { // up to the very end
						branches = unsafe.Slice((*[32]byte)(tree[len(tree)-32*n:]), n)
					}
					l.Fold(branches)
					for _, b := range memory[end:] {
						if b != 0 {
							t.Fatalf("lanes wrote behind themselves: %x", memory[end:])
						}
					}
				}
			}
		}
	})
}
