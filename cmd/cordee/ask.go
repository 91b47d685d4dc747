package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/web"
)

// socketName is the control socket in the data directory (decision 41).
const socketName = "cordee.sock"

// errNoPool is ask's where nobody listens.
var errNoPool = errors.New("no pool answers")

// ask gets path from the pool that runs with this data directory.
func ask(ctx context.Context, socket, path string, into any) error {
	return talk(ctx, socket, http.MethodGet, path, http.NoBody, into)
}

// talk sends body, JSON or none, to the pool that runs with this data directory.
func talk(ctx context.Context, socket, method, path string, body io.Reader, into any) error {
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://cordee"+path, body)
	if err != nil {
		return err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s: none runs with this data directory (start it with `cordee serve`), or it still waits for its node (its log says so)", errNoPool, socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s belongs to another user: ask as the user that runs the pool", socket)
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		text := strings.TrimSpace(string(b))
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest { // it says what was wrong with the question
			return errors.New(text)
		}
		return fmt.Errorf("the pool answered %s: %s", resp.Status, text)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// askConfigured asks the pool of the configuration file in c.
func askConfigured(c *cli.Context, path string, into any) error {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return err
	}
	return ask(c.Context, filepath.Join(cfg.DataDir, socketName), path, into)
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:   "status",
		Usage:  "one look at the running pool",
		Flags:  []cli.Flag{configFlag, jsonFlag, &cli.BoolFlag{Name: "closes", Usage: "list the last 100 closed connections and why"}},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			if c.Bool("closes") {
				var closes web.Closes
				if err := askConfigured(c, "/closes", &closes); err != nil {
					return err
				}
				return emit(c, closes, func(w io.Writer) { printCloses(w, closes) })
			}
			var s web.Status
			if err := askConfigured(c, "/status", &s); err != nil {
				return err
			}
			return emit(c, s, func(w io.Writer) { printStatus(w, s) })
		},
	}
}

func printStatus(w io.Writer, s web.Status) {
	rows := []string{
		fmt.Sprintf("network\t%s, mining block %d from %s, template %.0f s old", s.Network, s.Height, s.Node, s.TemplateAge),
		fmt.Sprintf("reward\t%s, %d transactions", btc(s.Value), s.Txs),
		"rigs\t" + rigsLine(&s),
		fmt.Sprintf("shares\t%d credited since the start", s.Credited),
		"rejects\t" + rejects(&s),
		fmt.Sprintf("blocks\t%s", counts(s.Blocks)),
		fmt.Sprintf("new tip to first rig\t%s", s.FirstNotify),
		fmt.Sprintf("journal\tepoch %d, seq %d, commit %.2f ms on average, %.1f GiB free on its disk", s.Epoch, s.Journal.LastSeq, s.Journal.CommitMS, float64(s.Journal.FreeBytes)/(1<<30)),
	}
	rows = append(rows, "store\t"+storeLine(&s.Store))
	for _, n := range s.Nodes {
		state := n.State
		if n.Followed {
			state += ", followed"
		}
		if n.Error != "" && !n.Healthy { // a healthy node's error is over
			state += " (" + n.Error + ")"
		}
		rows = append(rows, fmt.Sprintf("node %s\t%s, height %d, signal %s", n.Name, state, n.Height, n.Signal))
	}
	if !slices.ContainsFunc(s.Nodes, func(n web.Node) bool { return n.Healthy }) {
		rows = append(rows, fmt.Sprintf("ALARM\tno node can be mined on: the template is %.0f s old, and at 60 s rigs are sent to their backup pool", s.TemplateAge))
	}
	if s.NoJob != "" {
		rows = append(rows, "ALARM\tno job of the new tip can be made: rigs mine on an old block, and after 60 s are sent to their backup pool: "+printable(s.NoJob))
	}
	if s.Canary.Refused > 0 {
		rows = append(rows, fmt.Sprintf("ALARM\tthe node refused %d of our block proposals: %s", s.Canary.Refused, s.Canary.Reason))
	}
	if s.Lost > 0 {
		rows = append(rows, fmt.Sprintf("ALARM\t%d shares could not be stored: look at the disk", s.Lost))
	}
	if s.Journal.Poisoned {
		rows = append(rows, "ALARM\tthe journal took an I/O error and accepts nothing more: look at the disk, then restart")
	}
	for _, c := range s.Certificates {
		if left := time.Until(c.NotAfter); left < certificateAlarm {
			rows = append(rows, fmt.Sprintf("ALARM\tthe certificate of %s %s: renew it, the pool takes the new one by itself", c.Listener, timeLeft(left)))
			continue
		}
		rows = append(rows, fmt.Sprintf("certificate of %s\tgood until %s", c.Listener, clock(c.NotAfter)))
	}
	for _, h := range s.Halts {
		rows = append(rows, fmt.Sprintf("ALARM\tpayouts are halted, mining goes on: %s: %s; see `cordee halt show`", h.Name, printable(h.Text)))
	}
	for _, t := range s.Trouble {
		rows = append(rows, "trouble\t"+printable(t))
	}
	table(w, "up since\t"+clock(s.Started), rows)
}

// certificateAlarm is the time left at which whatever renews a certificate has
// failed for days. The alert of deploy/alerts.yml has the same.
const certificateAlarm = 10 * 24 * time.Hour

// timeLeft says in whole days how long something is still good for.
func timeLeft(left time.Duration) string {
	switch days := int(left / (24 * time.Hour)); {
	case left <= 0:
		return "is not valid any more"
	case days == 1:
		return "is good for 1 day only"
	default:
		return fmt.Sprintf("is good for %d days only", days)
	}
}

// storeLine says where the copy of the ledger stands.
func storeLine(s *web.Store) string {
	if s.Kind == "memory" {
		return fmt.Sprintf("memory, filled from the files at each start: slot %d, %d ledger events", s.Slot, s.Events)
	}
	line := s.Kind + " " + s.State
	if !s.Since.IsZero() {
		line += " since " + clock(s.Since)
	}
	line += fmt.Sprintf(", slot %d of %d, ledger event %d of %d", s.StoreSlot, s.Slot, s.StoreEvents, s.Events)
	if len(s.Problems) > 0 {
		line += ", settings to change: " + strings.Join(s.Problems, "; ")
	}
	return printable(line)
}

// rigsLine counts rigs, and apart what is connected and has no work.
func rigsLine(s *web.Status) string {
	line := fmt.Sprintf("%d connected, %s", s.Working, hashrate(s.Hashrate))
	if n := s.Connections - s.Working; n > 0 {
		line += fmt.Sprintf("; %d more have not signed in", n)
	}
	return line
}

// clock prints a moment in the operator's zone, and names the zone.
func clock(t time.Time) string { return t.Local().Format(time.DateTime + " MST") }

// rejects prints how many shares were refused, and why.
func rejects(s *web.Status) string {
	n := s.Rejected()
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d: %s", n, counts(s.Shares))
}

// counts prints a map of counters by name, zeros left out.
func counts(m map[string]uint64) string {
	var parts []string
	for name, n := range m {
		if n > 0 && name != "accepted" {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	if parts == nil {
		return "none"
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
