package bitcoind_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cordee/internal/bitcoind"
	"cordee/internal/harness"
	"cordee/pool"
)

func TestZMQGivesEmptyThenFull(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 20})
	r := run(t, withZMQ(configFor(t, f), f))
	first := r.onTip(f.Tip())
	if first.Tip != 1 || first.Template.Empty {
		t.Fatalf("first update: %+v", first)
	}
	if !f.Subscribers(t.Context(), 1) {
		t.Fatal("no subscriber")
	}
	within(t, f, "longpoll given up for ZMQ", func() bool { return f.Polling() == 0 && r.Status()[0].Signal == "zmq" })
	polls := f.Calls("longpoll")
	var took []time.Duration
	for i := range 20 {
		tip := f.Mine()
		empty := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash })
		if !empty.Template.Empty {
			t.Fatalf("block %d: the first update of a tip is not empty, source %s", i, empty.Source)
		}
		if empty.Tip != uint64(i+2) || empty.Template.Height != tip.Height+1 {
			t.Fatalf("tip %d height %d, want %d and %d", empty.Tip, empty.Template.Height, i+2, tip.Height+1)
		}
		if empty.Signal.IsZero() {
			t.Fatal("no signal time on a new tip")
		}
		took = append(took, r.took(empty))
		full := r.onTip(tip)
		if full.Tip != empty.Tip || !full.Signal.IsZero() {
			t.Fatalf("full template: tip %d signal %v", full.Tip, full.Signal)
		}
		e, g := empty.Template, full.Template
		if e.Bits != g.Bits || e.Version != g.Version || e.MinTime != g.MinTime || e.Value != g.Value || string(e.Commitment) != string(g.Commitment) {
			t.Fatalf("empty template %+v differs from the node's own %+v", e, g)
		}
	}
	slices.Sort(took)
	t.Logf("hashblock to Update: median %v, worst %v", took[len(took)/2], took[len(took)-1])
	if f.Calls("longpoll") != polls || f.Polling() != 0 {
		t.Errorf("%d longpolls while ZMQ was healthy", f.Calls("longpoll")-polls)
	}
}

func TestLongPoll(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	cfg := configFor(t, f)
	cfg.Poll = time.Hour // the poll cannot be what saw it
	r := run(t, cfg)
	r.onTip(f.Tip())
	for range 3 {
		within(t, f, "a longpoll pending", func() bool { return f.Polling() == 1 })
		if u := r.onTip(f.Mine()); u.Source != bitcoind.SourceLongPoll || u.Signal.IsZero() {
			t.Fatalf("source %q, signal %v", u.Source, u.Signal)
		}
	}
	if s := r.Status()[0]; s.Signal != "longpoll" {
		t.Errorf("signal is %q", s.Signal)
	}
}

func TestPollStandsBehind(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	f.Mutate(func(m map[string]any) { delete(m, "longpollid") })
	r := run(t, configFor(t, f))
	r.onTip(f.Tip())
	tip := f.Mine()
	if u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash }); u.Source != bitcoind.SourcePoll {
		t.Errorf("source %q", u.Source)
	}
}

func TestSilentZMQFallsToLongPoll(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 20})
	r := run(t, withZMQ(configFor(t, f), f))
	r.onTip(f.Tip())
	if !f.Subscribers(t.Context(), 1) {
		t.Fatal("no subscriber")
	}
	// Two looks after the subscription, so that a miss proves something.
	looks := f.Calls("getbestblockhash")
	within(t, f, "two looks", func() bool { return f.Calls("getbestblockhash") >= looks+2 && f.Polling() == 0 })
	tip := f.MineSilently()
	if u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash }); u.Source != bitcoind.SourcePoll {
		t.Errorf("source %q", u.Source)
	}
	within(t, f, "longpoll after a silent block", func() bool { return f.Polling() == 1 })
	if u := r.onTip(f.MineSilently()); u.Template == nil {
		t.Fatal("no template")
	}
	// The next announcement brings ZMQ back.
	r.onTip(f.Mine())
	within(t, f, "longpoll given up", func() bool { return f.Polling() == 0 && r.Status()[0].Signal == "zmq" })
	f.MuteZMQ()
	within(t, f, "longpoll after the publisher died", func() bool { return f.Polling() == 1 })
}

