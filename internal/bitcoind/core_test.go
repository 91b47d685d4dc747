package bitcoind_test

// Tests on a real Bitcoin Core, where CORDEE_BITCOIND names one.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/rs/zerolog"

	"cordee/internal/bitcoind"
	"cordee/internal/harness"
	"cordee/pool"
)

// realConfig is for real nodes, with the defaults that operators get.
func realConfig(t testing.TB, network *pool.Network, zmq bool, nodes ...*harness.Bitcoind) bitcoind.Config {
	cfg := bitcoind.Config{Network: network, Log: zerolog.New(zerolog.NewTestWriter(t))}
	for _, b := range nodes {
		n := bitcoind.NodeConfig{URL: b.URL, Cookie: b.Cookie}
		if zmq {
			n.ZMQ = b.ZMQ
		}
		cfg.Nodes = append(cfg.Nodes, n)
	}
	return cfg
}

func checked(t testing.TB, cfg bitcoind.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := newCluster(t, cfg).Check(ctx); err != nil {
		t.Fatal(err)
	}
}

// generate mines n blocks by the node's own call, and returns the last.
func (r *running) generate(n int, script string) chainhash.Hash {
	r.t.Helper()
	raw, err := r.Call(r.t.Context(), "generatetodescriptor", n, "raw("+script+")")
	if err != nil {
		r.t.Fatal(err)
	}
	var hashes []string
	if err := json.Unmarshal(raw, &hashes); err != nil {
		r.t.Fatal(err)
	}
	h, err := chainhash.NewHashFromStr(hashes[len(hashes)-1])
	if err != nil {
		r.t.Fatal(err)
	}
	return *h
}

// zmqUp waits until blocks are announced over ZMQ.
func (r *running) zmqUp() {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); r.Status()[0].Signal != "zmq"; {
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("%+v", r.Status())
		}
	}
}

func TestCoreBlocks(t *testing.T) {
	b := harness.StartBitcoind(t, "regtest")
	cfg := realConfig(t, network(t, "regtest"), true, b)
	checked(t, cfg)
	r := run(t, cfg)
	u := r.next()
	r.zmqUp()
	var took []time.Duration
	// Heights 1 to 16 are pushed as OP_n: 16 and 17 both get a block here. Odd
	// heights are mined on the empty template, even ones on the node's own.
	for i := range 20 {
		block, hash := mine(t, u.Template, byte(i))
		if reason, err := r.Propose(t.Context(), block); reason != "" || err != nil {
			t.Fatalf("proposal at height %d: %q, %v", u.Template.Height, reason, err)
		}
		for _, want := range []string{"", "duplicate"} {
			s := r.submit(t.Context(), block)[0]
			if !s.Accepted || s.Answer != want || s.Err != nil {
				t.Fatalf("height %d: %+v, want answer %q", u.Template.Height, s, want)
			}
		}
		if h, n, err := r.InChain(t.Context(), hash); h != u.Template.Height || n != 1 || err != nil {
			t.Fatalf("InChain: %d, %d, %v", h, n, err)
		}
		u = r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == hash })
		if !u.Template.Empty {
			continue // the template asked for the block before came behind this one
		}
		if u.Source == bitcoind.SourceZMQ {
			took = append(took, r.took(u))
		}
		if i%2 == 0 {
			full := r.onTip(pool.Tip{Hash: hash})
			sameShape(t, u.Template, full.Template)
			u = full
		}
	}
	slices.Sort(took)
	if len(took) < 12 {
		t.Errorf("only %d of 20 blocks came over ZMQ with an empty template", len(took))
	}
	t.Logf("hashblock to Update on Core: median %v, worst %v of %d", took[len(took)/2], took[len(took)-1], len(took))
	if s := r.Status()[0]; s.State != "ok" || s.Version == "" || s.Peers != 0 {
		t.Errorf("%+v", s)
	}
}

// sameShape compares an empty template with the node's own.
func sameShape(t testing.TB, e, g *pool.Template) {
	t.Helper()
	if e.Height != g.Height || e.Bits != g.Bits || e.Version != g.Version || e.MinTime != g.MinTime {
		t.Errorf("empty template height %d bits %08x version %08x mintime %d, the node's own %d %08x %08x %d",
			e.Height, e.Bits, e.Version, e.MinTime, g.Height, g.Bits, g.Version, g.MinTime)
	}
	if len(g.Txs) == 0 && (e.Value != g.Value || !bytes.Equal(e.Commitment, g.Commitment)) {
		t.Errorf("empty template value %d commitment %x, the node's own %d %x", e.Value, e.Commitment, g.Value, g.Commitment)
	}
}

