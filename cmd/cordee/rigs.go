package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/web"
)

func rigsCommand() *cli.Command {
	return &cli.Command{
		Name:      "rigs",
		Usage:     "the connected rigs, of one member or of all",
		ArgsUsage: "[member]",
		Flags:     []cli.Flag{configFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := oneArg(c, "rigs", "member"); err != nil {
				return err
			}
			var rigs web.Rigs
			if err := askConfigured(c, "/rigs?member="+url.QueryEscape(c.Args().First()), &rigs); err != nil {
				return err
			}
			return emit(c, rigs, func(w io.Writer) { printRigs(w, rigs, c.Args().First(), time.Now()) })
		},
	}
}

// printRigs prints rigs by name, those of member where it is not "", and what
// they sum up to. What has not signed in stands last.
func printRigs(w io.Writer, rigs web.Rigs, member string, now time.Time) {
	if len(rigs.Rigs) == 0 {
		if member != "" {
			fmt.Fprintf(w, "no rig of member %s is connected\n", member)
		} else {
			fmt.Fprintln(w, "no rig is connected")
		}
		return
	}
	list := slices.Clone(rigs.Rigs)
	slices.SortFunc(list, func(a, b web.Rig) int {
		return cmp.Or(compareBool(a.Name == "", b.Name == ""), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Remote, b.Remote))
	})
	rows := make([]string, 0, len(list))
	named, total := 0, 0.0
	for _, r := range list {
		total += r.Hashrate
		if r.Name == "" {
			rows = append(rows, fmt.Sprintf("(not signed in)\t\t\t\t\t\t%s\t\t%s\t%s", age(now.Sub(r.Since)), r.Remote, r.Agent))
			continue
		}
		named++
		last := "never"
		if !r.LastShare.IsZero() {
			last = age(now.Sub(r.LastShare)) + " ago"
		}
		class := r.Class
		if r.ClassFrom != "" {
			class += " (down from " + r.ClassFrom + ")"
		}
		difficulty := cmp.Or(r.Difficulty, "no work yet")
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s", r.Name, hashrate(r.Hashrate), difficulty, r.Accepted,
			counts(r.Rejects), last, age(now.Sub(r.Since)), class, r.Remote, r.Agent))
	}
	table(w, "rig\thashrate\tdifficulty\tshares\trejects\tlast share\there for\tclass\tfrom\tagent", rows)
	fmt.Fprintf(w, "%d signed in, %s\n", named, hashrate(total))
}

// compareBool sorts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// age prints how long something lasts, as finely as somebody reads it.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	d = d.Round(time.Minute)
	days, rest := d/(24*time.Hour), d%(24*time.Hour)
	text := fmt.Sprintf("%dh%02dm", rest/time.Hour, rest%time.Hour/time.Minute)
	if days > 0 {
		text = fmt.Sprintf("%dd", days) + text
	}
	return text
}

func printCloses(w io.Writer, closes web.Closes) {
	rows := make([]string, 0, len(closes.Closes))
	for _, x := range closes.Closes {
		reason, name := x.Reason, x.Name
		if x.Times > 1 {
			reason += fmt.Sprintf(" ×%d", x.Times)
		}
		if name == "" && x.Refused != "" {
			name = "refused: " + x.Refused
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s\t%s", clock(x.At), reason, age(time.Duration(x.Age*1e9)), x.Shares, x.Remote, name, x.Agent))
	}
	if len(rows) == 0 {
		fmt.Fprintln(w, "no connection was closed since the start")
		return
	}
	table(w, "closed\treason\tafter\tshares\tfrom\tname\tagent", rows)
}
