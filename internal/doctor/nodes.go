package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cordee/internal/bitcoind"
	"cordee/internal/config"
	"cordee/pool"
)

// Bounds of what a healthy node shows.
const (
	// A block takes more than an hour once in 400, more than two once in 160 000.
	oldTip, staleTip = time.Hour, 2 * time.Hour
	maxDrift         = 2 * time.Second
	slowTemplate     = time.Second
	askLimit         = 15 * time.Second
)

// fixedWeight is what a block weighs beside its transactions without witness:
// header and count of transactions (332), and the coinbase's marker, flag and
// witness (36).
const fixedWeight = 332 + 36

// NeededWeight is the reserved weight that a coinbase of size bytes without
// witness asks of a node.
func NeededWeight(size int) int64 { return fixedWeight + 4*int64(size) }

// nodes looks at every node, each line under its name.
func (r *Report) nodes(ctx context.Context, o *Options, cfg *config.Config) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	found, err := bitcoind.Examine(ctx, nodeConfig(cfg))
	if err != nil {
		r.add("nodes", Fail, "correct [[node]] in cordee.toml", "%v", err)
		return
	}
	var best int32
	for i := range found {
		best = max(best, found[i].Tip.Height)
	}
	for i := range found {
		r.node(o, &found[i], best)
	}
}

func (r *Report) node(o *Options, x *bitcoind.Examination, best int32) {
	name := "node " + x.Name
	if x.Err != nil {
		r.add(name, Fail, nodeAdvice(x.Err), "%v", x.Err)
	} else {
		peers := "1 peer"
		if x.Peers != 1 {
			peers = fmt.Sprintf("%d peers", x.Peers)
		}
		r.good(name, "%s, %s", x.Version, peers)
	}
	if x.TipTime.IsZero() {
		return
	}
	r.tip(o, name+": tip", x, best)
	switch {
	case errors.Is(x.TemplateErr, bitcoind.ErrMinDifficulty):
		r.add(name+": template", Warn, "wait for the next block: rigs keep their job", "%v", x.TemplateErr)
	case x.TemplateErr != nil && x.Err == nil: // a node that syncs gives none: said above
		r.add(name+": template", Fail, "look at the node's log; without a template nothing is mined", "%v", x.TemplateErr)
	}
	if x.Template == nil {
		return
	}
	if took := x.Told.Sub(x.Asked); took > slowTemplate {
		r.add(name+": template", Warn, "the node's machine is too slow or busy: new work reaches rigs late", "it took %.1f s", took.Seconds())
	} else {
		r.good(name+": template", "block %d, %d transactions, within %d ms", x.Template.Height, len(x.Template.Txs), took.Milliseconds())
	}
	r.reserve(o, name+": reserved weight", x)
	r.clock(name+": clock", x)
}

// nodeAdvice is what to do about a node that cannot be mined on.
func nodeAdvice(err error) string {
	switch {
	case errors.Is(err, bitcoind.ErrWrongChain):
		return "correct network or the node's url in cordee.toml, or start the node with the right -chain"
	case errors.Is(err, bitcoind.ErrSignetChallenge):
		return "correct signet_challenge, or the node's url"
	case errors.Is(err, bitcoind.ErrNoCookie):
		return "start the node, or correct cookie: it stands in the node's data directory, below the network's name"
	case errors.Is(err, bitcoind.ErrUnauthorized):
		return "correct cookie, or user and password_file; may this user read that file?"
	case errors.Is(err, bitcoind.ErrSyncing), errors.Is(err, bitcoind.ErrWarmup):
		return "wait until the node is ready"
	case errors.Is(err, bitcoind.ErrNoPeers):
		return "connect the node to the network: its blocks would reach nobody"
	case errors.Is(err, bitcoind.ErrUnreachable), errors.Is(err, bitcoind.ErrTimeout):
		return "start the node, or correct url and -rpcbind, -rpcallowip, firewall"
	}
	return "look at the node's log"
}

