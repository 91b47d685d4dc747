package keeper

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

// Log is what the keeper needs of the running journal. *journal.Journal is one.
type Log interface {
	// Durable returns the end of what no crash can take back.
	Durable() journal.Position
}

// Chain is what the keeper needs of the nodes.
type Chain interface {
	// InChain returns height and confirmations of a block; confirmations are -1
	// for one off the active chain. A block that no node knows is an error for
	// which Unknown is true.
	InChain(ctx context.Context, hash chainhash.Hash) (height int32, confirmations int64, err error)
	// Unknown reports an error of InChain that says: no node knows this block.
	Unknown(err error) bool
	// Block returns a block in wire form.
	Block(ctx context.Context, hash chainhash.Hash) ([]byte, error)
}

// Members gives the register as a settlement needs it, by index. What it
// returns is not changed any more.
type Members interface {
	Members() map[uint16]payout.Member
}

// Config is what one keeper is made of. Every field is needed but the last
// five.
type Config struct {
	Dir      string // data_dir: slots/ and ledger/ are made in it
	Journal  string // the journal's directory
	Edge     uint16
	Log      Log
	Store    payout.Store
	Meta     payout.Meta // the incarnation is on the caller's disk already
	Rules    payout.Rules
	Treasury []byte // output script
	Members  Members
	Chain    Chain
	Key      ed25519.PrivateKey // signs slots
	Secret   [32]byte           // the pool's, for salts
	Recovery *journal.Recovery
	Logger   zerolog.Logger

	// Volatile says that the store begins empty at each start, as one in memory
	// does.
	Volatile   bool
	SlotEvery  time.Duration // 0: 60 s
	FollowEach time.Duration // how often the chain is asked about blocks of ours without a poke; 0: 5 s
	HealthEach time.Duration // how often the store is asked what should be changed about it; 0: 60 s
	Now        func() time.Time
}

// Keeper is the accountant of one pool. All methods are safe for concurrent
// use; Payout never waits for a disk, a store or a node.
type Keeper struct {
	*Files // slots is guarded by closing, events by writing

	cfg Config
	log zerolog.Logger
	now func() time.Time

	cut  atomic.Pointer[cut]  // of the newest slot
	book atomic.Pointer[book] // of the newest event

	closing sync.Mutex // one CloseSlots at a time; guards:
	tail    *journal.Tail
	epoch   uint32   // of the last share in a slot
	seq     uint64   // of it
	head    [32]byte // of the newest slot
	window  *payout.Window
	edges   edgeRecords
	indexes indexes // of who is in slots or ledger

	writing sync.Mutex // one writer of the ledger at a time; guards:
	ledger  *payout.Ledger
	heads   [][32]byte // ledger head behind event i+1
	haltLog haltLog

	following sync.Mutex // one Follow at a time; guards:
	ancestors map[chainhash.Hash]ancestor

	mu         sync.Mutex // never held across I/O; guards:
	candidates map[chainhash.Hash]*candidate
	receipts   map[receiptKey]known // by commitment, of jobs that may still be a block
	lastSlot   uint32
	tip        pool.Tip // parent of the newest template
	expected   expected
	split      splitOf  // of the newest template, common to all classes
	covered    pool.Tip // the newest block all ancestors of which are decided
	status     shipStatus
	trouble    map[string]string // named states that pass by themselves
	problems   []payout.Problem  // of the store, as last seen

	shipping  sync.Mutex
	opened    bool
	pokeShip  chan struct{} // something new is to be shipped
	pokeLift  chan struct{} // people say that the store may be right again
	pokeChain chan struct{}

	pokeHealth chan struct{} // the store is back
}

// receiptKey names what a block says of its receipt. The commitment alone does
// not: the same split on another parent commits to the same bytes. Receipts with
// one key may differ in ledger head and drain, and pay the same.
type receiptKey struct {
	commitment [32]byte
	prev       chainhash.Hash
}

// known is a receipt that a job of ours was built with.
type known struct {
	height int32
	bytes  []byte
}

