package payout

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// The tree that grows is the one that its definition folds, of any number of bodies.
func TestRecordTreeIsRecordRoot(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{1<<12 - 1, 1 << 12, 1<<12 + 1}
	for n := range 260 {
		sizes = append(sizes, n)
	}
	for range 20 {
		sizes = append(sizes, rng.IntN(5000))
	}
	for _, n := range sizes {
		var tree RecordTree
		bodies := make([][]byte, 0, n)
		for range n {
			body := binary.LittleEndian.AppendUint64(nil, rng.Uint64())
			bodies = append(bodies, body)
			tree.Add(body)
		}
		if tree.Len() != n || tree.Root() != RecordRoot(bodies) {
			t.Fatalf("%d bodies: another root", n)
		}
	}
}

func TestRecordTreeAllocatesNothing(t *testing.T) {
	var tree RecordTree
	body := make([]byte, 96)
	for range 1 << 12 {
		tree.Add(body)
	}
	if n := testing.AllocsPerRun(1<<12-1, func() { tree.Add(body) }); n != 0 {
		t.Errorf("%g allocations a body", n)
	}
}
