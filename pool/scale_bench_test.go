package pool_test

import (
	"fmt"
	"testing"

	"cordee/pool"
)

// scaledShare is a share that came alone, of a job with so many outputs and
// branches. It reports the size of its coinbase.
func scaledShare(b *testing.B, outputs, branches int) {
	b.Helper()
	const value = 50e8
	tpl := *regtestTemplate(b, 900_000, value, nil)
	for i := range branches {
		tpl.Branches = append(tpl.Branches, randomHash(uint64(i)))
	}
	class := pool.Class{ID: 2, Name: "large", MaxCoinbase: 100_000}
	job, err := pool.NewJob(&tpl, evenPayout(value, outputs), class, "/cordee-bench/", 5, 77)
	if err != nil {
		b.Fatal(err)
	}
	sub := pool.Submission{Work: job.Work(4, 1), Extranonce2Size: 8, NTime: tpl.CurTime, Version: tpl.Version}
	var batch pool.Batch
	b.ReportAllocs()
	for b.Loop() {
		sub.Nonce++
		batch.Reset(nil)
		batch.Subs = append(batch.Subs, sub)
		batch.Hash()
	}
	b.ReportMetric(float64(job.CoinbaseSize()), "bytes")
}

// BenchmarkShareByOutputs shows what members in the coinbase cost a share, under
// the 12 branches of a full template.
func BenchmarkShareByOutputs(b *testing.B) {
	for _, n := range []int{1, 5, 20, 50, 100, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { scaledShare(b, n, 12) })
	}
}

// BenchmarkShareByBranches shows what the template's transactions cost a share.
func BenchmarkShareByBranches(b *testing.B) {
	for _, n := range []int{0, 4, 8, 12, 14} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { scaledShare(b, 2, n) })
	}
}
