package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// notifyReport is the end of `cordee-load notify`; with --json it is the last
// line of output.
type notifyReport struct {
	outcome
	Events []newJob `json:"events"`
	// Over the events: medians, and of processor time the mean, for the kernel
	// counts it in steps of 10 ms.
	First  time.Duration `json:"median_first_ns"`
	Last   time.Duration `json:"median_last_ns"`
	Spread time.Duration `json:"median_spread_ns"` // from the first connection to the last
	CPU    float64       `json:"mean_cpu_ms"`
	PerJob float64       `json:"mean_cpu_ms_per_job"`
}

// newJob is one event, and what it cost the server.
type newJob struct {
	fleet.WatchEvent
	Jobs float64 `json:"jobs"`   // to each connection
	CPU  float64 `json:"cpu_ms"` // of the server, 0 without --pid
}

// notifyMode measures how a new job spreads.
func notifyMode(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "notify",
		Usage:     "hold connections and see how each new job spreads over them: first, last, and what it costs the server",
		UsageText: "cordee-load notify --url HOST:PORT --user NAME%d [--exec COMMAND] [options]",
		Description: "An event is one or more jobs in a row, as an empty one and a full one after a block. With --exec the clock\n" +
			"starts when COMMAND does, as 'bitcoin-cli -regtest generatetoaddress 1 ADDRESS'; without it, with the first job.",
		Flags: append(linkFlags(10_000),
			&cli.IntFlag{Name: "events", Value: 5, Usage: "`NUMBER` of events to measure"},
			&cli.StringFlag{Name: "exec", Usage: "a `COMMAND` for the shell that has the server send a new job"},
			&cli.DurationFlag{Name: "limit", Value: 90 * time.Second, Usage: "give up when an event takes longer than `TIME`"},
		),
		Action: func(c *cli.Context) error {
			link, err := linkPlan(c)
			if err == nil {
				err = between(c, "limit", time.Second, time.Hour)
			}
			if n := c.Int("events"); err == nil && (n < 1 || n > 10_000) {
				err = fmt.Errorf("--events %d: give 1 to 10000", n)
			}
			if err != nil {
				return misuse{err}
			}
			r := notifyReport{outcome: outcome{URL: link.Addr, Connections: c.Int("connections")}}
			return r.end(c, stdout, r.run(c, link, stderr), &r, r.table)
		},
	}
}

func (r *notifyReport) run(c *cli.Context, link fleet.LinkConfig, stderr io.Writer) error {
	fmt.Fprintf(stderr, "%d connections ...\n", r.Connections)
	w, err := fleet.NewWatch(c.Context, link, r.Connections)
	if err != nil {
		return err
	}
	defer w.Close()
	var trigger func() error
	if text := c.String("exec"); text != "" {
		trigger = func() error {
			if said, err := exec.CommandContext(c.Context, "sh", "-c", text).CombinedOutput(); err != nil {
				return fmt.Errorf("--exec: %w: %.200s", err, said)
			}
			return nil
		}
	}
	server := process(c.Int("pid"))
	for range c.Int("events") {
		var used time.Duration
		var fault error
		e, err := w.Next(c.Context, trigger, c.Duration("limit"), func() {
			if used, err = server.cpu(); err != nil {
				fault = err
			}
		})
		end, cpuErr := server.cpu()
		if err = errors.Join(err, fault, cpuErr); err != nil {
			return err
		}
		r.Events = append(r.Events, newJob{WatchEvent: e, Jobs: float64(e.Notifies) / float64(e.Reached), CPU: micros(end-used) / 1000})
		fmt.Fprintf(stderr, "event %d of %d\n", len(r.Events), c.Int("events"))
	}
	r.First = median(r.Events, func(e newJob) time.Duration { return e.First })
	r.Last = median(r.Events, func(e newJob) time.Duration { return e.Last })
	r.Spread = median(r.Events, func(e newJob) time.Duration { return e.Last - e.First })
	jobs := 0.0
	for _, e := range r.Events {
		r.CPU += e.CPU
		jobs += e.Jobs
	}
	r.PerJob = r.CPU / jobs
	r.CPU /= float64(len(r.Events))
	for i, e := range r.Events {
		if e.Reached < r.Connections {
			return fmt.Errorf("event %d reached %d of %d connections", i+1, e.Reached, r.Connections)
		}
	}
	return nil
}

func median[T any, V time.Duration | float64](list []T, of func(T) V) V {
	values := make([]V, 0, len(list))
	for _, e := range list {
		values = append(values, of(e))
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (r *notifyReport) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "event\treached\tjobs each\tfirst\tlast\tbetween\tall done\tcpu ms\tcpu ms a job\t")
	for i, e := range r.Events {
		fmt.Fprintf(t, "%d\t%d\t%.2f\t%v\t%v\t%v\t%v\t%.0f\t%.0f\t\n", i+1, e.Reached, e.Jobs, round(e.First), round(e.Last), round(e.Last-e.First), round(e.Settled), e.CPU, e.CPU/e.Jobs)
	}
	fmt.Fprintf(t, "all\t\t\t%v\t%v\t%v\t\t%.1f\t%.1f\t\n", round(r.First), round(r.Last), round(r.Spread), r.CPU, r.PerJob)
	_ = t.Flush() // the writer below reports its own errors
}
