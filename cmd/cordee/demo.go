package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"cordee/internal/fleet"
	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "a node on regtest, this pool, and twelve simulated rigs that find real blocks",
		Description: "Starts a node of its own (CORDEE_BITCOIND, else bitcoind from PATH, else btcd built from tools/btcd),\n" +
			"`cordee serve` as a child process, and rigs that hash for real over real Stratum. Ends with Ctrl-C or after --blocks.",
		Flags: []cli.Flag{
			jsonFlag,
			&cli.IntFlag{Name: "blocks", Usage: "end after `N` blocks of ours stand on the node's chain; 0 runs until Ctrl-C"},
			&cli.BoolFlag{Name: "until-paid", Usage: "end when a block has matured, and recompute from the journal every satoshi that blocks of ours paid"},
			&cli.DurationFlag{Name: "every", Value: 10 * time.Second, Usage: "time between blocks aimed at"},
			&cli.Float64Flag{Name: "hashrate", Value: 50_000, Usage: "hashes per second of each rig"},
			&cli.DurationFlag{Name: "limit", Value: 10 * time.Minute, Usage: "give up when --blocks takes longer"},
			&cli.StringFlag{Name: "dir", Usage: "keep everything in `DIR` instead of a folder that goes at the end"},
		},
		Before: func(c *cli.Context) error {
			if c.Int("blocks") < 0 || c.Duration("every") < time.Second || c.Float64("hashrate") < 1000 || c.Float64("hashrate") > 1e7 {
				return misuse{errors.New("demo: --blocks from 0, --every from 1s, --hashrate from 1000 to 1e7")}
			}
			return noArgs(c)
		},
		Action: demo,
	}
}

// theDemo is one run: the parts it started, and what it has shown.
type theDemo struct {
	out    io.Writer
	dir    string
	node   *sandbox.Node
	redis  *sandbox.Redis // nil keeps credits in memory
	child  *exec.Cmd
	exited chan error
	fleet  *fleet.Fleet
	setup  demoSetup
	shown  map[string]pool.BlockState
	begun  time.Time
	rate   float64 // last hashrate seen while the rigs were there
}

func demo(c *cli.Context) error {
	d := &theDemo{out: c.App.Writer, dir: c.String("dir"), shown: map[string]pool.BlockState{}, begun: time.Now()}
	if c.Bool("json") {
		d.out = c.App.ErrWriter // keep the last line of stdout for the object
	}
	if d.dir == "" {
		dir, err := os.MkdirTemp("", "cordee-demo-")
		if err != nil {
			return err
		}
		d.dir = dir
		defer os.RemoveAll(dir)
	}
	summary, err := d.run(c)
	if err != nil {
		summary.Problem = err.Error()
	}
	summary.OK = err == nil
	if c.Bool("json") {
		return errors.Join(err, printLast(c, summary))
	}
	d.printSummary(&summary)
	return err
}

func (d *theDemo) run(c *cli.Context) (demoSummary, error) {
	// The parts outlive Ctrl-C so that they can be asked and stopped in order.
	life, end := context.WithCancel(context.WithoutCancel(c.Context))
	defer end()
	want := c.Int("blocks")
	summary := demoSummary{Directory: c.String("dir")}
	if err := d.startNode(life); err != nil {
		return summary, err
	}
	defer d.stop(d.node.Stop)
	summary.Node = d.node.Kind + " " + d.node.Version
	if err := d.startStore(life); err != nil {
		return summary, err
	}
	defer d.stop(d.stopStore)
	if err := d.startPool(life, c); err != nil {
		return summary, err
	}
	defer d.stop(d.stopPool)

	rigs := d.rigs(c.Float64("hashrate"))
	var err error
	if d.fleet, err = fleet.New(fleet.Config{Addr: d.setup.stratum, Rigs: rigs, Seed: uint64(time.Now().UnixNano()), Log: zerolog.Nop()}); err != nil {
		return summary, err
	}
	fleetCtx, stopFleet := context.WithCancel(life)
	defer stopFleet()
	fleetDone := make(chan error, 1)
	go func() { fleetDone <- d.fleet.Run(fleetCtx) }()

	if c.Bool("until-paid") {
		err = d.untilPaid(c.Context, life, want, c.Duration("limit"))
	} else {
		err = d.watch(c.Context, life, want, c.Duration("limit"))
	}
	stopFleet()
	err = errors.Join(err, <-fleetDone)
	if err == nil && c.Bool("until-paid") {
		summary.Audit, err = d.auditPaid(life)
	}
	return d.summarise(life, summary, len(rigs), want, err)
}

