package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/keeper"
	"cordee/internal/web"
)

func haltCommand() *cli.Command {
	return &cli.Command{
		Name:   "halt",
		Usage:  "why payouts stop, and to let them go on",
		Action: subcommands,
		Subcommands: []*cli.Command{{
			Name:   "show",
			Usage:  "the halts in force and all that were; from the running pool, or from its files where none runs",
			Flags:  []cli.Flag{configFlag, jsonFlag},
			Before: noArgs,
			Action: func(c *cli.Context) error {
				h, err := readHalts(c)
				if err != nil {
					return err
				}
				return emit(c, h, func(w io.Writer) { printHalts(w, h) })
			},
		}, {
			Name:      "lift",
			Usage:     "end one halt of the running pool, for a reason that the ledger keeps",
			ArgsUsage: "HALT --reason TEXT",
			Flags: []cli.Flag{
				configFlag, jsonFlag,
				&cli.StringFlag{Name: "reason", Usage: "`TEXT` that says why payouts may go on (needed)"},
			},
			Action: liftHalt,
		}},
	}
}

// readHalts asks the pool, or reads the ledger's files where none runs.
func readHalts(c *cli.Context) (*web.Halts, error) {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return nil, err
	}
	h := new(web.Halts)
	if err := ask(c.Context, filepath.Join(cfg.DataDir, socketName), "/halts", h); !errors.Is(err, errNoPool) {
		return h, err
	}
	files, err := openFiles(cfg)
	if err != nil {
		return nil, err
	}
	log, err := files.Halts()
	if err != nil {
		return nil, err
	}
	*h = haltsOf(log)
	return h, nil
}

// openFiles returns what the keeper of cfg has written.
func openFiles(cfg *config.Config) (*keeper.Files, error) {
	key, err := config.ReadSlotKey(cfg.SlotKeyPath)
	if err != nil {
		return nil, err
	}
	members := &readAgain{cfg: cfg}
	if members.last, err = readMembers(cfg); err != nil {
		return nil, err
	}
	return keeper.Open(&keeper.Config{
		Dir: cfg.DataDir, Journal: cfg.Journal.Dir, Edge: cfg.Edge.ID, Rules: rulesOf(cfg),
		Members: members, Key: key, Secret: secretOf(key),
	})
}

func haltsOf(log []keeper.HaltLine) web.Halts {
	lines := func(list []keeper.HaltLine) []web.HaltLine {
		out := []web.HaltLine{}
		for _, h := range list {
			out = append(out, web.HaltLine(h))
		}
		return out
	}
	return web.Halts{Halts: lines(keeper.InForce(log)), Log: lines(log)}
}

// Halts implements web.Operator.
func (p *process) Halts() web.Halts {
	h := haltsOf(p.keeper.HaltLog())
	h.Running = true
	return h
}

// Lift implements web.Operator.
func (p *process) Lift(name, reason string) error {
	err := p.keeper.Lift(name, reason)
	if errors.Is(err, keeper.ErrNoHalt) {
		return web.NotFound{Err: err}
	}
	return err
}

var _ web.Operator = (*process)(nil)

// shownHalts is how many lines of the log a person is given; --json has all.
const shownHalts = 20

func printHalts(w io.Writer, h *web.Halts) {
	if !h.Running {
		fmt.Fprintln(w, "no pool is running: read from the ledger's files")
	}
	if len(h.Halts) == 0 {
		fmt.Fprintln(w, "payouts are not halted")
	}
	for _, x := range h.Halts {
		fmt.Fprintf(w, "HALTED  %s: %s (ledger event %d)\n", x.Name, printable(x.Text), x.Event)
	}
	if len(h.Halts) > 0 {
		fmt.Fprintln(w, "mining goes on, every sat goes to the treasury and stays owed; once the cause is understood: cordee halt lift HALT --reason TEXT")
	}
	if len(h.Log) == 0 {
		return
	}
	rows := []string{}
	for _, x := range h.Log[max(0, len(h.Log)-shownHalts):] {
		what := "halted"
		if x.Lifted {
			what = "lifted"
		}
		rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%s", x.Event, what, x.Name, printable(x.Text)))
	}
	table(w, "event\twhat\thalt\twhy", rows)
}

// printable keeps a text of the ledger on one line of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func liftHalt(c *cli.Context) error {
	name, err := argumentOf(c, "halt lift", "HALT")
	if err != nil {
		return err
	}
	l := web.Lift{Name: name, Reason: strings.TrimSpace(c.String("reason"))}
	if err := l.Check(); err != nil {
		return misuse{fmt.Errorf("%w: cordee halt lift HALT --reason TEXT; `cordee halt show` lists the halts", err)}
	}
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return err
	}
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	var h web.Halts
	if err := talk(c.Context, filepath.Join(cfg.DataDir, socketName), http.MethodPost, "/halts/lift", bytes.NewReader(body), &h); err != nil {
		return err
	}
	return emit(c, h, func(w io.Writer) {
		fmt.Fprintf(w, "lifted %s\n", l.Name)
		printHalts(w, &h)
	})
}

// argumentOf returns the one argument of a command whose flags may stand before
// or behind it.
func argumentOf(c *cli.Context, command, what string) (string, error) {
	var args []string
	for rest := c.Args().Slice(); len(rest) > 0; rest = rest[1:] {
		name, value, joined := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
		switch {
		case !strings.HasPrefix(rest[0], "-"):
			args = append(args, rest[0])
			continue
		case name == "json" && !joined:
			value = "true"
		case !joined && len(rest) > 1:
			value = rest[1]
			rest = rest[1:]
		case !joined:
			return "", misuse{fmt.Errorf("flag needs a value: %s: see `cordee %s --help`", rest[0], command)}
		}
		if name == "c" {
			name = "config"
		}
		if err := c.Set(name, value); err != nil {
			return "", misuse{fmt.Errorf("%w: see `cordee %s --help`", err, command)}
		}
	}
	if len(args) != 1 {
		return "", misuse{fmt.Errorf("cordee %s takes one %s, got %d: `cordee halt show` lists them", command, what, len(args))}
	}
	return args[0], nil
}
