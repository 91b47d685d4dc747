package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func hash(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// drawVector draws a history of shares and blocks within the schema.
func drawVector(t *rapid.T) *Vector {
	v := &Vector{
		ShareFields: []string{"seq", "member", "diff", "epoch"},
		Params: Params{
			XMilli:     rapid.Uint64Range(1, 20_000).Draw(t, "x_milli"),
			Scale:      rapid.SampledFrom([]uint64{1, 1 << 10, 1 << 32}).Draw(t, "scale"),
			WindowRule: rapid.SampledFrom([]string{"unit", "unit", "unit", "work"}).Draw(t, "rule"),
			Underfill:  rapid.SampledFrom([]string{"normalize", "reserve"}).Draw(t, "underfill"),
			Fees:       []VectorFee{},
		},
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "fees") {
		v.Params.Fees = append(v.Params.Fees, VectorFee{fmt.Sprint("fee", i), rapid.Int64Range(0, 3333).Draw(t, "bp")})
	}
	// Difficulties near scale / a few, targets near difficulty 1 to 64: windows
	// hold from less than one share to more than there are. Some are huge.
	v.EpochsNBits = rapid.SliceOfN(rapid.SampledFrom([]string{"1d00ffff", "1c3fffc0", "1c7fff80", "1d00c0de", "1b4188f5", "207fffff", "17022c8e"}), 1, 4).Draw(t, "epochs")
	members := rapid.IntRange(1, 9).Draw(t, "members")
	var seq uint64
	for range rapid.IntRange(0, 120).Draw(t, "shares") {
		seq += rapid.Uint64Range(1, 3).Draw(t, "gap")
		d := rapid.Uint64Range(1, 4*v.Params.Scale).Draw(t, "diff")
		switch rapid.IntRange(0, 19).Draw(t, "kind") {
		case 0:
			d = rapid.Uint64Range(1, 1<<57).Draw(t, "huge")
		case 1, 2, 3, 4:
			d = 1 << rapid.IntRange(0, 6).Draw(t, "power") // exact fits and ties
		}
		v.Shares = append(v.Shares, Share{
			Seq: seq, Member: fmt.Sprintf("m%d", rapid.IntRange(1, members).Draw(t, "member")), Difficulty: d,
			Epoch: rapid.IntRange(0, len(v.EpochsNBits)-1).Draw(t, "epoch"),
		})
	}
	var cut uint64
	for i := range rapid.IntRange(1, 4).Draw(t, "blocks") {
		cut += rapid.Uint64Range(0, seq/2+1).Draw(t, "cut")
		v.Blocks = append(v.Blocks, VectorBlock{
			Height: int64(900_000 + i), Hash: hash(fmt.Sprint("block", i, cut)), PrevHash: hash(fmt.Sprint("prev", i, cut)),
			NBits: rapid.SampledFrom(v.EpochsNBits).Draw(t, "nbits"), CutSeq: cut,
			Value: rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 400_000_000), rapid.Just[int64](21e14)).Draw(t, "value"),
		})
	}
	v.Expected = make([]Expected, len(v.Blocks))
	if rapid.Bool().Draw(t, "settle") {
		v.Policy = &Policy{MinPayout: rapid.Int64Range(0, 1_000_000).Draw(t, "min"), MaxOutputs: rapid.IntRange(1, 9).Draw(t, "max")}
		v.Settlement = make([]Settlement, len(v.Blocks))
		v.MemberTypes = make(map[string]string)
		for i := range members {
			v.MemberTypes[fmt.Sprintf("m%d", i+1)] = rapid.SampledFrom([]string{"p2wpkh", "p2tr", "p2wsh", "p2sh", "p2pkh"}).Draw(t, "type")
		}
	}
	return v
}

var dustFile = map[string]int64{"p2pkh": 546, "p2sh": 540, "p2wpkh": 294, "p2wsh": 330, "p2tr": 330}

