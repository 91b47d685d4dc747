package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cordee/pool"
)

// UnknownWeight is Examination.Reserved where the node does not tell.
const UnknownWeight = -1

// Examination is one close look at a node, for an operator who asks what is
// wrong. Fields behind the first error are zero.
type Examination struct {
	Name string
	// Err is why the node cannot be mined on: unreachable, another chain, no
	// peers, or still downloading.
	Err     error
	Version string
	Peers   int
	// Public reports whether the chain is one with other miners, so that an old
	// tip is a bad sign (decision 24).
	Public  bool
	Tip     pool.Tip
	TipTime time.Time // of its header
	Headers int32     // height of the best header it knows; 0 where it does not tell

	// Template is what it offers now, nil with TemplateErr.
	Template    *pool.Template
	TemplateErr error
	Asked, Told time.Time // when the template was asked for, and when it was there

	// Reserved is the room in weight units that the node leaves for header,
	// count of transactions and coinbase (-blockreservedweight), found by
	// subtracting the template's transactions from the weight of the block it
	// assembled; UnknownWeight where it does not tell, or assembled another one
	// meanwhile.
	Reserved int64
}

// ClockDrift returns by how much the node's clock differs from ours at least,
// positive where the node is ahead: its curtime has whole seconds, and the call
// took a while. known is false where the template's time is no reading of a
// clock, because the chain's median time forced it forward.
func (x *Examination) ClockDrift() (drift time.Duration, known bool) {
	if x.Template == nil || x.Template.CurTime <= x.Template.MinTime {
		return 0, false
	}
	read := time.Unix(int64(x.Template.CurTime), 0)
	switch {
	case read.After(x.Told):
		return read.Sub(x.Told), true
	case read.Add(time.Second).Before(x.Asked):
		return read.Add(time.Second).Sub(x.Asked), true
	}
	return 0, true
}

// Examine looks once at every node of cfg, beside whatever else runs, and
// changes nothing. The error is one of cfg itself; a node's are in its
// Examination. Each node has until ctx ends.
func Examine(ctx context.Context, cfg Config) ([]Examination, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	found := make([]Examination, len(c.nodes))
	done := make(chan struct{})
	for i, n := range c.nodes {
		go func() {
			defer func() { done <- struct{}{} }()
			found[i] = n.examine(ctx)
			for _, l := range []*lane{n.ask, n.template, n.submit} {
				l.close()
			}
		}()
	}
	for range c.nodes {
		<-done
	}
	return found, nil
}

func (n *node) examine(ctx context.Context) Examination {
	x := Examination{Name: n.Name, Peers: -1, Reserved: UnknownWeight}
	x.Err = n.check(ctx)
	n.mu.Lock()
	x.Version, x.Peers = n.caps.Version, n.peers
	n.mu.Unlock()
	if x.Err != nil && !errors.Is(x.Err, ErrSyncing) && !errors.Is(x.Err, ErrNoPeers) {
		return x
	}
	if err := n.examineTip(ctx, &x); err != nil {
		x.Err = errors.Join(x.Err, err)
		return x
	}
	g := new(gbt)
	x.Asked = time.Now()
	err := n.template.call(ctx, templateRequest(n.cfg.Network, ""), g)
	x.Told = time.Now()
	if err == nil {
		x.Template, err = g.template(n.cfg, n.Name)
	}
	if err != nil {
		x.TemplateErr = err
		return x
	}
	x.Reserved = n.reservedWeight(ctx, x.Template)
	return x
}

func (n *node) examineTip(ctx context.Context, x *Examination) error {
	var info struct {
		Headers   int32    `json:"headers"`
		Challenge hexBytes `json:"signet_challenge"`
	}
	if err := n.ask.call(ctx, newRequest("getblockchaininfo"), &info); err != nil {
		return err
	}
	x.Headers = info.Headers
	x.Public = needsPeers(n.cfg.Network, info.Challenge)
	hash, err := n.bestHash(ctx)
	if err != nil {
		return err
	}
	var head struct {
		Height int32 `json:"height"`
		Time   int64 `json:"time"`
	}
	if err := n.ask.call(ctx, newRequest("getblockheader", hash.String(), true), &head); err != nil {
		return fmt.Errorf("header of its tip: %w", err)
	}
	x.Tip, x.TipTime = pool.Tip{Hash: hash, Height: head.Height}, time.Unix(head.Time, 0)
	return nil
}

// reservedWeight tells what the node kept free when it assembled t. Core's
// currentblockweight is that of the last block it assembled, with the reserved
// weight instead of a coinbase; no call names the setting itself.
func (n *node) reservedWeight(ctx context.Context, t *pool.Template) int64 {
	var info struct {
		Weight *int64 `json:"currentblockweight"`
		Txs    *int   `json:"currentblocktx"`
	}
	n.mu.Lock()
	core := n.caps.Median // btcd's number is that of its tip
	n.mu.Unlock()
	if !core || n.ask.call(ctx, newRequest("getmininginfo"), &info) != nil {
		return UnknownWeight
	}
	if info.Weight == nil || info.Txs == nil || *info.Txs != len(t.Txs) || *info.Weight < t.Weight() {
		return UnknownWeight
	}
	return *info.Weight - t.Weight()
}
