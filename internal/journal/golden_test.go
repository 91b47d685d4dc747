package journal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

var update = flag.Bool("update", false, "rewrite golden files: only with a new format version")

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// fill returns n bytes counting up from first, so that a swapped field shows.
func fill(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// goldenRecords holds one record of each type, all fields different.
func goldenRecords() []Record {
	share := Share{
		Seq: 0x0102030405060708, When: 1_700_000_000_123, Rig: 0x11121314, Member: 0x2122, Class: 0x31, Variant: 0x32,
		Counter: 0x41424344, WorkBits: 0x1d00ffff, Difficulty: 0x5152535455565758,
		Extranonce1: [4]byte(fill(0x61, 4)), Extranonce2: [8]byte(fill(0x71, 8)),
		NTime: 0x81828384, Nonce: 0x91929394, Version: 0x20000000, Hash: chainhash.Hash(fill(0xa0, 32)),
	}
	answer := share
	answer.Seq, answer.Difficulty = 0, 0
	return []Record{
		Epoch{Edge: 0x0102, Prefix: 3, Epoch: 0x04050607, When: 1_700_000_000_123, Genesis: chainhash.Hash(fill(0x40, 32)), Program: "cordee 1"},
		Rig{Number: 0x01020304, Member: 0x0506, Name: "alpha.north.rig-1"},
		Job{
			Counter: 0x01020304, Tip: 0x1112131415161718, Slot: 0x21222324, Class: 5, Drain: 6, Height: 840000, WorkBits: 0x1703255b,
			TemplateID: chainhash.Hash(fill(0x30, 32)), Commitment: [32]byte(fill(0x50, 32)), ReceiptID: [32]byte(fill(0x70, 32)),
			Version: 0x20000000, Bits: 0x1703255a, Tag: "/tag/", Coinb2: fill(0x90, 9),
			Branches: [][32]byte{[32]byte(fill(0xa0, 32)), [32]byte(fill(0xc0, 32))}, PrevHash: chainhash.Hash(fill(0xe0, 32)),
			MinTime: 0x65000001, CurTime: 0x65000002, Value: 312_500_000,
		},
		share,
		answer,
		Receipt{[]byte("CRCP receipt bytes")},
		BlockRecord{Hash: chainhash.Hash(fill(0x10, 32)), Height: 840000, When: 1_700_000_000_456, Event: BlockRefused, Node: "node-a", Answer: "high-hash"},
		Sealed{LastSeq: 7, Chain: [32]byte(fill(0x20, 32))},
		Slot{[]byte("CSLT")},
	}
}

// golden compares b with a file of hex, 32 bytes a line.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		var sb strings.Builder
		for len(b) > 0 {
			n := min(len(b), 32)
			sb.WriteString(hex.EncodeToString(b[:n]) + "\n")
			b = b[n:]
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(sb.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: bytes differ from the frozen format\n got %x\nwant %x", name, b, want)
	}
}

// TestGoldenRecords: each type has its frozen bytes and reads back.
func TestGoldenRecords(t *testing.T) {
	for _, r := range goldenRecords() {
		b, err := appendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "record-"+r.Kind().String()+".hex", b)
		err = walkRecords(b, func(_ int, k Kind, body []byte) error {
			got, err := Decode(k, body)
			if !reflect.DeepEqual(got, r) {
				t.Errorf("decoded %+v, want %+v", got, r)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoldenSegment: a sealed journal's file has its frozen bytes: header,
// frames, padding, synced offsets, running hash, end.
func TestGoldenSegment(t *testing.T) {
	disk := newMemFS(1)
	at := time.UnixMilli(1_700_000_000_123)
	j, _, err := Open(Config{
		Dir: "/j", Edge: 0x0102, Prefix: 3, Genesis: chainhash.Hash(fill(0x40, 32)), Program: "cordee 1",
		SegmentSize: 8192, FS: disk, Now: func() time.Time { return at },
	})
	if err != nil {
		t.Fatal(err)
	}
	recs := goldenRecords()
	share, _ := recs[3].(Share)
	answer, _ := recs[4].(Share)
	for _, group := range [][]Record{{recs[2], recs[5]}, {share, answer, share}, {recs[6]}} {
		tk, err := j.Append(group...)
		if err != nil {
			t.Fatal(err)
		}
		if err := tk.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	golden(t, "segment.hex", disk.names["/j/seg-00000001-00000000.cj"].cur)
	if _, err := verify(disk, "/j", nil); err != nil {
		t.Error(err)
	}
}

// testTemplate is a template with one transaction.
func testTemplate(t *testing.T, height int32) *pool.Template {
	t.Helper()
	raw := fill(1, 80)
	tpl, err := pool.NewTemplate(&pool.Template{
		Node: "node-a", Height: height, Version: 0x20000000, PrevHash: chainhash.Hash(fill(0x40, 32)), Bits: 0x207fffff,
		WorkBits: 0x1f00ffff, MinTime: 1_700_000_000, CurTime: 1_700_000_100, Value: 5_000_000_000, Challenge: []byte{0x51},
		Txs: []pool.Tx{{Raw: raw, TxID: chainhash.HashH(raw[:60]), WTxID: chainhash.HashH(raw), Weight: 260}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func testCandidate(tpl *pool.Template, nonce byte) Candidate {
	c := Candidate{
		Coinbase: fill(7, 100), TemplateID: tpl.ID(), WorkBits: tpl.WorkBits, Height: tpl.Height,
		When: time.UnixMilli(1_700_000_000_123 + int64(nonce)),
	}
	copy(c.Header[:], fill(nonce, 80))
	c.Hash = chainhash.DoubleHashH(c.Header[:])
	return c
}

// TestGoldenFiles: templates and candidates have their frozen bytes.
func TestGoldenFiles(t *testing.T) {
	tpl := testTemplate(t, 101)
	c := testCandidate(tpl, 9)
	golden(t, "template.hex", encodeTemplate(tpl))
	golden(t, "candidate.hex", encodeCandidate(&c))
	c.Receipt = fill(3, 70)
	golden(t, "candidate-receipt.hex", encodeCandidate(&c))
}
