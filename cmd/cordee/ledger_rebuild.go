package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/journal"
	"cordee/internal/keeper"
	"cordee/internal/redisstore"
	"cordee/payout"
)

func rebuildCommand() *cli.Command {
	return &cli.Command{
		Name:  "rebuild",
		Usage: "empty this pool's part of the store and fill it from slots and ledger, while no pool runs",
		Description: "Prints what would be deleted and what is filled in, and asks. Deletes keys of this pool only, and of no other\n" +
			"incarnation; files and journal stay as they are. The result is compared with the files.",
		Flags: []cli.Flag{
			configFlag, jsonFlag,
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		},
		Before: noArgs,
		Action: rebuildLedger,
	}
}

// rebuildReport is what ledger rebuild prints.
type rebuildReport struct {
	OK      bool     `json:"ok"`
	Store   string   `json:"store"`
	Deleted []string `json:"deleted"` // keys
	Slots   int      `json:"slots"`
	Events  int      `json:"events"`
}

func rebuildLedger(c *cli.Context) (err error) {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return err
	}
	if cfg.Redis == nil {
		return errors.New("the store is memory: every start fills it from the files, there is nothing to rebuild")
	}
	hold, err := journal.Hold(cfg.Journal.Dir)
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("a pool runs, and writes what would be deleted: stop it first: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	if running, err := poolRuns(c.Context, cfg); running || err != nil {
		return errors.Join(errors.New("a pool answers on the socket of this data directory: stop it first"), err)
	}
	b, err := planRebuild(c.Context, cfg)
	if err != nil {
		return err
	}
	defer b.store.Close()
	b.print(c.App.Writer)
	if !c.Bool("yes") && !confirmed(c, cfg.Redis.Name) {
		return fmt.Errorf("nothing was changed: answer with the pool's name, %q, or give --yes", cfg.Redis.Name)
	}
	r, err := b.run(c.Context)
	if err != nil {
		return err
	}
	return emit(c, r, func(w io.Writer) {
		fmt.Fprintf(w, "rebuilt: %d slots and %d events are in the store as in the files\n", r.Slots, r.Events)
	})
}

// rebuilding is a rebuild that was looked at and not begun.
type rebuilding struct {
	cfg   *config.Config
	files *keeper.Files
	store *redisstore.Store
	meta  payout.Meta
	keys  []string
	rep   keeper.Report
	whose string
}

// planRebuild refuses what must not be deleted, or could not be filled again.
func planRebuild(ctx context.Context, cfg *config.Config) (_ *rebuilding, err error) {
	b := &rebuilding{cfg: cfg}
	if b.meta, err = metaOf(cfg); err != nil {
		return nil, err
	}
	if b.files, err = openFiles(cfg); err != nil {
		return nil, err
	}
	if b.rep, _, err = b.files.Check(ctx); err != nil {
		return nil, err
	}
	// I7 is of the rules in force, which may have changed since a block; the store
	// is filled without any share.
	if i := slices.IndexFunc(b.rep.Findings, func(f keeper.Finding) bool { return f.Invariant != "I7" && f.Invariant != "journal" }); i >= 0 {
		return nil, fmt.Errorf("the files do not hold, nothing is rebuilt from them: %s; see `cordee ledger check`", b.rep.Findings[i])
	}
	if b.store, err = redisstore.New(redisConfig(cfg.Redis)); err != nil {
		return nil, fmt.Errorf("[redis]: %w", err)
	}
	err = b.store.Open(ctx, b.meta, false)
	switch {
	case err == nil:
		b.whose = "this pool's, incarnation " + hexID(b.meta.Incarnation)
	case errors.Is(err, payout.ErrIncarnationMissing):
		b.whose, err = "without an incarnation", nil
	default:
		err = storeAdvice(cfg, strings.Join(cfg.Redis.Addresses, ", "), err)
	}
	if err == nil {
		b.keys, err = b.store.Keys(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, b.store.Close())
	}
	return b, nil
}

func (b *rebuilding) print(w io.Writer) {
	fmt.Fprintf(w, "store    redis %s db %d, keys {cordee:%s}:*\n", strings.Join(b.cfg.Redis.Addresses, ", "), b.cfg.Redis.DB, b.cfg.Redis.Name)
	if len(b.keys) == 0 {
		fmt.Fprintln(w, "delete   nothing, it is empty")
	} else {
		fmt.Fprintf(w, "delete   %d keys, %s: %s\n", len(b.keys), b.whose, shortList(b.keys))
	}
	fmt.Fprintf(w, "fill in  %d slots and %d events from %s\n", b.rep.Slots, b.rep.Events, b.cfg.DataDir)
	fmt.Fprintln(w, "keep     every file, the journal, and every other key of the server")
}

// shortList names the first keys and counts the others.
func shortList(keys []string) string {
	const shown = 8
	if len(keys) <= shown {
		return strings.Join(keys, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(keys[:shown], " "), len(keys)-shown)
}

// confirmed reports whether the person at the terminal typed the pool's name.
func confirmed(c *cli.Context, name string) bool {
	fmt.Fprintf(c.App.Writer, "type the pool's name, %s, to go on: ", name)
	line, err := bufio.NewReader(io.LimitReader(c.App.Reader, 1<<10)).ReadString('\n')
	fmt.Fprintln(c.App.Writer)
	return err == nil && strings.TrimSpace(line) == name
}

// run deletes and fills. Cut short at any place it leaves an empty store or a
// beginning of ours, which the next start or rebuild fills.
func (b *rebuilding) run(ctx context.Context) (*rebuildReport, error) {
	mark := filepath.Join(b.cfg.DataDir, keeper.StoreMark)
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := b.store.Empty(ctx, b.meta, b.keys); err != nil {
		return nil, err
	}
	if err := b.files.Rebuild(ctx, b.store, b.meta, func(uint32, uint32) {}); err != nil {
		return nil, fmt.Errorf("the store is emptied and filled in part, rebuild it again: %w", err)
	}
	if err := keeper.OpenStore(ctx, b.cfg.DataDir, b.store, b.meta, false); err != nil {
		return nil, err
	}
	same, err := b.files.CompareStore(ctx, b.store)
	if err == nil && len(same.Findings) > 0 {
		err = fmt.Errorf("the store is not what the files say: %s", same.Findings[0])
	}
	if err == nil && (same.Slots != b.rep.Slots || same.Events != b.rep.Events) {
		err = fmt.Errorf("the store has %d slots and %d events, the files %d and %d", same.Slots, same.Events, b.rep.Slots, b.rep.Events)
	}
	if err != nil {
		return nil, err
	}
	deleted := append([]string{}, b.keys...)
	return &rebuildReport{OK: true, Store: strings.Join(b.cfg.Redis.Addresses, ", "), Deleted: deleted, Slots: same.Slots, Events: same.Events}, nil
}
