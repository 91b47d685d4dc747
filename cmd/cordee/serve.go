package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
	"github.com/urfave/cli/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/config"
	"cordee/internal/edge"
	"cordee/internal/journal"
	"cordee/internal/keeper"
	"cordee/internal/register"
	"cordee/internal/web"
	"cordee/stratum"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the pool until SIGTERM; SIGHUP reloads members, firmware and certificates",
		Flags: []cli.Flag{
			configFlag,
			&cli.StringFlag{Name: "log", Value: "auto", Usage: "`FORM` of the log on stderr: json, console, or auto (console on a terminal)"},
			&cli.StringFlag{Name: "log-level", Value: "info", Usage: "debug, info, warn or error"},
			&cli.BoolFlag{Name: "json", Usage: "print a summary object as the last line at the end"},
			&cli.BoolFlag{Name: "tolerate-damage", Usage: "mine on beside a damaged journal instead of refusing to start; what is damaged stays as it is"},
		},
		Before: noArgs,
		Action: func(c *cli.Context) error {
			cfg, err := config.Load(c.String("config"))
			if err != nil {
				return err
			}
			log, closeLog, err := openLog(c.App.ErrWriter, c.String("log"), c.String("log-level"))
			if err != nil {
				return misuse{err}
			}
			defer closeLog()
			collectSooner()
			// From here on: a reload asked for while the pool starts must not kill it.
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			p, err := build(c.Context, cfg, log, c.Bool("tolerate-damage"))
			if err != nil && c.Context.Err() != nil { // told to stop while it waited for the node: that is no failure
				log.Info().Str("event", "shutdown.early").AnErr("waited_for", err).Msg("stopped before the pool was open")
				if c.Bool("json") {
					return printLast(c, serveSummary{OK: true})
				}
				return nil
			}
			if err != nil {
				return err
			}
			err = p.run(c.Context, hup)
			if !c.Bool("json") {
				return err
			}
			s := serveSummary{OK: err == nil, Status: p.Status()}
			if err != nil {
				s.Problem = err.Error()
			}
			return errors.Join(err, printLast(c, s))
		},
	}
}

// garbagePercent is how much garbage there may be to what lives, stacks among it,
// before it is collected; Go's own is 100. The rigs are what lives, thousands of
// them, and next to nothing is allocated while they mine: a collection is rare, and
// what waits for it is memory for each rig.
const garbagePercent = 50

// collectSooner obeys who set GOGC.
func collectSooner() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// serveSummary is the last line of `cordee serve --json`.
type serveSummary struct {
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	web.Status
}

// logBuffer is how many lines wait for a slow log writer; beyond it lines are
// dropped and the number dropped is logged. Mining never waits for a log.
const logBuffer = 4096

// openLog returns the process's logger and what flushes it.
func openLog(w io.Writer, form, level string) (zerolog.Logger, func(), error) {
	lvl, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.Nop(), nil, fmt.Errorf("log-level %q: use debug, info, warn or error", level)
	}
	switch form {
	case "json":
	case "console":
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !terminal(w)}
	case "auto":
		if terminal(w) {
			w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly}
		}
	default:
		return zerolog.Nop(), nil, fmt.Errorf("log %q: use json, console or auto", form)
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	dropped := w
	// The diode closes what it can, and errors still have to be told on stderr.
	d := diode.NewWriter(struct{ io.Writer }{w}, logBuffer, 0, func(missed int) {
		fmt.Fprintf(dropped, `{"level":"warn","event":"log.dropped","lines":%d}`+"\n", missed)
	})
	return zerolog.New(d).Level(lvl).With().Timestamp().Logger(), func() { _ = d.Close() }, nil
}

// terminal reports whether somebody reads w as it is written. A file or a pipe
// gets no colours.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// process is one running pool: the rooms, wired.
type process struct {
	cfg      *config.Config
	log      zerolog.Logger
	register memberRegister
	journal  *journal.Journal
	nodes    *bitcoind.Cluster
	store    *poolStore
	keeper   *keeper.Keeper
	edge     *edge.Edge
	web      net.Listener
	doors    doors
	control  net.Listener
}

