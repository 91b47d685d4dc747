package web

import (
	"time"

	"cordee/pool"
)

// Source is where the pages read. cmd/cordee wires it.
type Source interface {
	Status() Status
	Rigs(member string) Rigs // of one member id, or of all for ""
	Blocks() Blocks
	Closes() Closes
	Accounts() Accounts
}

// Accounts is who is owed what. Amounts are sats.
type Accounts struct {
	Slot     uint32    `json:"slot"` // newest closed; 0 before the first
	Store    string    `json:"store"`
	Treasury int64     `json:"treasury_sats"`
	Halts    []string  `json:"halts"`
	Trouble  []string  `json:"trouble"`
	Members  []Account `json:"members"`
}

// Account is one member in amounts that are never summed: what is expected
// belongs to a block that is not found. What blocks of the chain credited is
// Maturing, Carried and Paid, each sat in one of them.
type Account struct {
	Member   string `json:"member"`
	Index    uint16 `json:"index"`
	Expected int64  `json:"expected_sats"`
	Direct   int64  `json:"direct_sats"`               // what that block's own coinbase would pay, what was carried among it, for a rig of the largest class here
	Maturing int64  `json:"maturing_sats"`             // by blocks that may still be orphaned
	Outputs  int64  `json:"maturing_in_coinbase_sats"` // of Maturing: already in an output of the member's, not spendable yet
	Carried  int64  `json:"carried_sats"`              // earned by mature blocks, in no output yet
	Paid     int64  `json:"paid_sats"`                 // can be spent
}

// Status is one look at the pool. Hashrates and difficulties are for display;
// everything that is owed or counted is an integer.
type Status struct {
	Network     string            `json:"network"`
	Version     string            `json:"version"`
	Epoch       uint32            `json:"epoch"`
	Started     time.Time         `json:"started"`
	Height      int32             `json:"height"`
	PrevHash    string            `json:"prev_hash"`
	Node        string            `json:"node"`
	TemplateAge float64           `json:"template_age_seconds"`
	Value       int64             `json:"value_sats"`
	Txs         int               `json:"transactions"`
	NoJob       string            `json:"no_job,omitempty"` // why none of the newest tip is out: rigs mine on an old one
	Difficulty  float64           `json:"network_difficulty"`
	Connections int               `json:"connections"`
	Working     int               `json:"working"` // of those, signed in and given work
	Class       string            `json:"class"`   // the largest that a job of the newest template is of; "" for none
	Hashrate    float64           `json:"hashrate"`
	Credited    uint64            `json:"shares_credited"`
	Lost        uint64            `json:"shares_not_durable"`
	Shares      map[string]uint64 `json:"shares"` // by result name
	Blocks      map[string]uint64 `json:"blocks"` // by state
	Canary      Canary            `json:"canary"`
	FirstNotify Latency           `json:"new_tip_to_first_notify_ms"`
	LastNotify  Latency           `json:"new_tip_to_last_notify_ms"`
	Journal     Journal           `json:"journal"`
	Store       Store             `json:"store"`
	Halts       []HaltLine        `json:"halts"`   // in force
	Trouble     []string          `json:"trouble"` // of the accounts: what fails now, and is tried again
	Nodes       []Node            `json:"nodes"`
	Listeners   []string          `json:"listeners"`

	Certificates []Certificate `json:"certificates"` // of listeners with TLS
}

// Certificate is what a listener serves TLS with.
type Certificate struct {
	Listener string    `json:"listener"`
	NotAfter time.Time `json:"not_after"`
}

// Rejected sums the refused shares.
func (s *Status) Rejected() uint64 {
	var n uint64
	for name, count := range s.Shares {
		if name != pool.Accepted.Name() && name != "uncredited" {
			n += count
		}
	}
	return n
}

// Canary says what the node thought of blocks made of real shares.
type Canary struct {
	Proven  uint64    `json:"proven"`
	Refused uint64    `json:"refused"`
	Reason  string    `json:"reason,omitempty"`
	Last    time.Time `json:"last,omitzero"`
}

