package keeper

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// Bounds of one slot: what is more waits for the next, closed at once. They
// keep its record tree and its manifest small.
const (
	maxSlotShares = 1 << 18
	maxSlotSums   = 1 << 15
)

var errSlotFull = errors.New("the slot is full")

// cut is a closed slot as receipts need it. It never changes.
type cut struct {
	slot    uint32
	head    [32]byte
	weights *payout.Weights
}

// sumKey is whose work a sum is, and of which block target.
type sumKey struct {
	member   uint16
	workBits uint32
}

// drawer is a slot being filled.
type drawer struct {
	epoch  uint32 // of the last share taken, in this slot or before it
	seq    uint64
	edge   uint16
	tree   payout.RecordTree
	ranges []payout.Range
	sums   map[sumKey]*uint64
	limit  int

	share journal.Share // the one at hand
}

// add takes the next record of the log.
func (d *drawer) add(r *journal.RecordInfo) error {
	if r.Kind != journal.KindShare || r.Epoch < d.epoch || r.Epoch == d.epoch && r.Seq <= d.seq {
		return nil
	}
	if d.tree.Len() >= d.limit || len(d.sums) >= maxSlotSums {
		return errSlotFull
	}
	if r.Edge != d.edge {
		return fmt.Errorf("epoch %d is edge %d's, this is edge %d: %w", r.Epoch, r.Edge, d.edge, ErrDamaged)
	}
	s := &d.share
	if err := journal.DecodeShare(r.Kind, r.Body, s); err != nil {
		return err
	}
	key := sumKey{s.Member, s.WorkBits}
	total := d.sums[key]
	if total == nil {
		total = new(uint64)
	}
	sum, carry := bits.Add64(*total, uint64(s.Difficulty), 0)
	if carry != 0 || sum > math.MaxInt64 {
		return errSlotFull // alone in a slot a share always fits
	}
	if *total == 0 {
		d.sums[key] = total
	}
	*total = sum
	d.tree.Add(r.Body)
	if n := len(d.ranges); n > 0 && d.ranges[n-1].Epoch == r.Epoch {
		d.ranges[n-1].Last = s.Seq
	} else {
		d.ranges = append(d.ranges, payout.Range{Edge: d.edge, Epoch: r.Epoch, First: s.Seq, Last: s.Seq})
	}
	d.epoch, d.seq = r.Epoch, s.Seq
	return nil
}

// salt hides a member's work in the sum tree from who does not hold the pool's
// secret (decision 43).
func salt(secret [32]byte, slot uint32, member uint16) [32]byte {
	h := hmac.New(sha256.New, secret[:])
	h.Write([]byte("cordee/salt/v1"))
	h.Write(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, slot), member))
	return [32]byte(h.Sum(nil))
}

// manifest returns the slot behind prev, slot number-1's head.
func (d *drawer) manifest(number uint32, prev, secret [32]byte) (*payout.Slot, error) {
	s := &payout.Slot{Number: number, Prev: prev, Ranges: d.ranges}
	for key, v := range d.sums {
		s.Sums = append(s.Sums, payout.Sum{Member: key.member, WorkBits: key.workBits, Difficulty: *v})
	}
	payout.SortSums(s.Sums)
	var leaves []payout.SumLeaf
	for _, v := range s.Sums {
		n := len(leaves)
		if n == 0 || leaves[n-1].Member != v.Member {
			leaves = append(leaves, payout.SumLeaf{Member: v.Member, Salt: salt(secret, number, v.Member)})
			n++
		}
		sum, carry := bits.Add64(leaves[n-1].Difficulty, v.Difficulty, 0)
		if carry != 0 {
			return nil, fmt.Errorf("work of member %d exceeds 64 bits: %w", v.Member, payout.ErrSlot)
		}
		leaves[n-1].Difficulty = sum
	}
	s.RecordRoot = d.tree.Root()
	var err error
	s.SumRoot, _, err = payout.SumRoot(leaves)
	return s, err
}

// CloseSlots closes as many slots as the durable shares behind the last one
// fill, usually one, and returns how many. With no such shares it closes none:
// an empty slot would change no window. The newest is the cut of every receipt
// from then on.
//
// Shares that an earlier epoch left are in the first slot of the next: the
// journal has cut what nobody was answered for before it began that epoch.
func (k *Keeper) CloseSlots() (closed int, err error) {
	k.closing.Lock()
	defer k.closing.Unlock()
	until := k.cfg.Log.Durable()
	for {
		d := drawer{epoch: k.epoch, seq: k.seq, edge: k.cfg.Edge, sums: map[sumKey]*uint64{}, limit: maxSlotShares}
		err := k.tail.Read(until, d.add)
		full := errors.Is(err, errSlotFull)
		if err == nil || full {
			err = nil
			if len(d.ranges) > 0 {
				err = k.closeSlot(&d)
				closed++
			}
		}
		if err != nil {
			// The tail may be ahead of what is in slots: find the place again.
			k.tail = journal.NewTail(k.cfg.Journal)
			if k.epoch != 0 {
				err = errors.Join(err, k.tail.Seek(k.epoch, k.seq+1))
			}
			return closed, err
		}
		if !full {
			return closed, k.weigh()
		}
	}
}

