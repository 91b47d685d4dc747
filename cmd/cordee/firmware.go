package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/firmware"
	"cordee/pool"
	"cordee/stratum"
)

// loadFirmware returns the table of firmware that cfg names.
func loadFirmware(cfg *config.Config) (*stratum.Firmware, error) {
	table, err := firmware.Load(cfg.FirmwarePath, cfg.Network)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (the key firmware in %s names it)", err, cfg.Path)
	}
	return table, err
}

// firmwareList is what `cordee firmware` prints.
type firmwareList struct {
	File string        `json:"file,omitempty"` // "" where there are the program's rows only
	Rows []firmwareRow `json:"rows"`
}

// firmwareRow is one row of the table. Difficulties are numbers as rigs know
// them, "" for none.
type firmwareRow struct {
	Match    string `json:"match"` // prefix, contains or exact
	Text     string `json:"text"`
	Class    string `json:"class"`
	Coinbase int    `json:"max_coinbase_bytes"`
	Min      string `json:"min_difficulty,omitempty"`
	Start    string `json:"start_difficulty,omitempty"`
	Notes    string `json:"notes,omitempty"`
	Source   string `json:"source"`
}

// firmwareAnswer is what `cordee firmware AGENT` prints. Row is nil where none
// matches.
type firmwareAnswer struct {
	Agent    string       `json:"agent"`
	Class    string       `json:"class"`
	Coinbase int          `json:"max_coinbase_bytes"`
	Row      *firmwareRow `json:"row,omitempty"`
}

func firmwareCommand() *cli.Command {
	return &cli.Command{
		Name:      "firmware",
		Usage:     "which coinbase and difficulty a rig's user agent gets; a running pool takes a new table on SIGHUP",
		ArgsUsage: "[agent]",
		Flags:     []cli.Flag{configFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := oneArg(c, "firmware", "agent"); err != nil {
				return err
			}
			cfg, err := config.Load(c.String("config"))
			if err != nil {
				return err
			}
			table, err := loadFirmware(cfg)
			if err != nil {
				return err
			}
			if c.NArg() == 1 {
				a := answerFirmware(table, c.Args().First(), cfg.Network.Scale)
				return emit(c, a, a.print)
			}
			list := firmwareList{File: cfg.FirmwarePath, Rows: []firmwareRow{}}
			for i := range table.Rows() {
				list.Rows = append(list.Rows, newFirmwareRow(&table.Rows()[i], cfg.Network.Scale))
			}
			return emit(c, list, list.print)
		},
	}
}

func newFirmwareRow(r *stratum.FirmwareRow, scale pool.Scale) firmwareRow {
	out := firmwareRow{
		Match: r.Match.String(), Text: r.Text, Class: r.Class.Name, Coinbase: r.Class.MaxCoinbase, Notes: r.Notes, Source: r.Source,
	}
	if r.MinDifficulty > 0 {
		out.Min = r.MinDifficulty.Text(scale)
	}
	if r.StartDifficulty > 0 {
		out.Start = r.StartDifficulty.Text(scale)
	}
	return out
}

func answerFirmware(table *stratum.Firmware, agent string, scale pool.Scale) *firmwareAnswer {
	a := &firmwareAnswer{Agent: agent, Class: pool.DefaultClass.Name, Coinbase: pool.DefaultClass.MaxCoinbase}
	if r := table.Find(agent); r != nil {
		row := newFirmwareRow(r, scale)
		a.Class, a.Coinbase, a.Row = r.Class.Name, r.Class.MaxCoinbase, &row
	}
	return a
}

func (l *firmwareList) print(w io.Writer) {
	rows := make([]string, 0, len(l.Rows))
	for _, r := range l.Rows {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s", r.Match, r.Text, r.Class, r.Coinbase, orDash(r.Min), orDash(r.Start), r.Source, r.Notes))
	}
	table(w, "match\tagent\tclass\tbytes\tfloor\tstart\tfrom\tnotes", rows)
	fmt.Fprintf(w, "the first row that fits counts; others get class %s, %d bytes, and the port's difficulty\n", pool.DefaultClass.Name, pool.DefaultClass.MaxCoinbase)
}

func (a *firmwareAnswer) print(w io.Writer) {
	fmt.Fprintf(w, "%q gets class %s: a coinbase of %d bytes at most\n", a.Agent, a.Class, a.Coinbase)
	if a.Row == nil {
		fmt.Fprintln(w, "no row fits it; it begins with the port's difficulty")
		return
	}
	fmt.Fprintf(w, "because of %s: %s %q\n", a.Row.Source, a.Row.Match, a.Row.Text)
	fmt.Fprintf(w, "difficulty: at least %s, begins with %s\n", orPort(a.Row.Min), orPort(a.Row.Start))
	if a.Row.Notes != "" {
		fmt.Fprintln(w, a.Row.Notes)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func orPort(s string) string {
	if s == "" {
		return "the port's"
	}
	return s
}