func TestGenerationNeverReturns(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 100})
	r := run(t, withZMQ(configFor(t, f), f))
	r.onTip(f.Tip())
	f.Subscribers(t.Context(), 1)
	seen := make(map[uint64]pool.Tip)
	last := uint64(1)
	for i := range 8 {
		var tip pool.Tip
		if i%2 == 0 {
			r.onTip(f.Mine())
			r.onTip(f.Mine())
			tip = f.Reorganise(2)
		} else {
			tip = f.Mine()
		}
		u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash })
		if u.Template.Empty && i%2 == 0 {
			t.Errorf("empty template after a reorganisation")
		}
		if u.Tip <= last {
			t.Fatalf("generation %d after %d", u.Tip, last)
		}
		if _, twice := seen[u.Tip]; twice {
			t.Fatalf("generation %d came back", u.Tip)
		}
		last, seen[u.Tip] = u.Tip, tip
		if u.Template.Empty {
			r.onTip(tip)
		}
	}
}

// TestWayBack: a tip that was left and comes back is a new generation.
func TestWayBack(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 20})
	r := run(t, withZMQ(configFor(t, f), f))
	last := r.onTip(f.Tip()).Tip
	f.Subscribers(t.Context(), 1)
	step := func(tip pool.Tip) {
		t.Helper()
		if u := r.onTip(tip); u.Tip <= last {
			t.Errorf("generation %d after %d", u.Tip, last)
		} else {
			last = u.Tip
		}
	}
	for range 3 {
		step(f.Mine())
		step(f.Rewind(1))
		step(f.Mine()) // of the same height as the one taken back
		f.Rewind(1)
		step(f.Mine())
	}
}

func TestTwoBlocksAtOnce(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 20})
	r := run(t, withZMQ(configFor(t, f), f))
	r.onTip(f.Tip())
	f.Subscribers(t.Context(), 1)
	for range 10 {
		f.Mine()
		tip := f.Mine()
		r.onTip(tip)
	}
	r.state(0, "ok")
}

func TestTakeover(t *testing.T) {
	for _, how := range []string{"dead", "hung", "busy", "bad template"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			a := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
			b := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
			b.Follow(a)
			cfg := configFor(t, a, b)
			cfg.Poll, cfg.AskTimeout = 0, 0 // the defaults: what operators get
			cfg.Refresh = 500 * time.Millisecond
			cfg.BehindGrace = time.Hour // no node is behind: nothing waits for it
			r := run(t, cfg)
			first := r.until(func(u bitcoind.Update) bool { return u.Template.Node == cfg.Nodes[0].URL[7:] })
			r.state(1, "ok")
			began := time.Now()
			switch how {
			case "dead":
				a.Down()
			case "hung":
				block := make(chan struct{})
				defer close(block)
				for _, m := range []string{"getbestblockhash", "getblockchaininfo", "getblocktemplate"} {
					a.Fail(m, harness.Fault{Until: block})
				}
			case "busy":
				a.Fail("getbestblockhash", harness.Fault{Status: 503, Body: "Work queue depth exceeded"})
				a.Fail("getblockchaininfo", harness.Fault{Status: 503, Body: "Work queue depth exceeded"})
			case "bad template":
				a.Mutate(func(m map[string]any) { m["rules"] = []string{"!quantum"} })
			}
			u := r.until(func(u bitcoind.Update) bool { return u.Template.Node != first.Template.Node })
			t.Logf("took over in %v", time.Since(began)) // TestTakeoverDefaults has what bounds it
			if u.Tip != first.Tip || !u.Signal.IsZero() {
				t.Errorf("same tip, but generation %d after %d, signal %v", u.Tip, first.Tip, u.Signal)
			}
			tip := b.Mine()
			if u := r.onTip(tip); u.Tip != first.Tip+1 {
				t.Errorf("generation %d", u.Tip)
			}
		})
	}
}

