package journal

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// What the quick look says of a sound journal is what the full one says.
func TestVerifyTail(t *testing.T) {
	for _, seal := range []bool{true, false} {
		disk := build(t, seal)
		full, err := verify(disk, "/j", nil)
		if err != nil {
			t.Fatal(err)
		}
		quick, err := verifyTail(disk, "/j")
		if err != nil || len(quick.Epochs) != 1 {
			t.Fatalf("%+v, %v", quick, err)
		}
		q, f := quick.Epochs[0], full.Epochs[len(full.Epochs)-1]
		if q.LastSeq != f.LastSeq || q.Epoch != f.Epoch || q.Sealed != f.Sealed || q.Edge != f.Edge || q.Prefix != f.Prefix ||
			q.Live != f.Live || quick.TailFile != full.TailFile || quick.TailEnd != full.TailEnd || quick.TailBytes != full.TailBytes {
			t.Errorf("quick %+v\nfull  %+v", quick, full)
		}
	}
	if rep, err := verifyTail(newMemFS(1), "/j"); err != nil || len(rep.Epochs) != 0 {
		t.Errorf("empty: %+v, %v", rep, err)
	}
}

// It names damage of every header, of the newest segment, and a missing file;
// the inside of older segments is the full one's.
func TestVerifyTailDamage(t *testing.T) {
	files, _ := layout(t, build(t, true))
	newest := files[len(files)-1]
	for _, file := range files {
		for _, at := range []int{8, 60, headerSize + 40} {
			disk := build(t, true)
			disk.names[file].cur[at] ^= 1
			rep, err := verifyTail(disk, "/j")
			seen := errors.Is(err, ErrDamaged)
			if want := at < headerSize || file == newest; seen != want {
				t.Errorf("%s byte %d: %v, want damage %t", file, at, err, want)
			}
			if seen && rep.Damage[0].File != file {
				t.Errorf("%s byte %d: named %s", file, at, rep.Damage[0].File)
			}
		}
	}
	for i, file := range files[:len(files)-1] {
		disk := build(t, true)
		delete(disk.names, file)
		rep, err := verifyTail(disk, "/j")
		// The oldest files may be deleted; a hole is a loss.
		if i == 0 {
			if err != nil {
				t.Errorf("the oldest is gone: %v", err)
			}
			continue
		}
		if len(rep.Damage) != 1 || !strings.Contains(rep.Damage[0].File, filepath.Base(file)) {
			t.Errorf("%s is gone: %+v, %v", file, rep.Damage, err)
		}
	}
	disk := build(t, true)
	disk.names[files[0]].cur[7]++
	disk.names[files[0]].cur = resign(disk.names[files[0]].cur)
	if _, err := verifyTail(disk, "/j"); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer file: %v", err)
	}
}

// resign makes the header's checksum hold again.
func resign(b []byte) []byte {
	le.PutUint32(b[60:], crcOf(b[:60]))
	return b
}
