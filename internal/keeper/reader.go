package keeper

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cordee/internal/journal"
	"cordee/payout"
)

// Files are what a keeper has written: slots, events, and the journal they are
// about. They may be read while a pool writes on.
type Files struct {
	dir     string // data_dir
	journal string // its directory
	edge    uint16
	key     ed25519.PublicKey // that slots are signed with
	secret  [32]byte
	rules   *payout.Rules
	members Members
	slots   *shelf
	events  *shelf
}

// Open returns the files of the keeper that cfg describes, of which it needs
// Dir, Journal, Edge, Key, Secret, Rules and Members. It changes nothing on
// disk, and a file that does not hold is found by who reads it.
func Open(cfg *Config) (*Files, error) {
	f := filesOf(cfg)
	f.slots = &shelf{dir: filepath.Join(cfg.Dir, "slots"), ext: ".slot"}
	f.events = &shelf{dir: filepath.Join(cfg.Dir, "ledger"), ext: ".event"}
	for _, s := range []*shelf{f.slots, f.events} {
		last, err := s.newest()
		if err != nil {
			return nil, err
		}
		s.last = last
	}
	return f, nil
}

func filesOf(cfg *Config) *Files {
	pub, _ := cfg.Key.Public().(ed25519.PublicKey)
	return &Files{
		dir: cfg.Dir, journal: cfg.Journal, edge: cfg.Edge, key: pub, secret: cfg.Secret, rules: &cfg.Rules, members: cfg.Members,
	}
}

// newest returns the highest number in the folder as it is now, 0 for none.
func (s *shelf) newest() (last uint32, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), s.ext)
		if n, err := strconv.ParseUint(text, 10, 32); ok && err == nil {
			last = max(last, uint32(n))
		}
	}
	return last, err
}

// Slot returns manifest n, its signature checked.
func (f *Files) Slot(n uint32) (*payout.Slot, error) {
	b, err := f.slots.get(n)
	if err != nil {
		return nil, err
	}
	s, err := payout.OpenSlot(b, f.key)
	if err == nil && s.Number != n {
		err = fmt.Errorf("it holds slot %d", s.Number)
	}
	if err != nil {
		return nil, f.slots.damage(n, err)
	}
	return s, nil
}

// Records returns the shares of a slot in its order, from the journal.
func (f *Files) Records(slot uint32) ([]payout.Record, error) {
	m, err := f.Slot(slot)
	if err != nil {
		return nil, err
	}
	var list []payout.Record
	for _, r := range m.Ranges {
		err := journal.ReadShares(f.journal, r.Epoch, r.First, r.Last, func(_ []byte, s *journal.Share) error {
			list = append(list, payout.Record{Member: s.Member, WorkBits: s.WorkBits, Difficulty: uint64(s.Difficulty)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// event returns event n as the store keeps it.
func (f *Files) event(n uint32) (payout.LedgerRecord, error) {
	b, err := f.events.get(n)
	if err != nil {
		return payout.LedgerRecord{}, err
	}
	if len(b) < 32 {
		return payout.LedgerRecord{}, f.events.damage(n, fmt.Errorf("%d bytes", len(b)))
	}
	r := payout.LedgerRecord{Data: b[:len(b)-32], Head: [32]byte(b[len(b)-32:])}
	e, err := payout.DecodeEvent(r.Data)
	if err != nil {
		return r, f.events.damage(n, err)
	}
	r.Key = eventKey(n, e)
	return r, nil
}

var errFollow = errors.New("its head does not follow from the events before it")

// fold reads the first n events into a ledger and tells each of them. What does
// not hold or follow is ErrDamaged, by the file's name.
func (f *Files) fold(n uint32, each func(n uint32, e *payout.Event, r *payout.LedgerRecord, p []payout.Posting)) (*payout.Ledger, error) {
	l := payout.NewLedger()
	for i := uint32(1); i <= n; i++ {
		r, err := f.event(i)
		if err != nil {
			return l, err
		}
		e, err := payout.DecodeEvent(r.Data)
		if err == nil && payout.LedgerHead(l.Head(), r.Data) != r.Head {
			err = errFollow
		}
		var postings []payout.Posting
		if err == nil {
			postings, err = l.Postings(e)
		}
		if err == nil {
			err = l.Apply(e)
		}
		if err == nil && l.Head() != r.Head {
			err = errors.New("it has been before")
		}
		if err != nil {
			return l, f.events.damage(i, err)
		}
		each(i, e, &r, postings)
	}
	return l, nil
}

// Halts returns every halt and lift of the ledger, oldest first.
func (f *Files) Halts() ([]HaltLine, error) {
	n, err := f.events.newest()
	if err != nil {
		return nil, err
	}
	var log haltLog
	_, err = f.fold(n, func(n uint32, e *payout.Event, _ *payout.LedgerRecord, _ []payout.Posting) { log.take(int(n), e) })
	return log, err
}
