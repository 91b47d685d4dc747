package web

import (
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/stratum"
)

// Figures is what /metrics is made of: one copy per scrape. Labels come from
// closed sets, and from names of nodes and listeners as configured: no rig, its
// address, agent or hash ever becomes a series.
type Figures struct {
	Version, Commit, Network string
	Stratum                  stratum.Stats
	Journal                  journal.Stats
	Nodes                    []bitcoind.NodeStatus
	Height                   int32
	TemplateAge              float64 // seconds
	Credited, Lost           uint64
	Blocks                   map[string]int // by state
	Proposals                [2]uint64      // valid, refused
	Store                    Store
	Halts                    int
	Certificates             []Certificate
}

// metric is one row of the table below: a family, and how it reads Figures.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(f *Figures, emit func(v float64, labels ...string))
}

func counter(name, help string, read func(*Figures, func(float64, ...string)), labels ...string) metric {
	return metric{prometheus.NewDesc("cordee_"+name, help, labels, nil), prometheus.CounterValue, read}
}

func gauge(name, help string, read func(*Figures, func(float64, ...string)), labels ...string) metric {
	return metric{prometheus.NewDesc("cordee_"+name, help, labels, nil), prometheus.GaugeValue, read}
}

// byName emits a map of counters with its key as the label.
func byName(emit func(float64, ...string), m map[string]uint64) {
	for name, n := range m {
		emit(float64(n), name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var metrics = []metric{
	gauge("build_info", "Always 1; the labels say what runs.", func(f *Figures, emit func(float64, ...string)) {
		emit(1, f.Version, f.Commit, f.Network)
	}, "version", "commit", "network"),
	gauge("stratum_rigs", "Connections that are signed in and have work now.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Working))
	}),
	gauge("stratum_connections", "Connections open now, with those that have not signed in.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Connections))
	}),
	counter("stratum_connections_total", "Connections ever accepted.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Opened))
	}),
	counter("stratum_disconnects_total", "Connections closed, by reason.", func(f *Figures, emit func(float64, ...string)) {
		byName(emit, f.Stratum.Closed)
	}, "reason"),
	counter("stratum_messages_total", "Messages from rigs, by method; unknown ones are other.", func(f *Figures, emit func(float64, ...string)) {
		byName(emit, f.Stratum.Messages)
	}, "method"),
	counter("stratum_bytes_total", "Bytes to and from rigs.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.BytesIn), "in")
		emit(float64(f.Stratum.BytesOut), "out")
	}, "direction"),
	counter("slow_readers_total", "Connections closed because they did not read.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.SlowReaders))
	}),
	counter("shares_total", "Submissions, by what was answered.", func(f *Figures, emit func(float64, ...string)) {
		byName(emit, f.Stratum.Shares)
	}, "result"),
	counter("authorize_refused_total", "Names of rigs that were refused, by why.", func(f *Figures, emit func(float64, ...string)) {
		byName(emit, f.Stratum.Denied)
	}, "reason"),
	counter("shares_uncredited_total", "Shares answered true and credited nothing: met a later difficulty only.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.ZeroCredit))
	}),
	counter("share_work_total", "Sum of credited difficulty.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Work) / float64(max(f.Stratum.Scale, 1)))
	}),
	counter("shares_not_durable_total", "Shares refused because the journal could not keep them.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Lost))
	}),
	counter("vardiff_changes_total", "Changes of a connection's difficulty.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Retargets))
	}),
	counter("class_stepdowns_total", "Rigs that got a smaller class of coinbase, since all their shares missed.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.StepDowns))
	}),
	counter("stratum_resends_total", "Work sent again after a row of refused shares.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Resends))
	}),
	counter("stratum_throttled_total", "Reads put off because a connection sent more than is worked through for it.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Throttled))
	}),
	counter("panics_total", "Panics contained in one connection.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Stratum.Panics), "session")
	}, "where"),
	gauge("job_height", "Height of the block being mined.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Height))
	}),
	gauge("template_age_seconds", "Age of the template being mined.", func(f *Figures, emit func(float64, ...string)) {
		emit(f.TemplateAge)
	}),
	gauge("node_up", "Whether a node is healthy.", func(f *Figures, emit func(float64, ...string)) {
		for i := range f.Nodes {
			emit(truth(f.Nodes[i].Healthy), f.Nodes[i].Name)
		}
	}, "node"),
	gauge("node_height", "Height of a node's tip.", func(f *Figures, emit func(float64, ...string)) {
		for i := range f.Nodes {
			emit(float64(f.Nodes[i].Tip.Height), f.Nodes[i].Name)
		}
	}, "node"),
	gauge("node_peers", "Peers of a node; -1 is unknown.", func(f *Figures, emit func(float64, ...string)) {
		for i := range f.Nodes {
			emit(float64(f.Nodes[i].Peers), f.Nodes[i].Name)
		}
	}, "node"),
	gauge("blocks", "Our blocks since the start, by state.", func(f *Figures, emit func(float64, ...string)) {
		for state, n := range f.Blocks {
			emit(float64(n), state)
		}
	}, "state"),
	counter("block_proposals_total", "Blocks of ours proposed to the node, by its answer.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Proposals[0]), "valid")
		emit(float64(f.Proposals[1]), "refused")
	}, "answer"),
	gauge("journal_last_seq", "Sequence number of the last credited share of this epoch.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Journal.Seq))
	}),
	counter("journal_records_total", "Records appended.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Journal.Records))
	}),
	counter("journal_bytes_total", "Bytes written to the journal.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Journal.Bytes))
	}),
	gauge("journal_free_bytes", "Free bytes on the journal's disk.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Journal.FreeBytes))
	}),
	gauge("store_up", "Whether the ledger's store takes what it is told.", func(f *Figures, emit func(float64, ...string)) {
		emit(truth(f.Store.State == "current" || f.Store.State == "behind"))
	}),
	gauge("store_slots_behind", "Closed slots that the store does not have, as last seen.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Store.Slot) - float64(f.Store.StoreSlot))
	}),
	gauge("store_problems", "What should be changed about the store, as last asked.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(len(f.Store.Problems)))
	}),
	gauge("payout_halts", "Halts in force: above 0 no member is paid.", func(f *Figures, emit func(float64, ...string)) {
		emit(float64(f.Halts))
	}),
	gauge("tls_certificate_expiry_seconds", "Time that a listener's certificate is still good for; below 0 it is over.", func(f *Figures, emit func(float64, ...string)) {
		for _, c := range f.Certificates {
			emit(time.Until(c.NotAfter).Seconds(), c.Listener)
		}
	}, "listener"),
	gauge("journal_poisoned", "1 once a write or fsync failed: shares are refused.", func(f *Figures, emit func(float64, ...string)) {
		emit(truth(f.Journal.Poisoned != nil))
	}),
}

