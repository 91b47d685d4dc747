package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// Ack says when a share is true.
type Ack uint8

// Durable waits for fdatasync. Written waits for write(2): safe against a
// killed process, not against a power loss.
const (
	Durable Ack = iota
	Written
)

// Defaults and bounds of Config.
const (
	DefaultSegmentSize = 64 << 20
	defaultRecover     = 4 * DefaultSegmentSize
	minSegmentSize     = 2 * pageSize
	maxSegmentSize     = 1 << 30
	defaultMaxPending  = 1 << 20
	defaultMaxRigs     = 1 << 17
)

// Config is what Open needs. Dir, Edge, Prefix and Genesis are required; the
// rest has a good zero.
type Config struct {
	Dir     string
	Edge    uint16         // configured, unique, for ever
	Prefix  byte           // of extranonce1
	Genesis chainhash.Hash // of the chain: a directory serves one
	Program string         // name and version, for the epoch record

	SegmentSize int64         // bytes, rounded up to 4096; 0 is 64 MiB
	MinGap      time.Duration // least time between two commits of fewer than 64 records; 0 is none
	Ack         Ack           // what Ticket.Wait waits for
	MaxPending  int           // bytes waiting for one commit before Append blocks; 0 is 1 MiB
	MaxRigs     int           // rig names in one epoch, a quarter of them for one member; 0 is 131072

	// RecoverBytes is how much of the log's end Open reads and checks at least;
	// 0 is 256 MiB.
	RecoverBytes int64

	// Rig is told whose the names are in what Open reads, some of them twice; an
	// error of it refuses the directory. Nil is told nothing.
	Rig func(member uint16, name string) error

	// TolerateDamage starts a new epoch beside damaged segments instead of
	// refusing them. They are left as they are and named in
	// Recovery.Damage: mining goes on, money must not.
	TolerateDamage bool

	Now func() time.Time // nil is time.Now
	FS  FS               // nil is the machine's
}

