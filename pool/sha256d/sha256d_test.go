package sha256d_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool/sha256d"
)

// Every length around the block boundaries of SHA-256, where padding differs,
// and every beginning of it remembered.
func TestSumLengths(t *testing.T) {
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(i * 7)
	}
	sha256d.UnderEachKernel(t, func(t *testing.T) {
		for n := range len(data) + 1 {
			first := sha256.Sum256(data[:n])
			want := sha256.Sum256(first[:])
			if got := sha256d.Sum(data[:n]); got != want || !bytes.Equal(got[:], chainhash.DoubleHashB(data[:n])) {
				t.Fatalf("%d bytes: %x, want %x", n, got, want)
			}
			for begun := range n + 1 {
				m := sha256d.NewMidstate(data[:begun])
				if got := m.Sum(data[:n]); got != want {
					t.Fatalf("%d bytes, %d of them remembered: %x, want %x", n, begun, got, want)
				}
			}
		}
	})
}

// naiveRoot is Bitcoin's merkle tree by its definition.
func naiveRoot(leaves [][]byte) []byte {
	for len(leaves) > 1 {
		var parents [][]byte
		for i := 0; i < len(leaves); i += 2 {
			right := leaves[min(i+1, len(leaves)-1)]
			parents = append(parents, chainhash.DoubleHashB(append(bytes.Clone(leaves[i]), right...)))
		}
		leaves = parents
	}
	return leaves[0]
}

// Folding a leaf through the siblings that stand on its right at each level
// reaches the root of the whole tree.
func TestFoldReachesTheRoot(t *testing.T) {
	sha256d.UnderEachKernel(t, func(t *testing.T) { rapid.Check(t, foldReachesTheRoot) })
}

func foldReachesTheRoot(t *rapid.T) {
	leaves := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 32, 32), 1, 70).Draw(t, "leaves")
	// The sibling at a level is the root of the next 2^level leaves, the
	// last leaf or node being repeated where they run out.
	var branches [][sha256d.Size]byte
	level := leaves
	for len(level) > 1 {
		branches = append(branches, [32]byte(level[1]))
		var parents [][]byte
		for i := 0; i < len(level); i += 2 {
			parents = append(parents, naiveRoot(level[i:min(i+2, len(level))]))
			if i+1 == len(level) {
				parents[len(parents)-1] = naiveRoot([][]byte{level[i], level[i]})
			}
		}
		level = parents
	}
	root := sha256d.Fold([32]byte(leaves[0]), branches)
	if !bytes.Equal(root[:], naiveRoot(leaves)) {
		t.Fatalf("root %x, want %x", root, naiveRoot(leaves))
	}
}

func TestFoldLeavesItsInputAlone(t *testing.T) {
	branches := [][32]byte{{1}, {2}, {3}}
	leaf := [32]byte{9}
	if sha256d.Fold(leaf, nil) != leaf {
		t.Error("no branches: the leaf is not the root")
	}
	sha256d.Fold(leaf, branches)
	if leaf != [32]byte{9} || branches[0] != [32]byte{1} || branches[2] != [32]byte{3} {
		t.Error("Fold changed what it was given")
	}
}

func TestNoAllocations(t *testing.T) {
	header, branches := make([]byte, 80), make([][32]byte, 12)
	sha256d.UnderEachKernel(t, func(t *testing.T) {
		prefix := sha256d.NewMidstate(header)
		if n := testing.AllocsPerRun(1000, func() {
			sha256d.Fold(sha256d.Sum(header), branches)
			sha256d.FoldPair(sha256d.SumPair(&prefix, &prefix, header, header), branches, branches)
			for range sha256d.Fit(sha256d.MaxLanes) {
				used.Add(&prefix, header)
			}
			if sha256d.Fit(sha256d.MaxLanes) > 0 {
				used.Fold(branches)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func ExampleSum() {
	// The genesis block's header; hashes are displayed byte-reversed.
	var header bytes.Buffer
	fmt.Fprintf(&header, "\x01\x00\x00\x00%s%s\x29\xab\x5f\x49\xff\xff\x00\x1d\x1d\xac\x2b\x7c", make([]byte, 32),
		"\x3b\xa3\xed\xfd\x7a\x7b\x12\xb2\x7a\xc7\x2c\x3e\x67\x76\x8f\x61\x7f\xc8\x1b\xc3\x88\x8a\x51\x32\x3a\x9f\xb8\xaa\x4b\x1e\x5e\x4a")
	fmt.Println(chainhash.Hash(sha256d.Sum(header.Bytes())))
	// Output: 000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f
}