func (d *theDemo) startNode(ctx context.Context) error {
	fmt.Fprintln(d.out, "starting a node on regtest (the first time, btcd is built: about a minute) ...")
	node, err := sandbox.StartNode(ctx, sandbox.NodeOptions{
		Dir: filepath.Join(d.dir, "node"), AllowPath: true, ZMQ: true, MiningAddress: demoTreasury,
	})
	if err != nil {
		return fmt.Errorf("demo: node: %w", err)
	}
	d.node = node
	// A node without a recent block believes it is still downloading.
	if _, err := node.Generate(ctx, 1, demoTreasury); err != nil {
		return errors.Join(fmt.Errorf("demo: first block: %w", err), node.Kill())
	}
	return nil
}

// startPool writes the configuration and runs `cordee serve` on it as a child.
func (d *theDemo) startPool(ctx context.Context, c *cli.Context) error {
	rigCount := 0
	for _, s := range demoSites {
		rigCount += s.rigs
	}
	perBlock := c.Float64("hashrate") * float64(rigCount) * c.Duration("every").Seconds() // hashes
	ports, err := sandbox.FreeAddresses(2)
	if err != nil {
		return err
	}
	d.setup = demoSetup{
		dir: d.dir, node: d.node.Kind, url: d.node.URL, cookie: d.node.Cookie, user: d.node.User, password: d.node.PasswordFile, zmq: d.node.ZMQ,
		stratum: ports[0], web: ports[1], redis: d.redisAddr(),
		regtestDifficulty: perBlock / math.Exp2(32),
		startDifficulty:   c.Float64("hashrate") * 6 / math.Exp2(32),
	}
	path, err := d.setup.write()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(d.dir, "cordee.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	d.child = exec.CommandContext(ctx, self, "serve", "--config", path, "--log", "json")
	d.child.Stdout, d.child.Stderr = logFile, logFile
	d.child.SysProcAttr = childAttr()
	if err := d.child.Start(); err != nil {
		return err
	}
	d.exited = make(chan error, 1)
	go func() { d.exited <- d.child.Wait() }()
	if err := d.awaitPool(ctx); err != nil {
		_ = d.child.Process.Kill()
		return err
	}
	fmt.Fprintf(d.out, "node  %s %s at %s\n", d.node.Kind, d.node.Version, d.node.URL)
	fmt.Fprintf(d.out, "pool  stratum+tcp://%s  page http://%s/  metrics http://%s/metrics  log %s\n", d.setup.stratum, d.setup.web, d.setup.web, logFile.Name())
	fmt.Fprintf(d.out, "      a rig of yours can join: user %s.%s.my-rig, password x\n", demoSites[0].member, demoSites[0].site)
	fmt.Fprintf(d.out, "      ask it: cordee status -c %s\n", path)
	fmt.Fprintf(d.out, "rigs  %d of 3 members on %d sites at %s each: a block needs %.0f hashes, about one every %s\n\n",
		rigCount, len(demoSites), hashrate(c.Float64("hashrate")), perBlock, c.Duration("every"))
	return nil
}

// awaitPool waits until the pool has its first template.
func (d *theDemo) awaitPool(ctx context.Context) error {
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		var s web.Status
		if err := d.ask(ctx, "/status", &s); err == nil && s.Height > 0 {
			return nil
		}
		select {
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("demo: the pool stopped (%w); the end of its log:\n%s", err, tail(filepath.Join(d.dir, "cordee.log"), 2000))
		case <-limit.C:
			return fmt.Errorf("demo: no template within 30 s; the end of the pool's log:\n%s", tail(filepath.Join(d.dir, "cordee.log"), 2000))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *theDemo) ask(ctx context.Context, path string, into any) error {
	return ask(ctx, filepath.Join(d.dir, "pool", socketName), path, into)
}

func (d *theDemo) rigs(rate float64) []fleet.Rig {
	var rigs []fleet.Rig
	for _, s := range demoSites {
		for i := range s.rigs {
			rigs = append(rigs, fleet.Rig{
				User: fmt.Sprintf("%s.%s.rig-%d", s.member, s.site, i+1), Password: "x", Agent: "cordee-demo/1.0",
				Hashrate: rate, VersionRolling: true, ConfigureFirst: i%2 == 0,
			})
		}
	}
	return rigs
}

// watch shows the pool at work until want blocks are on the chain, or ctx ends.
func (d *theDemo) watch(ctx, life context.Context, want int, limit time.Duration) error {
	var give <-chan time.Time
	if want > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		give = t.C
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			if want > 0 {
				return errors.New("demo: interrupted before the blocks it was asked for")
			}
			return nil
		case <-give:
			return fmt.Errorf("demo: gave up after %s", limit)
		case <-d.node.Done():
			return fmt.Errorf("demo: the node stopped; the end of its log:\n%s", d.node.Tail())
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("demo: the pool stopped (%w); the end of its log:\n%s", err, tail(filepath.Join(d.dir, "cordee.log"), 2000))
		case <-tick.C:
		}
		var s web.Status
		var b web.Blocks
		if d.ask(life, "/status", &s) != nil || d.ask(life, "/blocks", &b) != nil {
			continue // it is asked again in half a second; a dead child is seen above
		}
		d.rate = s.Hashrate
		active := d.showBlocks(b.Blocks)
		if n%6 == 5 {
			fmt.Fprintf(d.out, "%s  %2d rigs  %9s  %5d shares  rejects: %s  blocks: %s  new tip to first rig: %s\n",
				time.Now().Format(time.TimeOnly), s.Working, hashrate(s.Hashrate), s.Credited, counts(s.Shares), counts(s.Blocks), s.FirstNotify)
			var a web.Accounts
			if n%12 == 11 && d.ask(life, "/accounts", &a) == nil {
				printAccounts(d.out, a)
			}
		}
		if want > 0 && active >= want {
			return nil
		}
	}
}

