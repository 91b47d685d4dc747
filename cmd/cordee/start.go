package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/rs/zerolog"

	"cordee/internal/journal"
	"cordee/internal/keeper"
)

// maxSocketPath is what sun_path of a Unix socket takes everywhere: 104 bytes
// with the zero on BSD and macOS, 108 on Linux.
const maxSocketPath = 103

// journalAdvice adds to an error of journal.Open what an operator can do.
func journalAdvice(err error) error {
	if errors.Is(err, journal.ErrDamaged) {
		return fmt.Errorf("%w\nnothing was changed: keep a copy, look with `cordee journal verify`, and start with --tolerate-damage to mine on beside it", err)
	}
	return err
}

// openBooks opens the journal and the accounts of it. A journal that is older
// than its slots, as one from a backup may be, is refused, or tolerated as damage
// is: each try begins an epoch, until that is one that no slot has counted.
func (p *process) openBooks(ctx context.Context, tolerate bool) (*journal.Recovery, error) {
	cfg, v := p.cfg, readVersion()
	ack := journal.Durable
	if cfg.Journal.Written {
		ack = journal.Written
	}
	for {
		j, recovery, err := journal.Open(journal.Config{
			Dir: cfg.Journal.Dir, Edge: cfg.Edge.ID, Prefix: cfg.Edge.Prefix,
			Genesis: *cfg.Network.Params.GenesisHash, Program: v.Version + " " + v.Commit,
			SegmentSize: cfg.Journal.SegmentSize, MinGap: cfg.Journal.MinGap, Ack: ack,
			TolerateDamage: tolerate, Rig: p.register.Check,
		})
		if err != nil {
			return nil, registerAdvice(cfg, journalAdvice(err))
		}
		p.journal = j
		logRecovery(p.log, recovery)
		p.keeper, err = newKeeper(ctx, cfg, p.store, j, recovery, p.register, p.nodes, p.log)
		switch {
		case !errors.Is(err, keeper.ErrOlderJournal):
			return recovery, registerAdvice(cfg, err)
		case !tolerate:
			return nil, fmt.Errorf("%w\nfind a newer copy of %s; where there is none, start with --tolerate-damage: shares behind the copy stay counted, new ones begin behind them", err, cfg.Journal.Dir)
		}
		p.log.Error().Str("event", "journal.older").Err(err).Msg("shares that slots count are not in this journal; another epoch is begun, so that none of the new ones is taken for them")
		p.journal = nil
		if err := j.Close(); err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
	}
}

// logRecovery says what the journal's start found. Damage that was tolerated is
// told range by range: somebody has to look at it.
func logRecovery(log zerolog.Logger, r *journal.Recovery) {
	log.Info().Str("event", "journal.recover").Uint32("epoch", r.Epoch).Bool("sealed", r.Sealed).
		Uint64("last_seq", r.LastSeq).Int64("cut_bytes", r.CutBytes).
		Int("unread_segments", r.Unread).Int("candidates", len(r.Candidates)).Dur("took_ms", r.Took).Msg("journal open")
	if r.CutBytes > 0 {
		log.Warn().Str("event", "journal.cut").Str("file", r.CutFile).Int64("bytes", r.CutBytes).
			Msg("the last run ended in the middle of a commit: its torn end was cut, nobody was answered for it")
	}
	for _, d := range r.Damage {
		log.Error().Str("event", "journal.damaged").Str("file", d.File).Int64("from", d.From).Int64("to", d.To).
			Str("why", d.Why).Uint64("first_seq", d.FirstSeq).Uint64("last_seq", d.LastSeq).
			Msg("damage is tolerated (--tolerate-damage): rigs mine, but no money may be counted from this journal until it is understood")
	}
}

// Open files that rigs must leave: to the pool itself, and to each node.
const (
	filesOfPool = 128 // journal, candidates, pages, the control socket
	filesOfNode = 10  // three lanes of three, and ZMQ
	mostRigs    = 20_000
)

// rigRoom returns how many rigs may connect under the process's limit of open
// files. Whoever fills them must not take the files of a block or of the
// journal, which would be poisoned by it.
func rigRoom(log zerolog.Logger, nodes int) (int, error) {
	var limit syscall.Rlimit // its soft value was raised to the hard one by the runtime
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	kept := uint64(filesOfPool + filesOfNode*nodes)
	files := limit.Cur
	if files <= kept {
		return 0, fmt.Errorf("the limit of open files is %d, the pool alone may need %d: raise it (ulimit -n, LimitNOFILE=)", files, kept)
	}
	room := min(files-kept, mostRigs)
	if room < mostRigs {
		log.Warn().Str("event", "rigs.limited").Uint64("rigs", room).Uint64("open_files", files).
			Msg("the limit of open files leaves room for so many rigs only; raise it (ulimit -n, LimitNOFILE=)")
	}
	return int(room), nil
}

// portAdvice names the key and the address that could not be opened, and what
// can be done.
func portAdvice(key, address string, err error) error {
	advice := "check that the address is one of this machine"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another program listens there; stop it or choose another port"
	case errors.Is(err, fs.ErrPermission):
		advice = "ports below 1024 need a privilege; choose a higher one"
	}
	return fmt.Errorf("%s address %q: %w: %s", key, address, err, advice)
}

// listenControl opens the operator's socket, readable by its owner only. The
// journal's lock already proved that no other process owns this directory, so
// a socket left by a crash is ours to replace.
func listenControl(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket: %s has %d bytes, a socket's name may have %d: choose a shorter data_dir", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	old := syscall.Umask(0o177)
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return ln, nil
}
