package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// printedJSON marks in App.Metadata that the object of --json is out.
const printedJSON = "printed-json"

// printLast prints v, an object, as the one that --json promises, once. What does
// not say itself whether all is well gets "ok" before its own fields: it is
// printed where the command did what it was asked.
func printLast(c *cli.Context, v any) error {
	c.App.Metadata[printedJSON] = true
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var says struct {
		OK *bool `json:"ok"`
	}
	if err := json.Unmarshal(b, &says); err != nil {
		return err
	}
	if says.OK == nil {
		b = slices.Concat([]byte(`{"ok":true,`), b[1:])
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s\n", b)
	return err
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// emit prints v as JSON where --json is set, else lets text print.
func emit(c *cli.Context, v any, text func(io.Writer)) error {
	if c.Bool("json") {
		return printLast(c, v)
	}
	text(c.App.Writer)
	return nil
}

// subcommands is the action of a command that is only a group: it shows its
// menu, and refuses what is not on it.
func subcommands(c *cli.Context) error {
	if c.Args().Present() {
		return noCommand(c.Command.Subcommands, c.Args().First(), c.Command.HelpName+" --help")
	}
	return cli.ShowSubcommandHelp(c)
}

// table prints rows in aligned columns. Cells are separated by tabs.
func table(w io.Writer, head string, rows []string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, head)
	for _, r := range rows {
		fmt.Fprintln(tw, r)
	}
	_ = tw.Flush() // the writer below reports its own errors
}

// hashrate prints hashes per second with its unit, for display.
func hashrate(h float64) string {
	units := []string{"H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"}
	i := 0
	for h >= 1000 && i < len(units)-1 {
		h /= 1000
		i++
	}
	return fmt.Sprintf("%.3g %s", h, units[i])
}

// btc prints sats as BTC with all eight decimals. Display only; the integer is
// the amount.
func btc(sats int64) string {
	sign := ""
	if sats < 0 {
		sign, sats = "-", -sats
	}
	return fmt.Sprintf("%s%d.%08d BTC", sign, sats/1e8, sats%1e8)
}
