package pool_test

import (
	"encoding/binary"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool"
)

// Seen against a map, over small keys that collide in its table and random
// ones, with resets.
func TestSeenIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seen pool.Seen
		twin := make(map[chainhash.Hash]bool)
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			var h chainhash.Hash
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0: // the same slot of any table up to 2^20
				binary.LittleEndian.PutUint64(h[:], uint64(rapid.IntRange(1, 40).Draw(t, "n"))<<20)
			case 1:
				binary.LittleEndian.PutUint64(h[:], uint64(rapid.IntRange(1, 60).Draw(t, "n")))
			case 2:
				h = randomHash(rapid.Uint64Range(0, 50).Draw(t, "n"))
			}
			if seen.Has(&h) != twin[h] {
				t.Fatalf("Has(%v) is %v", h, !twin[h])
			}
			if !twin[h] {
				twin[h] = true
				if !seen.Add(&h) || !seen.Has(&h) {
					t.Fatalf("%v was not added", h)
				}
			}
			if seen.Len() != len(twin) {
				t.Fatalf("Len is %d, want %d", seen.Len(), len(twin))
			}
			if rapid.IntRange(0, 150).Draw(t, "reset") == 0 {
				seen.Reset()
				clear(twin)
			}
		}
	})
}

func TestSeenIsBounded(t *testing.T) {
	var seen pool.Seen
	for range 2 { // and again after a reset
		for n := range uint64(pool.MaxSeen) {
			h := randomHash(n)
			if !seen.Add(&h) {
				t.Fatalf("refused at %d", n)
			}
		}
		extra := randomHash(pool.MaxSeen)
		if seen.Add(&extra) || seen.Has(&extra) || seen.Len() != pool.MaxSeen {
			t.Fatalf("one too many is held: %d", seen.Len())
		}
		for n := range uint64(pool.MaxSeen) {
			h := randomHash(n)
			if !seen.Has(&h) {
				t.Fatalf("hash %d is forgotten", n)
			}
		}
		seen.Reset()
		if h := randomHash(0); seen.Len() != 0 || seen.Has(&h) {
			t.Fatal("a reset forgets nothing")
		}
	}
}

// The zero hash and its neighbour share a key: a loss of one share in 2^64,
// never a share paid twice.
func TestSeenHoldsTheZeroHash(t *testing.T) {
	var seen pool.Seen
	var zero chainhash.Hash
	if seen.Has(&zero) {
		t.Error("the empty set has the zero hash")
	}
	if !seen.Add(&zero) || !seen.Has(&zero) {
		t.Error("the zero hash is not held")
	}
}
