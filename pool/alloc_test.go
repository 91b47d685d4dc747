//go:build !race

package pool_test

import (
	"runtime"
	"testing"

	"cordee/pool"
)

// mallocs returns how many allocations 1000 calls of f make, as a whole, since
// AllocsPerRun rounds an allocation every second call to none. The runtime's
// own few come and go, so the quietest of five counts.
func mallocs(f func(n uint32)) uint64 {
	least := uint64(1) << 63
	for round := range uint32(5) {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for n := range uint32(1000) {
			f(round*1000 + n)
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}

// A share costs no allocation once a connection runs, each being a batch of its
// own.
func TestSharesDoNotAllocate(t *testing.T) {
	for _, outputs := range []int{1, 5, 200} {
		work := regtestWork(t, outputs)
		var batch pool.Batch
		seen := new(pool.Seen)
		for range 14_000 { // its table has its size for what follows
			h := randomHash(uint64(seen.Len()) + 1<<40)
			seen.Add(&h)
		}
		share := func(nonce uint32) {
			batch.Reset(seen)
			batch.Add(pool.Submission{
				Work: work, Extranonce2Size: 8, NTime: work.Template.CurTime, Nonce: nonce, Version: work.Template.Version,
			}, pool.Claim{Issued: 1})
			batch.Hash()
			batch.Judge(int64(work.Template.CurTime), pool.RegtestScale)
			if batch.Verdicts[0] != (pool.Verdict{Credit: 1}) {
				t.Fatalf("nonce %d: %+v", nonce, batch.Verdicts[0])
			}
		}
		share(1 << 31)
		if got := mallocs(share); got > 5 {
			t.Errorf("%d outputs: 1000 shares made %d allocations", outputs, got)
		}
	}
}

// The plain function too, for coinbases up to its buffer on the stack: one by
// one, in pairs, in lanes as wide as there are, and what is left beside them.
func TestHashDoesNotAllocate(t *testing.T) {
	for _, size := range []int{1, 2, 3, 8, 16, 29} {
		subs := make([]pool.Submission, size)
		for i := range subs {
			subs[i] = pool.Submission{Work: regtestWork(t, 5), Extranonce2Size: 8}
		}
		dst := make([]pool.Hashed, 0, size)
		got := mallocs(func(n uint32) {
			subs[0].Nonce = n
			dst = pool.Hash(dst[:0], subs)
		})
		if got > 5 {
			t.Errorf("1000 batches of %d made %d allocations", size, got)
		}
	}
}
