package edge

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/pool"
)

// The chain is the only authority: what it says moves a block, both ways.
func TestChainMovesABlock(t *testing.T) {
	for _, first := range []string{"", "duplicate", "inconclusive", "duplicate-inconclusive"} {
		t.Run("submitblock says "+first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				k.node.submit, k.node.inChain = says(first, "high-hash"), unknown
				k.run()
				k.block(0)
				synctest.Wait()
				if s := k.state(); s != pool.BlockAccepted {
					t.Fatalf("state %v", s)
				}
				for _, step := range []struct {
					confirmations int64
					want          pool.BlockState
				}{{-1, pool.BlockOrphaned}, {1, pool.BlockActive}, {2, pool.BlockActive}, {-1, pool.BlockOrphaned}, {5, pool.BlockActive}} {
					k.node.set(func() { k.node.inChain = func(chainhash.Hash) (int64, error) { return step.confirmations, nil } })
					time.Sleep(resubmitEvery + time.Millisecond)
					b := k.edge.Blocks()[0]
					if b.State != step.want || b.Confirmations != max(step.confirmations, 0) {
						t.Errorf("after %d: %v, %d confirmations", step.confirmations, b.State, b.Confirmations)
					}
				}
				if n := len(k.node.submitted()); n != 1 {
					t.Errorf("submitted %d times", n)
				}
				k.end()
			})
		})
	}
}

// A settled block is not asked about for ever, nor are its bytes kept.
func TestSettledBlock(t *testing.T) {
	for name, confirmations := range map[string]int64{"active": settledDepth, "orphaned": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				asked := 0
				k.node.inChain = func(chainhash.Hash) (int64, error) { asked++; return confirmations, nil }
				k.run()
				k.block(0)
				k.node.updates <- bitcoind.Update{Template: template(t, 101+settledDepth, 2, noBlocks, 50e8), Tip: 2}
				time.Sleep(time.Minute)
				k.node.set(func() { asked = 0 })
				time.Sleep(time.Minute)
				k.node.set(func() {
					if asked != 0 {
						t.Errorf("asked %d times more", asked)
					}
				})
				if c := k.edge.blocks.order[0]; c.template != nil || c.stored.Coinbase != nil {
					t.Error("its bytes are still in memory")
				}
				k.end()
			})
		})
	}
}

// A node that keeps us waiting does not hide what another one's chain says.
func TestOneNodeOfTwoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit = func(ctx context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
			each(bitcoind.SubmitResult{Node: "a", Accepted: true})
			<-ctx.Done()
			each(bitcoind.SubmitResult{Node: "b", Err: bitcoind.ErrUnreachable})
		}
		k.run()
		k.block(0)
		synctest.Wait()
		if s := k.state(); s != pool.BlockActive {
			t.Errorf("state %v while node b is away", s)
		}
		time.Sleep(2 * submitLife)
		b := k.edge.Blocks()[0]
		if n := len(k.node.submitted()); n != 1 || b.State != pool.BlockActive || b.Answers["a"] != "accepted" {
			t.Errorf("submitted %d times, %+v", n, b)
		}
		k.end()
	})
}

// A node killed hard forgets its last blocks: ours is given to it again.
func TestForgottenBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		k.block(0)
		synctest.Wait()
		if k.state() != pool.BlockActive {
			t.Fatal(k.state())
		}
		k.node.set(func() { k.node.inChain = unknown })
		time.Sleep(4 * resubmitEvery)
		if n := len(k.node.submitted()); n < 2 {
			t.Errorf("submitted %d times", n)
		}
		k.node.set(func() { k.node.inChain = func(chainhash.Hash) (int64, error) { return 1, nil } })
		time.Sleep(2 * resubmitEvery)
		if k.state() != pool.BlockActive {
			t.Error(k.state())
		}
		k.end()
	})
}

// What a killed process wrote and no node answered is submitted by the next,
// byte for byte; a candidate without a result keeps its template.
func TestRestartResubmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		k := newKit(t, dir, nil)
		k.node.submit, k.node.inChain = away, unknown
		k.run()
		hash := k.block(0)
		synctest.Wait()
		bytes := k.node.submitted()[0].block
		k.stop()
		if err := <-k.ended; err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "candidates", chainhash.Hash{1}.String()+".cand"), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.journal.Close(); err != nil {
			t.Fatal(err)
		}

		next := newKit(t, dir, nil)
		if len(next.rec.Candidates) != 1 {
			t.Fatalf("%d candidates", len(next.rec.Candidates))
		}
		next.run()
		synctest.Wait()
		sent := next.node.submitted()
		if len(sent) != 1 || string(sent[0].block) != string(bytes) || sent[0].hash() != hash {
			t.Errorf("%d submits, or other bytes", len(sent))
		}
		if next.state() != pool.BlockActive || next.logged.count("block.bad_file") != 1 {
			t.Errorf("%v, %d bad files named", next.state(), next.logged.count("block.bad_file"))
		}
		next.end()
		if _, rec := reopen(next); len(rec.Candidates) != 0 {
			t.Error("answered, and left for a third start")
		}
	})
}

// A stop waits for blocks on their way, but not longer than it may take.
func TestDrainWaitsForBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit = func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
			time.Sleep(3 * time.Second)
			each(bitcoind.SubmitResult{Node: "a", Accepted: true})
		}
		k.run()
		k.block(0)
		synctest.Wait()
		began := time.Now()
		k.end()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if k.state() != pool.BlockAccepted {
			t.Error(k.state())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit, k.node.inChain = away, unknown
		k.run()
		k.block(0)
		synctest.Wait()
		began := time.Now()
		k.end()
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if _, rec := reopen(k); len(rec.Candidates) != 1 {
			t.Error("the next start does not know of the block")
		}
	})
}

// A node that is dead does not hold up a stop once another one took the block.
func TestDrainBesideADeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.inChain = unknown
		k.node.submit = func(ctx context.Context, block []byte, each func(bitcoind.SubmitResult)) {
			time.Sleep(time.Second)
			each(bitcoind.SubmitResult{Node: "b", Accepted: true})
			away(ctx, block, each)
		}
		k.run()
		k.block(0)
		synctest.Wait()
		began := time.Now()
		k.end()
		if took := time.Since(began); took != time.Second {
			t.Errorf("stopped after %v, one node had the block after 1 s", took)
		}
	})
}

// The list in memory is bounded, and never drops a block without a result.
func TestBlockListIsBounded(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	defer k.journal.Close() // of no matter here
	b := &k.edge.blocks
	add := func(n int, final bool) {
		c := &candidate{final: final}
		c.Hash[0], c.Hash[1], c.Hash[2] = byte(n), byte(n>>8), 1
		if !b.enter(c) {
			t.Fatal("known")
		}
		b.land(c)
	}
	add(0, false)
	for n := 1; n <= 2*keepBlocks; n++ {
		add(n, true)
	}
	if len(b.order) != keepBlocks || len(b.known) != keepBlocks || b.order[0].Hash[0] != 0 || b.order[0].final {
		t.Errorf("%d in order, %d known, oldest %v", len(b.order), len(b.known), b.order[0].Hash)
	}
}
