package pool_test

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"testing"

	"cordee/pool"
)

// benchmarkShares returns n submissions of the shape that pays the rent: a
// coinbase of 250 bytes and 12 branches, a template of some 4000 transactions.
func benchmarkShares(b *testing.B, n int) []pool.Submission {
	b.Helper()
	const value = 50e8
	tpl := *regtestTemplate(b, 900_000, value, nil)
	for i := range 12 {
		tpl.Branches = append(tpl.Branches, randomHash(uint64(i)))
	}
	payout := evenPayout(value, 2)
	payout.Outputs[1].Script = append([]byte{0x51, 0x20}, make([]byte, 32)...)
	job, err := pool.NewJob(&tpl, payout, pool.DefaultClass, "/cordee-bench/", 5, 77)
	if err != nil {
		b.Fatal(err)
	}
	if job.CoinbaseSize() != 250 {
		b.Fatalf("the coinbase has %d bytes", job.CoinbaseSize())
	}
	work := job.Work(4, 1)
	subs := make([]pool.Submission, n)
	for i := range subs {
		subs[i] = pool.Submission{Work: work, Extranonce2Size: 8, NTime: tpl.CurTime, Version: tpl.Version, Nonce: uint32(i)}
	}
	return subs
}

// verify hashes b.N shares in batches of n.
func verify(b *testing.B, n int) {
	subs := benchmarkShares(b, n)
	var batch pool.Batch
	read := func() {
		batch.Reset(nil)
		batch.Subs = append(batch.Subs, subs...)
		batch.Hash()
	}
	read() // its slices have their size for what follows
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += n {
		read()
	}
}

// BenchmarkShareVerify is a share that came alone, as most do.
func BenchmarkShareVerify(b *testing.B) { verify(b, 1) }

// BenchmarkShareVerifyBatch is a share among 16 of one read.
func BenchmarkShareVerifyBatch(b *testing.B) { verify(b, 16) }

// BenchmarkShareVerifyFew is a share among a few of one read, where it shows from
// how many on lanes pay.
func BenchmarkShareVerifyFew(b *testing.B) {
	for _, n := range []int{2, 4, 8, 13} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { verify(b, n) })
	}
}

// BenchmarkShareVerifyStdlib is the same share by crypto/sha256 alone, the
// measure of the two others.
func BenchmarkShareVerifyStdlib(b *testing.B) {
	s := &benchmarkShares(b, 1)[0]
	t := s.Work.Template
	sum := func(p []byte) [32]byte {
		first := sha256.Sum256(p)
		return sha256.Sum256(first[:])
	}
	buf := make([]byte, 0, 1024)
	var header [80]byte
	var hash [32]byte
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Work.Coinbase(buf[:0], s)
		root := sum(buf)
		for i := range t.Branches {
			var pair [64]byte
			copy(pair[:], root[:])
			copy(pair[32:], t.Branches[i][:])
			root = sum(pair[:])
		}
		binary.LittleEndian.PutUint32(header[0:], s.Version)
		copy(header[4:], t.PrevHash[:])
		copy(header[36:], root[:])
		binary.LittleEndian.PutUint32(header[68:], s.NTime)
		binary.LittleEndian.PutUint32(header[72:], t.Bits)
		binary.LittleEndian.PutUint32(header[76:], s.Nonce)
		hash = sum(header[:])
	}
	if want := pool.Hash(nil, []pool.Submission{*s})[0]; want.Header != header || [32]byte(want.Hash) != hash {
		b.Fatalf("header %x, pool.Hash has %x", header, want.Header)
	}
}
