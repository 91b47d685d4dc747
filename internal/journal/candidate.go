package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

const (
	candidateMagic  = "CORDCND\x02" // 1 where there is no receipt
	candidateOldest = 1
	candidateExt    = ".cand"
	resultMagic     = "CORDRES\x01"
	resultExt       = ".done"
)

// Candidate is a block to be submitted: with its template, all of it.
type Candidate struct {
	Hash       chainhash.Hash // of Header
	Header     [80]byte       // the exact bytes that hashed
	Coinbase   []byte         // without witness, the exact bytes
	TemplateID chainhash.Hash
	WorkBits   uint32
	Height     int32
	When       time.Time // to the millisecond
	// Receipt is that of the job (ADR 0004), so that no other file is needed to
	// know what the block pays. Nil where the writer had none at hand.
	Receipt []byte
}

// Settled is a candidate whose result is known, as CandidateDone was told it.
type Settled struct {
	Candidate
	Result string
}

// Block returns the full block in wire form; t is the template with c's
// TemplateID.
func (c Candidate) Block(t *pool.Template) []byte { return t.Block(&c.Header, c.Coinbase) }

func (s *files) candidateName(h chainhash.Hash, ext string) string {
	return filepath.Join(s.candidates, h.String()+ext)
}

// PutCandidate writes c to its own file: safe from a killed process when it
// returns, from a power loss when its fsync in the background is through. It
// never waits for the log, for an fdatasync, or for another candidate. Putting
// it again is harmless.
func (j *Journal) PutCandidate(c Candidate) error {
	s := j.files
	if got := chainhash.DoubleHashH(c.Header[:]); got != c.Hash {
		return fmt.Errorf("candidate %s: its header hashes to %s", c.Hash, got)
	}
	if err := s.put(s.candidateName(c.Hash, candidateExt), encodeCandidate(&c)); err != nil {
		return fmt.Errorf("candidate %s: %w", c.Hash, err)
	}
	s.mu.Lock()
	s.cited[c.Hash] = c.TemplateID
	s.mu.Unlock()
	return nil
}

// CandidateDone records a candidate's final result. The file is kept, but the
// candidate is not handed out for resubmission any more.
func (j *Journal) CandidateDone(hash chainhash.Hash, result string) error {
	s := j.files
	b := append([]byte(resultMagic), result...)
	if err := s.put(s.candidateName(hash, resultExt), signed(b)); err != nil {
		return fmt.Errorf("result of candidate %s: %w", hash, err)
	}
	s.mu.Lock()
	delete(s.cited, hash)
	s.mu.Unlock()
	return nil
}

// loadCandidates fills rec with what has no result yet, oldest first. A file
// that does not hold is named: it may be a block, a human should look.
func (s *files) loadCandidates(rec *Recovery) error {
	names, err := s.fs.ReadDir(s.candidates)
	if err != nil {
		return err
	}
	for _, n := range names {
		h, ok := hashOf(n, candidateExt)
		if !ok {
			continue
		}
		// A result that does not hold counts as none: submitting twice is
		// harmless.
		result, noResult := s.load(s.candidateName(h, resultExt), resultMagic)
		path := filepath.Join(s.candidates, n)
		v, b, err := s.loadSince(path, candidateMagic, candidateOldest)
		var c Candidate
		if err == nil {
			c, err = decodeCandidate(v, b)
		}
		if err == nil && c.Hash != h {
			err = ErrBadFile
		}
		if errors.Is(err, ErrBadFile) {
			rec.BadCandidates = append(rec.BadCandidates, path)
			continue
		}
		if err != nil {
			return err
		}
		if noResult == nil {
			rec.Settled = append(rec.Settled, Settled{c, string(result)})
			continue
		}
		s.cited[h] = c.TemplateID
		rec.Candidates = append(rec.Candidates, c)
	}
	slices.SortStableFunc(rec.Candidates, func(a, b Candidate) int { return a.When.Compare(b.When) })
	slices.SortStableFunc(rec.Settled, func(a, b Settled) int { return a.When.Compare(b.When) })
	return nil
}

// ReadCandidates returns every candidate file of the journal in dir, by hash,
// with or without a final result, and locks nothing. Errors: ErrBadFile for a
// file that does not hold, which may be a block.
func ReadCandidates(dir string) ([]Candidate, error) {
	s := &files{fs: diskFS{}, candidates: filepath.Join(dir, "candidates")}
	names, err := s.fs.ReadDir(s.candidates)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Candidate
	for _, n := range names {
		h, ok := hashOf(n, candidateExt)
		if !ok {
			continue
		}
		path := filepath.Join(s.candidates, n)
		v, b, err := s.loadSince(path, candidateMagic, candidateOldest)
		var c Candidate
		if err == nil {
			c, err = decodeCandidate(v, b)
		}
		if err == nil && c.Hash != h {
			err = fmt.Errorf("it holds block %s: %w", c.Hash, ErrBadFile)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, c)
	}
	return list, nil
}

func encodeCandidate(c *Candidate) []byte {
	b := append(make([]byte, 0, 160+len(c.Coinbase)+len(c.Receipt)), candidateMagic...)
	if len(c.Receipt) == 0 {
		b[len(b)-1] = candidateOldest
	}
	b = append(b, c.Header[:]...)
	b = append(b, c.TemplateID[:]...)
	b = le.AppendUint32(b, c.WorkBits)
	b = le.AppendUint32(b, uint32(c.Height))
	b = le.AppendUint64(b, uint64(c.When.UnixMilli()))
	b = le.AppendUint32(b, uint32(len(c.Coinbase)))
	b = append(b, c.Coinbase...)
	if len(c.Receipt) != 0 {
		b = le.AppendUint32(b, uint32(len(c.Receipt)))
		b = append(b, c.Receipt...)
	}
	return signed(b)
}

func decodeCandidate(fileVersion byte, b []byte) (Candidate, error) {
	r := reader{b: b}
	var c Candidate
	copy(c.Header[:], r.bytes(80))
	c.Hash = chainhash.DoubleHashH(c.Header[:])
	copy(c.TemplateID[:], r.bytes(32))
	c.WorkBits, c.Height = r.u32(), int32(r.u32())
	c.When = time.UnixMilli(int64(r.u64()))
	part := func() []byte {
		n := r.u32()
		return r.bytes(int(min(int64(n), int64(len(r.b)+1)))) // a claimed length allocates nothing
	}
	c.Coinbase = part()
	if fileVersion > candidateOldest {
		c.Receipt = part()
		r.bad = r.bad || len(c.Receipt) == 0
	}
	if len(r.b) != 0 || r.bad {
		return c, fmt.Errorf("lengths do not fit: %w", ErrBadFile)
	}
	return c, nil
}
