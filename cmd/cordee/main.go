// Command cordee is the pool: one binary that serves rigs, and the commands
// with which its operators look at it.
//
// This package wires rooms together and prints; it decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

// Exit codes (decision 41).
const (
	exitFailed = 1 // it failed, or found something wrong
	exitMisuse = 2 // the command was called wrongly
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// misuse marks an error as the caller's: exit code 2.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:  "cordee",
		Usage: "a Bitcoin mining pool for a consortium: exact, provable, no share lost",
		Description: "Start with `cordee demo`, or with `cordee init` and `cordee serve`.\n" +
			"Every command takes --json: one object as the last line. Exit 0 ok, 1 failed or found wrong, 2 misuse.",
		Writer:                 stdout,
		ErrWriter:              stderr,
		HideVersion:            true,
		Suggest:                true,
		UseShortOptionHandling: true,
		ExitErrHandler:         func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return misuse{err}
		},
		CommandNotFound: func(*cli.Context, string) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse{fmt.Errorf("there is no command %q: see `cordee help`", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			serveCommand(), demoCommand(), initCommand(), checkConfigCommand(),
			statusCommand(), rigsCommand(), blocksCommand(), journalCommand(), versionCommand(),
		},
	}
	setUsageErrors(app.Commands)
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "cordee: %v\n", err)
	if _, ok := errors.AsType[misuse](err); ok {
		return exitMisuse
	}
	return exitFailed
}

// setUsageErrors makes a wrong flag of any command a misuse.
func setUsageErrors(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return misuse{err} }
		setUsageErrors(c.Subcommands)
	}
}

// Flags that several commands share.
var (
	jsonFlag   = &cli.BoolFlag{Name: "json", Usage: "print one JSON object as the last line"}
	configFlag = &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Value: "cordee.toml", Usage: "configuration `FILE`", EnvVars: []string{"CORDEE_CONFIG"}}
)

// noArgs refuses arguments of a command that has none.
func noArgs(c *cli.Context) error {
	if c.Args().Present() {
		return misuse{fmt.Errorf("%s takes no argument, got %q", c.Command.FullName(), c.Args().First())}
	}
	return nil
}