func (c *Config) fill() error {
	if c.Dir == "" {
		return errors.New("journal: no directory is configured")
	}
	if c.SegmentSize == 0 {
		c.SegmentSize = DefaultSegmentSize
	}
	c.SegmentSize = (c.SegmentSize + pageSize - 1) &^ (pageSize - 1)
	if c.SegmentSize < minSegmentSize || c.SegmentSize > maxSegmentSize {
		return fmt.Errorf("journal: segment size %d is not within %d to %d bytes", c.SegmentSize, minSegmentSize, maxSegmentSize)
	}
	if c.MaxPending == 0 {
		c.MaxPending = defaultMaxPending
	}
	// What is pending becomes one frame, which must fit an empty segment and
	// leave room for an end mark.
	room := int(c.SegmentSize) - headerSize - frameHead - 2*align
	c.MaxPending = max(min(c.MaxPending, room), recordHead+shareSize)
	if c.MaxRigs == 0 {
		c.MaxRigs = defaultMaxRigs
	}
	if c.RecoverBytes <= 0 {
		c.RecoverBytes = defaultRecover
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FS == nil {
		c.FS = diskFS{}
	}
	return nil
}

// prefixSize is what stands before the payload in a pending buffer: the
// running hash (so that hashing needs no copy) and the frame's head.
const prefixSize = sha256.Size + frameHead

type rigKey struct {
	member uint16
	name   string
}

// Journal is an open log. All methods are safe for many goroutines.
type Journal struct {
	cfg   Config
	epoch uint32
	lock  io.Closer
	files *files

	mu       sync.Mutex
	work     sync.Cond    // the committer: something is pending, or Close
	room     sync.Cond    // Append: pending was taken
	written  sync.Cond    // write(2) returned, or failed
	durable  [2]sync.Cond // fdatasync returned, or failed: [turn] for whom the running one covers, the other for who comes later
	closing  bool
	err      error  // sticky
	pending  []byte // prefixSize bytes, then records
	spare    []byte // the other buffer, nil while it is written
	rigs     map[rigKey]uint32
	names    map[uint16]int // by member, in rigs
	seq      uint64         // last credited
	appended uint64         // records, ever; tickets are positions in this count
	wrote    uint64
	safe     uint64
	stats    Stats

	// Below: changed only by who set writing (flush) or under mu.
	writing bool
	syncing bool
	syncTo  uint64 // the running fdatasync makes safe up to here
	turn    uint8
	seg     File
	head    header
	off     int64 // end of the last frame of seg
	synced  int64 // end of what is durable of seg
	chain   [32]byte
	nextSeq uint64 // last credited seq of what was written, plus 1
	askAt   int64  // offset from which on the next segment is wanted

	ahead   *ahead
	told    told           // under mu
	news    sync.Cond      // those who tell: somebody is ready, or the end
	telling sync.WaitGroup // those who tell

	crowd chan struct{} // one: the committer need not wait for more
	done  chan struct{} // the committer ended
}

// Ticket is a promise about records that were appended. The zero Ticket is
// kept.
type Ticket struct {
	j   *Journal
	pos uint64
}

// Append adds records, all in one frame and in this order. It blocks while
// MaxPending bytes wait for the disk. Errors: ErrPoisoned, ErrClosed,
// ErrTooLarge, ErrReserved (epoch and sealed records are the journal's own).
// A Share gets its seq as in AppendShares, a *Share also learns it.
func (j *Journal) Append(recs ...Record) (Ticket, error) {
	var buf []byte
	for _, r := range recs {
		switch r := r.(type) {
		case Epoch, Sealed, *Epoch, *Sealed, Rig, *Rig:
			return Ticket{}, fmt.Errorf("%s: %w", r.Kind(), ErrReserved)
		case Job:
			if err := r.check(); err != nil {
				return Ticket{}, err
			}
		case *Job:
			if err := r.check(); err != nil {
				return Ticket{}, err
			}
		}
		var err error
		if buf, err = appendRecord(buf, r); err != nil {
			return Ticket{}, err
		}
	}
	if len(buf) > j.cfg.MaxPending {
		return Ticket{}, fmt.Errorf("%d bytes in one append, at most %d: %w", len(buf), j.cfg.MaxPending, ErrTooLarge)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.waitRoom(len(buf)); err != nil {
		return Ticket{}, err
	}
	at := 0
	for _, r := range recs {
		body := buf[at+recordHead:]
		at += recordHead + int(le.Uint16(buf[at+2:]))
		if r.Kind() != KindShare {
			if r.Kind() == KindAnswer {
				le.PutUint64(body, 0)
			}
			continue
		}
		j.seq++
		le.PutUint64(body, j.seq)
		if s, ok := r.(*Share); ok {
			s.Seq = j.seq
		}
	}
	j.pending = append(j.pending, buf...)
	return j.ticket(len(recs)), nil
}

// AppendShares adds shares, all in one frame and in this order, and sets Seq
// of each credited one to the next number. A share with Difficulty 0 becomes
// an answer record without seq. It blocks and fails as Append does, and
// allocates nothing.
func (j *Journal) AppendShares(shares []Share) (Ticket, error) {
	return j.appendShares(shares, j.waitRoom)
}

// TryAppendShares is AppendShares that does not block: ErrFull says that it would.
func (j *Journal) TryAppendShares(shares []Share) (Ticket, error) {
	return j.appendShares(shares, j.hasRoom)
}

// appendShares asks room, which is called under mu.
func (j *Journal) appendShares(shares []Share, room func(size int) error) (Ticket, error) {
	size := len(shares) * (recordHead + shareSize)
	if size > j.cfg.MaxPending {
		return Ticket{}, fmt.Errorf("%d shares in one append, at most %d: %w",
			len(shares), j.cfg.MaxPending/(recordHead+shareSize), ErrTooLarge)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := room(size); err != nil {
		return Ticket{}, err
	}
	for i := range shares {
		s := &shares[i]
		s.Seq = 0
		if s.Difficulty != 0 {
			j.seq++
			s.Seq = j.seq
		}
		j.pending = append(j.pending, byte(s.Kind()), version, shareSize, 0)
		j.pending = appendShare(j.pending, s)
	}
	return j.ticket(len(shares)), nil
}

// RigNumber returns the number of a worker's full name in this epoch, giving
// it one, and appending its record, the first time. A share that cites the
// number always stands behind that record. Errors as Append, and
// ErrTooManyRigs.
func (j *Journal) RigNumber(member uint16, name string) (uint32, error) {
	return j.rigNumber(member, name, j.waitRoom)
}

// TryRigNumber is RigNumber that does not block: ErrFull says that it would.
func (j *Journal) TryRigNumber(member uint16, name string) (uint32, error) {
	return j.rigNumber(member, name, j.hasRoom)
}

// rigNumber asks room, which is called under mu.
func (j *Journal) rigNumber(member uint16, name string, room func(size int) error) (uint32, error) {
	key := rigKey{member, name}
	j.mu.Lock()
	defer j.mu.Unlock()
	if n, ok := j.rigs[key]; ok {
		return n, nil
	}
	size := recordHead + 6 + len(name)
	if size > j.cfg.MaxPending || size > maxBody {
		return 0, fmt.Errorf("rig name of %d bytes: %w", len(name), ErrTooLarge)
	}
	if err := room(size); err != nil {
		return 0, err
	}
	if n, ok := j.rigs[key]; ok { // while waiting for room
		return n, nil
	}
	if len(j.rigs) >= j.cfg.MaxRigs {
		return 0, fmt.Errorf("%d names: %w", len(j.rigs), ErrTooManyRigs)
	}
	// Names below a member's sites are free, and parked work is anybody's: none
	// may take the numbers of all others.
	if most := max(j.cfg.MaxRigs/4, 1); j.names[member] >= most {
		return 0, fmt.Errorf("%d names of member %d: %w", most, member, ErrTooManyRigs)
	}
	n := uint32(len(j.rigs)) + 1
	var err error
	if j.pending, err = appendRecord(j.pending, Rig{Number: n, Member: member, Name: name}); err != nil {
		return 0, err
	}
	j.rigs[key] = n
	j.names[member]++
	j.ticket(1)
	return n, nil
}

// waitRoom returns with room for size bytes in pending. Called under mu, which
// it gives up while it waits.
func (j *Journal) waitRoom(size int) error {
	for {
		err := j.hasRoom(size)
		if !errors.Is(err, ErrFull) {
			return err
		}
		j.hurry()
		j.room.Wait()
	}
}

// hasRoom says whether size bytes may be appended now. Called under mu.
func (j *Journal) hasRoom(size int) error {
	switch {
	case j.err != nil:
		return j.err
	case j.closing:
		return ErrClosed
	case len(j.pending)-prefixSize+size > j.cfg.MaxPending:
		return ErrFull
	}
	return nil
}

// ticket counts n appended records and wakes the committer. Called under mu.
func (j *Journal) ticket(n int) Ticket {
	j.appended += uint64(n)
	j.stats.Records += uint64(n)
	j.work.Signal()
	if j.appended-j.wrote >= crowdSize {
		j.hurry()
	}
	return Ticket{j, j.appended}
}

// Wait returns nil when the records are durable (or written, where Config.Ack
// says so). After a failed write or fdatasync it returns ErrPoisoned for all
// that was not durable before.
func (t Ticket) Wait() error {
	if t.j == nil {
		return nil
	}
	if t.j.cfg.Ack == Written {
		return t.WaitWritten()
	}
	j := t.j
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.safe < t.pos {
		if j.err != nil {
			return j.err
		}
		// Not one cond for all: half of those that wait would be woken by an
		// fdatasync that began before their records were written.
		k := j.turn
		if !j.syncing || t.pos > j.syncTo {
			k ^= 1
		}
		j.durable[k].Wait()
	}
	return nil
}

// WaitWritten returns nil when write(2) returned: the records outlive the
// process, not the power. It does not wait for a running fdatasync: where
// needed the caller's own goroutine writes the frame.
func (t Ticket) WaitWritten() error {
	if t.j == nil {
		return nil
	}
	j := t.j
	j.mu.Lock()
	done := j.wrote >= t.pos
	j.mu.Unlock()
	if done {
		return nil
	}
	j.flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.wrote < t.pos {
		if j.err != nil {
			return j.err
		}
		j.written.Wait()
	}
	return nil
}

// wakeAll wakes every Ticket.Wait, and tells. Called under mu.
func (j *Journal) wakeAll() {
	j.settle()
	j.durable[0].Broadcast()
	j.durable[1].Broadcast()
}

// poison makes err the answer to everything that is not safe yet. Called under
// mu.
func (j *Journal) poison(what string, err error) {
	if j.err == nil {
		j.err = fmt.Errorf("%w: %s: %w", ErrPoisoned, what, diskFull(err))
	}
	j.work.Broadcast()
	j.room.Broadcast()
	j.written.Broadcast()
	j.wakeAll()
}
