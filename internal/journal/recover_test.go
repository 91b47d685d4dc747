package journal

import (
	"errors"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEndIsEnough: whatever the log is like, reading only its newest segment,
// and older ones up to a job, recovers what reading all of it does, and the next
// epoch is the same.
func TestEndIsEnough(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		disk := newMemFS(1)
		cfg := Config{Dir: "/j", SegmentSize: 8192, FS: disk, Now: func() time.Time { return time.UnixMilli(1) }}
		counter := uint32(0)
		for range rapid.IntRange(1, 5).Draw(r, "epochs") {
			j, rec := open4(t, cfg)
			counter = max(counter, rec.LastCounter)
			for range rapid.IntRange(0, 30).Draw(r, "steps") {
				var tk Ticket
				var err error
				if rapid.IntRange(0, 9).Draw(r, "step") == 0 {
					counter++
					tk, err = j.Append(Receipt{[]byte("r")}, Job{Counter: counter})
				} else {
					tk, err = j.AppendShares(make([]Share, rapid.IntRange(1, 40).Draw(r, "shares")))
				}
				mustWait(t, tk, err)
			}
			if rapid.Bool().Draw(r, "killed") {
				dead := disk.restart(2, rapid.Bool().Draw(r, "power"))
				_ = j.Close() // the machine is off
				disk = dead
				cfg.FS = disk
			} else if err := j.Close(); err != nil {
				r.Fatal(err)
			}
		}
		open := func(bytes int64) (Recovery, map[string]string) {
			cfg := cfg
			copied := disk.restart(3, false)
			disk.dead = false
			cfg.FS, cfg.RecoverBytes = copied, bytes
			j, rec := open4(t, cfg)
			after := contents(copied)
			if err := j.Close(); err != nil {
				r.Fatal(err)
			}
			rec.Took, rec.Candidates, rec.Settled, rec.BadCandidates, rec.Damage = 0, nil, nil, nil, nil
			return *rec, after
		}
		all, wantFiles := open(0)
		end, files := open(1)
		refs, err := listSegments(disk, "/j")
		if err != nil {
			r.Fatal(err)
		}
		if all.Unread != 0 || end.Unread >= len(refs) || counter != 0 && end.LastCounter != counter {
			r.Fatalf("of %d segments %d and %d are unread; counter %d, recovered %d", len(refs), all.Unread, end.Unread, counter, end.LastCounter)
		}
		end.Unread = 0
		if all.CutFile != end.CutFile || all.Epoch != end.Epoch || all.Sealed != end.Sealed || all.LastSeq != end.LastSeq ||
			all.NextCounter != end.NextCounter || all.CutBytes != end.CutBytes || !maps.Equal(files, wantFiles) {
			r.Fatalf("from all %+v, from the end %+v", all, end)
		}
	})
}

// TestUnreadSegments: of segments that Open does not read, a missing one and
// another chain are still refused. What is damaged inside of one is found by
// who reads it.
func TestUnreadSegments(t *testing.T) {
	disk := build(t, true)
	files, _ := layout(t, disk)
	if len(files) < 3 {
		t.Fatal("too few segments to leave one unread")
	}
	cfg := Config{Dir: "/j", Edge: 1, Prefix: 2, FS: disk, SegmentSize: 8192, RecoverBytes: 1}

	other := cfg
	other.Genesis = [32]byte{1}
	if _, _, err := Open(other); !errors.Is(err, ErrForeign) {
		t.Errorf("another chain: %v", err)
	}

	gone := disk.names[files[1]]
	delete(disk.names, files[1])
	_, _, err := Open(cfg)
	if d, ok := errors.AsType[*DamageError](err); !ok || d.File != files[1] {
		t.Errorf("%s is missing: %v", files[1], err)
	}
	disk.names[files[1]] = gone

	gone.cur[headerSize+frameHead+7] ^= 1
	j, rec := open4(t, cfg)
	if rec.Unread < 2 || rec.Epoch != 2 {
		t.Errorf("%+v", rec)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(disk, "/j", nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: %v", err)
	}
	tail := &Tail{fs: disk, dir: "/j"}
	if err := tail.Read(Position{Epoch: 9}, func(*RecordInfo) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("tail: %v", err)
	}
}
