package stratum

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"cordee/pool"
)

// Stats is a snapshot of the server's counters. Every map has all keys of its
// closed set, so that metrics have no holes.
type Stats struct {
	Connections int               // now
	Working     int               // now, subscribed and authorized
	Hashrate    float64           // of all now, as in RigInfo
	Opened      uint64            // ever
	Closed      map[string]uint64 // by CloseReason
	Messages    map[string]uint64 // by method; unknown ones under "other"
	Shares      map[string]uint64 // by pool.Reject name, "accepted" among them
	Denied      map[string]uint64 // refused names, by why
	ZeroCredit  uint64            // accepted, but credited nothing (decision 1)
	Work        uint64            // sum of credits in units of Scale
	Scale       pool.Scale
	Retargets   uint64 // changes of a connection's difficulty
	StepDowns   uint64 // rigs that got a smaller class since all their shares missed
	Resends     uint64 // work sent again after a row of refused shares
	Throttled   uint64 // reads put off, of connections ahead of their pace
	SlowReaders uint64 // closed for not reading
	Panics      uint64 // contained
	AcceptFails uint64 // accept errors survived
	BytesIn     uint64
	BytesOut    uint64

	// The last new tips: from the node's signal to the first and to the last
	// rig's notify handed to the kernel, oldest first. At most 64 each.
	NotifyFirst []time.Duration
	NotifyLast  []time.Duration
}

// RigInfo is one connection, for lists. Strings of the rig are sanitised.
type RigInfo struct {
	Name       string // first authorized name; "" before authorize
	Member     uint16
	Agent      string
	Remote     string
	Class      string          // of its firmware; "" before its first work
	ClassFrom  string          // the class that it stepped down from, "" for none
	State      string          // fresh, subscribed, authorized or working
	Difficulty pool.Difficulty // last sent, 0 for none
	Hashrate   float64         // hashes a second over about 5 minutes, for display
	Accepted   uint64
	Rejected   map[string]uint64 // by name, only those above 0
	LastShare  time.Time         // zero for none
	Connected  time.Time
}

const keepLatencies = 64

// counters are the server's totals. Sessions add to them once per read.
type counters struct {
	opened, zeroCredit, work, retargets, stepDowns, resends, throttled, slow, panics, acceptFails, in, out atomic.Uint64

	closed   [closeCount]atomic.Uint64
	messages [methodCount]atomic.Uint64
	shares   [256]atomic.Uint64 // by pool.Reject
	denied   [denialCount]atomic.Uint64

	mu          sync.Mutex
	first, last []time.Duration
}

func (c *counters) latency(first, last time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.first) == keepLatencies {
		c.first = c.first[:copy(c.first, c.first[1:])]
		c.last = c.last[:copy(c.last, c.last[1:])]
	}
	c.first, c.last = append(c.first, first), append(c.last, last)
}

func (c *counters) snapshot() Stats {
	st := Stats{
		Opened:      c.opened.Load(),
		Closed:      make(map[string]uint64, closeCount),
		Messages:    make(map[string]uint64, methodCount),
		Shares:      make(map[string]uint64),
		Denied:      make(map[string]uint64, denialCount),
		ZeroCredit:  c.zeroCredit.Load(),
		Work:        c.work.Load(),
		Retargets:   c.retargets.Load(),
		StepDowns:   c.stepDowns.Load(),
		Resends:     c.resends.Load(),
		Throttled:   c.throttled.Load(),
		SlowReaders: c.slow.Load(),
		Panics:      c.panics.Load(),
		AcceptFails: c.acceptFails.Load(),
		BytesIn:     c.in.Load(),
		BytesOut:    c.out.Load(),
	}
	for r := CloseNone + 1; r < closeCount; r++ {
		st.Closed[r.String()] = c.closed[r].Load()
	}
	for d := range denialCount {
		st.Denied[denialNames[d]] = c.denied[d].Load()
	}
	for m := range methodCount {
		st.Messages[methodNames[m]] = c.messages[m].Load()
	}
	st.Shares[pool.Accepted.Name()] = c.shares[pool.Accepted].Load()
	for _, r := range pool.Rejects() {
		st.Shares[r.Name()] = c.shares[r].Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st.NotifyFirst = append([]time.Duration(nil), c.first...)
	st.NotifyLast = append([]time.Duration(nil), c.last...)
	return st
}

// meterTau is the time constant of the displayed hashrate, in milliseconds.
const meterTau = 5 * 60_000

// meter is an exponential average of credited work, for display.
type meter struct {
	work float64 // decayed sum of credits
	at   int64   // ms of the last share
}

// add counts work that came in now.
func (m *meter) add(work pool.Difficulty, now int64) {
	m.work = m.work*math.Exp(-float64(now-m.at)/meterTau) + float64(work)
	m.at = now
}

// hashrate returns hashes a second. since is when counting began: an average
// that is not yet full is divided by what it could hold.
func (m *meter) hashrate(since, now int64, scale pool.Scale) float64 {
	age := max(now-since, 1000)
	full := meterTau / 1000 * (1 - math.Exp(-float64(age)/meterTau))
	return m.work * math.Exp(-float64(now-m.at)/meterTau) / full * (1 << 32) / float64(scale)
}
