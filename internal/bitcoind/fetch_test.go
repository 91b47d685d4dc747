package bitcoind

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/harness"
)

// fetching runs the fetcher of one node, whose signals the test makes up.
func fetching(t *testing.T, f *harness.FakeCore) (*node, <-chan event) {
	t.Helper()
	cfg := &Config{Network: chain(t, "regtest"), Log: zerolog.Nop()}
	cfg.setDefaults()
	cfg.AskTimeout = 10 * time.Second // a fake on a busy machine is not to be called dead
	n := newNode(cfg, NodeConfig{Name: "n", URL: f.URL(), Cookie: f.Cookie()}, make(chan struct{}, 1))
	n.followed.Store(true)
	n.passed, n.caps.Median = true, true
	n.zmq.up = true
	n.tip.Tip = f.Tip()
	out := make(chan event)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		n.fetch(ctx, out)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return n, out
}

func nextEvent(t *testing.T, out <-chan event) event {
	t.Helper()
	select {
	case ev := <-out:
		return ev
	case <-time.After(time.Minute):
		t.Fatal("no template")
		panic("unreachable")
	}
}

// TestTakeoverDefaults: a node that is dead or hangs is found out within two
// seconds, as operators are told, and another that has its work is followed at once.
func TestTakeoverDefaults(t *testing.T) {
	cfg := new(Config)
	cfg.setDefaults()
	if found := cfg.Poll + cfg.AskTimeout; found > 2*time.Second {
		t.Errorf("a dead node is found out after %s", found)
	}
}

// TestLatePollAnswer: a poll's answer about a tip that was left comes after the
// announcement of the next. It must not cost the new tip its empty template or
// its fetch, and a true way back must be found all the same.
func TestLatePollAnswer(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	n, out := fetching(t, f)
	old := f.Tip()
	nextEvent(t, out)
	say := func(s signal) { n.announce(t.Context(), s) }

	hold := make(chan struct{})
	f.Fail("getblockheader", harness.Fault{Times: 1, Until: hold})
	tip := f.Mine()
	calls := f.Calls("getblockheader")
	say(signal{hash: tip.Hash, source: SourceZMQ, at: time.Now()})
	if !f.Wait(t.Context(), func() bool { return f.Calls("getblockheader") > calls }) {
		t.Fatal("no header asked for")
	}
	say(signal{hash: old.Hash, source: SourcePoll, at: time.Now()})
	for range cap(n.signals) { // each passes only when the queue has room: all before is taken
		say(signal{hash: tip.Hash, source: SourceZMQ, at: time.Now()})
	}
	close(hold)
	if ev := nextEvent(t, out); !ev.template.Empty || ev.template.PrevHash != tip.Hash {
		t.Errorf("after a late answer: empty %v on %v", ev.template.Empty, ev.template.PrevHash)
	}
	for range 2 { // the node's own, and once more because of the late answer
		if ev := nextEvent(t, out); ev.template.Empty || ev.template.PrevHash != tip.Hash {
			t.Errorf("empty %v on %v, want the node's own on %v", ev.template.Empty, ev.template.PrevHash, tip.Hash)
		}
	}
}

// TestBlocksFasterThanTemplates: the second of two blocks gets an empty
// template too, though the node's own for the first never came.
func TestBlocksFasterThanTemplates(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	n, out := fetching(t, f)
	nextEvent(t, out)
	hold := make(chan struct{})
	defer close(hold)
	f.Fail("getblocktemplate", harness.Fault{Until: hold})
	for range 3 {
		tip := f.Mine()
		n.announce(t.Context(), signal{hash: tip.Hash, source: SourceZMQ, at: time.Now()})
		ev := nextEvent(t, out)
		if !ev.template.Empty || ev.template.PrevHash != tip.Hash || ev.template.Height != tip.Height+1 {
			t.Errorf("empty %v, height %d", ev.template.Empty, ev.template.Height)
		}
	}
}
