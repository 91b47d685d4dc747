package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urfave/cli/v2"

	"cordee/internal/config"
	"cordee/internal/edge"
	"cordee/internal/journal"
	"cordee/internal/keeper"
	"cordee/internal/register"
	"cordee/payout"
)

// memberRegister is what the rooms need of the register of either mode.
type memberRegister interface {
	edge.Register
	Members() []register.Member // what it returns is not changed any more
	Check(member uint16, name string) error
}

// openRegister returns the register that cfg names, as its file has it now.
func openRegister(cfg *config.Config) (memberRegister, error) {
	if cfg.Open {
		o, err := register.OpenAddresses(cfg.AddressesPath, cfg.Network)
		if err != nil {
			return nil, registerAdvice(cfg, err)
		}
		return o, nil
	}
	f, err := register.Load(cfg.MembersPath, cfg.Network)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (the key members in %s names it)", err, cfg.Path)
	}
	if err != nil {
		return nil, err
	}
	return register.New(f), nil
}

// readMembers reads the register as the keeper needs it.
func readMembers(cfg *config.Config) (map[uint16]payout.Member, error) {
	r, err := openRegister(cfg)
	if err != nil {
		return nil, err
	}
	return newRoster(r).Members(), nil
}

// readAgain gives the register to who reads the files of a pool that may run: an
// open one grows meanwhile, and whoever is in what is read next must be known.
type readAgain struct {
	cfg  *config.Config
	last map[uint16]payout.Member
}

// Members implements keeper.Members.
func (r *readAgain) Members() map[uint16]payout.Member {
	if list, err := readMembers(r.cfg); err == nil {
		r.last = list
	}
	return r.last
}

// registerPath returns the file that the register is read from.
func registerPath(cfg *config.Config) string {
	if cfg.Open {
		return cfg.AddressesPath
	}
	return cfg.MembersPath
}

// registerAdvice adds to a register that lacks who worked here what an operator
// can do.
func registerAdvice(cfg *config.Config, err error) error {
	missing := errors.Is(err, keeper.ErrMembers)
	switch {
	case cfg.Open && (missing || errors.Is(err, register.ErrAddresses)):
		return fmt.Errorf("%w\nput back the newest %s from a backup, or add what it lacks with `cordee member rebuild`", err, cfg.AddressesPath)
	case missing:
		return fmt.Errorf("%w: keep his entry in %s; to retire a member, take his sites away", err, cfg.MembersPath)
	}
	return err
}

func rebuildAddressesCommand() *cli.Command {
	return &cli.Command{
		Name:  "rebuild",
		Usage: "in an open pool: add the addresses that the journal has and the file lacks, while no pool runs",
		Flags: []cli.Flag{configFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			cfg, err := config.Load(c.String("config"))
			if err != nil {
				return err
			}
			if !cfg.Open {
				return fmt.Errorf("%s says identity = \"consortium\": %s is yours to write", cfg.Path, cfg.MembersPath)
			}
			had, have, err := rebuildAddresses(cfg)
			if err != nil {
				return err
			}
			return emit(c, map[string]any{"ok": true, "file": cfg.AddressesPath, "addresses": have, "added": have - had}, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d addresses, %d of them added from the journal\n", cfg.AddressesPath, have, have-had)
			})
		},
	}
}

// rebuildAddresses adds what the journal knows to the file of addresses, and
// returns how many that had and has.
func rebuildAddresses(cfg *config.Config) (had, have int, err error) {
	hold, err := journal.Hold(cfg.Journal.Dir)
	if errors.Is(err, journal.ErrLocked) {
		return 0, 0, fmt.Errorf("a pool runs, and writes the file itself: stop it first: %w", err)
	}
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	o, err := register.OpenAddresses(cfg.AddressesPath, cfg.Network)
	if err != nil {
		return 0, 0, fmt.Errorf("%w\nnothing was changed: move it away first, then all of it comes from the journal", err)
	}
	had = len(o.Members())
	err = journal.Read(cfg.Journal.Dir, func(_ journal.RecordInfo, rec journal.Record) error {
		if r, ok := rec.(journal.Rig); ok {
			return o.Restore(r.Member, r.Name)
		}
		return nil
	})
	return had, len(o.Members()), err
}