// TestCoreTransactions mines blocks with transactions whose txid and wtxid
// differ, across a halving, on templates and on empty ones.
func TestCoreTransactions(t *testing.T) {
	b := harness.StartBitcoind(t, "regtest", "-acceptnonstdtxn=1", "-minrelaytxfee=0")
	cfg := realConfig(t, network(t, "regtest"), true, b)
	checked(t, cfg)
	r := run(t, cfg)
	r.next()
	r.zmqUp()
	witness := []byte{0x51} // OP_TRUE
	program := sha256.Sum256(witness)
	script := append([]byte{0x00, 0x20}, program[:]...)
	first := r.generate(1, hex.EncodeToString(script))
	r.generate(146, "51") // height 147; the block at 150 has half the reward
	var raw json.RawMessage
	raw, err := r.Call(t.Context(), "getblock", first.String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var blk struct {
		Tx []string `json:"tx"`
	}
	if err := json.Unmarshal(raw, &blk); err != nil {
		t.Fatal(err)
	}
	spent, err := chainhash.NewHashFromStr(blk.Tx[0])
	if err != nil {
		t.Fatal(err)
	}
	out, value := wire.OutPoint{Hash: *spent}, int64(50e8)
	for range 5 { // a chain of transactions, each the child of the one before
		tx := wire.NewMsgTx(2)
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: out, Witness: wire.TxWitness{witness}, Sequence: wire.MaxTxInSequenceNum})
		value -= 10_000
		tx.AddTxOut(wire.NewTxOut(value, script))
		var buf bytes.Buffer
		if err := tx.Serialize(&buf); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Call(t.Context(), "sendrawtransaction", hex.EncodeToString(buf.Bytes())); err != nil {
			t.Fatal(err)
		}
		out = wire.OutPoint{Hash: tx.TxHash()}
	}
	last := r.generate(0+1, "52")
	u := r.onTip(pool.Tip{Hash: last})
	if len(u.Template.Txs) != 0 {
		t.Fatalf("%d transactions after the node mined them", len(u.Template.Txs))
	}
	// Back again: the transactions return to the mempool, the tip is another.
	if _, err := r.Call(t.Context(), "invalidateblock", last.String()); err != nil {
		t.Fatal(err)
	}
	back := r.until(func(v bitcoind.Update) bool { return v.Tip > u.Tip })
	if back.Template.Height != 148 {
		t.Fatalf("height %d after a reorganisation", back.Template.Height)
	}
	full := back
	for len(full.Template.Txs) == 0 {
		r.Call(t.Context(), "getblockcount")
		full = r.next()
	}
	if len(full.Template.Txs) != 5 || full.Template.Value != 50e8+5*10_000 {
		t.Fatalf("%d transactions, value %d", len(full.Template.Txs), full.Template.Value)
	}
	for i, tx := range full.Template.Txs {
		if tx.TxID == tx.WTxID {
			t.Errorf("transaction %d: txid equals wtxid", i)
		}
	}
	bad := *full.Template
	bad.Txs = slices.Clone(bad.Txs)
	slices.Reverse(bad.Txs)
	mutant, err := pool.NewTemplate(&bad, nil)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := mine(t, mutant, 1)
	if reason, err := r.Propose(t.Context(), block); reason == "" || err != nil {
		t.Errorf("a child before its parent passes as a proposal: %q, %v", reason, err)
	}
	block, hash := mine(t, full.Template, 2)
	if s := r.submit(t.Context(), block)[0]; !s.Accepted {
		t.Fatalf("%+v", s)
	}
	for height := int32(149); height <= 152; height++ { // empty templates over the halving
		e := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == hash })
		if !e.Template.Empty || e.Template.Height != height {
			t.Fatalf("height %d, empty %v, source %s, want an empty one at %d", e.Template.Height, e.Template.Empty, e.Source, height)
		}
		g := r.onTip(pool.Tip{Hash: hash})
		sameShape(t, e.Template, g.Template)
		block, hash = mine(t, e.Template, byte(height))
		if s := r.submit(t.Context(), block)[0]; !s.Accepted {
			t.Fatalf("empty block at height %d: %+v", height, s)
		}
	}
}

func TestCoreLongPoll(t *testing.T) {
	b := harness.StartBitcoind(t, "regtest")
	cfg := realConfig(t, network(t, "regtest"), false, b)
	checked(t, cfg)
	r := run(t, cfg)
	r.next()
	longpolls := 0
	for range 10 {
		hash := r.generate(1, "51")
		u := r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == hash })
		if u.Source == bitcoind.SourceLongPoll {
			longpolls++
		}
	}
	if longpolls < 8 {
		t.Errorf("%d of 10 blocks came by longpoll", longpolls)
	}
}

