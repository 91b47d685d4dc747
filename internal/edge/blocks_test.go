package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/pool"
)

// says makes the node answer every submit with these words, one a node.
func says(words ...string) func(context.Context, []byte, func(bitcoind.SubmitResult)) {
	return func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
		for i, w := range words {
			each(bitcoind.SubmitResult{Node: string(rune('a' + i)), Answer: w, Accepted: w == "" || w == "duplicate"})
		}
	}
}

// away answers nothing until ctx ends.
func away(ctx context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
	<-ctx.Done()
	each(bitcoind.SubmitResult{Node: "a", Err: bitcoind.ErrUnreachable})
}

// block finds one on a template of its own and submits it.
func (k *kit) block(nonce uint32) chainhash.Hash {
	k.t.Helper()
	tpl := template(k.t, 101, 1, allBlocks, 50e8)
	if _, err := k.journal.PutTemplate(tpl); err != nil {
		k.t.Fatal(err)
	}
	s, _ := mined(work(k.t, tpl, 1, 1), nonce, nil)
	b := batch(new(pool.Seen), easy, s)
	k.edge.Submit(b)
	return b.Hashed[0].Hash
}

// state returns where the only block stands.
func (k *kit) state() pool.BlockState {
	k.t.Helper()
	all := k.edge.Blocks()
	if len(all) != 1 {
		k.t.Fatalf("%d blocks", len(all))
	}
	return all[0].State
}

func unknown(chainhash.Hash) (int64, error) { return 0, bitcoind.ErrUnknownBlock }

// A block is a block whatever the share rules say of it, and is sent once.
func TestBlockWhateverTheShareIs(t *testing.T) {
	for _, c := range []struct {
		want   pool.Reject
		claim  pool.Claim
		change func(*pool.Submission)
	}{
		{pool.Accepted, easy, nil},
		{pool.Stale, pool.Claim{Issued: 1, Stale: true, Worker: easy.Worker}, nil},
		{pool.LowDifficulty, pool.Claim{Issued: 1 << 60, Worker: easy.Worker}, nil},
		{pool.Unauthorized, pool.Claim{Issued: 1, Fault: pool.Unauthorized, Worker: easy.Worker}, nil},
		{pool.BadVersion, pool.Claim{Issued: 1, Fault: pool.BadVersion, Worker: easy.Worker}, func(s *pool.Submission) { s.Version ^= 1 }},
		{pool.BadTime, easy, func(s *pool.Submission) { s.NTime -= 601 }},
	} {
		t.Run(c.want.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				k.run()
				defer k.end()
				tpl := template(t, 101, 1, allBlocks, 50e8)
				s, _ := mined(work(t, tpl, 1, 1), 0, c.change)
				memory := new(pool.Seen)
				first := batch(memory, c.claim, s)
				k.edge.Submit(first)
				again := batch(memory, c.claim, s, s) // a duplicate by every rule
				k.edge.Submit(again)
				synctest.Wait()

				if first.Verdicts[0].Reject != c.want {
					t.Errorf("verdict %v", first.Verdicts[0].Reject)
				}
				sent := k.node.submitted()
				if len(sent) != 1 {
					t.Fatalf("submitted %d times", len(sent))
				}
				want := tpl.Block(&first.Hashed[0].Header, s.Work.Coinbase(nil, &s))
				if string(sent[0].block) != string(want) {
					t.Error("submitted other bytes than those that hashed")
				}
				credited := 0
				if c.want == pool.Accepted {
					credited = 1
				}
				if got := records[journal.Share](k); len(got) != credited {
					t.Errorf("%d shares in the journal", len(got))
				}
			})
		})
	}
}

// The duplicate of a share whose first was no block to this process (it came
// before a restart, say) is a block too.
func TestBlockInADuplicateShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.run()
		defer k.end()
		s, _ := mined(work(t, template(t, 101, 1, allBlocks, 50e8), 1, 1), 0, nil)
		memory := new(pool.Seen)
		memory.Add(&pool.Hash(nil, []pool.Submission{s})[0].Hash)
		b := batch(memory, easy, s)
		k.edge.Submit(b)
		synctest.Wait()
		if b.Verdicts[0].Reject != pool.Duplicate || len(k.node.submitted()) != 1 {
			t.Errorf("%v, submitted %d times", b.Verdicts[0].Reject, len(k.node.submitted()))
		}
	})
}

