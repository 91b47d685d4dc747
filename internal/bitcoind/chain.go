package bitcoind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// capabilities are what a kind of node can do beyond the calls that all have.
type capabilities struct {
	Version  string // "Core 31.99.0", "btcd 0.26.2", or "unknown"
	Precious bool   // preciousblock
	Median   bool   // getblockheader tells mediantime and chainwork
}

// chainInfo is the used part of getblockchaininfo. btcd leaves out what it does
// not know.
type chainInfo struct {
	Chain     string   `json:"chain"`
	Blocks    int32    `json:"blocks"`
	IBD       bool     `json:"initialblockdownload"`
	Challenge hexBytes `json:"signet_challenge"` // Core 28 and later
}

// header is the used part of getblockheader.
type header struct {
	Hash          hashHex `json:"hash"`
	Confirmations int64   `json:"confirmations"`
	Height        int32   `json:"height"`
	MedianTime    int64   `json:"mediantime"`
	PrevHash      hashHex `json:"previousblockhash"`
	ChainWork     string  `json:"chainwork"`
}

// tip is where a node's chain ends.
type tip struct {
	pool.Tip
	work *big.Int // nil where the node does not tell
}

// compare returns the sign of a's work minus b's, by height where one of the
// nodes does not tell its work.
func (a tip) compare(b tip) int {
	if a.work != nil && b.work != nil {
		return a.work.Cmp(b.work)
	}
	return int(a.Height) - int(b.Height)
}

