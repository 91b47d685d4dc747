package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// idleReport is the end of `cordee-load idle`; with --json it is the last line of
// output. Memory is the server's, less what it had before.
type idleReport struct {
	outcome
	Before uint64             `json:"rss_before_bytes"` // without our connections
	Fresh  float64            `json:"fresh_kib_each"`   // a connection, that did nothing yet
	CPU    float64            `json:"idle_cpu_percent"` // of one processor, meanwhile
	Churn  *fleet.CrowdSample `json:"churn,omitempty"`
	Load   float64            `json:"load_cpu_percent"` // of one processor, under load and churn; 0 without
	After  float64            `json:"after_kib_each"`   // after load and churn; 0 without
}

// idleMode measures the memory of connections.
func idleMode(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "idle",
		Usage:     "hold connections: the server's memory for each, fresh and after a while of load and reconnects",
		UsageText: "cordee-load idle --url HOST:PORT --user NAME%d --pid ID [options]",
		Description: "Start the server anew before: what it keeps of earlier connections hides what these cost.\n" +
			"For --churn it must ask for few hashes a share.",
		Flags: append(linkFlags(10_000),
			&cli.DurationFlag{Name: "hold", Value: 10 * time.Second, Usage: "`TIME` of silence before memory is read"},
			&cli.DurationFlag{Name: "churn", Usage: "`TIME` of load and reconnects after that; 0 is none"},
			&cli.Float64Flag{Name: "rate", Usage: "`SHARES` a second while it churns, of all connections; by default 10 a minute of each"},
			&cli.Float64Flag{Name: "rejoin", Usage: "`NUMBER` of connections a second that end and come back while it churns; by default each once in 5 minutes"},
		),
		Action: func(c *cli.Context) error {
			link, err := linkPlan(c)
			n := float64(c.Int("connections"))
			rate, rejoin := c.Float64("rate"), c.Float64("rejoin")
			if rate == 0 {
				rate = n / 6
			}
			if rejoin == 0 {
				rejoin = n / 300
			}
			switch {
			case err != nil:
			case c.Int("pid") == 0:
				err = errors.New("--pid is missing: give the process id of the server, whose memory this is about")
			case !(rate > 0 && rate <= 1e6):
				err = fmt.Errorf("--rate %v: give shares a second above 0, as 100", rate)
			case !(rejoin > 0 && rejoin <= 1e4):
				err = fmt.Errorf("--rejoin %v: give connections a second above 0, as 30", rejoin)
			default:
				err = errors.Join(between(c, "hold", 0, time.Hour), between(c, "churn", 0, 24*time.Hour))
			}
			if err != nil {
				return misuse{err}
			}
			r := idleReport{outcome: outcome{URL: link.Addr, Connections: c.Int("connections")}}
			return r.end(c, stdout, r.run(c, link, rate, rejoin, stderr), &r, r.table)
		},
	}
}

func (r *idleReport) run(c *cli.Context, link fleet.LinkConfig, rate, rejoin float64, stderr io.Writer) (err error) {
	server := process(c.Int("pid"))
	if r.Before, err = server.rss(); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%d connections ...\n", r.Connections)
	crowd, err := fleet.Gather(c.Context, fleet.CrowdConfig{LinkConfig: link, Rigs: r.Connections, Seed: 1})
	if err != nil {
		return err
	}
	defer crowd.Close()
	used, err := server.cpu()
	if err != nil {
		return err
	}
	hold := c.Duration("hold")
	if r.Fresh, err = r.each(c.Context, server, hold); err != nil {
		return err
	}
	end, err := server.cpu()
	if err != nil {
		return err
	}
	if hold > 0 {
		r.CPU = 100 * float64(end-used) / float64(hold)
	}
	churn := c.Duration("churn")
	if churn == 0 {
		return nil
	}
	fmt.Fprintf(stderr, "%.0f shares and %.1f reconnects a second for %v ...\n", rate, rejoin, churn)
	used, err = server.cpu()
	if err != nil {
		return err
	}
	s, err := crowd.Churn(c.Context, rate, rejoin, churn)
	end, cpuErr := server.cpu()
	r.Churn, r.Load = &s, 100*float64(end-used)/float64(churn)
	if err = errors.Join(err, cpuErr); err != nil {
		return err
	}
	if r.After, err = r.each(c.Context, server, hold); err != nil {
		return err
	}
	if s.Accepted == 0 || s.Rejected+s.Unanswered+s.Ended > 0 {
		return fmt.Errorf("of %d shares %d were accepted, %d rejected, %d not answered, and %d connections ended", s.Sent, s.Accepted, s.Rejected, s.Unanswered, s.Ended)
	}
	return nil
}

// each returns the server's memory for a connection after a while of silence,
// in KiB.
func (r *idleReport) each(ctx context.Context, server process, hold time.Duration) (float64, error) {
	t := time.NewTimer(hold)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-t.C:
	}
	rss, err := server.rss()
	return (float64(rss) - float64(r.Before)) / 1024 / float64(r.Connections), err
}

func (r *idleReport) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "server\t%s\n", r.URL)
	fmt.Fprintf(t, "connections\t%d\n", r.Connections)
	fmt.Fprintf(t, "server's memory before\t%.1f MiB\n", mib(r.Before))
	fmt.Fprintf(t, "a fresh connection\t%.1f KiB\n", r.Fresh)
	fmt.Fprintf(t, "processor while idle\t%.2f %% of one\n", r.CPU)
	if s := r.Churn; s != nil {
		fmt.Fprintf(t, "then\t%d shares accepted, %d rejected, %d not answered; %d reconnects, %d ended\n", s.Accepted, s.Rejected, s.Unanswered, s.Rejoined, s.Ended)
		fmt.Fprintf(t, "processor meanwhile\t%.2f %% of one\n", r.Load)
		fmt.Fprintf(t, "a connection after it\t%.1f KiB\n", r.After)
	}
	_ = t.Flush() // the writer below reports its own errors
}
