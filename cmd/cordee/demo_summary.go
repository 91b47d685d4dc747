package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cordee/internal/audit"
	"cordee/internal/web"
)

// demoSummary is the last line of `cordee demo --json`.
type demoSummary struct {
	OK        bool              `json:"ok"`
	Node      string            `json:"node"`
	Seconds   float64           `json:"seconds"`
	Rigs      int               `json:"rigs"`
	Hashrate  float64           `json:"hashrate"`
	Shares    uint64            `json:"shares_credited"`
	Answers   map[string]uint64 `json:"answers"` // what the pool answered, by name
	Blocks    []demoBlock       `json:"blocks"`
	FirstRig  web.Latency       `json:"new_tip_to_first_notify_ms"`
	LastRig   web.Latency       `json:"new_tip_to_last_notify_ms"`
	Audit     *audit.Report     `json:"audit,omitempty"` // with --until-paid
	Problem   string            `json:"problem,omitempty"`
	Directory string            `json:"directory,omitempty"`
}

type demoBlock struct {
	Height  int32             `json:"height"`
	Hash    string            `json:"hash"`
	Worker  string            `json:"worker"`
	Answers map[string]string `json:"answers"`
	OnChain bool              `json:"on_chain"`
}

// summarise asks the node itself, not the pool, whether the blocks stand on
// its active chain.
func (d *theDemo) summarise(ctx context.Context, s demoSummary, rigs, want int, err error) (demoSummary, error) {
	var status web.Status
	var blocks web.Blocks
	if aerr := errors.Join(d.ask(ctx, "/status", &status), d.ask(ctx, "/blocks", &blocks)); aerr != nil {
		return s, errors.Join(err, aerr)
	}
	s.Seconds, s.Rigs, s.Shares = time.Since(d.begun).Seconds(), rigs, status.Credited
	s.Hashrate, s.Answers = d.rate, status.Shares
	s.FirstRig, s.LastRig = status.FirstNotify, status.LastNotify
	onChain := 0
	for _, b := range blocks.Blocks {
		at, cerr := d.node.Call(ctx, "getblockhash", b.Height)
		var hash string
		on := cerr == nil && json.Unmarshal(at, &hash) == nil && hash == b.Hash
		if on {
			onChain++
		}
		s.Blocks = append(s.Blocks, demoBlock{Height: b.Height, Hash: b.Hash, Worker: b.Worker, Answers: b.Answers, OnChain: on})
	}
	if err == nil && onChain < want {
		err = fmt.Errorf("demo: the node's active chain holds %d of our blocks, %d were asked for", onChain, want)
	}
	return s, err
}

func (d *theDemo) printSummary(s *demoSummary) {
	if s.Rigs == 0 {
		return
	}
	fmt.Fprintf(d.out, "\n%.0f s: %d shares credited, rejects: %s\n", s.Seconds, s.Shares, counts(s.Answers))
	on := 0
	for _, b := range s.Blocks {
		if b.OnChain {
			on++
		}
	}
	fmt.Fprintf(d.out, "%d blocks found, %d of them on the chain of %s\n", len(s.Blocks), on, s.Node)
	fmt.Fprintf(d.out, "new block at the node to the first rig: %s; to the last of %d: %s\n", s.FirstRig, s.Rigs, s.LastRig)
}