// The file is there before submitblock, where the disk answers.
func TestCandidateIsWrittenFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		files := -1
		k.node.submit = func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
			files = k.files("candidates", ".cand")
			each(bitcoind.SubmitResult{Node: "a", Accepted: true})
		}
		k.run()
		k.block(0)
		synctest.Wait()
		if files != 1 {
			t.Errorf("%d candidate files when the block was submitted", files)
		}
		if s := k.state(); s != pool.BlockActive {
			t.Errorf("state %v", s)
		}
		if k.files("candidates", ".done") != 1 {
			t.Error("no result is stored")
		}
		k.end()
		var events []string
		for _, r := range records[journal.BlockRecord](k) {
			events = append(events, r.Event.String()+" "+r.Node+" "+r.Answer)
		}
		if got := fmt.Sprint(events); got != "[candidate   accepted a accepted]" {
			t.Errorf("journal says %s", got)
		}
	})
}

// A disk that stalls costs a block 2 ms, whatever it stalls on.
func TestStalledDiskCostsTwoMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		open := make(chan struct{})
		k.disk.fail(func(op, name string) error {
			if strings.Contains(name, ".cand") || strings.Contains(name, ".done") {
				<-open
			}
			return nil
		})
		k.run()
		began := time.Now()
		k.block(0)
		time.Sleep(time.Second)
		sent := k.node.submitted()
		if len(sent) != 1 || sent[0].at.Sub(began) != diskPatience {
			t.Errorf("submitted %v, found at %v", sent, began)
		}
		close(open)
		synctest.Wait()
		if k.files("candidates", ".cand") != 1 || k.files("candidates", ".done") != 1 {
			t.Error("the file and its result did not follow when the disk came back")
		}
		k.end()
		if _, rec := reopen(k); len(rec.Candidates) != 0 {
			t.Errorf("%d candidates left", len(rec.Candidates))
		}
	})
}

// reopen opens k's directory as the next process does.
func reopen(k *kit) (*journal.Journal, *journal.Recovery) {
	next := newKit(k.t, k.dir, nil)
	if err := next.journal.Close(); err != nil {
		k.t.Error(err)
	}
	return next.journal, next.rec
}

// A journal that takes nothing more still lets blocks through.
func TestPoisonedJournalStillSubmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.disk.fail(func(op, _ string) error {
			if op == "write" || op == "create" {
				return syscall.ENOSPC
			}
			return nil
		})
		k.run()
		tpl := template(t, 101, 1, allBlocks, 50e8)
		s, _ := mined(work(t, tpl, 1, 1), 0, nil)
		b := batch(new(pool.Seen), easy, s)
		k.edge.Submit(b)
		synctest.Wait()
		if b.Verdicts[0].Reject != pool.NotDurable || len(k.node.submitted()) != 1 || k.state() != pool.BlockActive {
			t.Errorf("%v, submitted %d times, %v", b.Verdicts[0].Reject, len(k.node.submitted()), k.state())
		}
		k.stop()
		if err := <-k.ended; err != nil {
			t.Error(err)
		}
		if err := k.journal.Close(); !errors.Is(err, journal.ErrDiskFull) {
			t.Error(err)
		}
	})
}

// Blocks a millisecond apart leave in the order they were found, and none waits
// for the answer to another.
func TestBlocksInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit = away
		k.run()
		tpl := template(t, 101, 1, allBlocks, 50e8)
		w := work(t, tpl, 1, 1)
		var want []chainhash.Hash
		nonce := uint32(0)
		for range 20 {
			var s pool.Submission
			s, nonce = mined(w, nonce, nil)
			b := batch(new(pool.Seen), easy, s)
			k.edge.Submit(b)
			want = append(want, b.Hashed[0].Hash)
			time.Sleep(time.Millisecond)
		}
		sent := k.node.submitted()
		if len(sent) != len(want) {
			t.Fatalf("%d of %d blocks sent", len(sent), len(want))
		}
		for i := range want {
			if sent[i].hash() != want[i] {
				t.Errorf("block %d is out of order", i)
			}
		}
		k.end()
	})
}

