package pool_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"pgregory.net/rapid"

	"cordee/pool"
)

// The golden file was written by another program from the text of ADR 0003.
func TestScriptSigGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/golden/scriptsig.txt")
	if err != nil {
		t.Fatal(err)
	}
	heights := make(map[int32]bool)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		s := pool.ScriptSig{
			Extranonce1: [4]byte{0xa0, 0xa1, 0xa2, 0xa3},
			Extranonce2: [8]byte{0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7},
		}
		for i := range s.Commitment {
			s.Commitment[i] = byte(i)
		}
		var want []byte
		p := &s.Place
		if _, err := fmt.Sscanf(line, "%d %q %d %d %d %d %d %x", &s.Height, &s.Tag, &p.Slot, &p.Class, &p.Member, &p.Variant, &p.Counter, &want); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		heights[s.Height] = true
		if got := s.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("height %d: %x, want %x", s.Height, got, want)
		}
		if got, err := pool.ParseScriptSig(want); err != nil || got != s {
			t.Errorf("height %d: parsed to %+v, %v", s.Height, got, err)
		}
	}
	for _, h := range []int32{1, 16, 17, 127, 128, 32767, 32768, 8388608} {
		if !heights[h] {
			t.Errorf("height %d is not in the file", h)
		}
	}
}

func drawScriptSig(t *rapid.T) pool.ScriptSig {
	return pool.ScriptSig{
		Height: max(rapid.Int32Range(1, math.MaxInt32).Draw(t, "height")>>rapid.IntRange(0, 30).Draw(t, "shift"), 1),
		Tag:    rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "tag"),
		Place: pool.Place{
			Slot: rapid.Uint32().Draw(t, "slot"), Class: rapid.Uint8().Draw(t, "class"), Member: rapid.Uint16().Draw(t, "member"),
			Variant: rapid.Uint8().Draw(t, "variant"), Counter: rapid.Uint32().Draw(t, "counter"),
		},
		Commitment:  randomHash(rapid.Uint64().Draw(t, "commitment")),
		Extranonce1: [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "extranonce1")),
		Extranonce2: [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "extranonce2")),
	}
}

// The script reads back, is a list of pushes to a script interpreter, starts
// with the height as consensus wants it, and has no opcode that counts as a
// signature check.
func TestScriptSigRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScriptSig(t)
		b := s.Append(nil)
		if len(b) < 2 || len(b) > pool.MaxScriptSig {
			t.Fatalf("%d bytes", len(b))
		}
		if got, err := pool.ParseScriptSig(b); err != nil || got != s {
			t.Fatalf("parsed to %+v, %v; want %+v", got, err, s)
		}
		height, err := txscript.NewScriptBuilder().AddInt64(int64(s.Height)).Script()
		if err != nil || !bytes.HasPrefix(b, height) {
			t.Fatalf("script %x does not start with the height %x, %v", b, height, err)
		}
		if !txscript.IsPushOnlyScript(b) || txscript.GetSigOpCount(b) != 0 {
			t.Fatalf("script %x is not only pushes", b)
		}
		for _, bad := range [][]byte{b[:len(b)-1], append(bytes.Clone(b), 0), nil} {
			if _, err := pool.ParseScriptSig(bad); !errors.Is(err, pool.ErrScriptSig) {
				t.Fatalf("%x: %v", bad, err)
			}
		}
	})
}

func FuzzParseScriptSig(f *testing.F) {
	s := pool.ScriptSig{Height: 840000, Tag: "/cordee/"}
	f.Add(s.Append(nil))
	s.Height = 16
	f.Add(s.Append(nil))
	for _, bad := range []string{"", "00", "0110", "0180", "028000", "03000080", "05ffffffff00", "04ffffffff", "51", "5115"} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, s.Append(nil)[1:]...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := pool.ParseScriptSig(b)
		if err != nil {
			if !errors.Is(err, pool.ErrScriptSig) {
				t.Fatalf("error without a name: %v", err)
			}
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x reads as %+v, which is %x", b, s, again)
		}
	})
}

