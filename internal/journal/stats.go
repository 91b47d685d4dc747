package journal

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// SyncBounds are the upper bounds of Stats.SyncBuckets; a last bucket holds
// what is slower.
var SyncBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	1 * time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond,
	16 * time.Millisecond, 32 * time.Millisecond, 64 * time.Millisecond,
	125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// Stats are counts since Open.
type Stats struct {
	Epoch   uint32
	Segment uint32 // number of the one in use
	Seq     uint64 // last credited share
	Records uint64 // appended
	Frames  uint64 // written
	Bytes   uint64 // of frames
	Rigs    int    // names in this epoch
	Pending int    // bytes not yet written

	Commits     uint64 // fdatasyncs of the log
	SyncSum     time.Duration
	SyncMax     time.Duration
	SyncBuckets [len(SyncBounds) + 1]uint64

	Rotations uint64 // changes to a next segment
	Prepared  uint64 // of them, those that found it prepared
	RotateSum time.Duration
	RotateMax time.Duration // for so long no frame was written
	// Unprepared counts next segments that could not be prepared, and finished
	// ones that could not be cut. Neither loses anything: a commit waits longer.
	Unprepared uint64

	// FilesUnsynced counts templates and candidates whose background fsync
	// was skipped or failed.
	FilesUnsynced uint64
	FreeBytes     uint64 // on the disk; 0 where it cannot be told
	Poisoned      error  // ErrPoisoned with its cause, nil while all is well
}

func (s *Stats) addSync(took time.Duration) {
	s.Commits++
	s.SyncSum += took
	s.SyncMax = max(s.SyncMax, took)
	i := 0
	for i < len(SyncBounds) && took > SyncBounds[i] {
		i++
	}
	s.SyncBuckets[i]++
}

func (s *Stats) addRotation(segment uint32, ready bool, took time.Duration) {
	s.Segment = segment
	s.Rotations++
	if ready {
		s.Prepared++
	}
	s.RotateSum += took
	s.RotateMax = max(s.RotateMax, took)
}

// Stats returns the counts now. It asks the file system for its free bytes, so
// it is for a scrape, not for a hot path.
func (j *Journal) Stats() Stats {
	free, err := j.cfg.FS.Free(j.cfg.Dir)
	if err != nil {
		free = 0
	}
	j.mu.Lock()
	s := j.stats
	s.Seq, s.Rigs, s.Pending, s.Poisoned = j.seq, len(j.rigs), len(j.pending)-prefixSize, j.err
	j.mu.Unlock()
	s.FilesUnsynced = j.files.dropped.Load() + j.files.failed.Load()
	s.Unprepared = j.ahead.failures()
	s.FreeBytes = free
	return s
}

// Epoch returns the epoch that Open began.
func (j *Journal) Epoch() uint32 { return j.epoch }

// diskFull gives a full disk its name.
func diskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
