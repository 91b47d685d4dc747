package pool

import (
	"errors"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// BlockState is where one of our blocks stands. The chain is the only
// authority; a state is what it last said.
type BlockState uint8

// The states of a block. The accountant adds immature and mature money to
// them; the chain knows only these.
const (
	BlockCandidate BlockState = iota // hashed under the target, handed to the nodes
	BlockAccepted                    // a node took it
	BlockActive                      // on the active chain
	BlockOrphaned                    // known to the node, off the active chain
	BlockRefused                     // every node refused it
)

var blockStates = [...]string{"candidate", "accepted", "active", "orphaned", "refused"}

// String returns the stable name, for JSON, metrics and logs.
func (s BlockState) String() string {
	if int(s) < len(blockStates) {
		return blockStates[s]
	}
	return "unknown"
}

// ErrBlockState reports a text that names no block state.
var ErrBlockState = errors.New("unknown block state")

// MarshalText makes the name the JSON form.
func (s BlockState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name back.
func (s *BlockState) UnmarshalText(b []byte) error {
	for i, name := range blockStates {
		if name == string(b) {
			*s = BlockState(i)
			return nil
		}
	}
	return ErrBlockState
}

// Block is a candidate of ours and what became of it.
type Block struct {
	Hash          chainhash.Hash
	Height        int32
	State         BlockState
	Worker        string            // full name of the rig that found it; "" where an earlier run did
	Member        uint16            // whose work it was, as its coinbase says; 0 is nobody's
	Value         int64             // sats of its coinbase
	Found         int64             // Unix milliseconds
	Confirmations int64             // as last seen; 0 until active
	Answers       map[string]string // node name to its answer
}