func (r *Report) tip(o *Options, name string, x *bitcoind.Examination, best int32) {
	age := o.Now().Sub(x.TipTime).Truncate(time.Second)
	const stale = "restart the node, look at its peers, disk and log: rigs would mine on an old block"
	switch {
	case x.Tip.Height+1 < best:
		r.add(name, Fail, stale, "height %d, another node of ours is at %d", x.Tip.Height, best)
	case x.Headers > x.Tip.Height+1:
		r.add(name, Fail, stale, "height %d, and it knows headers up to %d", x.Tip.Height, x.Headers)
	case x.Public && age > staleTip:
		r.add(name, Fail, stale, "height %d is %s old", x.Tip.Height, age)
	case x.Public && age > oldTip:
		r.add(name, Warn, "compare with a block explorer; such a pause is rare", "height %d is %s old", x.Tip.Height, age)
	default:
		r.good(name, "height %d, %s old", x.Tip.Height, age)
	}
}

// reserve compares what the node keeps free with the coinbases that are made.
// Where one exceeds it nothing is refused: on a full block it holds fewer outputs,
// and the rest is owed. That is worth a warning for what rigs here mine, as the
// running pool says, or else for the classes up to the one that the manual
// reserves for: more costs every full block fees.
func (r *Report) reserve(o *Options, name string, x *bitcoind.Examination) {
	bySize := func(a, b pool.Class) int { return cmp.Compare(a.MaxCoinbase, b.MaxCoinbase) }
	largest := slices.MaxFunc(o.Classes, bySize)
	wanted := slices.MinFunc([]pool.Class{largest, pool.LargeClass}, bySize)
	if o.inUse.ID != 0 {
		wanted = o.inUse
	}
	need, least := NeededWeight(wanted.MaxCoinbase), NeededWeight(pool.DefaultClass.MaxCoinbase)
	cut := (x.Reserved - fixedWeight) / 4
	switch {
	case x.Reserved == bitcoind.UnknownWeight:
		r.add(name, Unknown, fmt.Sprintf("check that the node has -blockreservedweight=%d or more", need),
			"the node does not tell; class %s needs %d", wanted.Name, need)
	case x.Reserved < least:
		r.add(name, Fail, fmt.Sprintf("start the node with -blockreservedweight=%d: on a full block every coinbase is refused", need),
			"%d, class %s needs %d (%d + 4 × %d bytes)", x.Reserved, pool.DefaultClass.Name, least, fixedWeight, pool.DefaultClass.MaxCoinbase)
	case x.Reserved < need:
		r.add(name, Warn, fmt.Sprintf("start the node with -blockreservedweight=%d if more members are to be paid directly; each unit is taken from the fees of full blocks", need),
			"%d, class %s needs %d (%d + 4 × %d bytes): on a full block its coinbase is cut to %d bytes",
			x.Reserved, wanted.Name, need, fixedWeight, wanted.MaxCoinbase, cut)
	case x.Reserved < NeededWeight(largest.MaxCoinbase):
		r.good(name, "%d, class %s needs %d; on a full block one of class %s would be cut to %d bytes", x.Reserved, wanted.Name, need, largest.Name, cut)
	default:
		r.good(name, "%d, class %s needs %d", x.Reserved, wanted.Name, need)
	}
}

func (r *Report) clock(name string, x *bitcoind.Examination) {
	drift, known := x.ClockDrift()
	way := "ahead of"
	if drift < 0 {
		way = "behind"
	}
	switch {
	case !known:
		r.add(name, Unknown, "compare `date -u` on both machines", "the chain's own time leads the node's clock")
	case drift.Abs() > maxDrift:
		r.add(name, Fail, "let NTP or chrony keep both clocks: rigs get times that the network refuses",
			"the node is %.1f s %s this machine, more than %.0f s", drift.Abs().Seconds(), way, maxDrift.Seconds())
	default:
		r.good(name, "within %.0f s of this machine's", maxDrift.Seconds())
	}
}
