package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// hostileReport is the end of `cordee-load hostile`; with --json it is the last
// line of output.
type hostileReport struct {
	URL     string               `json:"url"`
	OK      bool                 `json:"ok"`
	Problem string               `json:"problem,omitempty"`
	Without fleet.CrowdSample    `json:"without"` // of honest rigs, alone
	With    fleet.CrowdSample    `json:"with"`    // and beside the hostile clients
	Hostile []fleet.HostileCount `json:"hostile"`
}

// hostileMode measures what hostile clients cost honest rigs.
func hostileMode(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "hostile",
		Usage:     "measure what hostile clients of every kind cost the honest rigs of a server of your own",
		UsageText: "cordee-load hostile --url HOST:PORT --user NAME%d [options]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Usage: "server as `HOST:PORT`; it must ask for few hashes a share"},
			&cli.StringFlag{Name: "user", Usage: "`NAME` to authorize with; %d becomes the rig's number, from 1"},
			&cli.IntFlag{Name: "rigs", Value: 1000, Usage: "`NUMBER` of honest connections"},
			&cli.Float64Flag{Name: "rate", Value: 100, Usage: "`SHARES` a second, of all rigs together"},
			&cli.IntFlag{Name: "hostile", Value: 10, Usage: "`NUMBER` of hostile clients of each kind"},
			&cli.DurationFlag{Name: "phase", Value: 30 * time.Second, Usage: "how long to measure without, and then with them (`TIME`)"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object as the last line instead of the table"},
		},
		Action: func(c *cli.Context) error {
			crowd, hostile, err := hostilePlan(c)
			if err != nil {
				return misuse{err}
			}
			r := hostileReport{URL: crowd.Addr}
			fmt.Fprintf(stderr, "%d rigs connect, then %s without and %s with hostile clients\n", crowd.Rigs, c.Duration("phase"), c.Duration("phase"))
			err = r.run(c.Context, crowd, hostile, c.Float64("rate"), c.Duration("phase"))
			if r.OK = err == nil; err != nil {
				r.Problem = err.Error()
			}
			if c.Bool("json") {
				if err := json.NewEncoder(stdout).Encode(r); err != nil {
					return err
				}
			} else {
				r.table(stdout)
			}
			return err
		},
	}
}

// hostilePlan checks the command line. Its errors say what to write instead.
func hostilePlan(c *cli.Context) (fleet.CrowdConfig, *fleet.Hostile, error) {
	var none fleet.CrowdConfig
	if c.Args().Present() {
		return none, nil, fmt.Errorf("unexpected argument %q: everything is given by options, see cordee-load hostile --help", c.Args().First())
	}
	addr, secure, err := parseURL(c.String("url"))
	switch user, rigs, clients := c.String("user"), c.Int("rigs"), c.Int("hostile"); {
	case err != nil:
		return none, nil, err
	case secure:
		return none, nil, errors.New("--url: hostile speaks plain TCP only: give a port without TLS")
	case user == "":
		return none, nil, errors.New("--user is missing: give the name the server knows, as --user member.site.rig%d")
	case rigs < 1 || rigs > maxRigs:
		return none, nil, fmt.Errorf("--rigs %d: give 1 to %d", rigs, maxRigs)
	case clients < 1 || clients > maxRigs:
		return none, nil, fmt.Errorf("--hostile %d: give 1 to %d", clients, maxRigs)
	case !(c.Float64("rate") > 0 && c.Float64("rate") <= 1e6):
		return none, nil, fmt.Errorf("--rate %v: give shares a second above 0, as 100", c.Float64("rate"))
	case c.Duration("phase") <= 0:
		return none, nil, fmt.Errorf("--phase %v: give a time above 0, as 30s", c.Duration("phase"))
	default:
		link := fleet.LinkConfig{
			Addr: addr, Password: "x", Agent: "cordee-crowd/1", User: func(i int) string { return numbered(user, i) }, From: places(addr),
		}
		crowd := fleet.CrowdConfig{LinkConfig: link, Rigs: rigs, Seed: 1}
		hostile := &fleet.Hostile{Addr: addr, PerKind: clients, Pause: time.Second, User: func(i int) string { return numbered(user, rigs+i) }}
		if link.From != nil { // what bounds one address is in force for the hostile
			hostile.From = func(kind int) net.IP { return net.IPv4(127, 66, byte(kind), 1) }
		}
		return crowd, hostile, nil
	}
}

// run measures. Its error says what went wrong for honest rigs.
func (r *hostileReport) run(ctx context.Context, cfg fleet.CrowdConfig, hostile *fleet.Hostile, rate float64, phase time.Duration) error {
	rigs, err := fleet.Gather(ctx, cfg)
	if err != nil {
		return err
	}
	defer rigs.Close()
	if r.Without, err = rigs.Measure(ctx, rate, phase); err != nil {
		return err
	}
	storm, stop := context.WithCancel(ctx)
	done := make(chan []fleet.HostileCount, 1)
	go func() { done <- hostile.Run(storm) }()
	r.With, err = rigs.Measure(ctx, rate, phase)
	stop()
	r.Hostile = <-done
	if err != nil {
		return err
	}
	for what, s := range map[string]fleet.CrowdSample{"without": r.Without, "with": r.With} {
		if s.Accepted == 0 || s.Rejected+s.Unanswered+s.Ended > 0 {
			err = errors.Join(err, fmt.Errorf("%s hostile clients: %d of %d shares accepted, %d rejected, %d unanswered, %d connections ended",
				what, s.Accepted, s.Sent, s.Rejected, s.Unanswered, s.Ended))
		}
	}
	return err
}

func (r *hostileReport) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "hostile\tsent\taccepted\trejected\tunanswered\tended\tp50\tp90\tp99\tmax\t")
	for _, row := range []struct {
		name string
		s    fleet.CrowdSample
	}{{"no", r.Without}, {"yes", r.With}} {
		l := row.s.Latency
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%v\t%v\t\n", row.name, row.s.Sent, row.s.Accepted, row.s.Rejected,
			row.s.Unanswered, row.s.Ended, round(l.P50), round(l.P90), round(l.P99), round(l.Max))
	}
	_ = t.Flush() // the writer below reports its own errors
	for _, k := range r.Hostile {
		fmt.Fprintf(w, "%-16s %d connections, %d failed dials, %d bytes\n", k.Kind, k.Connects, k.Failed, k.Bytes)
	}
}
