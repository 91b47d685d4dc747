package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

const (
	candidateMagic = "CORDCND\x01"
	candidateExt   = ".cand"
	resultMagic    = "CORDRES\x01"
	resultExt      = ".done"
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
		b, err := s.load(path, candidateMagic)
		var c Candidate
		if err == nil {
			c, err = decodeCandidate(b)
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

func encodeCandidate(c *Candidate) []byte {
	b := append(make([]byte, 0, 160+len(c.Coinbase)), candidateMagic...)
	b = append(b, c.Header[:]...)
	b = append(b, c.TemplateID[:]...)
	b = le.AppendUint32(b, c.WorkBits)
	b = le.AppendUint32(b, uint32(c.Height))
	b = le.AppendUint64(b, uint64(c.When.UnixMilli()))
	b = le.AppendUint32(b, uint32(len(c.Coinbase)))
	return signed(append(b, c.Coinbase...))
}

func decodeCandidate(b []byte) (Candidate, error) {
	r := reader{b: b}
	var c Candidate
	copy(c.Header[:], r.bytes(80))
	c.Hash = chainhash.DoubleHashH(c.Header[:])
	copy(c.TemplateID[:], r.bytes(32))
	c.WorkBits, c.Height = r.u32(), int32(r.u32())
	c.When = time.UnixMilli(int64(r.u64()))
	if n := r.u32(); int64(n) != int64(len(r.b)) || r.bad {
		return c, fmt.Errorf("lengths do not fit: %w", ErrBadFile)
	}
	c.Coinbase = r.rest()
	return c, nil
}
