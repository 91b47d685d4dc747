package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"cordee/internal/bare"
)

// leastDifficulty is the smallest that regtest knows: one hash a share.
const leastDifficulty = 1.0 / (1 << 32)

// floorMode runs the server that every other is measured against.
func floorMode(stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "floor",
		Usage:     "be a server that validates nothing and answers true: what any pool's cost is compared with",
		UsageText: "cordee-load floor --listen HOST:PORT [options]",
		Description: "SIGUSR1 sends a new job to every rig. It ends with Ctrl-C.\n" +
			"Nobody is paid for anything here: let no real rig in.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "`HOST:PORT` to take rigs on"},
			&cli.Float64Flag{Name: "difficulty", Value: leastDifficulty, Usage: "`D` that rigs are told; the default takes one hash a share"},
			&cli.DurationFlag{Name: "notify-every", Usage: "send a new job to every rig each `TIME`; 0 sends none"},
			&cli.BoolFlag{Name: "clean", Usage: "with each new job, a new previous block and clean_jobs"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse{fmt.Errorf("unexpected argument %q: everything is given by options, see cordee-load floor --help", c.Args().First())}
			}
			if _, _, err := net.SplitHostPort(c.String("listen")); err != nil {
				return misuse{fmt.Errorf("--listen %q: give an address to listen on, as 127.0.0.1:3399", c.String("listen"))}
			}
			s, err := bare.New(bare.Config{Difficulty: c.Float64("difficulty"), NotifyEvery: c.Duration("notify-every"), Clean: c.Bool("clean")})
			if err != nil {
				return misuse{err}
			}
			l, err := (&net.ListenConfig{}).Listen(c.Context, "tcp", c.String("listen"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(c.Context)
			defer cancel()
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGUSR1)
			defer signal.Stop(signals)
			fmt.Fprintf(stderr, "a server that validates nothing listens on %s, process %d\n", l.Addr(), os.Getpid())
			go func() {
				for {
					select {
					case <-signals:
						s.Notify()
					case <-ctx.Done():
						return
					}
				}
			}()
			return s.Serve(ctx, l)
		},
	}
}
