package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool/sha256d"
)

// Job is what the pool asks rigs to solve: a template, a payout for one
// firmware class, and their place in the coinbase. It never changes after
// NewJob.
type Job struct {
	Template *Template
	Payout   Payout
	Class    Class
	Tip      uint64 // generation of the chain tip; a job of an older one is stale
	Counter  uint32 // one for all classes of an issue; within an epoch of an edge never reused
	Tag      string

	coinb2 []byte // from behind extranonce2 to the lock time, shared by all works
}

// errNoTemplate is a mistake of the caller, not of any input.
var errNoTemplate = errors.New("job without template")

// NewJob builds and checks a job. The coinbase is: version 2, one input with
// the script of ADR 0003 and sequence fffffffe, p's outputs in order, then the
// witness commitment, lock time height-1 (BIP54). Outputs must sum to the
// template's value (ErrPayoutSum) and have scripts (ErrPayoutScript), the tag
// must fit (ErrTag), the coinbase must fit the class and what the template's
// transactions leave (ErrCoinbaseSize).
func NewJob(t *Template, p Payout, class Class, tag string, tip uint64, counter uint32) (*Job, error) {
	if t == nil {
		return nil, errNoTemplate
	}
	sum, err := p.Sum()
	if err != nil {
		return nil, err
	}
	if sum != t.Value {
		return nil, fmt.Errorf("outputs sum to %d, template has %d: %w", sum, t.Value, ErrPayoutSum)
	}
	if err := checkTag(tag); err != nil {
		return nil, err
	}
	// A copy, so that nobody can change what a published job says it pays.
	p.Outputs = slices.Clone(p.Outputs)
	for i, o := range p.Outputs {
		if len(o.Script) == 0 {
			return nil, fmt.Errorf("output %d of %d sats: %w", i, o.Sats, ErrPayoutScript)
		}
		p.Outputs[i].Script = slices.Clone(o.Script)
	}
	outs := slices.Clip(p.Outputs) // appending must not write behind them
	if t.Commitment != nil {
		outs = append(outs, Output{Script: t.Commitment})
	}
	b := binary.LittleEndian.AppendUint32(nil, coinbaseSequence)
	b = appendOutputs(b, outs)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Height-1))
	j := &Job{Template: t, Payout: p, Class: class, Tip: tip, Counter: counter, Tag: tag, coinb2: b}

	size := j.CoinbaseSize()
	if size > class.MaxCoinbase {
		return nil, fmt.Errorf("%d bytes, class %s allows %d: %w", size, class.Name, class.MaxCoinbase, ErrCoinbaseSize)
	}
	if room := MaxBlockWeight - t.Weight() - 332 - 36; int64(4*size) > room {
		return nil, fmt.Errorf("coinbase weighs %d, the template's transactions leave %d: %w", 4*size, room, ErrCoinbaseSize)
	}
	return j, nil
}

// CoinbaseSize returns the size of the coinbase without witness, in bytes.
func (j *Job) CoinbaseSize() int {
	return len(j.coinb1(Place{})) + Extranonce1Size + Extranonce2Size + len(j.coinb2)
}

// coinb1 returns the coinbase before extranonce1.
func (j *Job) coinb1(p Place) []byte {
	script := ScriptSig{Height: j.Template.Height, Tag: j.Tag, Place: p, Commitment: j.Payout.Commitment}
	prefix := script.appendPrefix(nil)
	b := make([]byte, 0, 42+len(prefix))
	b = binary.LittleEndian.AppendUint32(b, 2) // version
	b = append(b, 1)                           // one input, spending nothing:
	b = append(b, make([]byte, 32)...)
	b = binary.LittleEndian.AppendUint32(b, 0xffffffff)
	b = append(b, byte(len(prefix)+Extranonce1Size+Extranonce2Size))
	return append(b, prefix...)
}

// Work is a job as the rigs of one member hash it. Variants differ only in one
// byte, so that a change of difficulty gives rigs new headers to hash, not
// only a new id (decision 7). Immutable.
type Work struct {
	Template *Template
	Job      *Job // nil for work read from a file of vectors
	Member   uint16
	Variant  uint8
	Coinb1   []byte // coinbase before extranonce1
	Coinb2   []byte // coinbase behind extranonce2

	prefix sha256d.Midstate // of Coinb1, or zero: then every share hashes all of it
}

// Work returns the job as member's rigs see it under variant.
func (j *Job) Work(member uint16, variant uint8) *Work {
	coinb1 := j.coinb1(j.Place(member, variant))
	return &Work{
		Template: j.Template,
		Job:      j,
		Member:   member,
		Variant:  variant,
		Coinb1:   coinb1,
		Coinb2:   j.coinb2,
		prefix:   sha256d.NewMidstate(coinb1),
	}
}

// Place returns what the coinbase of (member, variant) says of itself.
func (j *Job) Place(member uint16, variant uint8) Place {
	return Place{Slot: j.Payout.Slot, Class: j.Class.ID, Member: member, Variant: variant, Counter: j.Counter}
}

// Coinbase appends the coinbase, without witness, that s hashed.
func (w *Work) Coinbase(dst []byte, s *Submission) []byte {
	dst = append(dst, w.Coinb1...)
	dst = append(dst, s.Extranonce1[:]...)
	dst = append(dst, s.Extranonce2[:s.Extranonce2Size]...)
	return append(dst, w.Coinb2...)
}

// Tip is where the chain ends as the followed node sees it.
type Tip struct {
	Hash   chainhash.Hash
	Height int32
}
