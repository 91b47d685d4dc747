package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// submitReport is the end of `cordee-load submit`; with --json it is the last
// line of output.
type submitReport struct {
	outcome
	InFlight        int                `json:"inflight"`
	Mined           int                `json:"mined"` // shares a connection, beforehand
	SharesPerSecond float64            `json:"shares_per_second"`
	Server          *cost              `json:"server,omitempty"`
	LoadCPU         float64            `json:"load_cpu_us_per_share"` // of this program, microseconds
	Sample          fleet.VolleySample `json:"sample"`
}

// cost is what the server's process used in the window.
type cost struct {
	PID         int     `json:"pid"`
	CPUSeconds  float64 `json:"cpu_seconds"`
	CPUPerShare float64 `json:"cpu_us_per_share"` // microseconds per accepted share
	RSS         uint64  `json:"rss_bytes"`        // at the end of the window
}

// submitMode measures what a share costs the server.
func submitMode(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "submit",
		Usage:     "mine real shares beforehand, then send them as fast as the server answers: what a share costs it",
		UsageText: "cordee-load submit --url HOST:PORT --user NAME%d [options]",
		Description: "The server should ask for few hashes a share (start and least difficulty), make blocks rare, and have no\n" +
			"bound on how many shares one connection may send; docs/performance.md shows how. A server that raises the\n" +
			"difficulty remembers it by name: give other names the next time.",
		Flags: append(linkFlags(200),
			&cli.IntFlag{Name: "inflight", Value: 16, Usage: "`NUMBER` of shares without an answer, of each connection, at every moment"},
			&cli.DurationFlag{Name: "duration", Value: 10 * time.Second, Usage: "how long to measure (`TIME`)"},
			&cli.DurationFlag{Name: "warm", Value: time.Second, Usage: "`TIME` to send before that; it is a fifth of --duration where that is less"},
			&cli.IntFlag{Name: "mine", Usage: "`NUMBER` of shares to mine for each connection; by default enough for 150 000 times --inflight a second of all, at most 1.6 million"},
		),
		Action: func(c *cli.Context) error {
			link, err := linkPlan(c)
			if err != nil {
				return misuse{err}
			}
			d := c.Duration("duration")
			r := submitReport{outcome: outcome{URL: link.Addr, Connections: c.Int("connections")}, InFlight: c.Int("inflight"), Mined: c.Int("mine")}
			switch {
			case r.InFlight < 1 || r.InFlight > 4096:
				return misuse{fmt.Errorf("--inflight %d: give 1 to 4096", r.InFlight)}
			case between(c, "duration", 10*time.Millisecond, time.Hour) != nil:
				return misuse{between(c, "duration", 10*time.Millisecond, time.Hour)}
			case between(c, "warm", 0, time.Minute) != nil:
				return misuse{between(c, "warm", 0, time.Minute)}
			case r.Mined < 0 || r.Mined > 1<<24:
				return misuse{fmt.Errorf("--mine %d: give 1 to %d, or leave it out", r.Mined, 1<<24)}
			case r.Mined == 0:
				total := (d + warmUp(c)).Seconds() * min(1.6e6, 150e3*float64(r.InFlight))
				r.Mined = min(int(1.5*total)/r.Connections+2*r.InFlight+100, mostMined) // no connection gets exactly its part
			}
			return r.end(c, stdout, r.run(c, link, process(c.Int("pid")), stderr), &r, r.table)
		},
	}
}

// mostMined is how many shares a connection gets by default: pools that remember
// every share to tell doubles bound how many one connection may have on a block.
const mostMined = 60_000

// mostHashes is what mining beforehand may cost: about a minute of two cores.
const mostHashes = 5e8

func warmUp(c *cli.Context) time.Duration { return min(c.Duration("warm"), c.Duration("duration")/5) }

func (r *submitReport) run(c *cli.Context, link fleet.LinkConfig, server process, stderr io.Writer) error {
	fmt.Fprintf(stderr, "%d connections, %d shares are mined for each ...\n", r.Connections, r.Mined)
	v, err := fleet.Muster(c.Context, fleet.VolleyConfig{
		LinkConfig: link, Conns: r.Connections, InFlight: r.InFlight, Shares: r.Mined, Hashes: mostHashes,
	})
	if err != nil {
		return err
	}
	defer v.Close()
	d := c.Duration("duration")
	fmt.Fprintf(stderr, "%d in flight on each for %v ...\n", r.InFlight, d)
	own := process(0)
	if runtime.GOOS == "linux" {
		own = process(os.Getpid())
	}
	var used, ours [2]time.Duration
	var fault error
	look := func(i int) func() {
		return func() {
			var err1, err2 error
			used[i], err1 = server.cpu()
			ours[i], err2 = own.cpu()
			fault = errors.Join(fault, err1, err2)
		}
	}
	s, err := v.Fire(c.Context, warmUp(c), d, look(0), look(1))
	r.Sample = s
	if s.Seconds > 0 {
		r.SharesPerSecond = float64(s.Accepted) / s.Seconds
	}
	if s.Accepted > 0 {
		r.LoadCPU = perShare(ours, s.Accepted)
	}
	if server != 0 {
		rss, err := server.rss()
		fault = errors.Join(fault, err)
		r.Server = &cost{PID: int(server), CPUSeconds: (used[1] - used[0]).Seconds(), RSS: rss}
		if s.Accepted > 0 {
			r.Server.CPUPerShare = perShare(used, s.Accepted)
		}
	}
	switch {
	case err != nil || fault != nil:
		return errors.Join(err, fault)
	case s.Accepted == 0 && s.Early != "":
		return fmt.Errorf("no share was accepted: %s", s.Early)
	case s.Accepted == 0:
		return fmt.Errorf("none of %d shares was accepted", s.Sent)
	case s.Rejected > 0:
		return fmt.Errorf("%d of %d shares were rejected", s.Rejected, s.Sent)
	case s.Ended > 0:
		return fmt.Errorf("the server ended %d connections", s.Ended)
	}
	return nil
}

func perShare(used [2]time.Duration, shares uint64) float64 {
	return micros(used[1]-used[0]) / float64(shares)
}

func (r *submitReport) table(w io.Writer) {
	s := &r.Sample
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("server", "%s", r.URL)
	row("connections", "%d, %d in flight on each", r.Connections, r.InFlight)
	row("measured", "%.2f s", s.Seconds)
	if s.Early != "" {
		row("  ended early", "%s", s.Early)
	}
	row("shares sent", "%d", s.Sent)
	row("  accepted", "%d, %.0f a second", s.Accepted, r.SharesPerSecond)
	row("  rejected", "%d", s.Rejected)
	for _, c := range s.Rejects {
		row("    "+rejectName(c), "%d", c.Count)
	}
	row("  unanswered", "%d", s.Unanswered)
	row("mined, not sent", "%d, and %d whose job the server dropped", s.Left, s.Lost)
	row("connections ended", "%d", s.Ended)
	row("new jobs", "%d", s.Jobs)
	l := &s.Latency
	row("answer latency", "p50 %v  p90 %v  p99 %v  max %v", round(l.P50), round(l.P90), round(l.P99), round(l.Max))
	if r.Server != nil {
		row("server's processor", "%.2f us a share accepted, %.2f s", r.Server.CPUPerShare, r.Server.CPUSeconds)
		row("server's memory", "%.1f MiB", mib(r.Server.RSS))
	} else {
		row("server's processor", "n/a: give --pid")
	}
	row("this program", "%.2f us a share", r.LoadCPU)
	_ = t.Flush() // the writer below reports its own errors
}
