package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
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
	// LastCounter is the highest job counter in the log, 0 for none.
	LastCounter uint32
	// NextCounter is the first job counter that no rig can have seen: behind
	// LastCounter, with a gap after an unclean end.
	NextCounter uint32
	LastSeq     uint64 // of the previous epoch
	// Workers has, of each member index whose shares were read, the full name of
	// the rig that came last.
	Workers    map[uint16]string
	Unread     int    // older segments that are there by name, and were not read
	CutBytes   int64  // torn tail that was dropped: nobody was answered for it
	CutFile    string // of it
	Candidates []Candidate
	// Settled are those with a final result, oldest first.
	Settled []Settled
	// BadCandidates are candidate files that do not hold, by path.
	BadCandidates []string
	Damage        []*DamageError // only with Config.TolerateDamage
	Took          time.Duration
}

// Open locks the directory, recovers what earlier epochs left, and starts a
// new epoch, durable before it returns. Its time is bounded: of a long log it
// reads the newest segments, RecoverBytes or more, and of older ones the names;
// who reads those (a Tail, Verify) finds what is damaged in them. Errors:
// ErrLocked, ErrForeign, ErrNewer (nothing was changed), ErrDamaged with a
// DamageError for each range, ErrDiskFull.
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
		askAt:   cfg.SegmentSize / 4 * 3,
		ahead:   newAhead(cfg.FS, cfg.Dir, cfg.SegmentSize),
		crowd:   make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	j.work.L, j.room.L, j.written.L = &j.mu, &j.mu, &j.mu
	j.durable[0].L, j.durable[1].L, j.news.L = &j.mu, &j.mu, &j.mu
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
	j.sync(false)
	if j.err != nil {
		files.close()
		return nil, nil, errors.Join(j.err, seg.Close())
	}
	go j.ahead.run()
	go j.commit()
	j.startTelling()
	return j, rec, nil
}

// recoverSegments reads the end of the log, refuses what it must, and cuts the
// torn tail of the newest segment. Where no job stands in what it read it reads
// twice as much: counters only go up, so the newest job has the highest.
func recoverSegments(cfg *Config, rec *Recovery) error {
	refs, err := listSegments(cfg.FS, cfg.Dir)
	if err != nil {
		return err
	}
	var s *scan
	for budget := cfg.RecoverBytes; ; budget *= 2 {
		from, err := newestSegments(cfg, refs, budget)
		if err != nil {
			return err
		}
		if s, err = readEnd(cfg, rec, refs, from); err != nil {
			return err
		}
		if rec.Unread = from; rec.LastCounter != 0 || from == 0 {
			break
		}
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

// newestSegments returns the index in refs of the oldest segment to read for
// that many bytes.
func newestSegments(cfg *Config, refs []segmentRef, bytes int64) (from int, err error) {
	for from = len(refs); from > 0 && bytes > 0; from-- {
		ref := refs[from-1]
		f, err := cfg.FS.Open(filepath.Join(cfg.Dir, segmentName(ref.epoch, ref.number)))
		if err != nil {
			return 0, err
		}
		size, err := f.Size()
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		bytes -= max(size, 1)
	}
	return from, nil
}

// readEnd reads refs[from:] into rec, and looks that no older file is missing
// and that the log is of the configured chain. Damage is in the scan.
func readEnd(cfg *Config, rec *Recovery, refs []segmentRef, from int) (*scan, error) {
	rec.LastCounter, rec.Workers = 0, map[uint16]string{}
	s := &scan{fs: cfg.FS, dir: cfg.Dir}
	begun := false
	s.each = func(r *RecordInfo) error {
		switch r.Kind {
		case KindEpoch:
			begun = true
			return checkEpoch(cfg, r)
		case KindRig: // written with a name's first share
			rec.Workers[le.Uint16(r.Body[4:])] = string(r.Body[6:])
			return checkRig(cfg, r)
		case KindJob:
			rec.LastCounter = max(rec.LastCounter, le.Uint32(r.Body))
		default:
		}
		return nil
	}
	for i := range from {
		s.follows(refs[i], refs[i+1])
	}
	s.skipped = false // the first segment read says itself where it begins
	if err := s.run(refs[from:]); err != nil {
		return s, err
	}
	if from == 0 || begun {
		return s, nil
	}
	// The epoch is longer than what was read: look at how it began.
	t := &Tail{fs: cfg.FS, dir: cfg.Dir}
	newest := refs[len(refs)-1].epoch
	first := slices.IndexFunc(refs, func(r segmentRef) bool { return r.epoch == newest })
	err := t.enter(refs[first])
	if err == nil {
		err = t.Read(Position{Epoch: newest + 1}, func(r *RecordInfo) error {
			if r.Kind == KindEpoch {
				if err := checkEpoch(cfg, r); err != nil {
					return err
				}
			}
			return errEnough
		})
	}
	if d, ok := errors.AsType[*DamageError](err); ok {
		s.damage = append(s.damage, d)
	} else if err != nil && !errors.Is(err, errEnough) {
		return s, err
	}
	return s, nil
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

// checkRig lets cfg.Rig refuse a name.
func checkRig(cfg *Config, r *RecordInfo) error {
	if cfg.Rig == nil {
		return nil
	}
	rec, err := r.Decode()
	if err != nil {
		return err
	}
	if g, ok := rec.(Rig); ok {
		err = cfg.Rig(g.Member, g.Name)
	}
	return err
}

// isTemporary reports a file that a crash left unfinished.
func isTemporary(name string) bool { return strings.HasSuffix(name, ".tmp") }
