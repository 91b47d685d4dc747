// Package doctor looks at everything a pool stands on and says, one line a
// cause, what is wrong and what to do about it.
//
//	files    configuration, members, firmware, certificates, data directory,
//	         disk, journal, open files
//	store    reached, fit to keep a ledger, this pool's own
//	nodes    reached, right chain, peers, tip, template, reserved weight, clock
//	pool     the process that runs with this data directory, if one does
//
// It changes nothing, and may look while the pool runs.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cordee/internal/bitcoind"
	"cordee/internal/config"
	"cordee/internal/redisstore"
	"cordee/internal/register"
	"cordee/internal/tomlfile"
	"cordee/pool"
)

// State is the verdict of one check.
type State string

// The verdicts. Only Fail makes a report fail.
const (
	Good    State = "ok"
	Warn    State = "WARN"
	Fail    State = "FAIL"
	Unknown State = "UNKNOWN" // it cannot be read from here; Do says how to look
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"` // stable, such as "clock" or "node core: tip"
	State State  `json:"state"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"` // what to do; "" with Good
}

// Report is all of them, in the order in which they should be mended.
type Report struct {
	OK     bool    `json:"ok"` // no check failed
	Checks []Check `json:"checks"`
}

// Failed counts the checks that failed.
func (r *Report) Failed() int {
	n := 0
	for _, c := range r.Checks {
		if c.State == Fail {
			n++
		}
	}
	return n
}

func (r *Report) add(name string, s State, do, format string, args ...any) {
	r.Checks = append(r.Checks, Check{Name: name, State: s, Text: fmt.Sprintf(format, args...), Do: do})
}

// good adds a check with nothing to do.
func (r *Report) good(name, format string, args ...any) { r.add(name, Good, "", format, args...) }

// Pool is what the running pool says of itself.
type Pool struct {
	Network     string
	Height      int32
	TemplateAge time.Duration
	Lost        uint64 // shares that could not be stored
	Poisoned    bool   // the journal accepts nothing more
	Refused     uint64 // proposals of our blocks that a node called invalid
	Reason      string // of the last one
	Rigs        int
	Halts       []string // why payouts stop
	Class       string   // the largest that a rig here mines; "" before it is known
	NoJob       string   // why rigs mine on an old block; "" where they do not
}

// ErrNoPool is what Options.Ask returns where no pool runs.
var ErrNoPool = errors.New("no pool is running with this data directory")

// Options say where to look. Nil functions stand for the real machine.
type Options struct {
	Config string // path of cordee.toml
	Deep   bool   // read the whole journal, not only its end
	// Classes are the firmware classes that jobs are made for; nil is those that
	// the table of firmware allows. The largest one needs the most reserved weight.
	Classes []pool.Class

	// Members compares the register with what the accounts of cfg remember.
	Members func(cfg *config.Config, list []register.Member) error
	// Store looks at the store of cfg, which is not memory.
	Store     func(ctx context.Context, cfg *config.Config) redisstore.Examination
	Ask       func(ctx context.Context, dataDir string) (Pool, error)
	Disk      func(dir string) (free, total uint64, err error) // bytes that the pool may use, and of all
	OpenFiles func() (uint64, error)
	Now       func() time.Time

	inUse pool.Class // largest class of the running pool's rigs; zero where that is not known
}