func TestFollowsMoreWorkOnly(t *testing.T) {
	a := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	b := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	b.Follow(a)
	cfg := configFor(t, a, b)
	cfg.BehindGrace = time.Hour
	r := run(t, cfg)
	r.onTip(a.Tip())
	// b hears of a block first: no hopping, a follows.
	tip := b.Mine()
	looks := b.Calls("getbestblockhash")
	within(t, b, "b's tip is known", func() bool { return b.Calls("getbestblockhash") > looks+1 })
	a.Follow(b)
	if u := r.onTip(tip); u.Template.Node != cfg.Nodes[0].URL[7:] {
		t.Errorf("followed %s", u.Template.Node)
	}
	// a stays behind: b is followed after the grace.
	cfg.BehindGrace = 300 * time.Millisecond
	r = run(t, cfg)
	r.onTip(a.Tip())
	b.Mine()
	tip = b.Mine()
	if u := r.onTip(tip); u.Template.Node != cfg.Nodes[1].URL[7:] {
		t.Errorf("followed %s", u.Template.Node)
	}
	// b dies, and a has less work: only after the grace, to a new generation.
	began := time.Now()
	b.Down()
	u := r.onTip(a.Tip())
	if took := time.Since(began); took < cfg.BehindGrace {
		t.Errorf("went back to less work after %v", took)
	}
	if u.Tip < 3 {
		t.Errorf("generation %d", u.Tip)
	}
}

func TestOutageKeepsRunning(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	r := run(t, configFor(t, f))
	r.onTip(f.Tip())
	f.Down()
	r.state(0, "unreachable")
	f.Rotate() // a restart writes a new cookie
	checks := f.Calls("getblockhash")
	f.Up()
	r.state(0, "ok")
	if f.Calls("getblockhash") == checks {
		t.Error("the chain was not checked after the outage")
	}
	r.onTip(f.Mine())
}

func TestRefresh(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	cfg := configFor(t, f)
	cfg.Refresh = 50 * time.Millisecond
	r := run(t, cfg)
	for range 3 {
		u := r.until(func(u bitcoind.Update) bool { return u.Source == bitcoind.SourceRefresh })
		if u.Tip != 1 || !u.Signal.IsZero() {
			t.Fatalf("%+v", u)
		}
	}
}

func TestLateTemplate(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{ZMQ: true, Height: 20})
	cfg := withZMQ(configFor(t, f), f)
	cfg.EmptyLife = 200 * time.Millisecond
	r := run(t, cfg)
	r.onTip(f.Tip())
	f.Subscribers(t.Context(), 1)
	block := make(chan struct{})
	f.Fail("getblocktemplate", harness.Fault{Until: block})
	tip := f.Mine()
	u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash })
	if !u.Template.Empty { // asked for before the fault was set, answered behind the block
		tip = f.Mine()
		u = r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == tip.Hash })
	}
	if !u.Template.Empty {
		t.Fatal("full template out of nowhere")
	}
	r.state(0, "template-late")
	// A slow template holds up neither signals nor empty templates.
	tip = f.Mine()
	f.Clear("")
	close(block)
	r.onTip(tip)
	r.state(0, "ok")
}

func TestRunEndsWithEverythingHung(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	block := make(chan struct{})
	defer close(block)
	f.Fail("getblockchaininfo", harness.Fault{Until: block})
	c := newCluster(t, configFor(t, f))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func(bitcoind.Update) {}) }()
	within(t, f, "a call that hangs", func() bool { return f.Calls("getblockchaininfo") > 0 })
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error(fmt.Errorf("Run does not end"))
	}
}
