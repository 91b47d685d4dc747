package edge

import (
	"time"

	"cordee/pool"
)

// Status is one look at an edge, for `cordee status`, the pages and metrics.
type Status struct {
	Epoch       uint32         `json:"epoch"`
	Started     time.Time      `json:"started"`
	Height      int32          `json:"height"` // of the block being mined; 0 before the first template
	PrevHash    string         `json:"prev_hash,omitempty"`
	TemplateAge float64        `json:"template_age_seconds"`
	Node        string         `json:"node,omitempty"` // whose template is mined
	Value       int64          `json:"value_sats"`
	Txs         int            `json:"transactions"`
	NoJob       string         `json:"no_job,omitempty"`   // why none of the newest tip is out: rigs mine on an old one
	Difficulty  float64        `json:"network_difficulty"` // display only
	Credited    uint64         `json:"shares_credited"`    // since the start
	Lost        uint64         `json:"shares_not_durable"`
	Blocks      map[string]int `json:"blocks"` // by state
	Canary      CanaryStatus   `json:"canary"`
}

// Status returns where the edge stands now.
func (e *Edge) Status() Status {
	s := Status{
		Epoch: e.epoch, Started: e.begun,
		Credited: e.shares.Load(), Lost: e.lost.Load(),
		Blocks: map[string]int{}, Canary: e.canary.status(), NoJob: e.jobs.failure(),
	}
	e.jobs.mu.Lock()
	t, fetched := e.jobs.last, e.jobs.fetched
	e.jobs.mu.Unlock()
	if t != nil {
		s.Height, s.PrevHash, s.Node = t.Height, t.PrevHash.String(), t.Node
		s.Value, s.Txs = t.Value, len(t.Txs)
		s.TemplateAge = time.Since(fetched).Seconds()
		s.Difficulty = pool.NetworkDifficulty(t.BlockTarget, e.cfg.Network.Scale).Float(e.cfg.Network.Scale)
	}
	for _, b := range e.blocks.list() {
		s.Blocks[b.State.String()]++
	}
	return s
}

// Blocks returns our blocks since the start, newest first, 1000 at most.
func (e *Edge) Blocks() []pool.Block { return e.blocks.list() }
