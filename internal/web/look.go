package web

import (
	"slices"
	"strings"
	"sync"
	"time"

	"cordee/pool"
)

const (
	// lookLife is how long one look at the pool is shown to whoever asks: a
	// crowd at the page costs the pool no more than one visitor.
	lookLife = time.Second
	// lookBlocks bounds the blocks that strangers see, newest first.
	lookBlocks = 100
	// staleTemplate is the age in seconds at which rigs are sent to their backup.
	staleTemplate = 60
	// maturity is the confirmations that the chain asks of a coinbase.
	maturity = 100
)

// The conditions of the pool, as pages and JSON say it.
const (
	conditionNormal = "normal"
	conditionWatch  = "watch" // it mines and pays, and something wants a look
	conditionAlert  = "alert" // it does not mine, or does not pay
)

// look is what strangers may see, of one moment. It has no rig's name or
// address, no error text, no path.
type look struct {
	Pool    PublicPool
	Members PublicMembers
	Blocks  PublicBlocks
	pages   map[string][]byte // rendered, by language
}

// PublicPool is the state of the pool, the answer of /api/pool.
type PublicPool struct {
	Time        time.Time    `json:"time"`
	Network     string       `json:"network"`
	Condition   string       `json:"condition"` // normal, watch or alert
	Mining      bool         `json:"mining"`    // rigs get fresh work from a healthy node
	Hashrate    float64      `json:"hashrate"`  // estimate, hashes per second
	Rigs        int          `json:"rigs"`
	Height      int32        `json:"height"` // of the block being mined; 0 before the first template
	TemplateAge float64      `json:"template_age_seconds"`
	Nodes       []PublicNode `json:"nodes"`
	Store       string       `json:"store"`
	Slot        uint32       `json:"slot"`
	Treasury    int64        `json:"treasury_sats"`
	Halts       []string     `json:"halts"`                // why payouts stop
	Trouble     []string     `json:"trouble"`              // parts that fail now and are tried again
	LastBlock   *PublicBlock `json:"last_block,omitempty"` // the newest that the chain may have; nil for none
}

// PublicNode is one node without its errors, which may name addresses.
type PublicNode struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Healthy  bool   `json:"healthy"`
	Followed bool   `json:"followed"`
	Height   int32  `json:"height"`
}

// PublicMembers is the answer of /api/members.
type PublicMembers struct {
	Time    time.Time `json:"time"`
	Members []Account `json:"members"`
}

// PublicBlocks is the answer of /api/blocks: the newest, of Total.
type PublicBlocks struct {
	Time   time.Time     `json:"time"`
	Total  int           `json:"total"`
	Blocks []PublicBlock `json:"blocks"`
}

// PublicBlock is a block without the name of the rig that found it.
type PublicBlock struct {
	Hash          string          `json:"hash"`
	Height        int32           `json:"height"`
	State         pool.BlockState `json:"state"`
	Confirmations int64           `json:"confirmations"`
	Value         int64           `json:"value_sats"`
	Member        string          `json:"found_by,omitempty"`
	Found         time.Time       `json:"found,omitzero"`
	Split         *Split          `json:"split,omitempty"`
}

// looks keeps the newest look.
type looks struct {
	source Source
	mu     sync.Mutex // held while the source is read, so that it is read once
	last   *look
}

// now returns a look of the last second.
func (l *looks) now() *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh()
}

// page returns the rendered page of the last second.
func (l *looks) page(lang *language) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.fresh()
	if b := k.pages[lang.Code]; b != nil {
		return b, nil
	}
	b, err := render(k, lang)
	if err == nil {
		k.pages[lang.Code] = b
	}
	return b, err
}

// fresh is now under the lock.
func (l *looks) fresh() *look {
	if at := time.Now(); l.last == nil || at.Sub(l.last.Pool.Time) >= lookLife {
		l.last = lookAt(l.source, at)
	}
	return l.last
}

func lookAt(source Source, at time.Time) *look {
	s, a, b := source.Status(), source.Accounts(), source.Blocks()
	k := &look{
		Pool: PublicPool{
			Time: at, Network: s.Network, Mining: mines(&s), Hashrate: s.Hashrate, Rigs: s.Working, Height: s.Height, TemplateAge: s.TemplateAge,
			Nodes: []PublicNode{}, Store: a.Store, Slot: a.Slot, Treasury: a.Treasury,
			Halts: append([]string{}, a.Halts...), Trouble: []string{},
		},
		Members: PublicMembers{Time: at, Members: append([]Account{}, a.Members...)},
		Blocks:  PublicBlocks{Time: at, Total: len(b.Blocks), Blocks: []PublicBlock{}},
		pages:   map[string][]byte{},
	}
	for _, n := range s.Nodes {
		k.Pool.Nodes = append(k.Pool.Nodes, PublicNode{Name: n.Name, State: n.State, Healthy: n.Healthy, Followed: n.Followed, Height: n.Height})
	}
	for _, t := range a.Trouble { // "part: why", and why is for the operator
		part, _, _ := strings.Cut(t, ":")
		k.Pool.Trouble = append(k.Pool.Trouble, part)
	}
	for i := range min(len(b.Blocks), lookBlocks) {
		k.Blocks.Blocks = append(k.Blocks.Blocks, publicBlock(&b.Blocks[i]))
	}
	for i := range k.Blocks.Blocks {
		if b := &k.Blocks.Blocks[i]; b.State != pool.BlockOrphaned && b.State != pool.BlockRefused {
			k.Pool.LastBlock = b
			break
		}
	}
	k.Pool.Condition = conditionOf(&s, &a)
	return k
}

func publicBlock(b *Block) PublicBlock {
	out := PublicBlock{
		Hash: b.Hash, Height: b.Height, State: b.State, Confirmations: b.Confirmations,
		Value: b.Value, Found: b.Found, Split: b.Split, Member: b.Member,
	}
	if member, _, named := strings.Cut(b.Worker, "."); named { // else the index alone is known
		out.Member = member
	}
	return out
}

// conditionOf sums up a pool in one word.
func conditionOf(s *Status, a *Accounts) string {
	ill := func(n Node) bool { return !n.Healthy }
	switch {
	case !mines(s), len(a.Halts) > 0, s.Lost > 0, s.Journal.Poisoned:
		return conditionAlert
	case len(a.Trouble) > 0, slices.ContainsFunc(s.Nodes, ill), s.Canary.Refused > 0, a.Store == "unavailable", a.Store == "stopped":
		return conditionWatch
	}
	return conditionNormal
}

// mines says whether rigs get fresh work from a healthy node.
func mines(s *Status) bool {
	healthy := func(n Node) bool { return n.Healthy }
	return s.Height > 0 && s.TemplateAge <= staleTemplate && s.NoJob == "" && slices.ContainsFunc(s.Nodes, healthy)
}