// New reads what earlier runs left in cfg.Dir and in the journal, and returns a
// keeper that can pay at once. It asks neither store nor chain. Errors:
// ErrDamaged, with the file's name; ErrOlderJournal; payout.ErrRules;
// ErrMembers; ErrIndexes.
func New(cfg Config) (*Keeper, error) {
	switch {
	case cfg.Dir == "", cfg.Journal == "", cfg.Log == nil, cfg.Store == nil, cfg.Members == nil, cfg.Chain == nil, cfg.Recovery == nil:
		return nil, errors.New("keeper: directories, log, store, members, chain and recovery are needed")
	case len(cfg.Key) != ed25519.PrivateKeySize:
		return nil, fmt.Errorf("keeper: the slot key has %d bytes, ed25519 needs %d: run cordee init", len(cfg.Key), ed25519.PrivateKeySize)
	case cfg.Secret == [32]byte{}:
		return nil, errors.New("keeper: the pool's secret is empty: run cordee init")
	case len(cfg.Treasury) == 0:
		return nil, fmt.Errorf("keeper: %w", payout.ErrTreasury)
	}
	if err := cfg.Rules.Check(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if cfg.SlotEvery == 0 {
		cfg.SlotEvery = 60 * time.Second
	}
	if cfg.FollowEach == 0 {
		cfg.FollowEach = 5 * time.Second
	}
	if cfg.HealthEach == 0 {
		cfg.HealthEach = 60 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	k := &Keeper{
		Files: filesOf(&cfg), cfg: cfg, log: cfg.Logger, now: cfg.Now, tail: journal.NewTail(cfg.Journal),
		candidates: map[chainhash.Hash]*candidate{}, receipts: map[receiptKey]known{}, ancestors: map[chainhash.Hash]ancestor{}, trouble: map[string]string{},
		pokeShip: make(chan struct{}, 1), pokeLift: make(chan struct{}, 1), pokeChain: make(chan struct{}, 1), pokeHealth: make(chan struct{}, 1),
	}
	var err error
	if k.slots, err = openShelf(filepath.Join(cfg.Dir, "slots"), ".slot"); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if k.events, err = openShelf(filepath.Join(cfg.Dir, "ledger"), ".event"); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if err := k.loadLedger(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if err := k.loadSlots(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if err := k.checkMembers(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if err := k.loadIndexes(); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	k.recoverCandidates(cfg.Recovery)
	return k, nil
}

// ErrMembers reports a register that lacks a member whose work counts, or who is
// in the ledger.
var ErrMembers = errors.New("the register must know for ever whoever worked here")

// checkMembers returns ErrMembers for a register with which no split could be
// computed: every block would be nobody's.
func (k *Keeper) checkMembers() error {
	members := k.cfg.Members.Members()
	known := func(m uint16) bool {
		_, ok := members[m]
		return ok || m == 0
	}
	for _, o := range k.ledger.Owners() {
		if o.Account == "" && !known(o.Member) {
			return fmt.Errorf("the ledger has a member of index %d (owed %d sats, paid %d) and the register has none: %w",
				o.Member, k.ledger.Balance(o).Owed(), k.ledger.Balance(o).Paid, ErrMembers)
		}
	}
	if c := k.cut.Load(); c != nil {
		for _, w := range c.weights.Members {
			if !known(w.Member) {
				return fmt.Errorf("a member of index %d has work in the window of slot %d and the register has none: %w", w.Member, c.slot, ErrMembers)
			}
		}
	}
	return nil
}

// Run closes slots, ships and follows blocks until ctx ends. Shares that are in
// no slot by then are in the first of the next run. Failures are logged, shown by
// Status and tried again; the error is always nil.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { k.ship(ctx) })
	wg.Go(func() { k.follow(ctx) })
	wg.Go(func() { k.watchStore(ctx) })
	tick := time.NewTicker(k.cfg.SlotEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		k.closeDue()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	wg.Wait()
	return nil
}

func (k *Keeper) closeDue() {
	n, err := k.CloseSlots()
	if k.note("slots", err) {
		k.log.Error().Str("event", "slot.failed").Err(err).
			Msg("no slot can be closed: jobs keep the last cut, shares stay in the journal; repair what is named and restart")
	}
	if n > 0 {
		poke(k.pokeShip)
	}
}

// poke leaves a note that there is something to do. It never blocks.
func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// note keeps err as the trouble of that name, or ends it, and reports whether
// it is a new one.
func (k *Keeper) note(name string, err error) (news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		delete(k.trouble, name)
		return false
	}
	text := err.Error()
	news = k.trouble[name] != text
	k.trouble[name] = text
	return news
}