func TestCoreTakeover(t *testing.T) {
	a := harness.StartBitcoind(t, "regtest")
	b := harness.StartBitcoind(t, "regtest", "-connect="+a.P2P)
	cfg := realConfig(t, network(t, "regtest"), true, a, b)
	checked(t, cfg)
	r := run(t, cfg)
	u := r.until(func(u bitcoind.Update) bool { return u.Template.Node == cfg.Nodes[0].URL[7:] })
	block, hash := mine(t, u.Template, 1)
	for _, s := range r.submit(t.Context(), block) {
		if !s.Accepted {
			t.Fatalf("%+v", s)
		}
	}
	u = r.onTip(pool.Tip{Hash: hash})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); r.Status()[1].Tip.Hash != hash; {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%+v", r.Status())
		}
	}
	began := time.Now()
	a.Kill()
	v := r.until(func(v bitcoind.Update) bool { return v.Template.Node != u.Template.Node })
	t.Logf("took over in %v", time.Since(began))
	if v.Tip != u.Tip {
		t.Errorf("generation %d after %d", v.Tip, u.Tip)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	block, hash = mine(t, v.Template, 2)
	results := make(chan bitcoind.SubmitResult, 2)
	go r.SubmitBlock(ctx, block, func(s bitcoind.SubmitResult) { results <- s })
	if s := <-results; !s.Accepted || s.Node != v.Template.Node {
		t.Fatalf("%+v", s)
	}
	r.onTip(pool.Tip{Hash: hash})
	a.Start() // it comes back with another cookie, and gets the block it missed
	// Killed before it wrote the first block down, it may not know the parent.
	if s := <-results; s.Err != nil || !s.Accepted && s.Answer != "prev-blk-not-found" {
		t.Errorf("the node that was away: %+v", s)
	}
	r.state(0, "ok")
}

func TestCoreSignet(t *testing.T) {
	b := harness.StartBitcoind(t, "signet", "-signetchallenge=51")
	cfg := realConfig(t, network(t, "signet"), true, b)
	cfg.SignetChallenge = []byte{0x52}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := newCluster(t, cfg).Check(ctx); !errors.Is(err, bitcoind.ErrSignetChallenge) {
		t.Fatalf("another challenge: %v", err)
	}
	cfg.SignetChallenge = []byte{0x51}
	checked(t, cfg)
	r := run(t, cfg)
	u := r.next()
	r.zmqUp()
	for i := range 2 {
		block, hash := mine(t, u.Template, byte(i))
		if s := r.submit(t.Context(), block)[0]; !s.Accepted {
			t.Fatalf("%+v", s)
		}
		u = r.until(func(u bitcoind.Update) bool { return u.Template.PrevHash == hash })
		if !u.Template.Empty { // the second block stands on it: signet wants its commitment
			t.Error("no empty template on signet")
		}
	}
}

func TestCoreWrongChain(t *testing.T) {
	b := harness.StartBitcoind(t, "regtest")
	cfg := realConfig(t, network(t, "signet"), false, b)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := newCluster(t, cfg).Check(ctx); !errors.Is(err, bitcoind.ErrWrongChain) {
		t.Errorf("%v", err)
	}
}

// TestCoreWorkQueue floods a node of one RPC thread: a block gets through.
func TestCoreWorkQueue(t *testing.T) {
	b := harness.StartBitcoind(t, "regtest", "-rpcworkqueue=1", "-rpcthreads=1")
	cfg := realConfig(t, network(t, "regtest"), true, b)
	checked(t, cfg)
	r := run(t, cfg)
	u := r.next()
	r.zmqUp()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	busy := make(chan struct{}, 1)
	for range 6 {
		flood := newCluster(t, cfg)
		for range 3 {
			go func() {
				for ctx.Err() == nil {
					if _, err := flood.Call(ctx, "getblockstats", 0); errors.Is(err, bitcoind.ErrBusy) {
						select {
						case busy <- struct{}{}:
						default:
						}
					}
				}
			}()
		}
	}
	select {
	case <-busy:
	case <-time.After(patience):
		t.Fatal("the work queue never overflowed")
	}
	block, _ := mine(t, u.Template, 1)
	s := r.submit(t.Context(), block)[0]
	t.Logf("%d tries, %v", s.Tries, s.Took)
	if !s.Accepted {
		t.Errorf("%+v", s)
	}
}