// closeSlot makes d the next slot.
func (k *Keeper) closeSlot(d *drawer) error {
	start := k.now()
	s, err := d.manifest(k.slots.last+1, k.head, k.cfg.Secret)
	if err != nil {
		return err
	}
	if err := k.rememberIndexes(membersOf(s.Sums)); err != nil {
		return err
	}
	b, err := s.Sign(k.cfg.Key)
	if err != nil {
		return err
	}
	if err := k.slots.put(b); err != nil {
		return err
	}
	k.epoch, k.seq, k.head = d.epoch, d.seq, s.Head()
	k.mu.Lock()
	k.lastSlot = s.Number
	k.mu.Unlock()
	k.log.Info().Str("event", "slot.closed").Uint32("slot", s.Number).Int("shares", d.tree.Len()).
		Int("sums", len(s.Sums)).Dur("took_ms", k.now().Sub(start)).Msg("slot closed")
	return k.window.AddSlot(s.Number, s.Sums)
}

// membersOf returns whose work sums is, each perhaps more than once.
func membersOf(sums []payout.Sum) []uint16 {
	list := make([]uint16, len(sums))
	for i, s := range sums {
		list[i] = s.Member
	}
	return list
}

// weigh makes the newest slot the cut, if it is not.
func (k *Keeper) weigh() error {
	n := k.slots.last
	if k.window.Newest() != n {
		return fmt.Errorf("the window ends with slot %d, the newest is %d: restart: %w", k.window.Newest(), n, payout.ErrWindow)
	}
	if c := k.cut.Load(); c != nil && c.slot == n {
		return nil
	}
	weights, err := k.window.Weights(n, k.edges.of)
	if err != nil {
		return err
	}
	k.cut.Store(&cut{slot: n, head: k.head, weights: weights})
	k.window.Trim(n)
	return nil
}

// ErrOlderJournal reports a journal that ends before the newest slot: new shares
// would get numbers that are counted already, and be taken for those.
var ErrOlderJournal = errors.New("the journal is an older copy than the slots")

// loadSlots finds the place behind the newest slot and fills the window with as
// many as a cut there can reach. Where the journal does not have the shares that
// this needs, payouts are halted and there is no cut: all goes to the treasury.
func (k *Keeper) loadSlots() (err error) {
	if k.window, err = payout.NewWindow(&k.cfg.Rules); err != nil {
		return err
	}
	k.edges = edgeRecords{k: k}
	k.lastSlot = k.slots.last
	first, weight := k.slots.last, new(big.Int)
	for ; first > 0; first-- {
		s, err := k.Slot(first)
		if err != nil {
			return err
		}
		if first == k.slots.last {
			k.head = s.Head()
			for _, r := range s.Ranges {
				if r.Edge == k.cfg.Edge {
					k.epoch, k.seq = r.Epoch, r.Last
				}
			}
		}
		if err := addWeight(weight, s.Sums); err != nil {
			return k.slots.damage(first, err)
		}
		if weight.Cmp(k.cfg.Rules.Capacity()) >= 0 {
			break
		}
	}
	if err := k.journalHas(k.epoch, k.seq); err != nil {
		return err
	}
	prev := [32]byte{}
	for n := max(first, 1); n <= k.slots.last; n++ {
		s, err := k.Slot(n)
		if err != nil {
			return err
		}
		if s.Prev != prev && n > max(first, 1) {
			return k.slots.damage(n, fmt.Errorf("does not follow slot %d", n-1))
		}
		prev = s.Head()
		if err := k.window.AddSlot(n, s.Sums); err != nil {
			return err
		}
	}
	if k.epoch != 0 {
		err = k.tail.Seek(k.epoch, k.seq+1)
	}
	if err == nil {
		err = k.weigh()
	}
	if errors.Is(err, journal.ErrDamaged) { // the operator lets the pool mine beside it
		k.note("slots", err)
		return k.Halt("journal.damaged", err.Error())
	}
	return err
}

// journalHas returns ErrOlderJournal where the running epoch, or one that is still
// to come, is the one in which the newest slot ends, and does not have its share.
func (k *Keeper) journalHas(epoch uint32, seq uint64) error {
	if epoch < k.cfg.Recovery.Epoch || epoch == 0 {
		return nil
	}
	err := journal.ReadShares(k.cfg.Journal, epoch, seq, seq, func([]byte, *journal.Share) error { return nil })
	if errors.Is(err, journal.ErrDamaged) {
		return fmt.Errorf("slot %d counts shares of epoch %d up to %d, and this journal begins epoch %d: %w",
			k.slots.last, epoch, seq, k.cfg.Recovery.Epoch, ErrOlderJournal)
	}
	return err
}

// addWeight adds difficulty times block target of every sum to weight.
func addWeight(weight *big.Int, sums []payout.Sum) error {
	type wide struct{ hi, lo uint64 }
	byBits := map[uint32]wide{}
	for _, s := range sums {
		v := byBits[s.WorkBits]
		var carry uint64
		v.lo, carry = bits.Add64(v.lo, s.Difficulty, 0)
		v.hi += carry
		byBits[s.WorkBits] = v
	}
	for b, v := range byBits {
		target, err := pool.TargetFromBits(b)
		if err != nil {
			return err
		}
		d := new(big.Int).SetUint64(v.hi)
		d.Lsh(d, 64).Add(d, new(big.Int).SetUint64(v.lo))
		weight.Add(weight, d.Mul(d, target.Big()))
	}
	return nil
}

// edgeRecords gives the window the shares of the slot in which it ends, and
// keeps them: the next cut mostly ends in the same slot.
type edgeRecords struct {
	k    *Keeper
	slot uint32
	list []payout.Record
}

func (e *edgeRecords) of(slot uint32) ([]payout.Record, error) {
	if e.slot == slot {
		return e.list, nil
	}
	list, err := e.k.Records(slot)
	if err == nil {
		e.slot, e.list = slot, list
	}
	return list, err
}