func (o *Options) fill() {
	if o.Disk == nil {
		o.Disk = diskOf
	}
	if o.OpenFiles == nil {
		o.OpenFiles = openFiles
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Members == nil {
		o.Members = func(*config.Config, []register.Member) error { return nil }
	}
	if o.Ask == nil {
		o.Ask = func(context.Context, string) (Pool, error) { return Pool{}, ErrNoPool }
	}
}

// Run looks at everything once. What it cannot look at because something before
// it failed is left out: one cause is one line.
func Run(ctx context.Context, o Options) Report {
	o.fill()
	var r Report
	if cfg, err := config.Load(o.Config); err != nil {
		r.problems("configuration", err)
	} else {
		r.good("configuration", "%s: network %s, edge %d", o.Config, cfg.Network.Name, cfg.Edge.ID)
		r.members(&o, cfg)
		r.firmware(&o, cfg)
		r.files(&o, cfg)
		r.certificates(&o, cfg)
		running := r.running(ctx, &o, cfg)
		r.journal(&o, cfg, running)
		r.store(ctx, &o, cfg)
		r.nodes(ctx, &o, cfg)
	}
	r.OK = r.Failed() == 0
	return r
}

// problems adds a line for each problem of a file.
func (r *Report) problems(name string, err error) {
	if bad, ok := errors.AsType[*tomlfile.Error](err); ok {
		for _, p := range bad.Problems {
			r.add(name, Fail, "correct that line", "%s", p)
		}
		return
	}
	r.add(name, Fail, "name the file with -c, or correct its key in cordee.toml", "%v", err)
}

// maxTemplateAge is how old the template of a running pool may be: nodes are
// asked for a new one every 30 s.
const maxTemplateAge = 60 * time.Second

// running asks the pool that runs here, and reports whether there is one.
func (r *Report) running(ctx context.Context, o *Options, cfg *config.Config) bool {
	p, err := o.Ask(ctx, cfg.DataDir)
	if errors.Is(err, ErrNoPool) {
		r.good("pool", "none is running with %s", cfg.DataDir)
		return false
	}
	if err != nil {
		r.add("pool", Fail, "look at its log; if it hangs, kill it and start it again: nothing answered is lost", "it does not answer: %v", err)
		return true
	}
	r.good("pool", "it runs on %s, %d rigs, mining block %d", p.Network, p.Rigs, p.Height)
	if p.Network != cfg.Network.Name {
		r.add("pool: network", Fail, "restart the pool, or undo the change of network", "it runs on %s, the file says %s", p.Network, cfg.Network.Name)
	}
	o.inUse, _ = pool.ClassByName(p.Class)
	if p.NoJob != "" {
		r.add("pool: jobs", Fail, "mend what it names: rigs mine on an old block, and are sent to their backup pool after a minute", "none of the new tip can be made: %s", p.NoJob)
	}
	if p.Height == 0 {
		r.add("pool: template", Fail, "look at the checks of the nodes below", "it has none yet")
	} else if p.TemplateAge > maxTemplateAge {
		r.add("pool: template", Fail, "look at the checks of the nodes below: rigs are sent to their backup pool meanwhile",
			"it is %.0f s old, more than %.0f s", p.TemplateAge.Seconds(), maxTemplateAge.Seconds())
	} else {
		r.good("pool: template", "%.0f s old", p.TemplateAge.Seconds())
	}
	if p.Poisoned {
		r.add("pool: shares", Fail, "free the disk or replace it, then restart the pool", "the journal took an I/O error: every share is refused")
	} else if p.Lost > 0 {
		r.add("pool: shares", Fail, "look at the disk", "%d shares could not be stored and were refused", p.Lost)
	}
	if len(p.Halts) > 0 {
		r.add("pool: payouts", Fail, "`cordee halt show` says why; see docs/operating.md", "halted: %s", strings.Join(p.Halts, ", "))
	}
	if p.Refused > 0 {
		r.add("pool: blocks", Fail, "stop and find out why before a block is lost; compare versions of node and pool",
			"a node called %d of our block proposals invalid: %s", p.Refused, p.Reason)
	}
	return true
}

// nodeConfig is what bitcoind asks for.
func nodeConfig(cfg *config.Config) bitcoind.Config {
	out := bitcoind.Config{Network: cfg.Network, WorkBits: cfg.WorkBits, SignetChallenge: cfg.SignetChallenge}
	for _, n := range cfg.Nodes {
		out.Nodes = append(out.Nodes, bitcoind.NodeConfig{
			Name: n.Name, URL: n.URL, Cookie: n.Cookie, User: n.User, PasswordFile: n.PasswordFile, ZMQ: n.ZMQ,
		})
	}
	return out
}
