package payout_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cordee/payout"
)

// records and leaves are those that the golden file describes.
func records(n int) (bodies [][]byte) {
	for i := range n {
		bodies = append(bodies, bytes.Repeat([]byte{byte(i)}, 100))
	}
	return bodies
}

func leaves(n int) (all []payout.SumLeaf) {
	for i := range n {
		all = append(all, payout.SumLeaf{
			Member: uint16(i + 1), Difficulty: uint64(i+1) * 1000, Salt: [32]byte(bytes.Repeat([]byte{byte(i)}, 32)),
		})
	}
	return all
}

// The golden file was written by another program from the text of the ADR.
func TestSlotGolden(t *testing.T) {
	files := golden(t, "slot.txt")
	var prev [32]byte
	for i, n := range []int{0, 1, 2, 3, 5, 8} {
		number := uint32(i + 1)
		name := fmt.Sprintf("slot %d, %d records", number, n)
		want := files[name]
		sumRoot, total, err := payout.SumRoot(leaves(n))
		if err != nil || total != uint64(n*(n+1)/2*1000) {
			t.Fatalf("%s: total %d, %v", name, total, err)
		}
		s := &payout.Slot{Number: number, Prev: prev, RecordRoot: payout.RecordRoot(records(n)), SumRoot: sumRoot}
		if n > 0 {
			first := uint64(10 * number)
			s.Ranges = []payout.Range{{Edge: 7, Epoch: 2, First: first, Last: first + uint64(n) - 1}}
		}
		if n > 3 {
			s.Ranges = append(s.Ranges, payout.Range{Edge: 7, Epoch: 3, First: 1, Last: 1}, payout.Range{Edge: 8, Epoch: 1, First: 5, Last: 5})
		}
		for _, l := range leaves(n) {
			s.Sums = append(s.Sums, payout.Sum{Member: l.Member, WorkBits: 0x1d00ffff, Difficulty: l.Difficulty})
		}
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		head := s.Head()
		for key, got := range map[string][]byte{
			"record_root": s.RecordRoot[:], "sum_root": s.SumRoot[:], "slot": b, "head": head[:],
		} {
			if !bytes.Equal(got, want[key]) {
				t.Errorf("%s: %s is %x, want %x", name, key, got, want[key])
			}
		}
		again, err := payout.DecodeSlot(b)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%s: decoded to %+v, %v", name, again, err)
		}
		prev = head
	}
}

func exampleSlot() *payout.Slot {
	return &payout.Slot{
		Number: 9, Prev: run32(1), RecordRoot: run32(2), SumRoot: run32(3),
		Ranges: []payout.Range{{Edge: 1, Epoch: 1, First: 1, Last: 5}, {Edge: 1, Epoch: 2, First: 1, Last: 1}, {Edge: 2, Epoch: 1, First: 9, Last: 10}},
		Sums:   []payout.Sum{{Member: 0, WorkBits: 1, Difficulty: 2}, {Member: 0, WorkBits: 2, Difficulty: 2}, {Member: 1, WorkBits: 1, Difficulty: 2}},
	}
}

func TestSlotRefusals(t *testing.T) {
	for what, spoil := range map[string]func(*payout.Slot){
		"slot 0":                  func(s *payout.Slot) { s.Number = 0 },
		"slot 1 with a prev":      func(s *payout.Slot) { s.Number = 1 },
		"seq 0":                   func(s *payout.Slot) { s.Ranges[0].First = 0 },
		"a range turned round":    func(s *payout.Slot) { s.Ranges[0].Last = 0 },
		"edges out of order":      func(s *payout.Slot) { s.Ranges[1], s.Ranges[2] = s.Ranges[2], s.Ranges[1] },
		"an epoch twice":          func(s *payout.Slot) { s.Ranges[1].Epoch = 1 },
		"a zero sum":              func(s *payout.Slot) { s.Sums[0].Difficulty = 0 },
		"members out of order":    func(s *payout.Slot) { s.Sums[0].Member = 1 },
		"a target twice":          func(s *payout.Slot) { s.Sums[1].WorkBits = 1 },
		"shares without work":     func(s *payout.Slot) { s.Sums = nil },
		"work without any shares": func(s *payout.Slot) { s.Ranges = nil },
	} {
		s := exampleSlot()
		spoil(s)
		if b, err := s.Encode(); !errors.Is(err, payout.ErrSlot) || b != nil {
			t.Errorf("%s: encoded to %d bytes, %v", what, len(b), err)
		}
	}
}

func TestSlotSignature(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public := key.Public().(ed25519.PublicKey)
	s := exampleSlot()
	b, err := s.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := payout.OpenSlot(b, public); err != nil || !reflect.DeepEqual(again, s) {
		t.Fatalf("%+v, %v", again, err)
	}
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	if _, err := payout.OpenSlot(b, other); !errors.Is(err, payout.ErrSlot) {
		t.Errorf("another key: %v", err)
	}
	for i := range b {
		b[i] ^= 1
		if _, err := payout.OpenSlot(b, public); !errors.Is(err, payout.ErrSlot) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		b[i] ^= 1
	}
	for n := range b {
		if _, err := payout.OpenSlot(b[:n], public); !errors.Is(err, payout.ErrSlot) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestSumRootOverflow(t *testing.T) {
	if _, _, err := payout.SumRoot([]payout.SumLeaf{{Difficulty: math.MaxUint64}, {Difficulty: 1}}); !errors.Is(err, payout.ErrSlot) {
		t.Errorf("a sum above 64 bits: %v", err)
	}
	if _, total, err := payout.SumRoot([]payout.SumLeaf{{Difficulty: math.MaxUint64 - 1}, {Difficulty: 1}}); err != nil || total != math.MaxUint64 {
		t.Errorf("the largest sum: %d, %v", total, err)
	}
}

// Order, number and content of records decide the root; an inner node does not
// pass for a record.
func TestRecordRootBinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 70), 1, 12).Draw(t, "bodies")
		other := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 70), 1, 12).Draw(t, "others")
		if !reflect.DeepEqual(bodies, other) && payout.RecordRoot(bodies) == payout.RecordRoot(other) {
			t.Fatal("two lists have one root")
		}
		twice := append(slices.Clip(bodies), bodies[len(bodies)-1])
		if payout.RecordRoot(twice) == payout.RecordRoot(bodies) {
			t.Fatal("a doubled last record is not seen")
		}
	})
}

func FuzzDecodeSlot(f *testing.F) {
	for _, s := range []*payout.Slot{exampleSlot(), {Number: 1}} {
		b, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := payout.DecodeSlot(b)
		if err != nil {
			if !errors.Is(err, payout.ErrSlot) {
				t.Fatalf("error without a name: %v", err)
			}
			return
		}
		again, err := s.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes to %x, %v", b, again, err)
		}
	})
}