// build opens what the pool stands on, in the order in which a mistake is
// cheapest: files, then the node, the ports, the store, and the journal last,
// because an epoch begun there belongs to its chain for ever.
func build(ctx context.Context, cfg *config.Config, log zerolog.Logger, tolerate bool) (_ *process, err error) {
	p := &process{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.register, err = openRegister(cfg); err != nil {
		return nil, err
	}
	table, err := loadFirmware(cfg)
	if err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil { // makes data_dir, and refuses what check-config refuses
		return nil, err
	}

	p.nodes, err = newCluster(cfg, log)
	if err != nil {
		return nil, err
	}
	if err := p.nodes.Check(ctx); err != nil {
		return nil, err
	}

	if p.doors, err = listen(ctx, cfg, log); err != nil {
		return nil, err
	}
	if p.web, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Web.Address); err != nil {
		return nil, portAdvice("[web]", cfg.Web.Address, err)
	}

	if p.store, err = openStore(ctx, cfg, log); err != nil {
		return nil, err
	}

	room, err := rigRoom(log, len(cfg.Nodes))
	if err != nil {
		return nil, err
	}
	recovery, err := p.openBooks(ctx, tolerate)
	if err != nil {
		return nil, err
	}
	var quiet time.Duration
	if cfg.Network.Name == "regtest" {
		quiet = quietRegtest
	}
	p.edge, err = edge.New(edge.Config{
		Network: cfg.Network, Node: p.nodes, Log: p.journal, Register: p.register, Recovery: recovery,
		Payer: p.keeper, Books: p.keeper,
		Stratum: stratum.Config{
			Network: cfg.Network, Prefix: cfg.Edge.Prefix, MaxConns: room, Firmware: table, Caps: capsOf(cfg, room), Log: log,
			Limits: stratum.Limits{Share: max(cfg.Limits.ShareGap, 1)}, // 0 would be the default
		},
		Listeners: p.doors.rigs, Tag: cfg.Tag, Logger: log, Quiet: quiet,
	})
	if err != nil {
		return nil, err
	}
	p.control, err = listenControl(ctx, filepath.Join(cfg.DataDir, socketName))
	return p, err
}

// run serves until ctx ends, then drains and seals the journal.
func (p *process) run(ctx context.Context, hup <-chan os.Signal) error {
	pages, stopPages := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPages()
	go p.reload(pages, hup)

	servers := []*http.Server{
		web.Server(web.Public(web.Registry(p.figures), p)),
		web.Server(web.Control(p)),
	}
	for i, ln := range []net.Listener{p.web, p.control} {
		go func() {
			if err := servers[i].Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
				p.log.Error().Str("event", "web.failed").Err(err).Msg("pages are not served; mining goes on")
			}
		}()
	}
	for _, l := range p.cfg.Listeners {
		p.log.Info().Str("event", "listener.open").Str("address", l.Address).Bool("tls", l.TLSCert != "").Msg("rigs are welcome")
	}
	p.log.Info().Str("event", "serve.start").Str("network", p.cfg.Network.Name).Str("web", p.cfg.Web.Address).Msg("cordee serves")

	stopped := context.AfterFunc(ctx, func() {
		p.log.Info().Str("event", "shutdown.begin").Msg("asked to stop: rigs are sent away, answers and blocks in flight are seen through")
	})
	defer stopped()
	counting, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	counted := make(chan error, 1)
	go func() { counted <- p.keeper.Run(counting) }()
	err := p.edge.Run(ctx)
	stopCounting() // after the last share: its slot closes now
	err = errors.Join(err, <-counted)
	p.log.Info().Str("event", "shutdown.drained").Err(err).Msg("no rig is connected any more")
	for _, s := range servers {
		_ = s.Close() // nothing of value is in flight on the pages
	}
	_ = p.store.Close() // what it has not got yet is on disk
	if cerr := p.journal.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("journal: %w", cerr))
	}
	if err != nil {
		p.log.Error().Str("event", "shutdown.failed").Err(err).Msg("the pool ends with an error")
		return err
	}
	p.log.Info().Str("event", "shutdown.sealed").Msg("journal sealed, good bye")
	return nil
}

// reload reads certificates, the members' file and the table of firmware again
// at each SIGHUP. A bad pair leaves the old one in use; a mistake in either file
// changes neither.
func (p *process) reload(ctx context.Context, hup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			for _, pair := range p.doors.certs {
				_ = pair.Reload() // which tells the log
			}
			table, err := loadFirmware(p.cfg)
			if r, ok := p.register.(*register.Register); ok && err == nil {
				err = r.Reload(p.cfg.MembersPath)
			}
			if err != nil {
				p.log.Error().Str("event", "config.refused").Err(err).Msg("a file was refused; members and firmware stay as they were")
				continue
			}
			p.edge.Server().SetFirmware(table)
			p.log.Info().Str("event", "config.reload").Int("members", len(p.register.Members())).Int("firmware", len(table.Rows())).
				Msg("members and firmware reloaded")
		}
	}
}

// close undoes what build opened before it failed.
func (p *process) close() {
	p.doors.close()
	if p.web != nil {
		_ = p.web.Close() // likewise
	}
	if p.store != nil {
		_ = p.store.Close() // likewise
	}
	if p.journal != nil {
		if err := p.journal.Close(); err != nil {
			p.log.Error().Str("event", "journal.close").Err(err).Msg("journal not sealed")
		}
	}
}
