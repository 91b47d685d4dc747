package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// stormReport is the end of `cordee-load storm`; with --json it is the last line
// of output.
type stormReport struct {
	outcome
	Sample       fleet.StormSample `json:"sample"`
	CPUSeconds   float64           `json:"cpu_seconds"`          // of the server, 0 without --pid
	PerHandshake float64           `json:"cpu_us_per_handshake"` // microseconds, of those that have work
	RSS          uint64            `json:"rss_bytes"`            // of the server, with all connections
}

// stormMode measures what it costs when everybody comes at once.
func stormMode(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "storm",
		Usage:     "connect and sign in everybody at once, as when a server comes back: what it costs, when the last has work",
		UsageText: "cordee-load storm --url HOST:PORT --user NAME%d [options]",
		Flags:     linkFlags(10_000),
		Action: func(c *cli.Context) error {
			link, err := linkPlan(c)
			if err != nil {
				return misuse{err}
			}
			r := stormReport{outcome: outcome{URL: link.Addr, Connections: c.Int("connections")}}
			return r.end(c, stdout, r.run(c, link, stderr), &r, r.table)
		},
	}
}

func (r *stormReport) run(c *cli.Context, link fleet.LinkConfig, stderr io.Writer) error {
	server := process(c.Int("pid"))
	before, err := server.cpu()
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%d connections at once ...\n", r.Connections)
	var fault error
	r.Sample, err = fleet.Storm(c.Context, link, r.Connections, func(s fleet.StormSample) {
		var after time.Duration
		after, fault = server.cpu()
		r.CPUSeconds = (after - before).Seconds()
		if s.Ready > 0 {
			r.PerHandshake = micros(after-before) / float64(s.Ready)
		}
		var err error
		r.RSS, err = server.rss()
		fault = errors.Join(fault, err)
	})
	switch {
	case err != nil || fault != nil:
		return errors.Join(err, fault)
	case r.Sample.Failed > 0:
		return fmt.Errorf("%d of %d connections have no work: %s", r.Sample.Failed, r.Connections, r.Sample.Failures[0].Text)
	}
	return nil
}

func (r *stormReport) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	s := &r.Sample
	fmt.Fprintf(t, "server\t%s\n", r.URL)
	fmt.Fprintf(t, "connections at once\t%d\n", r.Connections)
	fmt.Fprintf(t, "  have work\t%d\n", s.Ready)
	fmt.Fprintf(t, "  failed\t%d\n", s.Failed)
	for _, f := range s.Failures {
		fmt.Fprintf(t, "    %s\t%d\n", f.Text, f.Count)
	}
	fmt.Fprintf(t, "work after\tp50 %v  p90 %v  p99 %v  last %v\n", round(s.Latency.P50), round(s.Latency.P90), round(s.Latency.P99), round(s.Latency.Max))
	if r.RSS > 0 {
		fmt.Fprintf(t, "server's processor\t%.1f us a handshake, %.2f s\n", r.PerHandshake, r.CPUSeconds)
		fmt.Fprintf(t, "server's memory\t%.1f MiB\n", mib(r.RSS))
	} else {
		fmt.Fprint(t, "server's processor\tn/a: give --pid\n")
	}
	_ = t.Flush() // the writer below reports its own errors
}
