package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/keeper"
	"cordee/internal/redisstore"
	"cordee/internal/web"
	"cordee/payout"
)

func ledgerCommand() *cli.Command {
	return &cli.Command{
		Name:   "ledger",
		Usage:  "the accounts: whether they hold, and their copy in the store made anew",
		Action: subcommands,
		Subcommands: []*cli.Command{{
			Name:  "check",
			Usage: "look for contradictions between files, journal, store and chain",
			Description: "Reads the files of slots and ledger beside the pool, which may run or not and is not asked: a process would vouch\n" +
				"for its own memory. What is found while a pool runs is looked at a second time. Changes nothing.",
			Flags:  []cli.Flag{configFlag, jsonFlag},
			Before: noArgs,
			Action: checkLedger,
		}, rebuildCommand()},
	}
}

// ledgerReport is what ledger check prints.
type ledgerReport struct {
	OK          bool            `json:"ok"`
	Running     bool            `json:"running"`
	Slots       int             `json:"slots"`
	Shares      int             `json:"shares"`
	Events      int             `json:"events"`
	Blocks      int             `json:"blocks"`
	StoreSlots  int             `json:"store_slots"`
	StoreEvents int             `json:"store_events"`
	ChainBlocks int             `json:"chain_blocks"`
	Invariants  []invariant     `json:"invariants"`
	Findings    []ledgerFinding `json:"findings"`
	Notes       []string        `json:"notes"` // what could not be compared, and what somebody should know
}

type invariant struct {
	Name     string `json:"name"`
	What     string `json:"what"`
	State    string `json:"state"` // ok, FOUND, in part or not compared
	Findings int    `json:"findings"`
}

type ledgerFinding struct {
	Invariant string `json:"invariant"`
	Where     string `json:"where"`
	What      string `json:"what"`
}

// ledgerInvariants are those of the payout notes, and what else must agree.
var ledgerInvariants = [][2]string{
	{"files", "every slot and event file is whole and in its place"},
	{"journal", "it gives the shares of every slot"},
	{"I1", "credits and fees of every block sum to its reward"},
	{"I3", "shares follow one another, match their manifests, and cuts never go back"},
	{"I4", "every balance is what active blocks and batches give, and the treasury holds what is owed"},
	{"I6", "every event sums to zero"},
	{"I7", "a naive walk over the shares gives every block's credits"},
	{"store", "the store holds what the files say"},
	{"chain", "every block stands where the ledger says and pays what its receipt says (I2)"},
}

// secondLook is how long after a finding a running pool is looked at again: it
// may have been writing, and it follows the chain every 5 s.
const secondLook = 6 * time.Second

func checkLedger(c *cli.Context) error {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return err
	}
	files, err := openFiles(cfg)
	if err != nil {
		return err
	}
	r, err := lookAtLedger(c.Context, cfg, files, nil)
	if err == nil && !r.OK && r.Running {
		select {
		case <-c.Context.Done():
			return c.Context.Err()
		case <-time.After(secondLook):
		}
		r, err = lookAtLedger(c.Context, cfg, files, r)
	}
	if err != nil {
		return err
	}
	if err := emit(c, r, r.print); err != nil || r.OK {
		return err
	}
	f := r.Findings[0]
	return fmt.Errorf("ledger: %s %s: %s (%d findings)", f.Invariant, f.Where, f.What, len(r.Findings))
}

// poolRuns reports whether a pool runs with cfg's data directory.
func poolRuns(ctx context.Context, cfg *config.Config) (bool, error) {
	var s web.Status
	err := ask(ctx, filepath.Join(cfg.DataDir, socketName), "/status", &s)
	if errors.Is(err, errNoPool) {
		return false, nil
	}
	return err == nil, err
}

// lookAtLedger compares once. before is the look before this one, nil for none.
func lookAtLedger(ctx context.Context, cfg *config.Config, files *keeper.Files, before *ledgerReport) (*ledgerReport, error) {
	r := &ledgerReport{Invariants: []invariant{}, Findings: []ledgerFinding{}, Notes: []string{}}
	var err error
	if r.Running, err = poolRuns(ctx, cfg); err != nil {
		r.Running = true
		r.note("the pool runs and does not answer: %v", err)
	}
	compared := map[string]bool{"store": false, "chain": false}
	rep, ledger, err := files.Check(ctx)
	if err != nil {
		return nil, err
	}
	r.add(rep.Findings)
	r.Slots, r.Shares, r.Events, r.Blocks = rep.Slots, rep.Shares, rep.Events, rep.Blocks
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	whole := !slices.ContainsFunc(r.Findings, func(f ledgerFinding) bool { return strings.HasPrefix(f.Where, "event ") })
	store, err := r.store(ctx, cfg, files)
	if err != nil {
		r.note("the store could not be compared: %v", err)
	}
	compared["store"] = store
	chain := false
	if whole {
		chain, err = r.chain(ctx, cfg, files, ledger, before)
	} else {
		err = errors.New("the events do not hold")
	}
	if err != nil {
		r.note("the chain could not be compared: %v", err)
	}
	compared["chain"] = chain
	for _, i := range ledgerInvariants {
		x := invariant{Name: i[0], What: i[1], State: "ok"}
		for _, f := range r.Findings {
			if f.Invariant == i[0] {
				x.Findings++
			}
		}
		if did, optional := compared[i[0]]; optional && !did {
			x.State = "not compared"
		}
		if rep.Unread > 0 && (x.Name == "I3" || x.Name == "I7") {
			x.State = "in part"
		}
		if x.Findings > 0 {
			x.State = "FOUND"
		}
		r.Invariants = append(r.Invariants, x)
	}
	r.OK = len(r.Findings) == 0
	return r, ctx.Err()
}

