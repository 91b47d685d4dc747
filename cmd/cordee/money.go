package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"

	"cordee/internal/web"
)

func blocksCommand() *cli.Command {
	return &cli.Command{
		Name:      "blocks",
		Usage:     "our blocks, newest first, where the chain has them; of one, how it is split and what the nodes said",
		ArgsUsage: "[hash]",
		Flags:     []cli.Flag{configFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := oneArg(c, "blocks", "hash"); err != nil {
				return err
			}
			hash := strings.ToLower(c.Args().First())
			var blocks web.Blocks
			if err := askConfigured(c, "/blocks?hash="+url.QueryEscape(hash), &blocks); err != nil {
				return err
			}
			if hash == "" {
				return emit(c, blocks, func(w io.Writer) { printBlocks(w, blocks) })
			}
			if len(blocks.Blocks) == 0 {
				return errors.New("no block of ours has that hash: `cordee blocks` lists them")
			}
			b := &blocks.Blocks[0]
			return emit(c, b, func(w io.Writer) { printBlock(w, b) })
		},
	}
}

func printBlocks(w io.Writer, blocks web.Blocks) {
	rows := make([]string, 0, len(blocks.Blocks))
	for _, b := range blocks.Blocks {
		rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%d\t%s\t%s", b.Height, b.Hash, b.State, b.Confirmations, btc(b.Value), cmp.Or(b.Worker, b.Member)))
	}
	if len(rows) == 0 {
		fmt.Fprintln(w, "no block yet")
		return
	}
	table(w, "height\thash\tstate\tconfirmations\treward\tfound by", rows)
}

// printBlock prints one block with its split, from its receipt.
func printBlock(w io.Writer, b *web.Block) {
	rows := []string{
		"hash\t" + b.Hash,
		fmt.Sprintf("state\t%s, %d confirmations", b.State, b.Confirmations),
		"reward\t" + btc(b.Value),
	}
	if finder := cmp.Or(b.Worker, b.Member); finder != "" {
		rows = append(rows, fmt.Sprintf("found by\t%s, %s", finder, clock(b.Found)))
	}
	for node, answer := range b.Answers {
		rows = append(rows, fmt.Sprintf("node %s\t%s", node, answer))
	}
	if b.Split == nil {
		table(w, fmt.Sprintf("height\t%d", b.Height), append(rows, "split\tnot in the ledger: it follows once the block is in the chain"))
		return
	}
	s := b.Split
	rows = append(rows, fmt.Sprintf("split\t%s, counted up to slot %d, receipt %s", s.State, s.Slot, s.Receipt))
	table(w, fmt.Sprintf("height\t%d", b.Height), rows)
	fmt.Fprintln(w)
	rows = rows[:0]
	for _, m := range s.Members {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d", m.Member, m.Credit, m.Paid))
	}
	for _, f := range s.Fees {
		rows = append(rows, fmt.Sprintf("fee %s\t%d\t%d", f.Account, f.Credit, f.Paid))
	}
	rows = append(rows, fmt.Sprintf("treasury's output\t\t%d", s.Treasury))
	table(w, "who\tcredited (sats)\tpaid by its coinbase (sats)", rows)
}

func payoutsCommand() *cli.Command {
	return &cli.Command{
		Name:      "payouts",
		Usage:     "what each member, or one, was paid by which block, newest first, in sats",
		ArgsUsage: "[member]",
		Flags:     []cli.Flag{configFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := oneArg(c, "payouts", "member"); err != nil {
				return err
			}
			var p web.Payouts
			if err := askConfigured(c, "/payouts?member="+url.QueryEscape(c.Args().First()), &p); err != nil {
				return err
			}
			return emit(c, p, func(w io.Writer) { printPayouts(w, c.Args().First(), p) })
		},
	}
}

func printPayouts(w io.Writer, member string, p web.Payouts) {
	rows := make([]string, 0, len(p.Payouts))
	for _, x := range p.Payouts {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%s\t%d\t%s", x.Member, x.Height, x.Hash, x.Sats, x.State))
	}
	switch {
	case len(rows) > 0:
		table(w, "member\theight\tblock\tsats\tstate", rows)
	case member != "":
		fmt.Fprintf(w, "no payment to member %s: `cordee members` shows what is expected, maturing and carried\n", member)
	default:
		fmt.Fprintln(w, "no payment to a member yet: `cordee members` shows what is expected, maturing and carried")
	}
}

func membersCommand() *cli.Command {
	return &cli.Command{
		Name:   "members",
		Usage:  "what each member may expect, has maturing, is carried and was paid, in sats",
		Flags:  []cli.Flag{configFlag, jsonFlag},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			var a web.Accounts
			if err := askConfigured(c, "/accounts", &a); err != nil {
				return err
			}
			return emit(c, a, func(w io.Writer) { printAccounts(w, a) })
		},
	}
}

func printAccounts(w io.Writer, a web.Accounts) {
	rows := make([]string, 0, len(a.Members))
	for _, m := range a.Members {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%d", m.Member, m.Expected, m.Direct, m.Maturing, m.Outputs, m.Carried, m.Paid))
	}
	table(w, "member\texpected (if the block is found)\tits coinbase pays\tmaturing\tof which in a coinbase\tcarried\tpaid", rows)
	fmt.Fprintf(w, "treasury %d sats, last closed slot %d, store: %s\n", a.Treasury, a.Slot, a.Store)
	for _, h := range a.Halts {
		fmt.Fprintf(w, "HALTED\tpayouts stop: %s\n", h)
	}
	for _, t := range a.Trouble {
		fmt.Fprintf(w, "TROUBLE\t%s\n", t)
	}
}
