package bitcoind_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/harness"
	"cordee/pool"
	"cordee/pool/sha256d"
)

// mine solves t with an output to anyone, and returns the block.
func mine(t testing.TB, tmpl *pool.Template, salt byte) (block []byte, hash chainhash.Hash) {
	t.Helper()
	job, err := pool.NewJob(tmpl, pool.Payout{Outputs: []pool.Output{{Sats: tmpl.Value, Script: []byte{0x51}}}},
		pool.DefaultClass, "test", 1, uint32(salt))
	if err != nil {
		t.Fatal(err)
	}
	s := pool.Submission{
		Work:            job.Work(1, 0),
		Extranonce1:     [4]byte{salt},
		Extranonce2Size: pool.Extranonce2Size,
		NTime:           tmpl.CurTime,
		Version:         tmpl.Version,
	}
	h := pool.Hash(nil, []pool.Submission{s})[0]
	for ; ; s.Nonce++ { // only the nonce moves: signet takes millions
		binary.LittleEndian.PutUint32(h.Header[76:], s.Nonce)
		hash := chainhash.Hash(sha256d.Sum(h.Header[:]))
		if tmpl.BlockTarget.Met(&hash) {
			return tmpl.Block(&h.Header, s.Work.Coinbase(nil, &s)), hash
		}
	}
}

// submit hands block over and returns the answers in the order of the nodes.
func (r *running) submit(ctx context.Context, block []byte) []bitcoind.SubmitResult {
	r.t.Helper()
	var got []bitcoind.SubmitResult
	var in atomic.Int32
	r.SubmitBlock(ctx, block, func(s bitcoind.SubmitResult) {
		if in.Add(1) != 1 {
			r.t.Error("two calls of each at once")
		}
		got = append(got, s)
		in.Add(-1)
	})
	order := r.Status()
	slices.SortFunc(got, func(a, b bitcoind.SubmitResult) int {
		at := func(name string) int {
			return slices.IndexFunc(order, func(s bitcoind.NodeStatus) bool { return s.Name == name })
		}
		return at(a.Node) - at(b.Node)
	})
	if len(got) != len(order) {
		r.t.Fatalf("%d answers of %d nodes", len(got), len(order))
	}
	return got
}

func TestSubmitToAll(t *testing.T) {
	a := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	b := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20, Btcd: true})
	b.Follow(a)
	cfg := configFor(t, a, b)
	cfg.Poll = time.Hour // only the submit itself can show the new tip
	a.Mutate(func(m map[string]any) { delete(m, "longpollid") })
	r := run(t, cfg)
	u := r.onTip(a.Tip())
	block, hash := mine(t, u.Template, 1)
	for _, want := range []string{"", "duplicate"} {
		for _, s := range r.submit(t.Context(), block) {
			if !s.Accepted || s.Answer != want || s.Err != nil || s.Tries != 1 {
				t.Errorf("want answer %q: %+v", want, s)
			}
		}
	}
	if u := r.onTip(a.Tip()); u.Template.PrevHash != hash || u.Tip != 2 {
		t.Errorf("update %+v after our own block %v", u, hash)
	}
	height, confirmations, err := r.InChain(t.Context(), hash)
	if height != 21 || confirmations != 1 || err != nil {
		t.Errorf("InChain: %d, %d, %v", height, confirmations, err)
	}
}

func TestSubmitRetries(t *testing.T) {
	for name, fault := range map[string]harness.Fault{
		"work queue":   {Times: 3, Status: 503, Body: "Work queue depth exceeded"},
		"old Core":     {Times: 3, Status: 500, Body: "Work queue depth exceeded"},
		"warm-up":      {Times: 3, Code: -28, Message: "Verifying blocks..."},
		"reset":        {Times: 3, Drop: true},
		"not JSON":     {Times: 3, Status: 502, Body: "<html>bad gateway</html>"},
		"unauthorized": {Times: 3, Status: 401},
		"no result":    {Times: 3, Body: "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
			r := run(t, configFor(t, f))
			block, _ := mine(t, r.onTip(f.Tip()).Template, 1)
			f.Fail("submitblock", fault)
			s := r.submit(t.Context(), block)[0]
			if !s.Accepted || s.Answer != "" || s.Err != nil {
				t.Errorf("%+v", s)
			}
			if s.Tries < 2 {
				t.Errorf("%d tries", s.Tries)
			}
		})
	}
}

func TestSubmitGivesUpWithItsContext(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	r := run(t, configFor(t, f))
	block, _ := mine(t, r.onTip(f.Tip()).Template, 1)
	f.Down()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the third try is 70 ms behind the first
	defer cancel()
	s := r.submit(ctx, block)[0]
	if s.Accepted || s.Err == nil || s.Tries < 3 {
		t.Errorf("a dead node: %+v", s)
	}
}

