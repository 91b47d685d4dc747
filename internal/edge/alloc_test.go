//go:build !race

package edge

import (
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/journal"
	"cordee/pool"
)

// freeLog keeps nothing, so that what is counted is the edge's own.
type freeLog struct{ *journal.Journal }

func (freeLog) AppendShares([]journal.Share) (journal.Ticket, error) { return journal.Ticket{}, nil }

// A share costs the edge no allocation, and the journal one a commit at most.
// Counted as a whole over many shares, since AllocsPerRun rounds; the quietest
// of five counts, for the runtime's own few come and go.
func TestSubmitDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		most   uint64
	}{
		{"edge alone", func(c *Config) { c.Log = freeLog{c.Log.(*journal.Journal)} }, 5},
		{"with a commit each", nil, 1020},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, t.TempDir(), c.change)
			defer k.journal.Close() // of no matter here
			k.edge.canary.due[pool.DefaultClass.ID].Store(false)
			if got := mallocs(shares(t, k, k.edge.Submit)); got > c.most {
				t.Errorf("1000 shares made %d allocations, want %d at most", got, c.most)
			}
		})
	}
}

// Nor does one that is answered later.
func TestPostDoesNotAllocate(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	defer k.journal.Close() // of no matter here
	k.edge.canary.due[pool.DefaultClass.ID].Store(false)
	ruled, posted := make(told, 1), 0
	if got := mallocs(shares(t, k, func(b *pool.Batch) {
		if k.edge.Post(b, ruled) {
			posted++
			<-ruled
		}
	})); got > 1020 || posted < 4900 {
		t.Errorf("1000 shares made %d allocations, and of 5001 shares %d were posted", got, posted)
	}
}

// shares returns what submits one more good share of one connection.
func shares(t *testing.T, k *kit, submit func(*pool.Batch)) func() {
	w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
	memory := new(pool.Seen)
	for i := range uint64(14_000) { // its table has its size for what follows
		h := chainhash.Hash(sha256.Sum256(binary.BigEndian.AppendUint64(nil, i)))
		memory.Add(&h)
	}
	b, nonce, claim := new(pool.Batch), uint32(0), numbered(k, w)
	return func() {
		nonce++
		b.Reset(memory)
		b.Add(submission(w, nonce), claim)
		submit(b)
		// One hash in 65536 misses even the easiest target.
		if v := b.Verdicts[0]; v != (pool.Verdict{Credit: 1}) && v.Reject != pool.LowDifficulty {
			t.Fatalf("nonce %d: %+v", nonce, v)
		}
	}
}

func mallocs(f func()) uint64 {
	f()
	least := uint64(1) << 63
	for range 5 {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 1000 {
			f()
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}
