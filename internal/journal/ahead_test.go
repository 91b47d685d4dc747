package journal

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// isNext reports a file that was made ahead, under the name it was made with.
func isNext(name string) bool { return strings.Contains(name, "/next-") }

// filled writes to j, one commit after another, until more than three quarters
// of the segment are full, or it changed.
func filled(t *testing.T, j *Journal) {
	t.Helper()
	for segment := j.stats.Segment; j.off <= j.cfg.SegmentSize/4*3 && j.stats.Segment == segment; {
		tk, err := j.AppendShares(make3(1))
		mustWait(t, tk, err)
	}
}

// changed writes to j until its segment changes.
func changed(t *testing.T, j *Journal) {
	t.Helper()
	for segment := j.Stats().Segment; j.Stats().Segment == segment; {
		tk, err := j.AppendShares(make3(1))
		mustWait(t, tk, err)
	}
}

func checkWhole(t *testing.T, disk *memFS, shares uint64) {
	t.Helper()
	found, err := seqs(t, disk)
	if err != nil || uint64(len(found)) != shares {
		t.Errorf("%d shares found, %d answered, %v", len(found), shares, err)
	}
	for name := range disk.names {
		if isTemporary(name) {
			t.Errorf("%s is left", name)
		}
	}
}

// TestNextSegmentIsPrepared: once the segment is three quarters full the next
// one is made beside it, so no commit makes one; the old one is cut later.
func TestNextSegmentIsPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		var mu sync.Mutex
		var made []string
		disk.onAlloc = func(name string) error {
			mu.Lock()
			defer mu.Unlock()
			made = append(made, name)
			return nil
		}
		j, _ := open4(t, Config{FS: disk, SegmentSize: 16384})
		for range 4 {
			filled(t, j)
			synctest.Wait()
			changed(t, j)
		}
		synctest.Wait()
		s := j.Stats()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if s.Rotations != 4 || s.Prepared != 4 || s.Unprepared != 0 {
			t.Errorf("%+v", s)
		}
		for _, name := range made[1:] {
			if !isNext(name) {
				t.Errorf("a commit made %s", name)
			}
		}
		for name, f := range disk.names {
			if strings.HasSuffix(name, ".cj") && len(f.cur)%pageSize == 0 {
				t.Errorf("%s was not cut", name)
			}
		}
		checkWhole(t, disk, s.Seq)
	})
}

// TestNoNextSegmentIsNoLoss: a file that cannot be prepared or cut poisons
// nothing: commits go on, over several segments, and all of it holds.
func TestNoNextSegmentIsNoLoss(t *testing.T) {
	for name, set := range map[string]func(disk *memFS){
		"disk full": func(disk *memFS) {
			disk.onAlloc = func(name string) error {
				if isNext(name) {
					return syscall.ENOSPC
				}
				return nil
			}
		},
		"fdatasync fails": func(disk *memFS) {
			disk.onSync = func(name string) error {
				if isNext(name) {
					return syscall.EIO
				}
				return nil
			}
		},
		"write fails": func(disk *memFS) {
			disk.onWrite = func(name string) error {
				if isNext(name) {
					return syscall.EIO
				}
				return nil
			}
		},
		"cut fails": func(disk *memFS) {
			disk.onCut = func(string) error { return syscall.EIO }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newMemFS(1)
				set(disk)
				cfg := Config{FS: disk, SegmentSize: 8192}
				j, _ := open4(t, cfg)
				for range 3 {
					filled(t, j)
					synctest.Wait()
					changed(t, j)
				}
				synctest.Wait()
				s := j.Stats()
				if s.Poisoned != nil || s.Rotations != 3 || s.Unprepared < 3 {
					t.Errorf("%+v", s)
				}
				dead := disk.restart(2, true)
				_ = j.Close() // the machine is off
				cfg.FS = dead
				j, rec := open4(t, cfg)
				if rec.LastSeq != s.Seq {
					t.Errorf("answered %d shares, recovered %d", s.Seq, rec.LastSeq)
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				checkWhole(t, dead, s.Seq)
			})
		})
	}
}

// TestHeaderErrorPoisons: a prepared file whose header cannot be made durable
// takes no frame, and nothing more is answered.
func TestHeaderErrorPoisons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		var mu sync.Mutex // one is prepared while another begins
		syncs := map[string]int{}
		disk.onSync = func(name string) error {
			mu.Lock()
			defer mu.Unlock()
			if isNext(name) {
				if syncs[name]++; syncs[name] == 3 { // reserved and filled before
					return syscall.EIO
				}
			}
			return nil
		}
		cfg := Config{FS: disk, SegmentSize: 8192}
		j, _ := open4(t, cfg)
		filled(t, j)
		synctest.Wait()
		var err error
		acked := j.Stats().Seq
		for err == nil {
			shares := make3(1)
			var tk Ticket
			if tk, err = j.AppendShares(shares); err == nil {
				if err = tk.Wait(); err == nil {
					acked = shares[2].Seq
				}
			}
		}
		if !errors.Is(err, ErrPoisoned) || !errors.Is(err, syscall.EIO) {
			t.Errorf("want poison, got %v", err)
		}
		if err := j.Close(); !errors.Is(err, ErrPoisoned) {
			t.Error(err)
		}
		checkWhole(t, disk, acked)
	})
}

// TestStalledPreparationStopsNoCommit: while the next segment's file hangs,
// commits make their own, and what comes of it late is the one after.
func TestStalledPreparationStopsNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		release := make(chan struct{})
		disk.onAlloc = func(name string) error {
			if isNext(name) {
				<-release
			}
			return nil
		}
		j, _ := open4(t, Config{FS: disk, SegmentSize: 8192})
		for range 7 { // more than ended holds
			changed(t, j)
		}
		if s := j.Stats(); s.Prepared != 0 {
			t.Errorf("%+v", s)
		}
		close(release)
		synctest.Wait()
		changed(t, j)
		s := j.Stats()
		if s.Prepared != 1 || s.Unprepared != 0 {
			t.Errorf("%+v", s)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		checkWhole(t, disk, s.Seq)
	})
}

// TestCrashWithAPreparedSegment: prepared and not used, it is taken away by the
// next start, whether power was lost or not.
func TestCrashWithAPreparedSegment(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			disk := newMemFS(seed)
			cfg := Config{FS: disk, SegmentSize: 8192}
			j, _ := open4(t, cfg)
			filled(t, j)
			synctest.Wait()
			acked := j.Stats().Seq
			if j.ahead.ready == nil {
				t.Fatal("nothing is prepared")
			}
			dead := disk.restart(seed, seed%2 == 0)
			_ = j.Close() // the machine is off
			cfg.FS = dead
			j, rec := open4(t, cfg)
			if rec.LastSeq != acked || rec.CutBytes != 0 {
				t.Errorf("answered %d, recovered %+v", acked, rec)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			checkWhole(t, dead, acked)
		})
	}
}
