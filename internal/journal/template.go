package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

const (
	templateMagic = "CORDTPL\x01"
	templateExt   = ".tpl"
)

func (s *files) templateName(id chainhash.Hash) string {
	return filepath.Join(s.templates, id.String()+templateExt)
}

// PutTemplate stores t under its ID, once, and returns the ID. The file is
// whole for a killed process when it returns; its fsync follows in the
// background. t must come from pool.NewTemplate.
func (j *Journal) PutTemplate(t *pool.Template) (chainhash.Hash, error) {
	s, id := j.files, t.ID()
	s.mu.Lock()
	_, known := s.heights[id]
	s.mu.Unlock()
	if known {
		return id, nil
	}
	if t.Commitment == nil {
		return id, fmt.Errorf("template %s has no witness commitment: it did not come from NewTemplate", id)
	}
	if err := s.put(s.templateName(id), encodeTemplate(t)); err != nil {
		return id, fmt.Errorf("template %s: %w", id, err)
	}
	s.mu.Lock()
	s.heights[id] = t.Height
	s.mu.Unlock()
	return id, nil
}

// Template returns a stored template, checked against its ID. Errors:
// ErrNoTemplate, ErrBadFile.
func (j *Journal) Template(id chainhash.Hash) (*pool.Template, error) {
	s := j.files
	s.mu.Lock()
	_, known := s.heights[id]
	s.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("template %s: %w", id, ErrNoTemplate)
	}
	name := s.templateName(id)
	b, err := s.load(name, templateMagic)
	if err != nil {
		return nil, err
	}
	t, err := decodeTemplate(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if t.ID() != id {
		return nil, fmt.Errorf("%s: holds template %s: %w", name, t.ID(), ErrBadFile)
	}
	return t, nil
}

// DropTemplates deletes the stored templates for which keep says false, except
// those of candidates without a final result.
func (j *Journal) DropTemplates(keep func(height int32, id chainhash.Hash) bool) error {
	s := j.files
	s.mu.Lock()
	cited := map[chainhash.Hash]bool{}
	for _, id := range s.cited {
		cited[id] = true
	}
	var drop []chainhash.Hash
	for id, height := range s.heights {
		if !cited[id] && !keep(height, id) {
			drop = append(drop, id)
			delete(s.heights, id)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range drop {
		errs = append(errs, s.fs.Remove(s.templateName(id)))
	}
	return errors.Join(errs...)
}

// loadTemplates fills heights. A file that does not hold is left where it is
// and not listed: the next PutTemplate of it replaces it.
func (s *files) loadTemplates() error {
	names, err := s.fs.ReadDir(s.templates)
	if err != nil {
		return err
	}
	for _, n := range names {
		id, ok := hashOf(n, templateExt)
		if !ok {
			continue
		}
		b, err := s.load(filepath.Join(s.templates, n), templateMagic)
		if errors.Is(err, ErrBadFile) {
			continue
		}
		if err != nil {
			return err
		}
		r := reader{b: b}
		if height := int32(r.u32()); !r.bad {
			s.heights[id] = height
		}
	}
	return nil
}

// encodeTemplate returns the file of t. LongPoll is of the moment and not
// kept.
func encodeTemplate(t *pool.Template) []byte {
	size := 256 + len(t.Node) + len(t.Challenge)
	for i := range t.Txs {
		size += len(t.Txs[i].Raw) + 76
	}
	b := append(make([]byte, 0, size), templateMagic...)
	b = le.AppendUint32(b, uint32(t.Height))
	b = le.AppendUint32(b, t.Version)
	b = append(b, t.PrevHash[:]...)
	b = le.AppendUint32(b, t.Bits)
	b = le.AppendUint32(b, t.WorkBits)
	b = le.AppendUint32(b, t.MinTime)
	b = le.AppendUint32(b, t.CurTime)
	b = le.AppendUint64(b, uint64(t.Value))
	empty := byte(0)
	if t.Empty {
		empty = 1
	}
	b = append(b, empty)
	for _, v := range [][]byte{[]byte(t.Node), t.Challenge, t.Commitment} {
		b = le.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
	}
	b = le.AppendUint32(b, uint32(len(t.Txs)))
	for i := range t.Txs {
		tx := &t.Txs[i]
		b = append(b, tx.TxID[:]...)
		b = append(b, tx.WTxID[:]...)
		b = le.AppendUint64(b, uint64(tx.Weight))
		b = le.AppendUint32(b, uint32(len(tx.Raw)))
		b = append(b, tx.Raw...)
	}
	return signed(b)
}

func decodeTemplate(b []byte) (*pool.Template, error) {
	r := reader{b: b}
	t := &pool.Template{Height: int32(r.u32()), Version: r.u32()}
	copy(t.PrevHash[:], r.bytes(32))
	t.Bits, t.WorkBits, t.MinTime, t.CurTime = r.u32(), r.u32(), r.u32(), r.u32()
	t.Value, t.Empty = int64(r.u64()), r.u8() == 1
	t.Node = string(r.bytes(int(r.u16())))
	if challenge := r.bytes(int(r.u16())); len(challenge) != 0 {
		t.Challenge = challenge
	}
	commitment := r.bytes(int(r.u16()))
	for n := r.u32(); n > 0 && !r.bad; n-- {
		var tx pool.Tx
		copy(tx.TxID[:], r.bytes(32))
		copy(tx.WTxID[:], r.bytes(32))
		tx.Weight = int64(r.u64())
		if n := r.u32(); int64(n) <= int64(len(r.b)) {
			tx.Raw = r.bytes(int(n))
		} else {
			r.bad = true
		}
		t.Txs = append(t.Txs, tx)
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("lengths do not fit: %w", ErrBadFile)
	}
	// NewTemplate derives the rest as it did the first time.
	return pool.NewTemplate(t, commitment)
}
