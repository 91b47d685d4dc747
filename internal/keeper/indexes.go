package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cordee/payout"
	"cordee/pool"
)

// IndexFile is the file in the data directory that says to whom each index
// belongs that ever worked: a line "index id" each, and a last one that counts
// them. Slots, receipts and events know members by index alone, so nothing else
// tells that two members have changed places.
const IndexFile = "indexes"

// ErrIndexes reports a register in which an index that worked is another
// member's.
var ErrIndexes = errors.New("an index is its member's for ever: correct members.toml")

// indexes are the ids of members who ever worked, by index.
type indexes map[uint16]string

// CheckIndexes compares members with what the data directory dir remembers of
// them, and changes nothing. Errors: ErrIndexes, ErrMembers, ErrDamaged.
func CheckIndexes(dir string, members map[uint16]payout.Member) error {
	known, err := readIndexes(dir)
	if err != nil {
		return err
	}
	return known.check(members)
}

// check returns an error that names everybody who is not where he was.
func (known indexes) check(members map[uint16]payout.Member) error {
	at := make(map[string]uint16, len(members))
	for m, who := range members {
		at[who.ID] = m
	}
	var texts []string
	why := ErrMembers
	for _, m := range slices.Sorted(maps.Keys(known)) {
		id, now := known[m], members[m].ID
		other, moved := at[id]
		switch {
		case now == id:
			continue
		case now != "":
			texts = append(texts, fmt.Sprintf("index %d is member %s's, not %s's", m, id, now))
		case moved:
			texts = append(texts, fmt.Sprintf("member %s has index %d, not %d", id, m, other))
		default:
			texts = append(texts, fmt.Sprintf("member %s of index %d has worked here and is missing", id, m))
			continue
		}
		why = ErrIndexes
	}
	if texts == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.Join(texts, "; "), why)
}

// readIndexes returns what dir remembers, nothing for a new one.
func readIndexes(dir string) (indexes, error) {
	name := filepath.Join(dir, IndexFile)
	text, err := os.ReadFile(name) // #nosec G304 -- in data_dir
	if errors.Is(err, fs.ErrNotExist) {
		return indexes{}, nil
	}
	if err != nil {
		return nil, err
	}
	lines, known := strings.SplitAfter(string(text), "\n"), indexes{}
	n := len(lines) - 2 // behind the last line feed is nothing
	if n < 0 || lines[n]+lines[n+1] != countLine(n) {
		return nil, fmt.Errorf("%s: its last line does not count those before it: restore it from a backup: %w", name, ErrDamaged)
	}
	for i, line := range lines[:n] {
		index, id, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		m, err := strconv.ParseUint(index, 10, 16)
		if _, twice := known[uint16(m)]; err != nil || id == "" || twice {
			return nil, fmt.Errorf("%s:%d: %q is not an index and an id: restore the file from a backup: %w", name, i+1, line, ErrDamaged)
		}
		known[uint16(m)] = id
	}
	return known, nil
}

func countLine(n int) string { return fmt.Sprintf("%d members\n", n) }

// write makes the file in dir say what is known, durably.
func (known indexes) write(dir string) error {
	var b []byte
	for _, m := range slices.Sorted(maps.Keys(known)) {
		b = fmt.Appendf(b, "%d %s\n", m, known[m])
	}
	return writeFile(filepath.Join(dir, IndexFile), append(b, countLine(len(known))...))
}

// learn returns known with the members in list that it lacks, each with the id
// that members have, and whether there are any. Index 0 is nobody's.
func (known indexes) learn(list []uint16, members map[uint16]payout.Member) (more indexes, news bool) {
	more = maps.Clone(known)
	for _, m := range list {
		if id := members[m].ID; m != 0 && id != "" && more[m] == "" {
			more[m], news = id, true
		}
	}
	return more, news
}

// loadIndexes refuses a register in which somebody has another's index, and
// remembers who works and is owed. Where the file does not know a member, as in
// the first start of a program that keeps it, the name of a rig in the journal
// does.
func (k *Keeper) loadIndexes() error {
	known, err := readIndexes(k.cfg.Dir)
	if err != nil {
		return err
	}
	members := k.cfg.Members.Members()
	seen := maps.Clone(known)
	var worked []uint16
	for m, name := range k.cfg.Recovery.Workers {
		worked = append(worked, m)
		if n, err := pool.ParseName(name); err == nil && m != 0 && seen[m] == "" {
			seen[m] = n.Member
		}
	}
	if err := seen.check(members); err != nil {
		return err
	}
	for _, o := range k.ledger.Owners() {
		worked = append(worked, o.Member)
	}
	if c := k.cut.Load(); c != nil {
		for _, w := range c.weights.Members {
			worked = append(worked, w.Member)
		}
	}
	k.indexes = known
	return k.rememberIndexes(worked)
}

// rememberIndexes keeps to whom the indexes in list belong, before a slot says that
// they worked.
func (k *Keeper) rememberIndexes(list []uint16) error {
	more, news := k.indexes.learn(list, k.cfg.Members.Members())
	if !news {
		return nil
	}
	if err := more.write(k.cfg.Dir); err != nil {
		return err
	}
	k.indexes = more
	return nil
}
