//go:build !race

package pool_test

import (
	"runtime"
	"testing"

	"cordee/pool"
)

// A share costs no allocation once a connection runs: 1000 of them, each a
// batch of its own, are counted as a whole, since AllocsPerRun rounds an
// allocation every second call to none.
func TestSharesDoNotAllocate(t *testing.T) {
	for _, outputs := range []int{1, 5, 200} {
		work := regtestWork(t, outputs)
		var batch pool.Batch
		seen := new(pool.Seen)
		for range 4096 { // Seen's table has its size for what follows
			h := randomHash(uint64(seen.Len()) + 1<<40)
			seen.Add(&h)
		}
		round := func(nonce uint32) {
			batch.Reset(seen)
			batch.Add(pool.Submission{
				Work: work, Extranonce2Size: 8, NTime: work.Template.CurTime, Nonce: nonce, Version: work.Template.Version,
			}, pool.Claim{Issued: 1})
			batch.Hash()
			batch.Judge(int64(work.Template.CurTime), pool.RegtestScale)
		}
		round(0)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for nonce := range uint32(1000) {
			round(1 + nonce)
		}
		runtime.ReadMemStats(&after)
		if got := after.Mallocs - before.Mallocs; got > 5 { // the runtime's own
			t.Errorf("%d outputs: 1000 shares made %d allocations", outputs, got)
		}
	}
}

// The plain function too, for coinbases up to its buffer on the stack.
func TestHashDoesNotAllocate(t *testing.T) {
	work := regtestWork(t, 5)
	subs := []pool.Submission{{Work: work, Extranonce2Size: 8}}
	dst := make([]pool.Hashed, 0, 1)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for nonce := range uint32(1000) {
		subs[0].Nonce = nonce
		dst = pool.Hash(dst[:0], subs)
	}
	runtime.ReadMemStats(&after)
	if got := after.Mallocs - before.Mallocs; got > 5 {
		t.Errorf("1000 hashes made %d allocations", got)
	}
}
