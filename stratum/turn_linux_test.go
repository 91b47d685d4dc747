package stratum

import (
	"testing"

	"golang.org/x/sys/unix"
)

// counted is a rig of which every read is told.
type counted chan int

func (c counted) read(k *socket, _ bool) {
	var b [64]byte
	for {
		k.fresh()
		n, err := readNow(uintptr(k.fd), b[:])
		if err == nil {
			c <- n
		}
		if (err != nil || n == 0) && k.free() {
			return
		}
	}
}

// What comes while the watch waits wakes it, every time, and so does a stop.
func TestWatchIsWokenEveryTime(t *testing.T) {
	w, err := newWatch()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run()
	}()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := make(counted)
	k, err := w.add(pair[0], c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := unix.Write(pair[1], make([]byte, i+1)); err != nil {
			t.Fatal(err)
		}
		if n := <-c; n != i+1 {
			t.Fatalf("read %d bytes, want %d", n, i+1)
		}
	}
	w.stop()
	if _, err := w.add(pair[1], c); err == nil {
		t.Error("a watch that was stopped took one more")
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	if err := unix.Close(pair[1]); err != nil {
		t.Error(err)
	}
}
