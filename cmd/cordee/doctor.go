package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/doctor"
	"cordee/internal/redisstore"
	"cordee/internal/web"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look at files, disk, store, nodes and the running pool, and say what is wrong and what to do",
		Flags: []cli.Flag{
			configFlag, jsonFlag,
			&cli.BoolFlag{Name: "deep", Usage: "read the whole journal instead of its headers and newest file"},
		},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			report := doctor.Run(c.Context, doctor.Options{Config: c.String("config"), Deep: c.Bool("deep"), Ask: askPool, Store: examineStore, Members: membersRemembered})
			if err := emit(c, report, func(w io.Writer) { printReport(w, &report) }); err != nil {
				return err
			}
			if n := report.Failed(); n > 0 {
				return fmt.Errorf("doctor: %d of %d checks failed", n, len(report.Checks))
			}
			return nil
		},
	}
}

// askPool asks the pool that runs with dataDir how it does.
func askPool(ctx context.Context, dataDir string) (doctor.Pool, error) {
	var s web.Status
	err := ask(ctx, filepath.Join(dataDir, socketName), "/status", &s)
	if errors.Is(err, errNoPool) {
		return doctor.Pool{}, doctor.ErrNoPool
	}
	var halts []string
	for _, h := range s.Halts {
		halts = append(halts, h.Name)
	}
	return doctor.Pool{
		Halts: halts, Class: s.Class, NoJob: s.NoJob,
		Network: s.Network, Height: s.Height, TemplateAge: time.Duration(s.TemplateAge * float64(time.Second)),
		Lost: s.Lost, Poisoned: s.Journal.Poisoned, Refused: s.Canary.Refused, Reason: s.Canary.Reason, Rigs: s.Working,
	}, err
}

// examineStore looks at the store of cfg; whose it is only where a pool has
// kept accounts.
func examineStore(ctx context.Context, cfg *config.Config) redisstore.Examination {
	meta, err := metaOf(cfg)
	if err != nil {
		return redisstore.Examine(ctx, redisConfig(cfg.Redis), nil)
	}
	return redisstore.Examine(ctx, redisConfig(cfg.Redis), &meta)
}

// printReport prints a line for each check, and below a bad one what to do.
func printReport(w io.Writer, r *doctor.Report) {
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%-7s  %s: %s\n", c.State, c.Name, c.Text)
		if c.Do != "" {
			fmt.Fprintf(w, "         -> %s\n", c.Do)
		}
	}
}
