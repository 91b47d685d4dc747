package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cordee/internal/bitcoind"
	"cordee/pool"
)

// share submits one on what is published now and returns its header.
func (k *kit) share(nonce uint32) [80]byte {
	k.t.Helper()
	sets := k.board.all()
	b := batch(new(pool.Seen), easy, submission(sets[len(sets)-1].set.Jobs[0].Work(7, 1), nonce))
	k.edge.Submit(b)
	if b.Verdicts[0].Reject != pool.Accepted {
		k.t.Fatal(b.Verdicts[0])
	}
	return b.Hashed[0].Header
}

func (k *kit) tip(height int32, tip uint64) {
	k.t.Helper()
	k.node.updates <- bitcoind.Update{Template: template(k.t, height, tip, noBlocks, 50e8), Tip: tip}
	synctest.Wait()
}

// A new shape and a real share's very bytes are proposed: quietly, one at a
// time, the shape once, a share every five minutes.
func TestCanaryProposes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		began := time.Now()
		var flying, together atomic.Int32
		k.node.propose = func([]byte) (string, error) {
			if flying.Add(1) > 1 {
				together.Add(1)
			}
			time.Sleep(50 * time.Millisecond)
			flying.Add(-1)
			return "", nil
		}
		k.run()
		k.tip(101, 1)
		header := k.share(1)
		for n := range uint32(60) {
			k.share(2 + n)
			time.Sleep(50 * time.Millisecond)
		}
		got := k.node.proposed()
		if len(got) != 2 || together.Load() != 0 || got[0].at.Sub(began) < canaryQuiet {
			t.Fatalf("%d proposals, %d in company, the first after %v", len(got), together.Load(), got[0].at.Sub(began))
		}
		if [80]byte(got[0].block) != header && [80]byte(got[1].block) != header {
			t.Error("the accepted share's header was not proposed")
		}
		for n := range uint32(62) { // 10 minutes on one tip, a share every 10 s
			time.Sleep(10 * time.Second)
			k.tip(101, 1)
			k.share(1000 + n)
		}
		if n := len(k.node.proposed()); n != 4 {
			t.Errorf("%d proposals in ten minutes, want two shares more and no shape", n-2)
		}
		if s := k.edge.Status().Canary; s.Proven != 4 || s.Refused != 0 {
			t.Errorf("%+v", s)
		}
		k.end()
	})
}

// A refusal is loud, stays visible, and is no reason to hammer the node.
func TestCanaryRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		k.node.propose = func([]byte) (string, error) { return "bad-cb-amount", nil }
		k.run()
		k.tip(101, 1)
		for n := range uint32(100) {
			k.share(n)
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(k.node.proposed()); n != 2 {
			t.Errorf("%d proposals in 10 s", n)
		}
		k.node.set(func() { k.node.propose = func([]byte) (string, error) { return "", nil } })
		time.Sleep(25 * time.Second) // the shape is tried again with the renewal
		s := k.edge.Status().Canary
		if s.Refused != 2 || s.Proven != 1 || s.Reason != "bad-cb-amount" || k.logged.count("canary.refused") != 2 {
			t.Errorf("%+v", s)
		}
		k.end()
	})
}

// No ruling, or one about another tip, counts for nothing.
func TestCanaryWithoutRuling(t *testing.T) {
	for name, propose := range map[string]func(k *kit) (string, error){
		"away":       func(*kit) (string, error) { return "", errors.New("away") },
		"node moved": func(*kit) (string, error) { return "inconclusive-not-best-prevblk", nil },
		"btcd moved": func(*kit) (string, error) { return "inconclusive-not-best-prvblk", nil },
		"we moved": func(k *kit) (string, error) {
			k.node.updates <- bitcoind.Update{Template: template(k.t, 102, 2, noBlocks, 50e8), Tip: 1000 + uint64(len(k.node.proposed()))}
			time.Sleep(10 * time.Millisecond) // longer than the update takes
			return "bad-txns", nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, t.TempDir(), nil)
				k.node.propose = func([]byte) (string, error) { return propose(k) }
				k.run()
				k.tip(101, 1)
				for n := range uint32(60) {
					k.share(n)
					time.Sleep(time.Second)
					if n%20 == 19 {
						k.tip(101, uint64(n))
					}
				}
				if s := k.edge.Status().Canary; s.Proven != 0 || s.Refused != 0 {
					t.Errorf("%+v", s)
				}
				if n := len(k.node.proposed()); n < 2 || n > 31 { // each moved tip brings a new shape, 2 s apart
					t.Errorf("%d proposals in a minute", n)
				}
				k.end()
			})
		})
	}
}

// Nothing is proposed in the two seconds behind a tip, nor while a block is on
// its way.
func TestCanaryKeepsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), nil)
		answer := make(chan struct{})
		k.node.submit = func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
			<-answer
			each(bitcoind.SubmitResult{Node: "a", Accepted: true})
		}
		k.run()
		for tip := range uint64(10) { // a tip a second
			k.tip(101+int32(tip), tip)
			k.share(1)
			time.Sleep(time.Second)
		}
		if n := len(k.node.proposed()); n != 0 {
			t.Errorf("%d proposals between tips", n)
		}
		k.block(0)
		time.Sleep(10 * time.Second)
		if n := len(k.node.proposed()); n != 0 {
			t.Errorf("%d proposals while a block is on its way", n)
		}
		close(answer)
		time.Sleep(time.Second)
		if n := len(k.node.proposed()); n == 0 {
			t.Error("none when all is quiet again")
		}
		k.end()
	})
}