// showBlocks prints each block once per state and returns how many are active.
func (d *theDemo) showBlocks(blocks []web.Block) (active int) {
	for _, b := range slices.Backward(blocks) {
		if b.State == pool.BlockActive {
			active++
		}
		if before, seen := d.shown[b.Hash]; (seen && before == b.State) || b.State == pool.BlockCandidate || b.State == pool.BlockAccepted {
			continue
		}
		d.shown[b.Hash] = b.State
		var answers []string
		for node, a := range b.Answers {
			answers = append(answers, node+" says "+a)
		}
		fmt.Fprintf(d.out, "%s  BLOCK %d  %s  %s  found by %s, %s\n", time.Now().Format(time.TimeOnly), b.Height, b.Hash, b.State, b.Worker, strings.Join(answers, ", "))
	}
	return active
}

// stop ends one part within its time and says so when it does not go.
func (d *theDemo) stop(end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := end(ctx); err != nil {
		fmt.Fprintf(d.out, "demo: %v\n", err)
	}
}

func (d *theDemo) stopPool(ctx context.Context) error {
	if err := d.child.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-d.exited:
		return err
	case <-ctx.Done():
		return errors.Join(errors.New("the pool did not stop within 15 s"), d.child.Process.Kill())
	}
}

// tail returns the last n bytes of a file, or why not.
func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-n):])
}