// Latency is a median and a maximum in milliseconds over the last Count
// samples.
type Latency struct {
	Count  int     `json:"count"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Journal says how the journal does.
type Journal struct {
	LastSeq   uint64  `json:"last_seq"`
	Records   uint64  `json:"records"`
	Commits   uint64  `json:"commits"`
	Bytes     int64   `json:"bytes"`
	FreeBytes uint64  `json:"free_bytes"`
	CommitMS  float64 `json:"commit_mean_ms"`
	Poisoned  bool    `json:"poisoned"`
}

// Store is the copy of slots and ledger that other machines and a new disk are
// filled from.
type Store struct {
	Kind        string    `json:"kind"`  // "memory" or "redis"
	State       string    `json:"state"` // starting, current, behind, unavailable or stopped
	Since       time.Time `json:"since,omitzero"`
	Why         string    `json:"why,omitempty"`
	Slot        uint32    `json:"slot"`       // newest closed
	StoreSlot   uint32    `json:"store_slot"` // newest in the store, as last seen
	Events      int       `json:"events"`     // of the ledger
	StoreEvents uint32    `json:"store_events"`
	Problems    []string  `json:"problems"` // of its settings, worst first
}

// Node is one node as the pool sees it.
type Node struct {
	Name     string  `json:"name"`
	State    string  `json:"state"`
	Followed bool    `json:"followed"`
	Healthy  bool    `json:"healthy"`
	Height   int32   `json:"height"`
	Peers    int     `json:"peers"`
	Signal   string  `json:"signal"`
	Version  string  `json:"version"`
	Error    string  `json:"error,omitempty"`
	Age      float64 `json:"template_age_seconds"`
}

// Rigs is the list of connected rigs.
type Rigs struct {
	Rigs []Rig `json:"rigs"`
}

// Rig is one connection.
type Rig struct {
	Name       string            `json:"name"`
	Agent      string            `json:"agent"`
	Class      string            `json:"class"`                // of its firmware: how large a coinbase it is sent
	ClassFrom  string            `json:"class_from,omitempty"` // it stepped down from this one: all its shares missed
	Remote     string            `json:"remote"`
	Difficulty string            `json:"difficulty"` // as the rig was told; "" before that
	Hashrate   float64           `json:"hashrate"`
	Accepted   uint64            `json:"accepted"`
	Rejects    map[string]uint64 `json:"rejects"`
	LastShare  time.Time         `json:"last_share,omitzero"`
	Since      time.Time         `json:"since"`
}

// Blocks is the list of our blocks, newest first: those since the start, and
// those of earlier runs that the ledger has.
type Blocks struct {
	Blocks []Block `json:"blocks"`
}

// Block is one of them.
type Block struct {
	Hash          string            `json:"hash"`
	Height        int32             `json:"height"`
	State         pool.BlockState   `json:"state"`
	Confirmations int64             `json:"confirmations"`
	Value         int64             `json:"value_sats"`
	Worker        string            `json:"worker"`           // "" where an earlier run found it
	Member        string            `json:"member,omitempty"` // whose rig that was; "" for nobody's, and where only the ledger knows the block
	Found         time.Time         `json:"found,omitzero"`
	Answers       map[string]string `json:"answers"`
	Split         *Split            `json:"split,omitempty"` // nil until the ledger has the block
}

// Closes is the list of the last closed connections, newest first.
type Closes struct {
	Closes []Close `json:"closes"`
}

// Close is one of them.
type Close struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Remote string    `json:"remote"`
	Name   string    `json:"name"`
	Agent  string    `json:"agent"`
	Age    float64   `json:"age_seconds"`     // how long it lasted
	Shares uint64    `json:"shares_accepted"` // answered true

	Refused string `json:"refused_name,omitempty"` // the last that it asked for in vain
	Times   uint64 `json:"times"`                  // how often from this address, where nothing was said; else 1
}
