package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"cordee/internal/audit"
	"cordee/internal/bitcoind"
	"cordee/internal/config"
	"cordee/payout"
	"cordee/pool"
)

func auditChainCommand() *cli.Command {
	return &cli.Command{
		Name:  "chain",
		Usage: "recompute every block of ours on the node's chain from journal and slots, and compare each output",
		Description: "Reads the journal, slot manifests, candidates, the register and the rules of cordee.toml, and asks the node for\n" +
			"blocks; changes nothing, and does not ask the pool, which may run or not. Exit 0 only if every satoshi agrees.",
		Flags:  []cli.Flag{configFlag, jsonFlag},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			report, err := auditChain(c.Context, c.String("config"))
			if report == nil {
				return err
			}
			return errors.Join(err, emit(c, report, func(w io.Writer) { printAudit(w, report) }))
		},
	}
}

// auditChain runs the audit of the pool that the configuration at path
// describes. The report is nil where there is nothing to compare; an error
// beside a report names its first mismatch.
func auditChain(ctx context.Context, path string) (*audit.Report, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	var public ed25519.PublicKey // a member who audits a copy of the files has none
	if _, err := os.Stat(cfg.SlotKeyPath); err == nil {
		key, err := config.ReadSlotKey(cfg.SlotKeyPath)
		if err != nil {
			return nil, err
		}
		public, _ = key.Public().(ed25519.PublicKey)
	}
	nodes, err := newCluster(cfg, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	if err := nodes.Check(ctx); err != nil {
		return nil, err
	}
	report, err := audit.Run(ctx, &audit.Config{
		Journal: cfg.Journal.Dir, Slots: filepath.Join(cfg.DataDir, "slots"), Key: public,
		Rules: rulesOf(cfg), Treasury: cfg.Payout.TreasuryScript,
		Members: func() (map[uint16]payout.Member, error) { return readMembers(cfg) }, Classes: pool.Classes,
		Chain: chain{nodes}, Address: cfg.Network.Address,
	})
	if err != nil || report.OK {
		return report, err
	}
	return report, fmt.Errorf("audit: %s (%d mismatches)", report.Mismatches[0], len(report.Mismatches))
}

// newCluster returns the nodes of cfg, not asked yet.
func newCluster(cfg *config.Config, log zerolog.Logger) (*bitcoind.Cluster, error) {
	nodes := make([]bitcoind.NodeConfig, 0, len(cfg.Nodes))
	for _, n := range cfg.Nodes {
		nodes = append(nodes, bitcoind.NodeConfig{
			Name: n.Name, URL: n.URL, Cookie: n.Cookie, User: n.User, PasswordFile: n.PasswordFile, ZMQ: n.ZMQ,
		})
	}
	return bitcoind.New(bitcoind.Config{
		Network: cfg.Network, WorkBits: cfg.WorkBits, SignetChallenge: cfg.SignetChallenge, Nodes: nodes, Log: log,
	})
}

func printAudit(w io.Writer, r *audit.Report) {
	rows := make([]string, 0, len(r.Blocks))
	for _, b := range r.Blocks {
		verdict := "agrees"
		if !b.Agree {
			verdict = "DIFFERS"
		} else if !b.Covered {
			verdict = "no longer covered"
		}
		state := "maturing"
		if b.Mature {
			state = "mature"
		}
		rows = append(rows, fmt.Sprintf("%d\t%s\t%d\t%s\t%d\t%s\t%s", b.Height, b.Hash, b.Slot, btc(b.Value), len(b.Outputs), state, verdict))
	}
	table(w, "height\tblock\tcut\tvalue\toutputs\tstate\trecomputed", rows)
	rows = rows[:0]
	for _, m := range r.Members {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", m.Member, btc(m.Credited), btc(m.Paid), btc(m.Carried)))
	}
	table(w, "member\tcredited\tpaid by coinbase\tcarried", rows)
	fmt.Fprintf(w, "%d shares in %d slots; %d blocks found, %d on the chain, %d mature, %d pay members\n",
		r.Shares, r.Slots, r.Found, len(r.Blocks), r.Mature, r.Paying)
	for i, m := range r.Mismatches {
		if i == shownDifferences {
			fmt.Fprintf(w, "and %d more\n", len(r.Mismatches)-i)
			break
		}
		fmt.Fprintln(w, m)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	if r.Missing > 0 {
		fmt.Fprintf(w, "the journal begins behind the shares of the first %d slots: %d blocks are no longer covered, and were compared with their receipts only\n",
			r.Missing, r.Uncovered)
	}
	switch {
	case r.OK && r.Uncovered > 0:
		fmt.Fprintln(w, "every satoshi that can be recomputed agrees")
	case r.OK:
		fmt.Fprintln(w, "every satoshi agrees")
	}
}
