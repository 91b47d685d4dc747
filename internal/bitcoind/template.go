package bitcoind

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// Limits of what a template may hold.
const (
	maxTemplateTxs = pool.MaxBlockWeight / 240 // the smallest transaction has 60 bytes
	maxLongPollID  = 256
	maxChallenge   = 10_000 // bytes; consensus limit of a script
)

// hexBytes is a JSON string of hex digits.
type hexBytes []byte

// UnmarshalJSON decodes without an intermediate string: a full template is
// eight megabytes of hex.
func (h *hexBytes) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if len(b) < 2 || b[0] != '"' || len(b)%2 != 0 {
		return fmt.Errorf("not a hex string: %w", ErrTemplateField)
	}
	out := make([]byte, (len(b)-2)/2)
	if _, err := hex.Decode(out, b[1:len(b)-1]); err != nil {
		return fmt.Errorf("%w: %w", ErrTemplateField, err)
	}
	*h = out
	return nil
}

// hashHex is a hash in RPC's reversed hex.
type hashHex struct {
	chainhash.Hash
	set bool
}

// UnmarshalJSON takes exactly 64 hex digits.
func (h *hashHex) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if len(b) != 66 || b[0] != '"' {
		return fmt.Errorf("hash has not 64 digits: %w", ErrTemplateField)
	}
	var rev [32]byte
	if _, err := hex.Decode(rev[:], b[1:65]); err != nil {
		return fmt.Errorf("%w: %w", ErrTemplateField, err)
	}
	for i := range rev {
		h.Hash[31-i] = rev[i]
	}
	h.set = true
	return nil
}

// gbt is the part of getblocktemplate's result (BIP22, 23, 145) that is used.
// Fields not named here are ignored.
type gbt struct {
	Version    *int64   `json:"version"`
	Rules      []string `json:"rules"`
	VBRequired int64    `json:"vbrequired"`
	PrevHash   hashHex  `json:"previousblockhash"`
	Txs        []struct {
		Data   hexBytes `json:"data"`
		TxID   hashHex  `json:"txid"`
		Hash   hashHex  `json:"hash"`
		Weight int64    `json:"weight"`
	} `json:"transactions"`
	Value      *int64   `json:"coinbasevalue"`
	LongPollID string   `json:"longpollid"`
	Target     hexBytes `json:"target"`
	MinTime    int64    `json:"mintime"`
	CurTime    int64    `json:"curtime"`
	Bits       string   `json:"bits"`
	Height     int64    `json:"height"`
	Challenge  hexBytes `json:"signet_challenge"`
	Commitment hexBytes `json:"default_witness_commitment"`
}

// knownRules are the rules of BIP9 deployments that a block of ours obeys. A
// rule with "!" must be known; others change nothing that a pool builds.
var knownRules = map[string]bool{"segwit": true, "signet": true}

