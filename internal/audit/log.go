package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/payout/verify"
	"cordee/pool"
)

// ErrLog reports a log whose slots and shares contradict each other: nothing can
// be recomputed from it.
var ErrLog = errors.New("slots and journal do not agree")

// slot is a closed slot: its head, and the number of shares up to its end.
type slot struct {
	head   [32]byte
	last   uint64
	weight *big.Int // of those shares, difficulty times block target
}

// book is all that the files say.
type book struct {
	members  map[uint16]payout.Member
	shares   []verify.Share // Seq counts over all epochs, from 1
	nbits    []uint32       // of Share.Epoch
	slots    []slot         // slot n at n-1
	missing  int            // oldest slots whose shares the journal no longer has, all or some
	receipts map[receiptKey]*payout.Receipt
	values   map[[32]byte]int64 // of the job with that commitment
	hashes   []chainhash.Hash   // blocks that were found, in no order
}

// receiptKey finds the receipt of a block. Its commitment alone does not: two
// blocks whose value goes whole to the treasury commit to the same. On one
// parent, receipts of one commitment ask the same outputs.
type receiptKey struct {
	commitment [32]byte
	parent     chainhash.Hash
}

// readBook reads candidates first, then slots, then the journal: what an earlier
// one cites, a later one holds, though the pool writes on.
func readBook(cfg *Config) (*book, error) {
	b := &book{receipts: map[receiptKey]*payout.Receipt{}, values: map[[32]byte]int64{}}
	candidates, err := journal.ReadCandidates(cfg.Journal)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		b.hashes = append(b.hashes, c.Hash)
		if c.Receipt != nil {
			if err := b.learn(c.Receipt); err != nil {
				return nil, fmt.Errorf("candidate %s: %w", c.Hash, err)
			}
		}
	}
	manifests, err := readSlots(cfg)
	if err != nil {
		return nil, err
	}
	if b.members, err = cfg.Members(); err != nil {
		return nil, err
	}
	f := filler{book: b, manifests: manifests, index: map[uint32]int{}, weight: new(big.Int)}
	if err := journal.Read(cfg.Journal, f.take); err != nil {
		return nil, err
	}
	if len(b.slots) < len(manifests) {
		return nil, fmt.Errorf("slot %d holds shares that the journal does not: %w", len(b.slots)+1, ErrLog)
	}
	return b, nil
}

func (b *book) learn(receipt []byte) error {
	r, err := payout.DecodeReceipt(receipt)
	if err == nil {
		b.receipts[receiptKey{r.Commitment(), r.PrevHash}] = r
	}
	return err
}

