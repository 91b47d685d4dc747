// Command cordee-load mines on any Stratum V1 server with a fleet of simulated
// rigs and measures what comes back.
//
//	cordee-load --url 127.0.0.1:3333 --user member.site.rig%d --rigs 100 --hashrate 1M --duration 30s
//
// With a mode before the options it measures what a server costs: submit, notify,
// idle and storm (with --pid also in processor time and memory, from /proc), and
// hostile what hostile clients cost honest rigs. floor is a server that validates
// nothing, to compare with.
//
// The hashing is real: without a mode, --hashrate is what this machine spends on it (a core
// does about 5 MH/s), so choose a server whose difficulty fits.
//
// Exit codes: 0 shares were accepted and every rig got in; 1 nothing was
// accepted, a rig never got in, or a mode found what it says; 2 misuse.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// misuse is an error of the command line: it says what to do.
type misuse struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its world passed in. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).RunContext(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "cordee-load: %v\n", err)
	if _, ok := errors.AsType[misuse](err); !ok {
		return 1
	}
	// A command line that does not parse still gets the object it asked for;
	// every other failure is in the report.
	if slices.ContainsFunc(args, func(a string) bool { return a == "--json" || a == "-json" }) {
		line, _ := json.Marshal(map[string]any{"ok": false, "problem": err.Error()}) // text and bool always encode
		fmt.Fprintf(stdout, "%s\n", line)
	}
	return 2
}

func newApp(stdout, stderr io.Writer) *cli.App {
	// Without one of the modes it mines.
	modes := []*cli.Command{
		submitMode(stdout, stderr), notifyMode(stdout, stderr), idleMode(stdout, stderr), stormMode(stdout, stderr),
		hostileMode(stdout, stderr), floorMode(stderr),
	}
	for _, m := range modes {
		m.HideHelpCommand = true
		m.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
			return misuse{fmt.Errorf("%w: see cordee-load %s --help", err, m.Name)}
		}
	}
	return &cli.App{
		Name:            "cordee-load",
		Usage:           "drive and measure any Stratum V1 server with rigs that really hash",
		UsageText:       "cordee-load --url HOST:PORT --user NAME%d [options]",
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		// Errors are rendered once, by run.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return misuse{fmt.Errorf("%w: see cordee-load --help", err)}
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Usage: "server as `HOST:PORT`; a leading stratum+tcp:// is accepted, stratum+ssl:// speaks TLS"},
			&cli.BoolFlag{Name: "insecure", Usage: "with stratum+ssl://, take any certificate, as most rigs do"},
			&cli.StringFlag{Name: "user", Usage: "`NAME` to authorize with; %d becomes the rig's number, from 1"},
			&cli.StringFlag{Name: "password", Value: "x", Usage: "`PASSWORD` of all rigs"},
			&cli.StringFlag{Name: "agent", Value: "cordee-load/1", Usage: "user `AGENT` of all rigs"},
			&cli.IntFlag{Name: "rigs", Value: 10, Usage: "`NUMBER` of connections"},
			&cli.StringFlag{Name: "hashrate", Value: "1M", Usage: "hashes per second of ALL rigs together, shared evenly: `RATE` as 500k, 1M, 2.5e6"},
			&cli.DurationFlag{Name: "duration", Value: 30 * time.Second, Usage: "how long to mine, as 30s or 10m (`TIME`)"},
			&cli.DurationFlag{Name: "ramp", Value: 2 * time.Second, Usage: "spread the first connections over this `TIME`"},
			&cli.BoolFlag{Name: "version-rolling", Usage: "negotiate and use version rolling (BIP310)"},
			&cli.Float64Flag{Name: "suggest-difficulty", Usage: "send mining.suggest_difficulty `D` after authorize; 0 sends none"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "start of all random choices (`NUMBER`)"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object as the last line instead of the table"},
			&cli.BoolFlag{Name: "quiet", Usage: "print no live line"},
			&cli.BoolFlag{Name: "verbose", Usage: "log what happens to the rigs on standard error"},
		},
		Commands: modes,
		Action: func(c *cli.Context) error {
			p, err := planOf(c)
			if err != nil {
				return misuse{err}
			}
			return p.execute(c.Context, stdout, stderr)
		},
	}
}

// execute mines for the plan's duration, or until ctx ends, and reports.
func (p *plan) execute(ctx context.Context, stdout, stderr io.Writer) error {
	cfg := p.fleet
	cfg.Log = zerolog.Nop()
	if p.verbose {
		cfg.Log = zerolog.New(stderr).Level(zerolog.DebugLevel).With().Timestamp().Logger()
	}
	f, err := fleet.New(cfg)
	if err != nil {
		return misuse{err}
	}
	ctx, cancel := context.WithTimeout(ctx, p.duration)
	defer cancel()
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()

	live := liveLine{out: stderr, total: p.duration, quiet: p.quiet}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	// Mining ends with ctx; what Run waits for afterwards are late answers.
	var mined time.Duration
	ended := ctx.Done()
	for running := true; running; {
		select {
		case err = <-done:
			running = false
		case <-ended:
			mined, ended = time.Since(start), nil
		case <-tick.C:
			live.print(f.Stats(), time.Since(start))
		}
	}
	live.end()
	if err != nil {
		return err
	}
	if mined == 0 {
		mined = time.Since(start)
	}
	r := newReport(p, f.Stats(), mined)
	if p.json {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\n", line)
	} else {
		r.table(stdout)
	}
	return r.verdict()
}
