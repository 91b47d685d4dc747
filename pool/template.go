package pool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool/sha256d"
)

// VersionRollingMask is BIP320's: the header version bits that rigs may roll.
// A template's version has them clear, so that rigs which OR, XOR or replace
// them all hash the same header (spec: BIP310, BIP320).
const VersionRollingMask uint32 = 0x1fffe000

// MaxBlockWeight is the consensus limit in weight units (BIP141).
const MaxBlockWeight = 4_000_000

// Tx is one transaction of a template, as the node serialised it.
type Tx struct {
	Raw    []byte         // with witness
	TxID   chainhash.Hash // of the form without witness, hashing byte order
	WTxID  chainhash.Hash // of Raw, hashing byte order
	Weight int64          // weight units
}

// Template is what the node offers to mine on: a checked getblocktemplate. It
// is immutable once NewTemplate returned it, and shared by every Job built on
// it.
type Template struct {
	Node      string // which [[node]] gave it
	Height    int32  // of the block to be mined
	Version   uint32 // BIP320 bits clear
	PrevHash  chainhash.Hash
	Bits      uint32 // nBits of the header
	WorkBits  uint32 // nBits that work is measured against (decision 3)
	MinTime   uint32 // seconds; lowest ntime the chain accepts
	CurTime   uint32 // seconds; the node's clock
	Value     int64  // sats; subsidy + fees, what the coinbase outputs sum to
	Txs       []Tx   // never reordered
	Empty     bool   // built from a tip header, before the node's own template (decision 20)
	LongPoll  string // longpollid, "" where the node has none
	Challenge []byte // signet_challenge, nil elsewhere

	// Commitment is the witness commitment's output script (38 bytes), nil
	// when the chain has no segwit.
	Commitment []byte
	// Branches are the siblings of the coinbase, leaf upward, in hashing byte
	// order.
	Branches [][sha256d.Size]byte
	// BlockTarget is WorkBits expanded: a hash at or below it is a candidate.
	BlockTarget Target

	weight int64 // of Txs, once NewTemplate summed it
}

// Errors of NewTemplate, wrapped with what was seen.
var (
	ErrTemplateHeight     = errors.New("template height is not above 0")
	ErrTemplateValue      = errors.New("template coinbase value is negative or above 21 million coins")
	ErrTemplateTime       = errors.New("template times are inconsistent")
	ErrTemplateCommitment = errors.New("template witness commitment differs from the one recomputed")
	ErrTemplateWorkBits   = errors.New("template is measured against a target that is easier than its own")
	ErrTemplateTx         = errors.New("template transaction is malformed")
	ErrTemplateWeight     = errors.New("template transactions leave no room for a coinbase")
)

// witnessCommitmentHeader starts the commitment output (BIP141): OP_RETURN, a
// push of 36 bytes, and the four magic bytes.
var witnessCommitmentHeader = []byte{0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}

// NewTemplate checks t, takes ownership of it, and fills in what is derived:
// Version without the rolling bits, WorkBits (Bits where 0), Commitment,
// Branches and BlockTarget. nodeCommitment is the node's
// default_witness_commitment, compared with the one recomputed from the
// transactions; nil skips only the comparison (btcd omits it on an empty
// template). Every template gets a commitment: signet refuses a block without
// one, and elsewhere it is harmless.
func NewTemplate(t *Template, nodeCommitment []byte) (*Template, error) {
	if t.Height <= 0 {
		return nil, fmt.Errorf("height %d: %w", t.Height, ErrTemplateHeight)
	}
	if t.Value < 0 || t.Value > 21_000_000*1e8 {
		return nil, fmt.Errorf("coinbasevalue %d: %w", t.Value, ErrTemplateValue)
	}
	if t.MinTime == 0 || t.CurTime < t.MinTime {
		return nil, fmt.Errorf("mintime %d, curtime %d: %w", t.MinTime, t.CurTime, ErrTemplateTime)
	}
	header, err := TargetFromBits(t.Bits)
	if err != nil {
		return nil, err
	}
	if t.WorkBits == 0 {
		t.WorkBits = t.Bits
	}
	target, err := TargetFromBits(t.WorkBits)
	if err != nil {
		return nil, err
	}
	if target.Cmp(header) > 0 { // its blocks would not be blocks to the node
		return nil, fmt.Errorf("work_bits %08x are easier than the header's nBits %08x: %w", t.WorkBits, t.Bits, ErrTemplateWorkBits)
	}
	t.BlockTarget = target
	t.Version &^= VersionRollingMask

	var weight int64
	for i := range t.Txs {
		// Each weight is bounded, so that no sum of them can wrap.
		if len(t.Txs[i].Raw) < 60 || t.Txs[i].Weight <= 0 || t.Txs[i].Weight > MaxBlockWeight {
			return nil, fmt.Errorf("transaction %d: %d bytes, weight %d: %w", i, len(t.Txs[i].Raw), t.Txs[i].Weight, ErrTemplateTx)
		}
		weight += t.Txs[i].Weight
	}
	if weight > MaxBlockWeight-minCoinbaseWeight {
		return nil, fmt.Errorf("%d weight units: %w", weight, ErrTemplateWeight)
	}

	t.weight = weight
	t.Commitment = witnessCommitment(t.Txs)
	if nodeCommitment != nil && !bytes.Equal(nodeCommitment, t.Commitment) {
		return nil, fmt.Errorf("node says %x, transactions give %x: %w", nodeCommitment, t.Commitment, ErrTemplateCommitment)
	}
	t.Branches = coinbaseBranches(t.Txs)
	return t, nil
}

