package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// counterGap is added to the job counter after an unclean end: jobs are
// published once written, so a power loss may have dropped the records of the
// last ones. damageGap is the same for segments that could not be read.
const (
	counterGap = 1 << 16
	damageGap  = 1 << 20
)

// Recovery is what Open found.
type Recovery struct {
	Epoch  uint32 // the new one; 1 for a fresh directory
	Sealed bool   // the previous epoch ended cleanly, or there was none
	// LastCounter is the highest job counter in any retained segment, 0 for
	// none.
	LastCounter uint32
	// NextCounter is the first job counter that no rig can have seen: behind
	// LastCounter, with a gap after an unclean end.
	NextCounter uint32
	LastSeq     uint64 // of the previous epoch
	CutBytes    int64  // torn tail that was dropped: nobody was answered for it
	CutFile     string // of it
	Candidates  []Candidate
	// Settled are those with a final result, oldest first.
	Settled []Settled
	// BadCandidates are candidate files that do not hold, by path.
	BadCandidates []string
	Blocks        []BlockRecord  // all block events of retained segments
	Damage        []*DamageError // only with Config.TolerateDamage
	Took          time.Duration
}

// Open locks the directory, recovers what earlier epochs left, and starts a
// new epoch, durable before it returns. Errors: ErrLocked, ErrForeign,
// ErrNewer (nothing was changed), ErrDamaged with a DamageError for each
// range, ErrDiskFull.
func Open(cfg Config) (*Journal, *Recovery, error) {
	if err := cfg.fill(); err != nil {
		return nil, nil, err
	}
	start := cfg.Now()
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, lockName))
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j, rec, err := openLocked(cfg)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("journal: %w", err), lock.Close())
	}
	j.lock = lock
	rec.Took = cfg.Now().Sub(start)
	return j, rec, nil
}

func openLocked(cfg Config) (*Journal, *Recovery, error) {
	rec := &Recovery{Sealed: true}
	if err := recoverSegments(&cfg, rec); err != nil {
		return nil, nil, err
	}
	files, err := openFiles(cfg.FS, cfg.Dir, rec)
	if err != nil {
		return nil, nil, err
	}
	rec.NextCounter = rec.LastCounter + 1
	if !rec.Sealed {
		rec.NextCounter += counterGap
	}
	if len(rec.Damage) != 0 {
		rec.NextCounter += damageGap
	}
	head := header{edge: cfg.Edge, prefix: cfg.Prefix, epoch: rec.Epoch, firstSeq: 1}
	seg, err := createSegment(cfg.FS, cfg.Dir, &head, cfg.SegmentSize)
	if err != nil {
		files.close()
		return nil, nil, fmt.Errorf("segment of the new epoch: %w", diskFull(err))
	}
	j := &Journal{
		cfg: cfg, epoch: rec.Epoch, files: files, seg: seg, head: head,
		off: headerSize, synced: headerSize, nextSeq: 1,
		pending: make([]byte, prefixSize, prefixSize+cfg.MaxPending+2*align),
		spare:   make([]byte, 0, prefixSize+cfg.MaxPending+2*align),
		rigs:    map[rigKey]uint32{},
		names:   map[uint16]int{},
		done:    make(chan struct{}),
	}
	j.work.L, j.room.L, j.written.L, j.durable.L = &j.mu, &j.mu, &j.mu, &j.mu
	j.stats.Epoch = rec.Epoch

	first := Epoch{
		Edge: cfg.Edge, Prefix: cfg.Prefix, Epoch: rec.Epoch,
		When: cfg.Now().UnixMilli(), Genesis: cfg.Genesis, Program: cfg.Program,
	}
	if j.pending, err = appendRecord(j.pending, first); err == nil && len(j.pending) > prefixSize+cfg.MaxPending {
		err = fmt.Errorf("program name of %d bytes: %w", len(cfg.Program), ErrTooLarge)
	}
	if err != nil {
		files.close()
		return nil, nil, errors.Join(err, seg.Close())
	}
	j.appended++
	j.flush()
	j.sync()
	if j.err != nil {
		files.close()
		return nil, nil, errors.Join(j.err, seg.Close())
	}
	go j.commit()
	return j, rec, nil
}

// recoverSegments reads all segments, refuses what it must, and cuts the torn
// tail of the newest.
func recoverSegments(cfg *Config, rec *Recovery) error {
	s := scan{fs: cfg.FS, dir: cfg.Dir}
	s.each = func(r *RecordInfo) error {
		switch r.Kind {
		case KindEpoch:
			return checkEpoch(cfg, r)
		case KindJob:
			rec.LastCounter = max(rec.LastCounter, le.Uint32(r.Body))
		case KindBlock:
			b, err := r.Decode()
			if err != nil {
				return err
			}
			if b, ok := b.(BlockRecord); ok {
				rec.Blocks = append(rec.Blocks, b)
			}
		default:
		}
		return nil
	}
	if err := s.run(); err != nil {
		return err
	}
	for _, e := range s.epochs {
		if !e.Damaged && (e.Edge != cfg.Edge || e.Prefix != cfg.Prefix) {
			return fmt.Errorf("%s holds epochs of edge %d prefix %#02x, configured are edge %d prefix %#02x: %w",
				cfg.Dir, e.Edge, e.Prefix, cfg.Edge, cfg.Prefix, ErrForeign)
		}
	}
	if len(s.damage) != 0 && !cfg.TolerateDamage {
		errs := make([]error, 0, len(s.damage))
		for _, d := range s.damage {
			errs = append(errs, d)
		}
		return errors.Join(errs...)
	}
	rec.Damage = s.damage
	if len(s.epochs) == 0 {
		rec.Epoch = 1
		return nil
	}
	prev := &s.epochs[len(s.epochs)-1]
	rec.Epoch = prev.Epoch + 1
	if rec.Epoch == 0 {
		return errors.New("the epoch counter is used up")
	}
	rec.Sealed, rec.LastSeq = prev.Sealed, prev.LastSeq
	if !s.tail.open || prev.Damaged {
		return nil
	}
	rec.CutBytes = s.tail.torn
	if rec.CutBytes != 0 {
		rec.CutFile = s.path(s.tail.file)
	}
	return cutTail(cfg.FS, s.path(s.tail.file), s.tail.end)
}

// cutTail ends a segment behind its last good frame. From then on every bad
// byte in it is damage.
func cutTail(fs FS, name string, end int64) error {
	f, err := fs.OpenWrite(name)
	if err != nil {
		return err
	}
	size := closedSize(end)
	// Down first: up again from there reads as zeros.
	err = errors.Join(f.Truncate(end), f.Truncate(size), f.Datasync(), f.Close())
	if err != nil {
		return fmt.Errorf("cut %s to %d bytes: %w", name, size, err)
	}
	return nil
}

// checkEpoch refuses a directory of another chain.
func checkEpoch(cfg *Config, r *RecordInfo) error {
	rec, err := r.Decode()
	if err != nil {
		return err
	}
	if e, ok := rec.(Epoch); ok && e.Genesis != cfg.Genesis {
		return fmt.Errorf("%s holds the chain with genesis %s, configured is %s: %w", cfg.Dir, e.Genesis, cfg.Genesis, ErrForeign)
	}
	return nil
}

// isTemporary reports a file that a crash left unfinished.
func isTemporary(name string) bool { return strings.HasSuffix(name, ".tmp") }