func TestSubmitVerdicts(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	r := run(t, configFor(t, f))
	block, hash := mine(t, r.onTip(f.Tip()).Template, 1)
	for _, v := range []string{"inconclusive", "duplicate-invalid", "duplicate-inconclusive", "bad-txns-inputs-missingorspent", "high-hash", "rejected: block time too old"} {
		result, _ := json.Marshal(v)
		f.Fail("submitblock", harness.Fault{Times: 1, Result: result})
		s := r.submit(t.Context(), block)[0]
		if s.Accepted || s.Answer != v || s.Err != nil || s.Tries != 1 {
			t.Errorf("%s: %+v", v, s)
		}
	}
	if p := f.Precious(); !slices.Equal(p, []string{hash.String()}) {
		t.Errorf("preciousblock was called with %v, want once with %v", p, hash)
	}
	for _, code := range []int{-22, -25} {
		f.Fail("submitblock", harness.Fault{Times: 1, Code: code, Message: "no"})
		s := r.submit(t.Context(), block)[0]
		rpc, ok := errors.AsType[*bitcoind.RPCError](s.Err)
		if s.Accepted || !ok || rpc.Code != code || s.Tries != 1 {
			t.Errorf("code %d: %+v", code, s)
		}
	}
}

func TestInconclusiveOnBtcd(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20, Btcd: true})
	r := run(t, configFor(t, f))
	block, _ := mine(t, r.onTip(f.Tip()).Template, 1)
	f.Fail("submitblock", harness.Fault{Times: 1, Result: []byte(`"inconclusive"`)})
	r.submit(t.Context(), block)
	if n := f.Calls("preciousblock"); n != 0 {
		t.Errorf("preciousblock called %d times on a node without it", n)
	}
}

// TestSubmitOvertakes hangs every other purpose's calls: a block passes.
func TestSubmitOvertakes(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	r := run(t, configFor(t, f))
	block, _ := mine(t, r.onTip(f.Tip()).Template, 1)
	within(t, f, "a longpoll pending", func() bool { return f.Polling() == 1 })
	hang := make(chan struct{})
	defer close(hang)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.Fail("getblockcount", harness.Fault{Until: hang})
	f.Fail("getblocktemplate", harness.Fault{Until: hang})
	for range 10 {
		go r.Call(ctx, "getblockcount")
	}
	within(t, f, "questions hang", func() bool { return f.Calls("getblockcount") >= 2 })
	s := r.submit(t.Context(), block)[0]
	if !s.Accepted || s.Tries != 1 { // one that waits is tried again after SubmitTimeout
		t.Errorf("%+v", s)
	}
}

// TestIdleConnection closes a kept connection just as it is used again.
func TestIdleConnection(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	c := newCluster(t, configFor(t, f))
	if _, err := c.Call(t.Context(), "getbestblockhash"); err != nil {
		t.Fatal(err)
	}
	f.Fail("getbestblockhash", harness.Fault{Times: 1, Drop: true})
	if _, err := c.Call(t.Context(), "getbestblockhash"); err != nil {
		t.Error(err)
	}
	if n := f.Calls("getbestblockhash"); n != 3 {
		t.Errorf("%d calls came in, want 3", n)
	}
}

func TestPropose(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	r := run(t, configFor(t, f))
	block, _ := mine(t, r.onTip(f.Tip()).Template, 1)
	if reason, err := r.Propose(t.Context(), block); reason != "" || err != nil {
		t.Errorf("%q, %v", reason, err)
	}
	f.Fail("proposal", harness.Fault{Times: 1, Result: []byte(`"bad-cb-amount"`)})
	if reason, err := r.Propose(t.Context(), block); reason != "bad-cb-amount" || err != nil {
		t.Errorf("%q, %v", reason, err)
	}
	f.Fail("proposal", harness.Fault{Times: 1, Status: 503})
	if reason, err := r.Propose(t.Context(), block); !errors.Is(err, bitcoind.ErrBusy) {
		t.Errorf("a failed proposal looks like %q, %v", reason, err)
	}
}

func TestInChain(t *testing.T) {
	for _, btcd := range []bool{false, true} {
		f := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20, Btcd: btcd})
		c := newCluster(t, configFor(t, f))
		lost := f.Mine()
		kept := f.Reorganise(1)
		if _, n, err := c.InChain(t.Context(), kept.Hash); n != 1 || err != nil {
			t.Errorf("btcd %v, tip: %d, %v", btcd, n, err)
		}
		if _, n, err := c.InChain(t.Context(), lost.Hash); n != -1 || err != nil {
			t.Errorf("btcd %v, lost block: %d, %v", btcd, n, err)
		}
		if _, _, err := c.InChain(t.Context(), chainhash.Hash{1}); !errors.Is(err, bitcoind.ErrUnknownBlock) {
			t.Errorf("btcd %v, unknown block: %v", btcd, err)
		}
	}
}

func TestCallKeepsTheNodesError(t *testing.T) {
	f := harness.StartFakeCore(t, harness.FakeCoreConfig{})
	c := newCluster(t, configFor(t, f))
	_, err := c.Call(t.Context(), "nonsense")
	if rpc, ok := errors.AsType[*bitcoind.RPCError](err); !ok || rpc.Code != -32601 || !strings.Contains(err.Error(), "-32601") {
		t.Errorf("%v", err)
	}
}
