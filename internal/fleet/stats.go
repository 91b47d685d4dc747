package fleet

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is what a fleet did so far. Shares are counted when they are written;
// Submitted = Accepted + Rejected + Unanswered at every moment, up to shares
// whose answer is being counted right now.
type Stats struct {
	Rigs       int    `json:"rigs"`
	Connected  int    `json:"connected"`  // connections standing now
	Authorized int    `json:"authorized"` // rigs whose name was accepted at least once
	Hashes     uint64 `json:"hashes"`

	Submitted  uint64        `json:"submitted"`
	Accepted   uint64        `json:"accepted"`
	Rejected   uint64        `json:"rejected"`
	Stale      uint64        `json:"stale"`      // among Rejected: code 21, or a text that says stale
	Unanswered uint64        `json:"unanswered"` // waiting, or lost with their connection
	Rejects    []RejectCount `json:"rejects"`    // most frequent first

	// WorkAccepted is the sum of the difficulties that accepted shares' jobs
	// were issued with. Times HashesPerDifficulty it estimates Hashes.
	WorkAccepted float64   `json:"work_accepted"`
	Difficulty   []float64 `json:"difficulty"` // per rig, as last announced; 0 before

	Latency       Latency `json:"latency"` // of answers to submits
	Notifies      uint64  `json:"notifies"`
	CleanNotifies uint64  `json:"clean_notifies"`

	Dials      uint64 `json:"dials"`       // attempts
	DialErrors uint64 `json:"dial_errors"` // attempts that gave no connection
	Connects   uint64 `json:"connects"`
	Reconnects uint64 `json:"reconnects"` // connects of a rig after its first
	Refused    uint64 `json:"refused"`    // authorize answered with anything but true
	Violations uint64 `json:"violations"` // lines that are not Stratum V1, ids never sent
}

// RejectCount is one row of the reject table.
type RejectCount struct {
	Code  int    `json:"code"`
	Text  string `json:"text"`
	Count uint64 `json:"count"`
}

// Latency describes the time from writing a share to reading its answer.
// Quantiles are upper bounds, at most 7 % above the true one; Max is exact.
type Latency struct {
	Count uint64        `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// counters are written by all rigs.
type counters struct {
	hashes, submitted, accepted, rejected, stale, notifies, cleanNotifies atomic.Uint64
	dials, dialErrors, connects, reconnects, refused, violations          atomic.Uint64
	connected, authorized                                                 atomic.Int64
}

// Stats returns the numbers of this moment.
func (f *Fleet) Stats() Stats {
	c := &f.count
	// Answers before submits, so that a race never makes Unanswered negative.
	accepted, rejected, stale := c.accepted.Load(), c.rejected.Load(), c.stale.Load()
	submitted := c.submitted.Load()
	s := Stats{
		Rigs: len(f.rigs), Connected: int(c.connected.Load()), Authorized: int(c.authorized.Load()),
		Hashes:    c.hashes.Load(),
		Submitted: submitted, Accepted: accepted, Rejected: rejected, Stale: stale,
		Unanswered: submitted - accepted - rejected,
		Rejects:    f.rejects.rows(),
		Latency:    f.latency.summary(),
		Notifies:   c.notifies.Load(), CleanNotifies: c.cleanNotifies.Load(),
		Dials: c.dials.Load(), DialErrors: c.dialErrors.Load(),
		Connects: c.connects.Load(), Reconnects: c.reconnects.Load(),
		Refused: c.refused.Load(), Violations: c.violations.Load(),
	}
	for _, r := range f.rigs {
		s.Difficulty = append(s.Difficulty, math.Float64frombits(r.difficulty.Load()))
		s.WorkAccepted += math.Float64frombits(r.work.Load())
	}
	return s
}

// maxRejectRows bounds the table against a server that never repeats a text.
const maxRejectRows = 64

// rejectTable counts refused shares by what the server said.
type rejectTable struct {
	mu    sync.Mutex
	count map[RejectCount]uint64 // key with Count 0
}

func (t *rejectTable) add(code int, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = make(map[RejectCount]uint64)
	}
	k := RejectCount{Code: code, Text: text}
	if _, known := t.count[k]; !known && len(t.count) >= maxRejectRows {
		k = RejectCount{Text: "other"}
	}
	t.count[k]++
}

func (t *rejectTable) rows() []RejectCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make([]RejectCount, 0, len(t.count))
	for k, n := range t.count {
		k.Count = n
		rows = append(rows, k)
	}
	slices.SortFunc(rows, func(a, b RejectCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Text, b.Text))
	})
	return rows
}

// isStale tells late shares from wrong ones, over the dialects of servers.
func isStale(code int, text string) bool {
	return code == 21 || strings.Contains(strings.ToLower(text), "stale")
}

// histogram counts durations in buckets of 1/16 octave of a microsecond.
type histogram struct {
	bucket [64 * subBuckets]atomic.Uint64
	max    atomic.Int64
}

const (
	subBits    = 4
	subBuckets = 1 << subBits
)

func bucketOf(us uint64) int {
	if us < subBuckets {
		return int(us)
	}
	octave := bits.Len64(us) - 1 - subBits
	return octave<<subBits + int(us>>octave)
}

// bucketEnd is the largest number of microseconds in bucket i.
func bucketEnd(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	octave := i>>subBits - 1
	return uint64(i&(subBuckets-1)|subBuckets)<<octave | (1<<octave - 1)
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.bucket[bucketOf(uint64(d/time.Microsecond))].Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// merge adds what o holds.
func (h *histogram) merge(o *histogram) {
	for i := range h.bucket {
		if n := o.bucket[i].Load(); n > 0 {
			h.bucket[i].Add(n)
		}
	}
	h.max.Store(max(h.max.Load(), o.max.Load()))
}

// count returns how many durations were added.
func (h *histogram) count() (n uint64) {
	for i := range h.bucket {
		n += h.bucket[i].Load()
	}
	return n
}

func (h *histogram) summary() Latency {
	var counts [len(h.bucket)]uint64
	var l Latency
	for i := range counts {
		counts[i] = h.bucket[i].Load()
		l.Count += counts[i]
	}
	l.Max = time.Duration(h.max.Load())
	quantile := func(num, den uint64) time.Duration {
		rank := (l.Count*num + den - 1) / den
		for i, n := range counts {
			if rank <= n {
				// The end of its bucket, which the exact maximum may undercut.
				return min(time.Duration(bucketEnd(i)+1)*time.Microsecond, l.Max)
			}
			rank -= n
		}
		return l.Max
	}
	if l.Count > 0 {
		l.P50, l.P90, l.P99 = quantile(50, 100), quantile(90, 100), quantile(99, 100)
	}
	return l
}
