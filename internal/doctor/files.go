package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"cordee/internal/config"
	"cordee/internal/firmware"
	"cordee/internal/journal"
	"cordee/internal/register"
)

func (r *Report) members(o *Options, cfg *config.Config) {
	if cfg.Open {
		r.addresses(o, cfg)
		return
	}
	f, err := register.Load(cfg.MembersPath, cfg.Network)
	if err != nil {
		r.problems("members", err)
		return
	}
	if err := o.Members(cfg, f.Members); err != nil {
		r.add("members", Fail, "give ids and indexes back as they were: the next start is refused", "%v", err)
		return
	}
	if n := len(f.Members); n == 0 {
		r.add("members", Warn, "add a [[member]]: until then every rig is refused or parked", "%s has none", cfg.MembersPath)
	} else {
		r.good("members", "%s: %d", cfg.MembersPath, n)
	}
	for _, m := range f.Members { // as init writes its example: the only address it knows
		if slices.ContainsFunc(m.Destinations, func(d register.Destination) bool { return bytes.Equal(d.Script, cfg.Payout.TreasuryScript) }) {
			r.add("member "+m.ID, Warn, "write the member's own address, before a block is found", "%s is paid to the treasury's address: nobody can tell it from what is owed to all", m.ID)
		}
	}
}

// manyAddresses is when an operator must think of another pool.
const manyAddresses = register.MaxAddresses / 4 * 3

// addresses looks at the members of an open pool.
func (r *Report) addresses(o *Options, cfg *config.Config) {
	const restore = "restore it from a backup; `cordee member rebuild` adds what the journal knows"
	open, err := register.OpenAddresses(cfg.AddressesPath, cfg.Network)
	if err == nil {
		err = o.Members(cfg, open.Members())
	}
	if err != nil {
		r.add("members", Fail, restore, "%v", err)
		return
	}
	if n := len(open.Members()); n > manyAddresses {
		r.add("members", Warn, "begin another pool before it is full: then no new address can mine here", "%s: %d of %d addresses", cfg.AddressesPath, n, register.MaxAddresses)
	} else {
		r.good("members", "open to every address: %d of %d so far", n, register.MaxAddresses)
	}
}

// firmware looks at the table of firmware, for o.Classes too.
func (r *Report) firmware(o *Options, cfg *config.Config) {
	table, err := firmware.Load(cfg.FirmwarePath, cfg.Network)
	if err != nil {
		r.problems("firmware", err)
	} else {
		r.good("firmware", "%d rows", len(table.Rows()))
	}
	if o.Classes == nil {
		o.Classes = firmware.Classes(table)
	}
}

// files looks at directories, disk and limits.
func (r *Report) files(o *Options, cfg *config.Config) {
	if st, err := os.Stat(cfg.SlotKeyPath); err == nil && st.Mode().Perm()&0o007 != 0 {
		r.add("slot key", Fail, "chmod 600 "+cfg.SlotKeyPath, "%s has mode %04o: everyone on this machine can read or change it", cfg.SlotKeyPath, st.Mode().Perm())
	}
	r.directory("data directory", cfg.DataDir)
	r.disk(o, "disk", cfg.DataDir)
	if rel, err := filepath.Rel(cfg.DataDir, cfg.Journal.Dir); err != nil || !filepath.IsLocal(rel) {
		r.directory("journal directory", cfg.Journal.Dir)
		r.disk(o, "journal disk", cfg.Journal.Dir)
	}
	r.openFiles(o, len(cfg.Nodes))
}

// nearest returns dir or the nearest directory above it that exists.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return dir
		}
		dir = up
	}
}

func (r *Report) directory(name, dir string) {
	there := nearest(dir)
	st, err := os.Stat(there)
	denied := unix.Access(there, unix.W_OK|unix.X_OK)
	switch {
	case err != nil:
		r.add(name, Fail, "correct data_dir, or the rights on the way to it", "%v", err)
	case !st.IsDir():
		r.add(name, Fail, "move it away, or choose another data_dir", "%s is not a directory", there)
	case errors.Is(denied, unix.EROFS):
		r.add(name, Fail, "mount it for writing; a disk that the system made read-only has failed: read its log (dmesg)", "%s: its file system is read-only", there)
	case denied != nil:
		r.add(name, Fail, "chown it to the user that runs the pool", "%s cannot be written by this user", there)
	case there != dir:
		r.good(name, "%s is made at the first start", dir)
	case st.Mode().Perm()&0o002 != 0:
		r.add(name, Fail, "chmod 700 "+dir, "%s has mode %04o: everyone on this machine can change the journal", dir, st.Mode().Perm())
	case st.Mode().Perm()&0o077 != 0:
		r.add(name, Warn, "chmod 700 "+dir, "%s has mode %04o: others on this machine can look into it", dir, st.Mode().Perm())
	default:
		r.good(name, "%s, mode %04o", dir, st.Mode().Perm())
	}
}