func (r *ledgerReport) note(format string, a ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, a...))
}

func (r *ledgerReport) add(list []keeper.Finding) {
	for _, f := range list {
		r.Findings = append(r.Findings, ledgerFinding(f))
	}
}

// store compares the store of cfg, and reports whether it could.
func (r *ledgerReport) store(ctx context.Context, cfg *config.Config, files *keeper.Files) (bool, error) {
	if cfg.Redis == nil {
		r.note("the store is memory: it is filled from these files at each start, there is no copy to compare")
		return false, nil
	}
	meta, err := metaOf(cfg)
	if err != nil {
		return false, err
	}
	s, err := redisstore.New(redisConfig(cfg.Redis))
	if err != nil {
		return false, err
	}
	defer s.Close()
	if err := s.Open(ctx, meta, false); err != nil {
		switch {
		case errors.Is(err, payout.ErrUnavailable):
			return false, err
		case errors.Is(err, payout.ErrIncarnationMissing) && r.Slots+r.Events == 0:
			r.note("the store is empty, and so are the files")
			return false, nil
		}
		r.add([]keeper.Finding{{Invariant: "store", Where: "store", What: err.Error()}})
		return true, nil
	}
	c, err := files.CompareStore(ctx, s)
	if err != nil {
		return false, err
	}
	r.add(c.Findings)
	r.Notes = append(r.Notes, c.Notes...)
	r.StoreSlots, r.StoreEvents = c.Slots, c.Events
	return true, nil
}

// metaOf is the identity of cfg's accounts, which nothing is made for.
func metaOf(cfg *config.Config) (payout.Meta, error) {
	if _, err := os.Stat(filepath.Join(cfg.DataDir, incarnationFile)); err != nil {
		return payout.Meta{}, fmt.Errorf("no pool ever kept accounts here: %w", err)
	}
	id, err := readIncarnation(cfg.DataDir)
	return payout.Meta{
		Network: cfg.Network.Name, Genesis: *cfg.Network.Params.GenesisHash,
		Schema: payout.SchemaVersion, Incarnation: id,
	}, err
}

// nodePatience is how long the nodes may take to answer at all.
const nodePatience = 3 * time.Second

// chain compares the nodes' chain, and reports whether it could.
func (r *ledgerReport) chain(ctx context.Context, cfg *config.Config, files *keeper.Files, ledger *payout.Ledger, before *ledgerReport) (bool, error) {
	nodes, err := newCluster(cfg, zerolog.Nop())
	if err != nil {
		return false, err
	}
	patience, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	if err := nodes.Check(patience); err != nil {
		return false, err
	}
	c, err := files.CompareChain(ctx, chain{nodes}, ledger)
	if err != nil {
		return false, err
	}
	r.add(c.Findings)
	r.Notes = append(r.Notes, c.Notes...)
	r.waiting(c.Waiting, before)
	r.ChainBlocks = c.Blocks
	return true, nil
}

// waiting takes the blocks of ours that the chain has and the ledger has not.
// Beside a running pool, which enters them within seconds, one that the look
// before did not see yet is news; one that both saw is a finding.
func (r *ledgerReport) waiting(blocks []string, before *ledgerReport) {
	for _, b := range blocks {
		f := ledgerFinding{Invariant: "chain", Where: "ledger", What: b}
		switch {
		case !r.Running:
			r.note("%s: the next start enters it", b)
		case before == nil || slices.Contains(before.Findings, f):
			r.Findings = append(r.Findings, f)
		default:
			r.note("%s: it came since the first look", b)
		}
	}
}

func (r *ledgerReport) print(w io.Writer) {
	for _, i := range r.Invariants {
		fmt.Fprintf(w, "%-13s %s: %s\n", i.State, i.Name, i.What)
	}
	for i, f := range r.Findings {
		if i == shownDifferences {
			fmt.Fprintf(w, "and %d more; --json lists all\n", len(r.Findings)-i)
			break
		}
		fmt.Fprintf(w, "FOUND         %s %s: %s\n", f.Invariant, f.Where, printable(f.What))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note          %s\n", printable(n))
	}
	fmt.Fprintf(w, "%d slots with %d shares, %d events, %d blocks; in the store %d slots, %d events; %d blocks asked of the chain\n",
		r.Slots, r.Shares, r.Events, r.Blocks, r.StoreSlots, r.StoreEvents, r.ChainBlocks)
	if r.OK && !strings.Contains(fmt.Sprint(r.Invariants), "not compared") {
		fmt.Fprintln(w, "everything agrees")
	}
}

// hexID prints an incarnation as its file has it.
func hexID(id [16]byte) string { return hex.EncodeToString(id[:]) }
