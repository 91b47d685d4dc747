package harness

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// fakeBlock is a node of the fake's tree of blocks.
type fakeBlock struct {
	hash   chainhash.Hash
	parent *fakeBlock // nil for the root
	height int32
	time   int64
	serial int // order of arrival
}

// plant grows the first chain up to height.
func (f *FakeCore) plant(height int32) {
	root := &fakeBlock{hash: *f.cfg.Network.Params.GenesisHash, time: time.Now().Unix() - 3600}
	f.blocks[root.hash] = root
	f.tip = root
	if height > 0 { // the blocks between do not matter
		f.tip = f.grow(root, height)
	}
}

// grow adds a block of the given height on parent, with a hash of its own.
func (f *FakeCore) grow(parent *fakeBlock, height int32) *fakeBlock {
	b := &fakeBlock{parent: parent, height: height, time: parent.time + 1, serial: len(f.blocks)}
	b.hash = chainhash.DoubleHashH(fmt.Appendf(nil, "%s %v %d %d", f.dir, parent.hash, height, b.serial))
	f.blocks[b.hash] = b
	return b
}

// Tip returns where the active chain ends.
func (f *FakeCore) Tip() pool.Tip {
	f.mu.Lock()
	defer f.mu.Unlock()
	return pool.Tip{Hash: f.tip.hash, Height: f.tip.height}
}

// Mine adds a block on the tip, announces it, and returns it.
func (f *FakeCore) Mine() pool.Tip {
	tip := f.MineSilently()
	f.Announce(tip.Hash)
	return tip
}

// MineSilently adds a block that ZMQ does not announce. Longpolls answer.
func (f *FakeCore) MineSilently() pool.Tip {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tip = f.grow(f.tip, f.tip.height+1)
	f.move()
	return pool.Tip{Hash: f.tip.hash, Height: f.tip.height}
}

// Follow makes the tip the same as that of another fake, as if its blocks had
// come in over the network, without announcement.
func (f *FakeCore) Follow(other *FakeCore) {
	other.mu.Lock()
	tip, blocks := other.tip, maps.Clone(other.blocks)
	other.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocks, f.tip = blocks, tip
	f.move()
}

// Reorganise takes back depth blocks, adds depth+1 others, announces the new
// tip, and returns it.
func (f *FakeCore) Reorganise(depth int) pool.Tip {
	f.mu.Lock()
	b := f.tip
	for range depth {
		b = b.parent
	}
	for range depth + 1 {
		b = f.grow(b, b.height+1)
	}
	f.tip = b
	f.move()
	f.mu.Unlock()
	f.Announce(b.hash)
	return pool.Tip{Hash: b.hash, Height: b.height}
}

// Rewind takes back depth blocks, as invalidateblock does, without
// announcement, and returns the tip that was there before.
func (f *FakeCore) Rewind(depth int) pool.Tip {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range depth {
		f.tip = f.tip.parent
	}
	f.move()
	return pool.Tip{Hash: f.tip.hash, Height: f.tip.height}
}

// Announce publishes hash over ZMQ, where there is one.
func (f *FakeCore) Announce(hash chainhash.Hash) {
	if f.zmq != nil {
		f.zmq.publish(hash)
	}
}

// MuteZMQ closes the publisher and its subscriptions.
func (f *FakeCore) MuteZMQ() { f.zmq.close() }

// Subscribers waits until n subscribers are connected to ZMQ.
func (f *FakeCore) Subscribers(ctx context.Context, n int) bool { return f.zmq.wait(ctx, n) }

// templateKind tells the special templates: "longpoll", "proposal", or "".
func templateKind(req *rpcRequest) string {
	if req.Method != "getblocktemplate" || len(req.Params) == 0 {
		return ""
	}
	var p struct {
		LongPollID string `json:"longpollid"`
		Mode       string `json:"mode"`
	}
	json.Unmarshal(req.Params[0], &p)
	switch {
	case p.Mode == "proposal":
		return "proposal"
	case p.LongPollID != "":
		return "longpoll"
	}
	return ""
}

var (
	errUnknownBlock  = &rpcError{-5, "Block not found"}
	errUnknownMethod = &rpcError{-32601, "Method not found"}
)

// answer answers a call the ordinary way.
func (f *FakeCore) answer(ctx context.Context, req *rpcRequest) (any, *rpcError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	arg := func(i int) string {
		var s string
		if i < len(req.Params) {
			json.Unmarshal(req.Params[i], &s)
		}
		return s
	}
	switch req.Method {
	case "getblockchaininfo":
		info := map[string]any{"chain": f.cfg.Chain, "blocks": f.tip.height, "initialblockdownload": f.cfg.IBD}
		if f.cfg.Challenge != nil {
			info["signet_challenge"] = hex.EncodeToString(f.cfg.Challenge)
		}
		return info, nil
	case "getblockhash":
		return f.cfg.Genesis, nil
	case "getconnectioncount":
		return f.peers, nil
	case "getnetworkinfo":
		if f.cfg.Btcd {
			return nil, &rpcError{-1, "Command unimplemented"}
		}
		return map[string]any{"version": 319900, "subversion": "/Satoshi:31.99.0/"}, nil
	case "version":
		if !f.cfg.Btcd {
			return nil, errUnknownMethod
		}
		return map[string]any{"btcdjsonrpcapi": map[string]any{"versionstring": "1.3.0"}}, nil
	case "getbestblockhash":
		return f.tip.hash.String(), nil
	case "getblockheader":
		return f.header(arg(0))
	case "getblocktemplate":
		return f.template(ctx, req)
	case "submitblock":
		return f.take(arg(0))
	case "preciousblock":
		if f.cfg.Btcd {
			return nil, errUnknownMethod
		}
		f.precious = append(f.precious, arg(0))
		return nil, nil
	}
	return nil, errUnknownMethod
}

