package register

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// MaxUser is the longest user name looked at, in bytes (decision 38).
const MaxUser = 128

var errLongName = errors.New("name is too long: at most 128 bytes")

// parse reads a user name. One that does not parse is decoded once from
// percent-encoding, which some firmware applies, and tried again.
func parse[Name any](user string, read func(string) (Name, error)) (name Name, err error) {
	if len(user) > MaxUser {
		return name, errLongName
	}
	name, err = read(user)
	if err != nil && strings.IndexByte(user, '%') >= 0 {
		if decoded, bad := url.PathUnescape(user); bad == nil {
			return read(decoded)
		}
	}
	return name, err
}

// Register resolves names by the newest file that was accepted. It is safe for
// concurrent use; Resolve and Members take no lock.
type Register struct {
	file   atomic.Pointer[File]
	reload sync.Mutex // one Reload at a time, each judged against the last
}

// New returns a register of f's members.
func New(f *File) *Register {
	r := &Register{}
	r.file.Store(f)
	return r
}

// Resolve finds who stands behind a user name: member.site.rig, case folded, a
// missing rig being "default". ok is false for a name that is refused; text then says why, in ASCII without quotes,
// under 60 bytes. Where the file says unknown = "park", an unknown member or
// site gets index 0 and its full name. Worker.Rig is always 0.
func (r *Register) Resolve(user string) (w pool.Worker, text string, ok bool) {
	name, err := parse(user, pool.ParseName)
	switch {
	case errors.Is(err, errLongName):
		return w, err.Error(), false
	case err != nil:
		return w, "name must be member.site.rig of a-z 0-9 and -", false
	}
	f := r.file.Load()
	sites, known := f.sites[name.Member]
	if known {
		_, known = sites[name.Site]
	}
	switch {
	case known:
		w.Member = f.Members[f.byID[name.Member]].Index
	case f.Park:
	case sites == nil:
		return w, "member " + name.Member + " is not registered here", false
	default:
		return w, "member " + name.Member + " has no site " + name.Site, false
	}
	w.Name = name.String()
	return w, "", true
}

// Leave does nothing: a registered member stays.
func (r *Register) Leave(uint16) {}

// Keep does nothing: a registered member's index is for ever already.
func (r *Register) Keep(uint16) error { return nil }

// Kept says that Keep has nothing to do.
func (r *Register) Kept(uint16) bool { return true }

// Check returns an error of the file, as Load's, where it gives the index of
// shares that were accepted to another member than the rig's full name says.
// Whether an index is missing is not looked at.
func (r *Register) Check(member uint16, name string) error {
	f := r.file.Load()
	id, _, _ := strings.Cut(name, ".")
	at := f.at.Again()
	for i, m := range f.Members {
		if m.Index == member && m.ID != id {
			at.Errorf(tomlfile.Index("member", i)+".index", "%d belongs to %s for ever, who worked under it, not to %s", member, id, m.ID)
		}
	}
	return at.Err()
}

// Members returns the members in the order of the file. They belong to the
// register: read them only.
func (r *Register) Members() []Member { return r.file.Load().Members }

// File returns the file in force.
func (r *Register) File() *File { return r.file.Load() }

// Reload reads path, for the network of the first file, and puts it in force
// for names resolved from then on. A file with problems, or one that moves,
// reuses or drops a member's index, changes nothing; the error is as Load's.
func (r *Register) Reload(path string) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	old := r.file.Load()
	next, err := Load(path, old.Network)
	if err != nil {
		return err
	}
	if err := next.follows(old); err != nil {
		return err
	}
	r.file.Store(next)
	return nil
}

// follows reports where next breaks with the indexes of old.
func (next *File) follows(old *File) error {
	at := next.at.Again()
	for _, was := range old.Members {
		if i, ok := next.byID[was.ID]; ok {
			if now := next.Members[i].Index; now != was.Index {
				at.Errorf(tomlfile.Index("member", i)+".index",
					"member %s has index %d for ever, not %d: coinbases and journals carry it", was.ID, was.Index, now)
			}
			continue
		}
		same := func(m Member) bool { return m.Index == was.Index }
		if i := slices.IndexFunc(next.Members, same); i >= 0 {
			at.Errorf(tomlfile.Index("member", i)+".id",
				"index %d belongs to member %s for ever, not to %s: ids do not change, the name may", was.Index, was.ID, next.Members[i].ID)
			continue
		}
		at.Errorf("", "member %s (index %d) was removed: to retire a member, keep its entry and take its sites away", was.ID, was.Index)
	}
	return at.Err()
}