var (
	fsyncDesc = prometheus.NewDesc("cordee_journal_fsync_seconds", "Time of the journal's fdatasync.", nil, nil)
	firstDesc = prometheus.NewDesc("cordee_block_to_first_notify_seconds", "Node's signal to the first rig's notify, last 64 tips.", nil, nil)
	lastDesc  = prometheus.NewDesc("cordee_block_to_last_notify_seconds", "Node's signal to the last rig's notify, last 64 tips.", nil, nil)
)

// pages is the collector behind Registry.
type pages struct{ read func() Figures }

// Registry returns the metrics of a pool whose figures read copies.
func Registry(read func() Figures) *prometheus.Registry {
	r := prometheus.NewRegistry()
	// What lives tells a leak from garbage that is not collected yet; resident memory does not.
	live := collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}
	r.MustRegister(pages{read}, collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(live)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe implements prometheus.Collector.
func (pages) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
	ch <- fsyncDesc
	ch <- firstDesc
	ch <- lastDesc
}

// Collect implements prometheus.Collector.
func (p pages) Collect(ch chan<- prometheus.Metric) {
	f := p.read()
	for _, m := range metrics {
		m.read(&f, func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		})
	}
	buckets, seen := map[float64]uint64{}, uint64(0)
	for i, bound := range journal.SyncBounds {
		seen += f.Journal.SyncBuckets[i]
		buckets[bound.Seconds()] = seen
	}
	ch <- prometheus.MustNewConstHistogram(fsyncDesc, f.Journal.Commits, f.Journal.SyncSum.Seconds(), buckets)
	ch <- summary(firstDesc, f.Stratum.NotifyFirst)
	ch <- summary(lastDesc, f.Stratum.NotifyLast)
}