// More blocks at once than there is room for: none is lost, and no more are on
// their way than the bound says.
func TestFloodOfBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit = away
		k.node.inChain = unknown
		k.run()
		w := work(t, template(t, 101, 1, allBlocks, 50e8), 1, 1)
		nonce := uint32(0)
		const found = maxSubmits + 100
		for range found {
			var s pool.Submission
			s, nonce = mined(w, nonce, nil)
			k.edge.Submit(batch(new(pool.Seen), easy, s))
		}
		synctest.Wait()
		if n := len(k.node.submitted()); n != maxSubmits {
			t.Errorf("%d on their way, want %d", n, maxSubmits)
		}
		k.node.set(func() {
			k.node.submit = says("")
			k.node.inChain = func(hash chainhash.Hash) (int64, error) {
				if slices.ContainsFunc(k.node.submitted(), func(s seen) bool { return s.hash() == hash }) {
					return 1, nil
				}
				return 0, bitcoind.ErrUnknownBlock
			}
		})
		time.Sleep(submitLife + 3*resubmitEvery)
		distinct := map[chainhash.Hash]bool{}
		for _, s := range k.node.submitted() {
			distinct[s.hash()] = true
		}
		if len(distinct) != found {
			t.Errorf("%d of %d blocks reached the node", len(distinct), found)
		}
		k.end()
	})
}

// With the node away a block is tried until it is answered, and the chain is
// not forgotten.
func TestNodeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.submit, k.node.inChain = away, unknown
		k.run()
		k.block(0)
		time.Sleep(10 * time.Minute)
		if n := len(k.node.submitted()); n < 9 || k.state() != pool.BlockCandidate {
			t.Errorf("tried %d times in 10 minutes, %v", n, k.state())
		}
		k.node.set(func() {
			k.node.submit = says("")
			k.node.inChain = func(chainhash.Hash) (int64, error) { return 3, nil }
		})
		time.Sleep(submitLife + 2*resubmitEvery)
		if b := k.edge.Blocks()[0]; b.State != pool.BlockActive || b.Confirmations != 3 {
			t.Errorf("%+v", b)
		}
		before := len(k.node.submitted())
		time.Sleep(10 * time.Minute)
		if n := len(k.node.submitted()); n != before {
			t.Errorf("submitted %d times more after its answer", n-before)
		}
		k.end()
		for _, r := range records[journal.BlockRecord](k) {
			if r.Event == journal.BlockRefused {
				t.Errorf("no answer is no refusal: %+v", r)
			}
		}
	})
}

// A block that every node refuses is named, kept, and not tried again.
func TestRefusedBlock(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(context.Context, []byte, func(bitcoind.SubmitResult))
	}{
		{"high-hash", says("high-hash", "high-hash")},
		{"undecodable", func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
			each(bitcoind.SubmitResult{Node: "a", Err: &bitcoind.RPCError{Code: -22, Message: "undecodable"}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				k.node.submit, k.node.inChain = c.answer, unknown
				k.run()
				hash := k.block(0)
				time.Sleep(time.Minute)
				if s := k.state(); s != pool.BlockRefused || len(k.node.submitted()) != 1 {
					t.Errorf("%v, submitted %d times", s, len(k.node.submitted()))
				}
				if k.logged.count("block.refused") != 1 {
					t.Error("nobody was told")
				}
				k.end()
				result, err := os.ReadFile(k.dir + "/candidates/" + hash.String() + ".done")
				if err != nil || !strings.Contains(string(result), "refused: "+c.name) {
					t.Errorf("result %q, %v", result, err)
				}
				if k.files("candidates", ".cand") != 1 {
					t.Error("its bytes are gone")
				}
				if _, rec := reopen(k); len(rec.Candidates) != 0 {
					t.Error("the next start would submit it again")
				}
			})
		})
	}
}
