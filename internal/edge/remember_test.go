package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// A restart hides no block: what an earlier run settled is listed again, asked
// about again, and never submitted again.
func TestRestartRemembersBlocks(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		was    pool.BlockState
		now    int64
		want   pool.BlockState
	}{
		{"active stays", "", pool.BlockActive, 3, pool.BlockActive},
		{"orphaned meanwhile", "", pool.BlockActive, -1, pool.BlockOrphaned},
		{"refused stays", "high-hash", pool.BlockRefused, 3, pool.BlockRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				k := newKit(t, dir, nil)
				k.node.submit = says(c.answer)
				k.run()
				hash := k.block(0)
				synctest.Wait()
				if s := k.state(); s != c.was {
					t.Fatalf("state %v", s)
				}
				before := k.edge.Blocks()[0]
				k.end()

				next := newKit(t, dir, nil)
				next.node.inChain = func(chainhash.Hash) (int64, error) { return c.now, nil }
				next.run()
				time.Sleep(resubmitEvery + time.Millisecond)
				got := next.edge.Blocks()
				if len(got) != 1 || got[0].Hash != hash || got[0].State != c.want || got[0].Value != before.Value ||
					got[0].Found != before.Found || got[0].Height != before.Height || got[0].Member != 7 || before.Member != 7 {
					t.Errorf("listed %+v, was %+v", got, before)
				}
				if n := len(next.node.submitted()); n != 0 {
					t.Errorf("submitted %d times more", n)
				}
				// Even where no node knows it any more: its template is gone.
				next.node.set(func() { next.node.inChain = unknown })
				time.Sleep(time.Minute)
				if n := len(next.node.submitted()); n != 0 {
					t.Errorf("submitted %d times without a template", n)
				}
				next.end()
			})
		})
	}
}
