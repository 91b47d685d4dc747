package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cordee/payout/verify"
)

func auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "recompute what was paid; no running pool is needed or disturbed",
		Subcommands: []*cli.Command{{
			Name:      "vectors",
			Usage:     "recompute files of PPLNS test vectors by the walk over all shares and by the pool's own code",
			ArgsUsage: "FILE...",
			Flags:     []cli.Flag{jsonFlag},
			Action:    auditVectors,
		}, auditChainCommand()},
	}
}

// shownDifferences is how many lines a person is given; --json has them all.
const shownDifferences = 20

// auditReport is what audit vectors prints.
type auditReport struct {
	OK    bool        `json:"ok"`
	Files []auditFile `json:"files"`
}

type auditFile struct {
	File string `json:"file"`
	*verify.Result
}

func auditVectors(c *cli.Context) error {
	var names []string
	for _, arg := range c.Args().Slice() { // flags are welcome behind the files too
		switch {
		case arg == "--json":
			if err := c.Set("json", "true"); err != nil {
				return err
			}
		case strings.HasPrefix(arg, "-"):
			return misuse{fmt.Errorf("audit vectors has no flag %s; a file of that name is ./%s", arg, arg)}
		default:
			names = append(names, arg)
		}
	}
	if len(names) == 0 {
		return misuse{errors.New("audit vectors needs at least one FILE")}
	}
	report := &auditReport{OK: true}
	var first error // what the exit is about
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("audit vectors: %w", err)
		}
		r, err := verify.Check(data)
		if err != nil {
			return fmt.Errorf("audit vectors: %s: %w", name, err)
		}
		report.Files = append(report.Files, auditFile{name, r})
		if len(r.Differences) > 0 && first == nil {
			first = fmt.Errorf("%s: %s", filepath.Base(name), r.Differences[0])
		}
	}
	report.OK = first == nil
	return errors.Join(first, emit(c, report, report.print))
}

func (r *auditReport) print(w io.Writer) {
	for _, f := range r.Files {
		fmt.Fprintf(w, "%s: %d vectors with %d blocks and %d inputs to refuse, %d values by both paths, differences: %d\n",
			f.File, f.Vectors, f.Blocks, f.Negative, f.Values, len(f.Differences))
		for i, d := range f.Differences {
			if i == shownDifferences {
				fmt.Fprintf(w, "  and %d more\n", len(f.Differences)-i)
				break
			}
			fmt.Fprintf(w, "  %s\n", d)
		}
	}
	if r.OK {
		fmt.Fprintln(w, "every value agrees")
	}
}