// header answers getblockheader.
func (f *FakeCore) header(hex string) (any, *rpcError) {
	hash, err := chainhash.NewHashFromStr(hex)
	if err != nil {
		return nil, errUnknownBlock
	}
	b := f.blocks[*hash]
	if b == nil {
		return nil, errUnknownBlock
	}
	confirmations := f.tip.height - b.height + 1
	if !f.active(b) {
		if f.cfg.Btcd {
			return nil, &rpcError{-32603, fmt.Sprintf("block %v is not in the main chain", hash)}
		}
		confirmations = -1
	}
	h := map[string]any{"hash": hex, "confirmations": confirmations, "height": b.height, "time": b.time}
	if b.parent != nil {
		h["previousblockhash"] = b.parent.hash.String()
	}
	if !f.cfg.Btcd {
		h["mediantime"] = b.median()
		h["chainwork"] = fmt.Sprintf("%064x", 2*(int64(b.height)+1))
	}
	return h, nil
}

// active reports whether b is on the active chain.
func (f *FakeCore) active(b *fakeBlock) bool {
	for a := f.tip; a != nil; a = a.parent {
		if a == b {
			return true
		}
	}
	return false
}

// median is close enough to the median of eleven.
func (b *fakeBlock) median() int64 { return b.time - 5 }

// template answers getblocktemplate.
func (f *FakeCore) template(ctx context.Context, req *rpcRequest) (any, *rpcError) {
	switch templateKind(req) {
	case "proposal":
		return nil, nil
	case "longpoll":
		f.hold(ctx)
	}
	n := f.cfg.Network
	height := f.tip.height + 1
	bits := n.Params.PowLimitBits
	if n.Name != "regtest" {
		bits = 0x1c0fffff
	}
	target, _ := pool.TargetFromBits(bits)
	now := max(time.Now().Unix(), f.tip.median()+1)
	rules := []string{"csv", "!segwit", "taproot"}
	t := map[string]any{
		"capabilities":      []string{"proposal"},
		"version":           0x20000000,
		"rules":             rules,
		"vbavailable":       map[string]any{},
		"vbrequired":        0,
		"previousblockhash": f.tip.hash.String(),
		"transactions":      []any{},
		"coinbaseaux":       map[string]any{},
		"coinbasevalue":     int64(50e8) >> min(63, height/n.Params.SubsidyReductionInterval),
		"longpollid":        f.tip.hash.String() + "1",
		"target":            target.String(),
		"mintime":           f.tip.median() + 1,
		"curtime":           now,
		"bits":              fmt.Sprintf("%08x", bits),
		"height":            height,
	}
	if n.Name == "signet" {
		t["rules"] = append(rules, "!signet")
		t["signet_challenge"] = hex.EncodeToString(f.cfg.Challenge)
	}
	if !f.cfg.Btcd {
		t["default_witness_commitment"] = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
	}
	if f.mutate != nil {
		f.mutate(t)
	}
	return t, nil
}

// hold waits, as a longpoll does, for a change of tip.
func (f *FakeCore) hold(ctx context.Context) {
	tip, server := f.tip, f.server
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.move()
	})
	defer stop()
	f.polling++
	f.move()
	for f.tip == tip && f.server == server && ctx.Err() == nil {
		f.moved.Wait()
	}
	f.polling--
	f.move()
}

// take answers submitblock.
func (f *FakeCore) take(block string) (any, *rpcError) {
	raw, err := hex.DecodeString(block)
	if err != nil || len(raw) < 80 {
		return nil, &rpcError{-22, "Block decode failed"}
	}
	hash := chainhash.DoubleHashH(raw[:80])
	if f.blocks[hash] != nil {
		if f.cfg.Btcd {
			return fmt.Sprintf("rejected: already have block %v", hash), nil
		}
		return "duplicate", nil
	}
	target, err := pool.TargetFromBits(binary.LittleEndian.Uint32(raw[72:]))
	if err != nil || !target.Met(&hash) {
		return "high-hash", nil
	}
	parent := f.blocks[chainhash.Hash(raw[4:36])]
	if parent == nil {
		return "prev-blk-not-found", nil
	}
	b := f.grow(parent, parent.height+1)
	delete(f.blocks, b.hash)
	b.hash = hash
	f.blocks[hash] = b
	if b.height <= f.tip.height {
		return "inconclusive", nil
	}
	f.tip = b
	f.move()
	if f.zmq != nil {
		f.zmq.publish(hash)
	}
	return nil, nil
}