func TestJobRefusals(t *testing.T) {
	const value = 50e8
	tpl := regtestTemplate(t, 101, value, nil)
	good := evenPayout(value, 2)
	for what, c := range map[string]struct {
		payout pool.Payout
		tag    string
		class  pool.Class
		want   error
	}{
		"a sat short":           {evenPayout(value-1, 2), "", pool.DefaultClass, pool.ErrPayoutSum},
		"a sat over":            {evenPayout(value+1, 2), "", pool.DefaultClass, pool.ErrPayoutSum},
		"no outputs":            {pool.Payout{}, "", pool.DefaultClass, pool.ErrPayoutSum},
		"negative output":       {pool.Payout{Outputs: []pool.Output{{Sats: value + 1, Script: p2wpkh(1)}, {Sats: -1, Script: p2wpkh(2)}}}, "", pool.DefaultClass, pool.ErrPayoutSum},
		"overflow":              {pool.Payout{Outputs: []pool.Output{{Sats: math.MaxInt64, Script: p2wpkh(1)}, {Sats: math.MaxInt64, Script: p2wpkh(2)}, {Sats: value + 2, Script: p2wpkh(3)}}}, "", pool.DefaultClass, pool.ErrPayoutSum},
		"output without script": {pool.Payout{Outputs: []pool.Output{{Sats: value}}}, "", pool.DefaultClass, pool.ErrPayoutScript},
		"tag of 21 bytes":       {good, strings.Repeat("x", 21), pool.DefaultClass, pool.ErrTag},
		"tag with a newline":    {good, "a\nb", pool.DefaultClass, pool.ErrTag},
		"tag beyond ASCII":      {good, "cord\u00e9e", pool.DefaultClass, pool.ErrTag},
		"class too small":       {good, "", pool.Class{Name: "tiny", MaxCoinbase: 200}, pool.ErrCoinbaseSize},
	} {
		if _, err := pool.NewJob(tpl, c.payout, c.class, c.tag, 1, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	if _, err := pool.NewJob(nil, good, pool.DefaultClass, "", 1, 1); err == nil {
		t.Error("a job without template was built")
	}

	// The class limit is sharp: the coinbase's own size fits, a byte less not.
	job, err := pool.NewJob(tpl, good, pool.DefaultClass, "/cordee/", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for limit, fits := range map[int]bool{job.CoinbaseSize(): true, job.CoinbaseSize() - 1: false} {
		_, err := pool.NewJob(tpl, good, pool.Class{Name: "exact", MaxCoinbase: limit}, "/cordee/", 1, 1)
		if (err == nil) != fits || err != nil && !errors.Is(err, pool.ErrCoinbaseSize) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// The weight limit is sharp too: the last weight unit may be used.
func TestJobWeight(t *testing.T) {
	_, tx := wireTx(1, true)
	build := func(weight int64) (*pool.Job, error) {
		tx.Weight = weight
		tpl, err := pool.NewTemplate(&pool.Template{
			Height: 101, Bits: 0x207fffff, MinTime: 1, CurTime: 1, Value: 7, Txs: []pool.Tx{tx},
		}, nil)
		if err != nil {
			return nil, err
		}
		return pool.NewJob(tpl, evenPayout(7, 3), pool.DefaultClass, "", 1, 1)
	}
	job, err := build(1000)
	if err != nil {
		t.Fatal(err)
	}
	// Header 80 and transaction count 3 in non-witness bytes, marker, flag and
	// the reserved value of 36 witness bytes.
	limit := int64(4_000_000 - 4*(80+3) - 36 - 4*job.CoinbaseSize())
	if _, err := build(limit); err != nil {
		t.Errorf("weight %d: %v", limit, err)
	}
	if _, err := build(limit + 1); !errors.Is(err, pool.ErrCoinbaseSize) {
		t.Errorf("weight %d: %v", limit+1, err)
	}
	if _, err := build(4_000_000 - 700); !errors.Is(err, pool.ErrTemplateWeight) {
		t.Errorf("no room at all: %v", err)
	}
}

// A published job does not change with what it was built from.
func TestJobKeepsItsPayout(t *testing.T) {
	tpl, p := regtestTemplate(t, 101, 900, nil), evenPayout(900, 2)
	job, err := pool.NewJob(tpl, p, pool.DefaultClass, "", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	before := hex.EncodeToString(job.Work(1, 1).Coinb2)
	p.Outputs[0].Sats, p.Outputs[1].Script[0] = 0, 0xff
	if job.Payout.Outputs[0].Sats != 450 || job.Payout.Outputs[1].Script[0] != 0 || hex.EncodeToString(job.Work(1, 1).Coinb2) != before {
		t.Error("the job changed with the caller's payout")
	}
}

// Whatever tells two works apart is in their coinbases, so that no two share a
// header, and each says whose it is.
func TestWorksAreDistinct(t *testing.T) {
	const value = 900
	tpl := regtestTemplate(t, 101, value, nil)

	seen := make(map[string]pool.Place)
	for _, slot := range []uint32{0, 1} {
		for _, class := range []uint8{1, 2} {
			for _, counter := range []uint32{1, 2, 1 << 31} {
				p := evenPayout(value, 1)
				p.Slot = slot
				job, err := pool.NewJob(tpl, p, pool.Class{ID: class, MaxCoinbase: 500}, "", 1, counter)
				if err != nil {
					t.Fatal(err)
				}
				for _, member := range []uint16{0, 1, 256, 65535} {
					for _, variant := range []uint8{0, 1, 255} {
						work := job.Work(member, variant)
						if work.Job != job || work.Template != tpl || work.Member != member || work.Variant != variant {
							t.Fatalf("work %+v", work)
						}
						sub := pool.Submission{Work: work, Extranonce2Size: 8}
						coinbase := work.Coinbase(nil, &sub)
						place := pool.Place{Slot: slot, Class: class, Member: member, Variant: variant, Counter: counter}
						if other, ok := seen[string(coinbase)]; ok {
							t.Fatalf("%+v and %+v share a coinbase", place, other)
						}
						seen[string(coinbase)] = place
						s, err := pool.ParseScriptSig(coinbase[42 : 42+int(coinbase[41])])
						if err != nil || s.Place != place {
							t.Fatalf("place %+v, %v; want %+v", s.Place, err, place)
						}
					}
				}
			}
		}
	}
	if len(seen) != 2*2*3*4*3 {
		t.Errorf("%d coinbases", len(seen))
	}
}

// Counts around 253, where CompactSize grows by two bytes: outputs of a
// coinbase, bytes of a script, transactions of a block.
func TestCountsAround253(t *testing.T) {
	_, tx := wireTx(1, true)
	for n := 250; n <= 256; n++ {
		txs := make([]pool.Tx, n)
		for i := range txs {
			txs[i] = tx
		}
		tpl := regtestTemplate(t, 101, int64(n), txs)
		p := evenPayout(int64(n), n)
		p.Outputs[0].Script = make([]byte, n)
		job, err := pool.NewJob(tpl, p, pool.Class{Name: "large", MaxCoinbase: 20_000}, "", 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		sub := pool.Submission{Work: job.Work(1, 0), Extranonce2Size: 8}
		h := pool.Hash(nil, []pool.Submission{sub})[0]
		raw := tpl.Block(&h.Header, sub.Work.Coinbase(nil, &sub))
		var block wire.MsgBlock
		if err := block.Deserialize(bytes.NewReader(raw)); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		var again bytes.Buffer
		if err := block.Serialize(&again); err != nil || !bytes.Equal(again.Bytes(), raw) {
			t.Errorf("%d: wire writes another block, %v", n, err)
		}
		if len(block.Transactions) != n+1 || len(block.Transactions[0].TxOut) != n+1 || len(block.Transactions[0].TxOut[0].PkScript) != n {
			t.Errorf("%d: %d transactions, %d outputs", n, len(block.Transactions), len(block.Transactions[0].TxOut))
		}
	}
}
