package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestFsyncErrorPoisonsForEver: one failed fdatasync, and nothing is
// acknowledged any more, nothing is retried, though the disk recovered; what
// was durable before stays so.
func TestFsyncErrorPoisonsForEver(t *testing.T) {
	disk := newMemFS(1)
	var fail atomic.Bool
	var calls atomic.Int64
	disk.onSync = func(string) error {
		calls.Add(1)
		if fail.CompareAndSwap(true, false) { // once
			return syscall.EIO
		}
		return nil
	}
	j, _ := open4(t, Config{FS: disk})
	good, err := j.AppendShares(make3(1))
	mustWait(t, good, err)
	fail.Store(true)
	bad, err := j.AppendShares(make3(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Wait(); !errors.Is(err, ErrPoisoned) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "seg-") {
		t.Fatalf("want ErrPoisoned with cause and file, got %v", err)
	}
	before := calls.Load()
	for range 3 {
		if _, err := j.AppendShares(make3(3)); !errors.Is(err, ErrPoisoned) {
			t.Fatalf("append: %v", err)
		}
		if _, err := j.RigNumber(1, "x"); !errors.Is(err, ErrPoisoned) {
			t.Fatalf("rig: %v", err)
		}
		if err := bad.Wait(); !errors.Is(err, ErrPoisoned) {
			t.Fatalf("wait again: %v", err)
		}
	}
	if err := good.Wait(); err != nil {
		t.Errorf("what was durable: %v", err)
	}
	if err := j.Stats().Poisoned; !errors.Is(err, ErrPoisoned) {
		t.Errorf("stats: %v", err)
	}
	if err := j.PutCandidate(testCandidate(testTemplate(t, 1), 1)); err != nil {
		t.Errorf("a block must still be written: %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrPoisoned) {
		t.Errorf("close: %v", err)
	}
	if n := calls.Load(); n != before+1 { // the candidate's own
		t.Errorf("%d fdatasyncs after the failed one", n-before)
	}
	if rep, err := verify(disk, "/j", nil); err != nil || rep.Epochs[0].Sealed {
		t.Errorf("%+v %v", rep, err)
	}
}

// TestFullDiskIsNamed: at start and at the change of a segment.
func TestFullDiskIsNamed(t *testing.T) {
	disk := newMemFS(1)
	var full atomic.Bool
	disk.onAlloc = func(string) error {
		if full.Load() {
			return syscall.ENOSPC
		}
		return nil
	}
	j, _ := open4(t, Config{FS: disk, SegmentSize: 8192})
	full.Store(true)
	err := error(nil)
	acked := uint64(0)
	for i := 0; err == nil && i < 1000; i++ {
		shares := make3(i)
		var tk Ticket
		if tk, err = j.AppendShares(shares); err == nil {
			if err = tk.Wait(); err == nil {
				acked = shares[2].Seq
			}
		}
	}
	if !errors.Is(err, ErrDiskFull) || !errors.Is(err, ErrPoisoned) {
		t.Fatalf("want ErrDiskFull, got %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if _, _, err := Open(Config{Dir: "/j", FS: disk, SegmentSize: 8192}); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("open: %v", err)
	}
	full.Store(false)
	j, rec := open4(t, Config{FS: disk, SegmentSize: 8192})
	if rec.LastSeq != acked || rec.Sealed {
		t.Errorf("acknowledged %d, %+v", acked, rec)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTwoProcessesRefuse: the second names the first.
func TestTwoProcessesRefuse(t *testing.T) {
	dir := t.TempDir()
	j, _ := open4(t, Config{Dir: dir})
	_, _, err := Open(Config{Dir: dir})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(syscall.Getpid())) {
		t.Fatalf("want ErrLocked with the owner, got %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, _ = open4(t, Config{Dir: dir})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.AppendShares(make3(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("close twice: %v", err)
	}
}
