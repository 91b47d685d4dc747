//go:build !race

package fleet

import (
	"runtime"
	"testing"
	"time"
)

// TestVolleyAllocatesNothing for a share: what the load costs is not the server's.
// The allocations of a thousand are counted as a whole, and the quietest of five
// counts, for the runtime has a few of its own.
func TestVolleyAllocatesNothing(t *testing.T) {
	w := &work{job: &job{id: "1", ntime: 1}, en2size: 8}
	g := &gun{link: &link{}, volley: &Volley{}, due: make([]int64, 64), id: firstID}
	g.volley.sample.Store(newVolleySample())
	g.quarry = quarry{work: w, nonces: make([]uint32, 1000)}
	var err error
	if g.pen, err = newPen(&g.quarry, "a"); err != nil {
		t.Fatal(err)
	}
	answer := []byte(`{"id":10,"result":true,"error":null}`)
	at := time.Now()
	g.out = make([]byte, 0, 256)
	least := uint64(1) << 63
	for range 5 {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range 1000 {
			g.out = g.append(g.out[:0], g.id, i)
			g.due[firstID%64], g.open, g.id = 1, 1, firstID+1
			if err := g.line(answer, at); err != nil || g.open != 0 {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	if least > 5 {
		t.Errorf("1000 shares made %d allocations", least)
	}
}