// Percent of the disk that must be free.
const (
	failFree = 10
	warnFree = 20
)

func (r *Report) disk(o *Options, name, dir string) {
	free, total, err := o.Disk(nearest(dir))
	if err != nil || total == 0 {
		r.add(name, Unknown, "look with `df "+dir+"`", "cannot be read: %v", err)
		return
	}
	percent := int(float64(free) / float64(total) * 100)
	const do = "free some, or move data_dir to a larger disk: a full one refuses every share"
	switch text := fmt.Sprintf("%s has %.1f GB free, %d %%", dir, float64(free)/1e9, percent); {
	case percent < failFree:
		r.add(name, Fail, do, "%s, less than %d %%", text, failFree)
	case percent < warnFree:
		r.add(name, Warn, do, "%s, less than %d %%", text, warnFree)
	default:
		r.good(name, "%s", text)
	}
}

// diskOf counts as df does: what is kept for root is not there.
func diskOf(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	size := uint64(st.Bsize)        // signed on Linux
	free = uint64(st.Bavail) * size //nolint:unconvert // field types differ by system, never negative
	return free, (st.Blocks-st.Bfree)*size + free, nil
}

// Open files: what the pool itself may need beside rigs, and what is enough for
// most pools.
const (
	filesOfPool = 128
	filesOfNode = 10
	goodFiles   = 4096
)

func (r *Report) openFiles(o *Options, nodes int) {
	limit, err := o.OpenFiles()
	if err != nil {
		r.add("open files", Unknown, "look with `ulimit -n`", "cannot be read: %v", err)
		return
	}
	const do = "raise it where the pool is started (ulimit -n, LimitNOFILE=, ulimits: of compose)"
	kept := uint64(filesOfPool + filesOfNode*nodes)
	switch {
	case limit <= kept:
		r.add("open files", Fail, do, "at most %d here, the pool alone may need %d", limit, kept)
	case limit < goodFiles:
		r.add("open files", Warn, do, "at most %d here: room for %d rigs", limit, limit-kept)
	default:
		r.good("open files", "at most %d here: room for %d rigs", limit, limit-kept)
	}
}

func openFiles() (uint64, error) {
	var limit unix.Rlimit // its soft value was raised to the hard one by the runtime
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err //nolint:unconvert // signed on some systems
}

// journal reads the journal's end, or all of it.
func (r *Report) journal(o *Options, cfg *config.Config, running bool) {
	dir := cfg.Journal.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		r.good("journal", "none yet in %s", dir)
		return
	}
	var rep journal.Report
	var err error
	what := "headers and the newest file hold"
	if o.Deep {
		rep, err = journal.Verify(dir, nil)
		what = "every checksum holds"
	} else {
		rep, err = journal.VerifyTail(dir)
	}
	for _, d := range rep.Damage {
		r.add("journal", Fail, "keep a copy of the directory, then `cordee journal verify`; see docs/operating.md", "%v", d)
	}
	switch {
	case len(rep.Damage) > 0:
	case err != nil:
		r.add("journal", Fail, "use the program that wrote it, as a user who may read it", "%v", err)
	case len(rep.Epochs) == 0:
		r.good("journal", "%s is empty", dir)
	default:
		last := &rep.Epochs[len(rep.Epochs)-1]
		if last.Edge != cfg.Edge.ID || last.Prefix != cfg.Edge.Prefix {
			r.add("journal", Fail, "correct [edge], which is for ever, or data_dir", "%s is of edge %d prefix %d, the file says %d and %d",
				dir, last.Edge, last.Prefix, cfg.Edge.ID, cfg.Edge.Prefix)
			return
		}
		end := "sealed"
		switch {
		case running:
			end = "being written"
		case !last.Sealed:
			end = "not sealed: the last run was killed, the next start cleans up"
		}
		r.good("journal", "%s: epoch %d, last seq %d, %s; %s", dir, last.Epoch, last.LastSeq, what, end)
	}
}
