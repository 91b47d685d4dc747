package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
)

// linkFlags are those of every mode whose connections do not hash while they run.
func linkFlags(connections int) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "url", Usage: "server as `HOST:PORT`; a leading stratum+tcp:// is accepted"},
		&cli.StringFlag{Name: "user", Usage: "`NAME` to authorize with; %d becomes the connection's number, from 1"},
		&cli.StringFlag{Name: "password", Value: "x", Usage: "`PASSWORD` of all connections"},
		&cli.StringFlag{Name: "agent", Value: "cordee-load/1", Usage: "user `AGENT` of all connections"},
		&cli.IntFlag{Name: "connections", Value: connections, Usage: "`NUMBER` of connections"},
		&cli.BoolFlag{Name: "configure", Value: true, Usage: "ask for version rolling first, as most firmware does"},
		&cli.IntFlag{Name: "pid", Usage: "process `ID` of the server, to read what it costs from /proc"},
		&cli.BoolFlag{Name: "json", Usage: "print one JSON object as the last line instead of the table"},
	}
}

// linkPlan checks what linkFlags gave. Its errors say what to write instead.
func linkPlan(c *cli.Context) (fleet.LinkConfig, error) {
	var none fleet.LinkConfig
	if c.Args().Present() {
		return none, fmt.Errorf("unexpected argument %q: everything is given by options, see cordee-load %s --help", c.Args().First(), c.Command.Name)
	}
	addr, secure, err := parseURL(c.String("url"))
	user, n := c.String("user"), c.Int("connections")
	switch {
	case err != nil:
		return none, err
	case secure:
		return none, fmt.Errorf("--url: %s speaks plain TCP only: give a port without TLS", c.Command.Name)
	case user == "":
		return none, errors.New("--user is missing: give the name the server knows, as --user member.site.rig%d")
	case n < 1 || n > maxRigs:
		return none, fmt.Errorf("--connections %d: give 1 to %d", n, maxRigs)
	}
	return fleet.LinkConfig{
		Addr: addr, Password: c.String("password"), Agent: c.String("agent"), Configure: c.Bool("configure"),
		User: func(i int) string { return numbered(user, i) }, From: places(addr),
	}, process(c.Int("pid")).check()
}

// numbered is the name of the i-th connection.
func numbered(user string, i int) string { return strings.ReplaceAll(user, "%d", strconv.Itoa(i+1)) }

// places has connections come from 16 addresses where the server is on this
// machine: one has too few local ports for a crowd, and a server may bound what
// one has. Elsewhere it is nil.
func places(addr string) func(i int) net.IP {
	if host, err := netip.ParseAddrPort(addr); err != nil || !host.Addr().Is4() || !host.Addr().IsLoopback() || runtime.GOOS != "linux" {
		return nil
	}
	return func(i int) net.IP { return net.IPv4(127, 1, byte(i%16), 1) }
}

// outcome is what every report begins with.
type outcome struct {
	URL         string `json:"url"`
	OK          bool   `json:"ok"`
	Problem     string `json:"problem,omitempty"`
	Connections int    `json:"connections"`
}

// end prints a report, as one object or as a table, and returns what was wrong.
func (o *outcome) end(c *cli.Context, stdout io.Writer, err error, report any, table func(io.Writer)) error {
	if o.OK = err == nil; err != nil {
		o.Problem = err.Error()
	}
	if !c.Bool("json") {
		table(stdout)
		return err
	}
	return errors.Join(err, json.NewEncoder(stdout).Encode(report))
}

// between checks a time given by a flag.
func between(c *cli.Context, name string, least, most time.Duration) error {
	if d := c.Duration(name); d < least || d > most {
		return fmt.Errorf("--%s %v: give %v to %v", name, d, least, most)
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func mib(bytes uint64) float64       { return float64(bytes) / (1 << 20) }
