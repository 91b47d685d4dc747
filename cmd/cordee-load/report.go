package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"cordee/internal/fleet"
)

// report is the end of a run; with --json it is the last line of output.
type report struct {
	URL              string      `json:"url"`
	Seconds          float64     `json:"seconds"` // mined
	HashrateAsked    float64     `json:"hashrate_asked"`
	HashrateHashed   float64     `json:"hashrate_hashed"`   // trials made per second
	HashrateAccepted float64     `json:"hashrate_accepted"` // estimated from the work the server accepted
	OK               bool        `json:"ok"`
	Problem          string      `json:"problem,omitempty"`
	Stats            fleet.Stats `json:"stats"`
}

func newReport(p *plan, s fleet.Stats, mined time.Duration) *report {
	r := &report{
		URL: p.fleet.Addr, Seconds: mined.Seconds(), HashrateAsked: p.hashrate,
		HashrateHashed:   float64(s.Hashes) / mined.Seconds(),
		HashrateAccepted: s.WorkAccepted * fleet.HashesPerDifficulty / mined.Seconds(),
		Stats:            s,
	}
	switch {
	case s.Connects == 0:
		r.Problem = fmt.Sprintf("no connection to %s in %d attempts: is the server running there?", r.URL, s.Dials)
		if p.fleet.TLS != nil && !p.fleet.TLS.InsecureSkipVerify {
			r.Problem += " Or its certificate is not one that this machine trusts: --insecure takes any"
		}
	case s.Authorized == 0 && s.Refused > 0:
		r.Problem = "the server refused every name: check --user and --password"
	case s.Authorized < s.Rigs:
		r.Problem = fmt.Sprintf("%d of %d rigs were never authorized (%d dials failed, %d names refused)",
			s.Rigs-s.Authorized, s.Rigs, s.DialErrors, s.Refused)
	case s.Accepted == 0 && s.Notifies == 0:
		r.Problem = "no share was accepted: the server sent no work"
	case s.Accepted == 0 && s.Submitted == 0:
		r.Problem = "no share was found: the difficulty is too high for this hash rate and duration"
	case s.Accepted == 0:
		r.Problem = fmt.Sprintf("none of %d shares was accepted", s.Submitted)
	}
	r.OK = r.Problem == ""
	return r
}

// verdict is nil when the run succeeded.
func (r *report) verdict() error {
	if r.OK {
		return nil
	}
	return errors.New(r.Problem)
}

func (r *report) table(w io.Writer) {
	s := &r.Stats
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("server", "%s", r.URL)
	row("mined", "%.1f s", r.Seconds)
	row("rigs", "%d (%d authorized, %d refusals)", s.Rigs, s.Authorized, s.Refused)
	row("connects", "%d (%d reconnects, %d failed dials)", s.Connects, s.Reconnects, s.DialErrors)
	row("hashes", "%d", s.Hashes)
	row("shares sent", "%d", s.Submitted)
	row("  accepted", "%d%s", s.Accepted, percent(s.Accepted, s.Submitted))
	row("  rejected", "%d%s", s.Rejected, percent(s.Rejected, s.Submitted))
	for _, c := range s.Rejects {
		row("    "+rejectName(c), "%d%s", c.Count, percent(c.Count, s.Submitted))
	}
	row("  stale among them", "%d", s.Stale)
	row("  unanswered", "%d", s.Unanswered)
	row("jobs", "%d notifies (%d clean)", s.Notifies, s.CleanNotifies)
	l := &s.Latency
	row("answer latency", "p50 %v  p90 %v  p99 %v  max %v", round(l.P50), round(l.P90), round(l.P99), round(l.Max))
	row("notify latency", "n/a (known only beside the node)")
	row("hash rate", "%s asked, %s hashed, %s by accepted work",
		rate(r.HashrateAsked), rate(r.HashrateHashed), rate(r.HashrateAccepted))
	if s.Violations > 0 {
		row("odd lines", "%d (see --verbose)", s.Violations)
	}
	_ = t.Flush() // the writer below reports its own errors
}

func rejectName(c fleet.RejectCount) string {
	if c.Code == 0 {
		return c.Text
	}
	return fmt.Sprintf("%d %s", c.Code, c.Text)
}

func percent(part, whole uint64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.2f %%)", 100*float64(part)/float64(whole))
}

func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// rate prints hashes per second with three digits.
func rate(v float64) string {
	for _, u := range []struct {
		factor float64
		name   string
	}{{1e9, "GH/s"}, {1e6, "MH/s"}, {1e3, "kH/s"}} {
		if v >= u.factor {
			return fmt.Sprintf("%.3g %s", v/u.factor, u.name)
		}
	}
	return fmt.Sprintf("%.3g H/s", v)
}

// liveLine shows progress: one line that is rewritten on a terminal, a line
// every ten seconds elsewhere.
type liveLine struct {
	out   io.Writer
	total time.Duration
	quiet bool
	lines int
	wrote bool
}

func (l *liveLine) print(s fleet.Stats, since time.Duration) {
	l.lines++
	terminal := isTerminal(l.out)
	if l.quiet || !terminal && l.lines%10 != 0 {
		return
	}
	text := fmt.Sprintf("%v/%v  %d/%d rigs  %s  sent %d  accepted %d  rejected %d  p50 %v",
		since.Round(time.Second), l.total, s.Connected, s.Rigs, rate(float64(s.Hashes)/since.Seconds()),
		s.Submitted, s.Accepted, s.Rejected, round(s.Latency.P50))
	if terminal {
		fmt.Fprintf(l.out, "\r\x1b[K%s", text)
		l.wrote = true
	} else {
		fmt.Fprintln(l.out, text)
	}
}

func (l *liveLine) end() {
	if l.wrote {
		fmt.Fprintln(l.out)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
