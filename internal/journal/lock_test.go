package journal

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A lock is given up by Close although somebody has a copy of its descriptor, as
// a child has while it is being started.
func TestLockIsGivenUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), lockName)
	held, err := diskFS{}.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	childs, err := unix.Dup(int(held.(lockFile).Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(childs)
	if _, err := (diskFS{}).Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	again, err := diskFS{}.Lock(name)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
