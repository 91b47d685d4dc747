package edge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/pool"
)

// A node that was killed hard comes back without its last blocks, and says
// that our block's parent is unknown until its peers gave it again. That is no
// ruling on the block.
func TestUnknownParentIsNoRefusal(t *testing.T) {
	for _, word := range []string{"prev-blk-not-found", "time-too-new"} {
		t.Run(word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				k.node.submit, k.node.inChain = says(word), unknown
				k.run()
				k.block(0)
				time.Sleep(time.Minute)
				if s := k.state(); s != pool.BlockCandidate {
					t.Errorf("%v while the node does not know the parent", s)
				}
				if n := k.files("candidates", ".done"); n != 0 {
					t.Error("the journal holds a final result: a restart would not submit the block")
				}
				k.node.set(func() {
					k.node.submit = says("")
					k.node.inChain = func(chainhash.Hash) (int64, error) { return 1, nil }
				})
				time.Sleep(2 * resubmitEvery)
				if s := k.state(); s != pool.BlockActive {
					t.Errorf("%v after the node knew the parent", s)
				}
				k.end()
			})
		})
	}
}

// A parent that the chain left behind is waited for no longer than its
// template is kept.
func TestUnknownParentBuried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit, k.node.inChain = says("prev-blk-not-found"), unknown
		k.run()
		k.block(0)
		k.node.updates <- bitcoind.Update{Template: template(t, 101+keepTemplates, 2, noBlocks, 50e8), Tip: 2}
		time.Sleep(2 * resubmitEvery)
		if s := k.state(); s != pool.BlockRefused {
			t.Errorf("%v", s)
		}
		sent := len(k.node.submitted())
		time.Sleep(time.Minute)
		if n := len(k.node.submitted()); n != sent {
			t.Errorf("sent %d times more", n-sent)
		}
		k.end()
	})
}

// A node that hangs on a question about one block keeps no other block from
// being submitted again.
func TestHangingNodeDelaysNoBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		hang := make(chan struct{})
		k.node.inChain = func(chainhash.Hash) (int64, error) { <-hang; return 1, nil }
		k.run()
		first := k.block(0)
		time.Sleep(resubmitEvery)
		k.node.set(func() {
			k.node.submit = func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
				each(bitcoind.SubmitResult{Node: "a", Err: bitcoind.ErrUnreachable})
			}
		})
		second := k.block(1 << 20)
		if first == second {
			t.Error("one block")
		}
		synctest.Wait()
		k.node.set(func() { k.node.submit = says("") })
		time.Sleep(2 * resubmitEvery)
		for _, b := range k.edge.Blocks() {
			if b.Hash == second && b.State != pool.BlockAccepted {
				t.Errorf("the second block is %v with answers %v", b.State, b.Answers)
			}
		}
		close(hang)
		k.end()
	})
}

// What stands in the lane when the edge ends is written down.
func TestLaneIsEmptiedAtTheEnd(t *testing.T) {
	for range 16 { // a choice between two ready channels is random
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t, t.TempDir(), nil)
			k.block(0)
			life, end := context.WithCancel(t.Context())
			end()
			k.edge.blocks.life = life
			k.edge.blocks.carry(life)
			synctest.Wait()
			if n := k.files("candidates", ".cand"); n != 1 {
				t.Errorf("%d candidates on disk", n)
			}
			if err := k.journal.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
