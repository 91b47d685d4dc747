package journal

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An fdatasync beside us ends, on several files at once, and a file that cannot
// be synced says so: a pipe has no data to keep.
func TestDatasyncBeside(t *testing.T) {
	if a, err := newAIO(); err != nil {
		t.Skipf("this kernel, or what confines us, has none: %v", err)
	} else {
		a.destroy()
	}
	var files sync.WaitGroup
	for i := range 4 {
		files.Go(func() {
			f, err := diskFS{}.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for n := range 20 {
				_, err := f.WriteAt([]byte{byte(i)}, int64(n)<<12)
				if err == nil {
					err = f.(diskFile).DatasyncBeside()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	files.Wait()
	if noAIO.Load() {
		t.Error("the kernel has it, and it was given up")
	}
}

// What the kernel says of an fdatasync is heard.
func TestDatasyncBesideFails(t *testing.T) {
	a, err := newAIO()
	if err != nil {
		t.Skipf("this kernel, or what confines us, has none: %v", err)
	}
	defer a.destroy()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if begun, _, _ := a.sync(uintptr(pipe[1])); begun {
		t.Error("the fdatasync of a pipe was begun")
	}
	full, err := unix.Open("/dev/full", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(full)
	if begun, _, err := a.sync(uintptr(full)); begun && err == nil {
		t.Error("/dev/full was synced")
	}
}

// A context of which it is not known whether its fdatasync ended is not used again:
// the next one would be taken for done when that one is.
func TestDatasyncBesideForgetsWhatFailed(t *testing.T) {
	a, err := newAIO()
	if err != nil {
		t.Skipf("this kernel, or what confines us, has none: %v", err)
	}
	for len(idleAIO) > 0 {
		(<-idleAIO).destroy()
	}
	f, err := diskFS{}.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a.waitFn = func(fd uintptr) bool {
		if a.begun {
			return false // as if it never ended
		}
		over := a.submitAndWait(fd)
		if err := a.event.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
		return over
	}
	idleAIO <- a
	defer noAIO.Store(noAIO.Load())
	if err := f.(diskFile).DatasyncBeside(); err == nil {
		t.Fatal("nobody waited for the fdatasync, and it is said to be done")
	}
	for range 2 {
		if err := f.(diskFile).DatasyncBeside(); err != nil {
			t.Errorf("the next one: %v", err)
		}
	}
}
