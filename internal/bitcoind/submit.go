package bitcoind

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// SubmitResult is what one node finally said to a block.
type SubmitResult struct {
	Node string
	// Accepted: the node has the block (its answer was null or duplicate).
	// Whether the block is on the active chain, InChain tells: btcd says null
	// to a block of a side chain too, and to one without known parent.
	Accepted bool
	// Answer is "" for null, else BIP22's word: duplicate, inconclusive,
	// duplicate-invalid, prev-blk-not-found, high-hash, bad-..., or btcd's
	// "rejected: ...".
	Answer string
	Err    error         // why there is no answer
	Took   time.Duration // from the first try to the last answer
	Tries  int           // how often the block was sent
}

// submitPauses are the waits between tries; the last repeats (reliability row
// 14).
var submitPauses = []time.Duration{
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	200 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// SubmitBlock hands block, in wire form, to all nodes in parallel. A node that
// is busy, warming up or away is tried again until ctx ends: ctx is the limit
// of how long a block is worth trying. each is called once per node with its
// final answer, one call at a time. SubmitBlock returns when all have answered.
func (c *Cluster) SubmitBlock(ctx context.Context, block []byte, each func(SubmitResult)) {
	req := newRequest("submitblock", hex.EncodeToString(block))
	var hash chainhash.Hash
	if len(block) >= 80 {
		hash = chainhash.DoubleHashH(block[:80])
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, n := range c.nodes {
		wg.Go(func() {
			r := n.submitBlock(ctx, req, hash)
			if r.Accepted || r.Answer == "inconclusive" {
				poke(n.lookNow) // do not wait for the node to announce what we gave it
			}
			mu.Lock()
			defer mu.Unlock()
			each(r)
		})
	}
	wg.Wait()
}

func (n *node) submitBlock(ctx context.Context, req request, hash chainhash.Hash) SubmitResult {
	began := time.Now()
	r := SubmitResult{Node: n.Name}
	for {
		r.Tries++
		r.Answer, r.Err = n.submitOnce(ctx, req)
		if r.Err == nil && (r.Answer != "prev-blk-not-found" || r.Tries > len(submitPauses)) {
			break // a node that just came back gets the parent in a moment
		}
		if r.Err != nil && !transient(r.Err) {
			break
		}
		pause := submitPauses[min(r.Tries, len(submitPauses))-1]
		select {
		case <-ctx.Done():
			r.Took = time.Since(began)
			return r
		case <-time.After(pause):
		}
	}
	if r.Answer == "inconclusive" {
		n.precious(ctx, hash)
	}
	r.Accepted = r.Err == nil && (r.Answer == "" || r.Answer == "duplicate")
	if r.Accepted {
		n.mu.Lock()
		n.took = append(n.took[max(0, len(n.took)+1-tookMemory):], hash)
		n.mu.Unlock()
	}
	r.Took = time.Since(began)
	return r
}

// submitOnce sends the block once. A failure never looks like success: only a
// JSON null of a good answer is "".
func (n *node) submitOnce(ctx context.Context, req request) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.SubmitTimeout)
	defer cancel()
	var result json.RawMessage
	if err := n.submit.call(ctx, req, &result); err != nil {
		return "", err
	}
	return verdict(result)
}

// verdict reads BIP22's answer to a block or a proposal: null, or a reason.
func verdict(result json.RawMessage) (string, error) {
	switch {
	case string(result) == "null":
		return "", nil
	case len(result) == 0:
		return "", fmt.Errorf("answer without result: %w", ErrGarbage)
	}
	var reason string
	if err := json.Unmarshal(result, &reason); err != nil || reason == "" {
		return "", fmt.Errorf("answer %.40q is neither null nor a reason: %w", result, ErrGarbage)
	}
	if strings.HasPrefix(reason, "rejected: already have block ") && !strings.Contains(reason, "(orphan)") {
		reason = "duplicate" // btcd's word for it
	}
	return reason, nil
}

// tookMemory is how many blocks of ours a node is remembered to have taken.
const tookMemory = 16

// precious asks the node to prefer our block among those of its height, unless
// the one it mines on now is ours too: the network heard of that one first.
func (n *node) precious(ctx context.Context, hash chainhash.Hash) {
	n.mu.Lock()
	can, took := n.caps.Precious, slices.Clone(n.took)
	n.mu.Unlock()
	if !can {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.SubmitTimeout)
	defer cancel()
	var best hashHex
	if err := n.submit.call(ctx, newRequest("getbestblockhash"), &best); err == nil && slices.Contains(took, best.Hash) {
		return
	}
	if err := n.submit.call(ctx, newRequest("preciousblock", hash.String()), nil); err != nil {
		n.log.Warn().Str("event", "block.precious").Stringer("hash", hash).Err(err).Msg("the node did not take our block as the preferred one of its height")
	}
}

// Propose asks the followed node (another, where that one does not answer)
// whether block would be valid but for its proof of work (BIP23). reason is ""
// for a valid one. It costs the node tens of milliseconds under its main lock
// on a full block: when to ask is the caller's choice (decision 21).
func (c *Cluster) Propose(ctx context.Context, block []byte) (reason string, err error) {
	rules := []string{"segwit"}
	if c.cfg.Network.Name == "signet" {
		rules = append(rules, "signet")
	}
	req := newRequest("getblocktemplate", map[string]any{
		"mode": "proposal", "data": hex.EncodeToString(block), "rules": rules,
	})
	err = c.askAny(ctx, c.cfg.TemplateTimeout, func(ctx context.Context, n *node) error {
		var result json.RawMessage
		err := n.ask.call(ctx, req, &result)
		if err == nil {
			reason, err = verdict(result)
		}
		return err
	})
	return reason, err
}

// noCookieYet reports a cookie that a starting bitcoind has not written, or
// not written anew.
func (n *node) noCookieYet(err error) bool {
	return n.Cookie != "" && (errors.Is(err, ErrNoCookie) || errors.Is(err, ErrUnauthorized))
}