// Weight returns the weight of the template's transactions in weight units,
// coinbase not counted.
func (t *Template) Weight() int64 {
	if t.weight > 0 {
		return t.weight
	}
	var w int64
	for i := range t.Txs {
		w += t.Txs[i].Weight
	}
	return w
}

// ID names the template's content: a hash over all that a block takes from it.
// Files and journal records refer to a template by it.
func (t *Template) ID() chainhash.Hash {
	h := sha256.New()
	var b [44]byte
	binary.LittleEndian.PutUint32(b[0:], t.Version)
	copy(b[4:], t.PrevHash[:])
	binary.LittleEndian.PutUint32(b[36:], t.Bits)
	binary.LittleEndian.PutUint32(b[40:], uint32(t.Height))
	h.Write(b[:])
	binary.LittleEndian.PutUint64(b[0:], uint64(t.Value))
	binary.LittleEndian.PutUint32(b[8:], t.MinTime)
	binary.LittleEndian.PutUint32(b[12:], t.CurTime)
	binary.LittleEndian.PutUint32(b[16:], t.WorkBits)
	h.Write(b[:20])
	h.Write(t.Commitment)
	for i := range t.Txs {
		h.Write(t.Txs[i].WTxID[:])
	}
	return chainhash.Hash(h.Sum(nil))
}

// witnessCommitment returns the commitment output script for a block of these
// transactions: SHA256d(witness merkle root ‖ 32 zero bytes), BIP141. The
// coinbase counts as 32 zero bytes in the witness tree.
func witnessCommitment(txs []Tx) []byte {
	level := make([][sha256d.Size]byte, 1, len(txs)+1)
	for i := range txs {
		level = append(level, txs[i].WTxID)
	}
	for len(level) > 1 {
		level = merkleLevel(level)
	}
	var pre [64]byte
	copy(pre[:], level[0][:])
	sum := sha256d.Sum(pre[:])
	return append(append(make([]byte, 0, 38), witnessCommitmentHeader...), sum[:]...)
}

// merkleLevel returns the parents of level, an odd last node being paired with
// itself. It reuses level's memory.
func merkleLevel(level [][sha256d.Size]byte) [][sha256d.Size]byte {
	if len(level)%2 == 1 {
		level = append(level, level[len(level)-1])
	}
	var pair [64]byte
	for i := 0; i < len(level); i += 2 {
		copy(pair[:32], level[i][:])
		copy(pair[32:], level[i+1][:])
		level[i/2] = sha256d.Sum(pair[:])
	}
	return level[:len(level)/2]
}

// coinbaseBranches returns the siblings on the path from the coinbase (leaf 0)
// to the root of the transaction tree.
//
//	      root            leaf 0 is the coinbase, unknown yet:
//	    /      \          branches are [1, 23] in this drawing.
//	  01        23
//	 /  \      /  \
//	0    1    2    3
func coinbaseBranches(txs []Tx) [][sha256d.Size]byte {
	level := make([][sha256d.Size]byte, 1, len(txs)+2)
	for i := range txs {
		level = append(level, txs[i].TxID)
	}
	var branches [][sha256d.Size]byte
	for len(level) > 1 {
		branches = append(branches, level[1])
		level = merkleLevel(level) // entry 0 is meaningless and never read
	}
	return branches
}
