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
	"slices"
	"strings"
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
	var unknownTopic string // what `cordee help x` was asked about and does not have
	app := &cli.App{
		Name:  "cordee",
		Usage: "a Bitcoin mining pool for a consortium: exact, provable, no share lost",
		Description: "Start with `cordee demo`, or with `cordee init` and `cordee serve`.\n" +
			"Every command takes --json: one object as the last line, on failure {\"ok\":false,\"problem\":...}.\n" +
			"Exit 0 ok, 1 failed or found wrong, 2 misuse.",
		Writer:                 stdout,
		ErrWriter:              stderr,
		HideVersion:            true,
		UseShortOptionHandling: true,
		ExitErrHandler:         func(*cli.Context, error) {},
		OnUsageError:           usageError,
		CommandNotFound:        func(_ *cli.Context, name string) { unknownTopic = name },
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noCommand(c.App.Commands, c.Args().First(), "cordee help")
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			serveCommand(), demoCommand(), initCommand(), checkConfigCommand(),
			statusCommand(), doctorCommand(), rigsCommand(), blocksCommand(), membersCommand(), payoutsCommand(), haltCommand(), ledgerCommand(),
			journalCommand(), memberCommand(), firmwareCommand(), auditCommand(), versionCommand(),
		},
		Metadata: map[string]any{},
	}
	app.Setup() // adds the help command, whose flags are ours too
	setUsageErrors(app.Commands)
	err := app.RunContext(ctx, args)
	if err == nil && unknownTopic != "" {
		err = noCommand(app.Commands, unknownTopic, "cordee help")
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "cordee: %v\n", err)
	if asksJSON(args) && app.Metadata[printedJSON] == nil {
		if werr := printJSON(stdout, failure{Problem: err.Error()}); werr != nil {
			fmt.Fprintf(stderr, "cordee: %v\n", werr)
		}
	}
	if _, ok := errors.AsType[misuse](err); ok {
		return exitMisuse
	}
	return exitFailed
}

// failure is the last line of a command with --json that has nothing else to
// print. OK is always false.
type failure struct {
	OK      bool   `json:"ok"`
	Problem string `json:"problem"`
}

// asksJSON looks for --json among the raw arguments: a command line that does
// not parse still gets its object.
func asksJSON(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "-") && strings.TrimLeft(a, "-") == "json"
	})
}

// noCommand is the misuse of naming a command that is not among commands.
func noCommand(commands []*cli.Command, name, help string) error {
	for _, c := range commands {
		if len(name) >= 3 && (strings.HasPrefix(c.Name, name) || strings.HasPrefix(name, c.Name)) {
			return misuse{fmt.Errorf("there is no command %q, did you mean %q? See `%s`", name, c.Name, help)}
		}
	}
	return misuse{fmt.Errorf("there is no command %q: see `%s`", name, help)}
}

// usageError makes a flag that is unknown or malformed a misuse, and says where
// the right ones are listed.
func usageError(c *cli.Context, err error, _ bool) error {
	return misuse{fmt.Errorf("%w: see `%s --help`", err, c.Command.HelpName)}
}

// setUsageErrors makes a wrong flag of any command a misuse.
func setUsageErrors(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
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

// oneArg refuses more than one argument, and says where flags have to stand:
// the library takes what follows an argument for another one.
func oneArg(c *cli.Context, command, what string) error {
	if slices.ContainsFunc(c.Args().Slice(), func(a string) bool { return strings.HasPrefix(a, "-") }) {
		return misuse{fmt.Errorf("flags stand before the %s: cordee %s [flags] [%s]", what, command, what)}
	}
	if c.NArg() > 1 {
		return misuse{fmt.Errorf("%s takes one %s at most", command, what)}
	}
	return nil
}