// readSlots returns the manifests in the slots' directory, each signed by the
// pool's key and following the one before.
func readSlots(cfg *Config) ([]*payout.Slot, error) {
	dir := cfg.Slots
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []*payout.Slot
	prev := [32]byte{}
	for _, e := range entries { // sorted, and numbers have ten digits
		text, ok := strings.CutSuffix(e.Name(), ".slot")
		if !ok {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path) // #nosec G304 -- of the operator's data_dir
		if err != nil {
			return nil, err
		}
		var s *payout.Slot
		if cfg.Key != nil {
			s, err = payout.OpenSlot(data, cfg.Key)
		} else {
			s, err = payout.DecodeSlot(data[:max(len(data)-ed25519.SignatureSize, 0)])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || uint32(n) != s.Number || int(n) != len(list)+1 || s.Prev != prev {
			return nil, fmt.Errorf("%s: does not follow slot %d: %w", path, len(list), ErrLog)
		}
		prev = s.Head()
		list = append(list, s)
	}
	return list, nil
}

// filler fills slots with the journal's shares as they come.
type filler struct {
	*book
	manifests []*payout.Slot
	index     map[uint32]int // of a compact target in nbits
	bodies    [][]byte       // of the slot being filled
	at, taken int            // range of that slot, shares taken of the range
	begun     bool           // a credited share was seen
	targets   []*big.Int     // of nbits
	weight    *big.Int       // of all shares so far
}

// begin looks where the journal begins: slots with shares before that one cannot
// be filled. Only the oldest segments of a journal are ever deleted, so only the
// oldest slots; a hole behind them is damage, which journal.Read refuses.
func (f *filler) begin(epoch uint32, seq uint64) {
	f.begun = true
	for _, m := range f.manifests {
		if r := m.Ranges[0]; r.Epoch > epoch || r.Epoch == epoch && r.First >= seq {
			break
		}
		f.slots = append(f.slots, slot{head: m.Head(), weight: f.weight})
	}
	f.missing = len(f.slots)
}

// covers reports whether the journal has all shares that the window of a cut at
// slot n can count.
func (b *book) covers(n uint32, capacity *big.Int) bool {
	return b.missing == 0 || int(n) > b.missing && b.slots[n-1].weight.Cmp(capacity) >= 0
}

func (f *filler) take(info journal.RecordInfo, rec journal.Record) error {
	switch r := rec.(type) {
	case journal.Share:
		return f.share(&info, &r)
	case journal.Rig:
		// One who is not in the register may have come since it was read.
		if m, known := f.members[r.Member]; known && r.Member != 0 && !strings.HasPrefix(r.Name, m.ID+".") {
			return fmt.Errorf("index %d belongs to %s, and %s worked under it in epoch %d: %w", r.Member, m.ID, r.Name, info.Epoch, ErrLog)
		}
	case journal.Receipt:
		return f.learn(r.Bytes)
	case journal.Job:
		f.values[r.Commitment] = r.Value
	case journal.BlockRecord:
		if !slices.Contains(f.hashes, r.Hash) {
			f.hashes = append(f.hashes, r.Hash)
		}
	}
	return nil
}

// share appends a credited share. It must be the next one that the slots list,
// or stand behind the last of them.
func (f *filler) share(info *journal.RecordInfo, s *journal.Share) error {
	if info.Kind != journal.KindShare {
		return nil
	}
	if !f.begun {
		f.begin(info.Epoch, s.Seq)
	}
	if len(f.slots) == len(f.manifests) {
		return nil
	}
	m := f.manifests[len(f.slots)]
	r := m.Ranges[f.at]
	if len(f.slots) == f.missing && f.missing > 0 && f.at == 0 && f.taken == 0 &&
		(info.Epoch < r.Epoch || info.Epoch == r.Epoch && s.Seq < r.First) {
		return nil // the rest of the last slot that cannot be filled
	}
	if want := r.First + uint64(f.taken); info.Edge != r.Edge || info.Epoch != r.Epoch || s.Seq != want {
		return fmt.Errorf("share %d of epoch %d is in no slot: slot %d goes on with share %d of epoch %d: %w",
			s.Seq, info.Epoch, m.Number, want, r.Epoch, ErrLog)
	}
	who, known := f.members[s.Member]
	if !known {
		return fmt.Errorf("share %d of epoch %d: member %d is not in the register", s.Seq, info.Epoch, s.Member)
	}
	epoch, known := f.index[s.WorkBits]
	if !known {
		epoch = len(f.nbits)
		f.index[s.WorkBits] = epoch
		f.nbits = append(f.nbits, s.WorkBits)
		target, err := pool.TargetFromBits(s.WorkBits)
		if err != nil {
			return fmt.Errorf("share %d of epoch %d: %w", s.Seq, info.Epoch, err)
		}
		f.targets = append(f.targets, target.Big())
	}
	work := new(big.Int).SetUint64(uint64(s.Difficulty))
	f.weight.Add(f.weight, work.Mul(work, f.targets[epoch]))
	f.shares = append(f.shares, verify.Share{
		Seq: uint64(len(f.shares)) + 1, Member: who.ID, Difficulty: uint64(s.Difficulty), Epoch: epoch,
	})
	f.bodies = append(f.bodies, slices.Clone(info.Body))
	if f.taken++; s.Seq < r.Last {
		return nil
	}
	f.taken = 0
	if f.at++; f.at < len(m.Ranges) {
		return nil
	}
	if payout.RecordRoot(f.bodies) != m.RecordRoot {
		return fmt.Errorf("slot %d: the journal's shares are not those of its record root: %w", m.Number, ErrLog)
	}
	f.at, f.bodies = 0, nil
	f.slots = append(f.slots, slot{m.Head(), uint64(len(f.shares)), new(big.Int).Set(f.weight)})
	return nil
}
