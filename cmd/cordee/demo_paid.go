package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cordee/internal/audit"
	"cordee/payout"
)

// paidBlocks is how many blocks must have paid members before the demo
// mines the confirmations. From the second on, what is owed from before plays.
const paidBlocks = 3

// confirmations make a block's coinbase spendable.
const confirmations = 100

// untilPaid goes on until coinbases of ours have paid members, lets the node
// mine their confirmations, and waits until the pool's ledger has it too.
func (d *theDemo) untilPaid(ctx, life context.Context, blocks int, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	config := filepath.Join(d.dir, "cordee.toml")
	paying := map[string]bool{} // hashes of blocks that pay members
	for want := max(blocks, paidBlocks); len(paying) < paidBlocks; want++ {
		if err := d.watch(ctx, life, want, limit); err != nil {
			return err
		}
		report, err := auditChain(ctx, config)
		if err != nil {
			return d.tellAudit(report, err)
		}
		clear(paying) // one may have left the chain
		for _, b := range report.Blocks {
			if b.PaysMembers() {
				paying[b.Hash] = true
			}
		}
	}
	fmt.Fprintf(d.out, "mining %d confirmations with the node's own generate call ...\n", confirmations)
	if _, err := d.node.Generate(ctx, confirmations, demoTreasury); err != nil {
		return fmt.Errorf("demo: confirmations: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		hash, err := maturedOf(filepath.Join(d.dir, "pool", "ledger"), paying)
		if err != nil {
			return err
		}
		if hash != "" {
			fmt.Fprintf(d.out, "the pool's ledger says: block %s is mature\n", hash)
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("demo: the pool's ledger did not get to know that a block is mature")
		case <-tick.C:
		}
	}
}

// maturedOf returns one of blocks that the ledger in dir has as mature, "" for
// none. Each of its files is an event and 32 bytes of the ledger's head.
func maturedOf(dir string, blocks map[string]bool) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.event"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		b, err := os.ReadFile(f) // #nosec G304 -- of the demo's own folder
		if err != nil {
			return "", err
		}
		e, err := payout.DecodeEvent(b[:max(len(b)-32, 0)])
		if err != nil {
			return "", fmt.Errorf("%s: %w", f, err)
		}
		if hash := e.Block.String(); e.Kind == payout.BlockMatured && blocks[hash] {
			return hash, nil
		}
	}
	return "", nil
}

// auditPaid compares every output with the recomputation, once no rig mines any
// more.
func (d *theDemo) auditPaid(ctx context.Context) (*audit.Report, error) {
	report, err := auditChain(ctx, filepath.Join(d.dir, "cordee.toml"))
	if err == nil && !slices.ContainsFunc(report.Blocks, func(b audit.Block) bool { return b.Mature && b.PaysMembers() }) {
		err = errors.New("demo: no block that pays members is mature on the node's chain")
	}
	return report, d.tellAudit(report, err)
}

// tellAudit shows a report and passes its error on.
func (d *theDemo) tellAudit(report *audit.Report, err error) error {
	if report != nil {
		fmt.Fprintln(d.out)
		printAudit(d.out, report)
	}
	return err
}