// template checks g and makes a pool.Template of it. The errors are those of
// this file's rules, or pool.NewTemplate's.
func (g *gbt) template(cfg *Config, node string) (*pool.Template, error) {
	for _, r := range g.Rules {
		if name, must := strings.CutPrefix(r, "!"); must && !knownRules[name] {
			return nil, fmt.Errorf("rule %.40q: %w", r, ErrUnknownRule)
		}
	}
	switch {
	case g.Version == nil || *g.Version < math.MinInt32 || *g.Version > math.MaxUint32:
		return nil, fmt.Errorf("version: %w", ErrTemplateField)
	case g.VBRequired&int64(pool.VersionRollingMask) != 0:
		return nil, fmt.Errorf("vbrequired %08x: %w", g.VBRequired, ErrTemplateVersion)
	case !g.PrevHash.set:
		return nil, fmt.Errorf("previousblockhash: %w", ErrTemplateField)
	case g.Value == nil:
		return nil, fmt.Errorf("coinbasevalue: %w", ErrTemplateField)
	case g.Height <= 0 || g.Height > math.MaxInt32:
		return nil, fmt.Errorf("height %d: %w", g.Height, pool.ErrTemplateHeight)
	case g.MinTime <= 0 || g.MinTime > math.MaxUint32 || g.CurTime <= 0 || g.CurTime > math.MaxUint32:
		return nil, fmt.Errorf("mintime %d, curtime %d: %w", g.MinTime, g.CurTime, pool.ErrTemplateTime)
	case len(g.Txs) > maxTemplateTxs:
		return nil, fmt.Errorf("%d transactions: %w", len(g.Txs), pool.ErrTemplateWeight)
	case len(g.LongPollID) > maxLongPollID:
		return nil, fmt.Errorf("longpollid of %d bytes: %w", len(g.LongPollID), ErrTemplateField)
	case len(g.Challenge) > maxChallenge:
		return nil, fmt.Errorf("signet_challenge of %d bytes: %w", len(g.Challenge), ErrTemplateField)
	}
	bits, err := parseBits(g.Bits)
	if err != nil {
		return nil, err
	}
	if g.Target != nil {
		// Both are the node's word for one number: a difference means that one
		// of them was mangled on the way.
		t, err := pool.TargetFromBits(bits)
		if err != nil {
			return nil, err
		}
		if hex.EncodeToString(g.Target) != t.String() {
			return nil, fmt.Errorf("target %x, bits %08x: %w", []byte(g.Target), bits, ErrTemplateField)
		}
	}
	if minDifficulty(cfg.Network, bits) {
		return nil, fmt.Errorf("bits %08x: %w", bits, ErrMinDifficulty)
	}
	if err := checkChallenge(cfg, g.Challenge); err != nil {
		return nil, err
	}
	t := &pool.Template{
		Node:      node,
		Height:    int32(g.Height),
		Version:   uint32(*g.Version),
		PrevHash:  g.PrevHash.Hash,
		Bits:      bits,
		WorkBits:  cfg.WorkBits,
		MinTime:   uint32(g.MinTime),
		CurTime:   uint32(g.CurTime),
		Value:     *g.Value,
		LongPoll:  g.LongPollID,
		Challenge: g.Challenge,
		Txs:       make([]pool.Tx, len(g.Txs)),
	}
	for i := range g.Txs {
		tx := &g.Txs[i]
		if !tx.TxID.set || !tx.Hash.set || tx.Weight <= 0 || tx.Weight > pool.MaxBlockWeight {
			return nil, fmt.Errorf("transaction %d: txid, hash or weight: %w", i, ErrTemplateField)
		}
		t.Txs[i] = pool.Tx{Raw: tx.Data, TxID: tx.TxID.Hash, WTxID: tx.Hash.Hash, Weight: tx.Weight}
	}
	return pool.NewTemplate(t, g.Commitment)
}

// parseBits reads a compact target in hex. btcd writes no leading zeros.
func parseBits(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 16, 32)
	if err != nil || s == "" || len(s) > 8 {
		return 0, fmt.Errorf("bits %.20q: %w", s, ErrTemplateField)
	}
	return uint32(v), nil
}

// minDifficulty reports a template of testnet4's 20-minute rule (decision 2):
// the chain's own difficulty has been far above its floor since its first
// weeks.
func minDifficulty(n *pool.Network, bits uint32) bool {
	return n.Name == "testnet4" && bits == n.Params.PowLimitBits
}

// templateRequest is the call, with the rules a client must name: Core refuses
// a call without segwit, and on signet without signet.
func templateRequest(n *pool.Network, longpoll string) request {
	rules := []string{"segwit"}
	if n.Name == "signet" {
		rules = append(rules, "signet")
	}
	p := map[string]any{"rules": rules, "capabilities": []string{"coinbasevalue", "longpoll"}}
	if longpoll != "" {
		p["longpollid"] = longpoll
	}
	return newRequest("getblocktemplate", p)
}
