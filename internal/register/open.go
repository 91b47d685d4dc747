package register

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cordee/pool"
)

// Open is the register of open mode: who mines with an address is a member, and
// the address is his id. It grows by itself. An address has an index while a rig
// of it is connected, and for ever once a share of it was accepted: Keep writes
// that down before the share's rig may hear true (ADR 0016). So a bare authorize
// leaves nothing, and what it costs is bounded by the connections there are.
//
// It is safe for concurrent use. Keep takes no lock for an index that is kept.
type Open struct {
	network *pool.Network
	kept    [math.MaxUint16 + 1]atomic.Bool

	mu      sync.Mutex         // never held across I/O; guards:
	holders map[string]*holder // by output script
	byIndex map[uint16]*holder
	free    []uint16 // given back; the last is given first
	next    uint16   // lowest that was never given; 0 is none
	members []Member // kept, in the order of the file; only appended to
	asked   int      // members, and who will be
	waiting []*holder
	writing bool      // somebody writes, and owns file
	written sync.Cond // he is done
	err     error     // of a write; sticky
	file    *addressesFile
}

// MaxAddresses is how many addresses an open register keeps, ever. The receipt of
// a job credits all of them and is one record of the journal, at most 65535 bytes:
// one that does not fit would stop all mining.
const MaxAddresses = 4096

// holder is an address that has an index.
type holder struct {
	member Member
	names  int  // of rigs that are signed in
	asked  bool // waits to be written down, or is
}

// ErrFull reports that MaxAddresses are kept.
var ErrFull = errors.New("this pool has no room for more addresses")

// OpenAddresses returns the register that the file at path keeps, which need not
// be there yet. Nothing is written before the first Keep. A file that cannot be
// used is ErrAddresses.
func OpenAddresses(path string, n *pool.Network) (*Open, error) {
	file, list, err := readAddresses(path, n.Name)
	if err != nil {
		return nil, err
	}
	o := &Open{network: n, file: file, next: 1, holders: map[string]*holder{}, byIndex: map[uint16]*holder{}}
	o.written.L = &o.mu
	if o.members, err = file.members(list, n); err != nil {
		return nil, err
	}
	o.asked = len(o.members)
	for _, m := range o.members {
		o.hold(&holder{member: m, asked: true})
		o.kept[m.Index].Store(true)
	}
	return o, nil
}

// addressMember is the member who mines with an address.
func addressMember(b binding, script []byte) Member {
	return Member{
		ID: b.address, Index: b.index, Name: b.address,
		Destinations: []Destination{{Address: b.address, Script: script, BP: allBP}},
	}
}

func (o *Open) hold(h *holder) {
	o.holders[string(h.member.Destinations[0].Script)] = h
	o.byIndex[h.member.Index] = h
}

// Resolve finds who stands behind address, address.label or address_label, as
// Register.Resolve does behind its names. Who is found is held until one Leave for
// each time.
func (o *Open) Resolve(user string) (w pool.Worker, text string, ok bool) {
	m, err := parse(user, o.network.ParseMiner)
	if err != nil {
		return w, err.Error(), false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.holders[string(m.Script)]
	if h == nil {
		index := uint16(0)
		if o.asked < MaxAddresses {
			index = o.take()
		}
		if index == 0 {
			return w, ErrFull.Error(), false
		}
		h = &holder{member: addressMember(binding{index, m.Address}, m.Script)}
		o.hold(h)
	}
	h.names++
	return pool.Worker{Member: h.member.Index, Name: m.String()}, "", true
}

// take returns an index that nobody has, 0 for none. What was given back goes
// first: indexes stay few, and so do the renderings of jobs that name them.
func (o *Open) take() (index uint16) {
	if n := len(o.free); n > 0 {
		index, o.free = o.free[n-1], o.free[:n-1]
		return index
	}
	for o.next != 0 && o.kept[o.next].Load() {
		o.next++ // 0 behind the last
	}
	if index = o.next; index != 0 {
		o.next++
	}
	return index
}

// Leave gives back what one Resolve held. The index of an address that nobody
// mines with any more, and that had no share, is free again.
func (o *Open) Leave(member uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.byIndex[member]
	if h == nil || h.names == 0 {
		return
	}
	if h.names--; h.names > 0 || h.asked {
		return
	}
	delete(o.holders, string(h.member.Destinations[0].Script))
	delete(o.byIndex, member)
	o.free = append(o.free, member)
}

// Keep makes the index of a member his for ever. On nil that is durable: a share
// of his may be accepted. Many at once share a write. After one that failed no
// address is kept any more that was not before, until a restart.
func (o *Open) Keep(member uint16) error {
	if o.kept[member].Load() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.byIndex[member]
	if h == nil {
		return fmt.Errorf("index %d is of no address", member)
	}
	if !h.asked {
		if o.asked >= MaxAddresses {
			return ErrFull
		}
		h.asked = true
		o.asked++
		o.waiting = append(o.waiting, h)
	}
	for !o.kept[member].Load() {
		switch {
		case o.err != nil:
			return o.err
		case o.writing:
			o.written.Wait()
		default:
			o.write()
		}
	}
	return nil
}

// Kept says that member's index is his for ever: Keep returns nil at once.
func (o *Open) Kept(member uint16) bool { return o.kept[member].Load() }

// write makes those who wait durable. Called under mu, which it gives up while it
// writes.
func (o *Open) write() {
	batch := o.waiting
	o.waiting, o.writing = nil, true
	list := make([]binding, 0, len(batch))
	for _, h := range batch {
		list = append(list, binding{h.member.Index, h.member.ID})
	}
	o.mu.Unlock()
	err := o.file.append(list)
	o.mu.Lock()
	o.writing = false
	if err != nil {
		o.err = fmt.Errorf("%s: %w", o.file.path, err)
	} else {
		for _, h := range batch {
			o.members = append(o.members, h.member)
			o.kept[h.member.Index].Store(true)
		}
	}
	o.written.Broadcast()
}

// Members returns the members who are kept, in the order in which they came. They
// belong to the register: read them only.
func (o *Open) Members() []Member {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clip(o.members)
}

// Check returns ErrAddresses where the file does not know that member's index is
// of the address that a rig's full name begins with: shares that were accepted
// under it would be somebody else's.
func (o *Open) Check(member uint16, name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, _, _ := strings.Cut(name, ".")
	h := o.byIndex[member]
	switch {
	case h != nil && h.member.ID == id:
		return nil
	case h != nil:
		return o.file.errorf("it gives index %d to %s, and %s worked under it: restore the newest one from a backup", member, h.member.ID, id)
	}
	return o.file.errorf("index %d is missing, %s worked under it: restore the newest one from a backup", member, id)
}

// Restore keeps member's index for the address that a rig's full name begins with,
// as a journal has both. Where the file has it already nothing changes; where the
// index or the address is another's it is ErrAddresses.
func (o *Open) Restore(member uint16, name string) error {
	id, _, _ := strings.Cut(name, ".")
	m, err := o.network.ParseMiner(id)
	if err != nil || m.Address != id || member == 0 {
		return o.file.errorf("the journal has index %d of %q, which is no address of %s", member, id, o.network.Name)
	}
	o.mu.Lock()
	h, known := o.byIndex[member], o.holders[string(m.Script)]
	if h == nil && known == nil {
		o.hold(&holder{member: addressMember(binding{member, id}, m.Script)})
	}
	o.mu.Unlock()
	if h != known {
		return o.file.errorf("the journal has index %d of %s, the file has another there", member, id)
	}
	return o.Keep(member)
}