// Both paths agree on any history, slot size, cut, window and fees.
func TestPathsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawVector(t)
		if err := v.prepare(dustFile); err != nil {
			t.Fatal(err)
		}
		size := rapid.SampledFrom([]int{1, 2, 3, 7, 97}).Draw(t, "slot size")
		ours, err := byProduction(v, size)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, v, ours)
	})
}

func agree(t interface{ Fatalf(string, ...any) }, v *Vector, ours outcome) {
	naive := byNaive(v, dustFile)
	if !reflect.DeepEqual(naive, ours) {
		r := new(Result)
		for n := range v.Blocks {
			r.compare(Difference{Block: n + 1}, naive.blocks[n], naive.blocks[n], []any{ours.blocks[n]})
		}
		if v.Policy != nil {
			r.compare(Difference{Field: "settlement"}, naive.settlement, naive.settlement, []any{ours.settlement})
		}
		t.Fatalf("the paths differ: %v", r.Differences)
	}
}

// A long random history: CORDEE_PPLNS_SHARES sets its length, 10 million in a
// soak.
func TestPathsAgreeOverManyShares(t *testing.T) {
	total := 1_000_000
	if testing.Short() {
		total = 50_000
	}
	if text := os.Getenv("CORDEE_PPLNS_SHARES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("CORDEE_PPLNS_SHARES=%q is not a number of shares", text)
		}
		total = n
	}
	const seed = 20090103
	r := rand.New(rand.NewPCG(seed, seed))
	for done, run := 0, 0; done < total; run++ {
		n := min(20_000<<(run%5), total-done) // windows in slots, then windows in thousands of slots
		v := longVector(r, n)
		if err := v.prepare(dustFile); err != nil {
			t.Fatal(err)
		}
		size := []int{97, 1, 1000, 13}[run%4]
		ours, err := byProduction(v, size)
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		agree(t, v, ours)
		done += n
	}
}

func longVector(r *rand.Rand, n int) *Vector {
	v := &Vector{
		ShareFields: []string{"seq", "member", "diff", "epoch"},
		Params: Params{
			XMilli: 500 + r.Uint64N(8000), Scale: 1 << 10, WindowRule: "unit", Underfill: []string{"normalize", "reserve"}[r.IntN(2)],
			Fees: []VectorFee{{"fee", r.Int64N(300)}},
		},
		Policy: &Policy{MinPayout: 20_000, MaxOutputs: 17}, MemberTypes: make(map[string]string),
		// About 30000, 29000 and 32000 difficulty; then a drop to a half.
		EpochsNBits: []string{"1b022da4", "1b024286", "1b020c49", "1b045b48"},
	}
	members := 1 + r.IntN(300)
	for i := range members {
		v.MemberTypes[fmt.Sprintf("m%03d", i)] = "p2wpkh"
	}
	v.Shares = make([]Share, n)
	var seq uint64
	for i := range v.Shares {
		seq += 1 + r.Uint64N(3)/2
		m := min(r.IntN(members), r.IntN(members)) // the low numbers are the large farms
		v.Shares[i] = Share{Seq: seq, Member: fmt.Sprintf("m%03d", m), Difficulty: 1 << (8 + r.IntN(6)), Epoch: i * len(v.EpochsNBits) / n}
		if r.IntN(1000) == 0 {
			v.Shares[i].Difficulty = 1 + r.Uint64N(1<<24)
		}
	}
	for i := range 5 {
		cut := v.Shares[(i+1)*n/5-1].Seq - r.Uint64N(uint64(n/10))
		v.Blocks = append(v.Blocks, VectorBlock{
			Height: int64(900_000 + i), Hash: hash(fmt.Sprint("block", n, i, cut)), PrevHash: hash(fmt.Sprint("prev", n, i, cut)),
			NBits: v.EpochsNBits[3], CutSeq: cut, Value: 312_500_000 + r.Int64N(50_000_000),
		})
	}
	v.Expected, v.Settlement = make([]Expected, 5), make([]Settlement, 5)
	return v
}