// check asks the node which chain it is on, and whether it can mine on it. It
// is called at start and after every outage.
func (n *node) check(ctx context.Context) error {
	var info chainInfo
	if err := n.ask.call(ctx, newRequest("getblockchaininfo"), &info); err != nil {
		return err
	}
	net := n.cfg.Network
	// btcd says mainnet where Core says main.
	if info.Chain != net.Chain && !(net.Name == "main" && info.Chain == "mainnet") {
		return fmt.Errorf("node is on %.20q, the configured network is %s: %w", info.Chain, net.Name, ErrWrongChain)
	}
	var genesis hashHex
	if err := n.ask.call(ctx, newRequest("getblockhash", 0), &genesis); err != nil {
		return err
	}
	if genesis.Hash != *net.Params.GenesisHash {
		return fmt.Errorf("genesis is %v, %s has %v: %w", genesis.Hash, net.Name, net.Params.GenesisHash, ErrWrongChain)
	}
	challenge := info.Challenge
	if net.Name == "signet" && challenge == nil {
		g := new(gbt)
		if err := n.template.call(ctx, templateRequest(net, ""), g); err != nil {
			return err
		}
		challenge = g.Challenge
	}
	if err := checkChallenge(n.cfg, challenge); err != nil {
		return err
	}
	peers, err := n.countPeers(ctx)
	if err != nil {
		return err
	}
	caps, err := n.detect(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.caps, n.peers = caps, peers
	n.mu.Unlock()
	if !needsPeers(net, challenge) {
		return nil
	}
	if info.IBD {
		return fmt.Errorf("height %d: %w", info.Blocks, ErrSyncing)
	}
	if peers == 0 {
		return ErrNoPeers
	}
	return nil
}

// needsPeers reports whether mining makes sense only on a synced node with
// peers: not on regtest, nor on a signet of one's own (decision 24).
func needsPeers(n *pool.Network, challenge []byte) bool {
	switch n.Name {
	case "regtest":
		return false
	case "signet":
		return challenge == nil || bytes.Equal(challenge, chaincfg.DefaultSignetChallenge)
	}
	return true
}

// checkChallenge compares a signet's challenge with the configured one.
func checkChallenge(cfg *Config, got []byte) error {
	if cfg.Network.Name != "signet" || cfg.SignetChallenge == nil || bytes.Equal(got, cfg.SignetChallenge) {
		return nil
	}
	return fmt.Errorf("node has %x, configured is %x: %w", got, cfg.SignetChallenge, ErrSignetChallenge)
}

func (n *node) countPeers(ctx context.Context) (int, error) {
	var peers int
	err := n.ask.call(ctx, newRequest("getconnectioncount"), &peers)
	return peers, err
}

// detect finds out what kind of node this is. btcd has no getnetworkinfo.
func (n *node) detect(ctx context.Context) (capabilities, error) {
	var core struct {
		Version    int    `json:"version"`
		Subversion string `json:"subversion"`
	}
	err := n.ask.call(ctx, newRequest("getnetworkinfo"), &core)
	if err == nil {
		v := core.Version
		version := fmt.Sprintf("Core %d.%d.%d", v/10000, v/100%100, v%100)
		return capabilities{Version: version, Precious: true, Median: true}, nil
	}
	if _, ok := errors.AsType[*RPCError](err); !ok || transient(err) {
		return capabilities{}, err
	}
	var btcd map[string]struct {
		Version string `json:"versionstring"`
	}
	err = n.ask.call(ctx, newRequest("version"), &btcd)
	if v, ok := btcd["btcd"]; err == nil && ok {
		return capabilities{Version: "btcd " + v.Version}, nil
	}
	if v, ok := btcd["btcdjsonrpcapi"]; err == nil && ok {
		return capabilities{Version: "btcd (API " + v.Version + ")"}, nil
	}
	if _, ok := errors.AsType[*RPCError](err); err != nil && (!ok || transient(err)) {
		return capabilities{}, err
	}
	return capabilities{Version: "unknown"}, nil
}

// bestHash asks for the hash of the node's tip.
func (n *node) bestHash(ctx context.Context) (chainhash.Hash, error) {
	var h hashHex
	if err := n.ask.call(ctx, newRequest("getbestblockhash"), &h); err != nil {
		return chainhash.Hash{}, err
	}
	if !h.set {
		return chainhash.Hash{}, fmt.Errorf("getbestblockhash: %w", ErrGarbage)
	}
	return h.Hash, nil
}

// header asks for a header on l.
func (n *node) header(ctx context.Context, l *lane, hash chainhash.Hash) (*header, error) {
	h := new(header)
	if err := l.call(ctx, newRequest("getblockheader", hash.String(), true), h); err != nil {
		return nil, err
	}
	return h, nil
}

// tip returns the header's block as a tip.
func (h *header) tip(hash chainhash.Hash) tip {
	t := tip{Tip: pool.Tip{Hash: hash, Height: h.Height}}
	if len(h.ChainWork) == 64 {
		if w, ok := new(big.Int).SetString(h.ChainWork, 16); ok {
			t.work = w
		}
	}
	return t
}

// InChain tells where a block stands: its height, and how many confirmations it
// has on the active chain of the followed node (of another, where that one does
// not answer). Confirmations are -1 for a block off the active chain.
// ErrUnknownBlock where no node that answered knows it.
func (c *Cluster) InChain(ctx context.Context, hash chainhash.Hash) (height int32, confirmations int64, err error) {
	// The answer stands in the node's index: what takes longer than its block
	// takes to check is no answer.
	err = c.askAny(ctx, c.cfg.SubmitTimeout, func(ctx context.Context, n *node) error {
		height, confirmations, err = n.inChain(ctx, hash)
		return err
	})
	return height, confirmations, err
}

func (n *node) inChain(ctx context.Context, hash chainhash.Hash) (int32, int64, error) {
	h, err := n.header(ctx, n.ask, hash)
	if rpc, ok := errors.AsType[*RPCError](err); ok {
		switch {
		case rpc.Code == codeNotFound:
			return 0, 0, fmt.Errorf("block %v: %w", hash, ErrUnknownBlock)
		case rpc.Message == "block "+hash.String()+" is not in the main chain": // btcd
			return 0, -1, nil
		}
	}
	if err != nil {
		return 0, 0, err
	}
	return h.Height, h.Confirmations, nil
}

// subsidy returns the block subsidy at height in sats.
func subsidy(p *chaincfg.Params, height int32) int64 {
	halvings := int64(height) / int64(p.SubsidyReductionInterval)
	if halvings >= 64 {
		return 0
	}
	return 50 * 1e8 >> halvings
}
