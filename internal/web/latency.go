package web

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// LatencyOf sums up samples in milliseconds.
func LatencyOf(samples []time.Duration) Latency {
	if len(samples) == 0 {
		return Latency{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return Latency{Count: len(sorted), Median: (ms(sorted[(len(sorted)-1)/2]) + ms(sorted[len(sorted)/2])) / 2, Max: ms(sorted[len(sorted)-1])}
}

// String is l for people.
func (l Latency) String() string {
	if l.Count == 0 {
		return "not seen yet"
	}
	return fmt.Sprintf("median %.2f ms of %d, worst %.2f ms", l.Median, l.Count, l.Max)
}

// summary is samples as a Prometheus summary.
func summary(desc *prometheus.Desc, samples []time.Duration) prometheus.Metric {
	var sum time.Duration
	for _, d := range samples {
		sum += d
	}
	l := LatencyOf(samples)
	return prometheus.MustNewConstSummary(desc, uint64(len(samples)), sum.Seconds(), map[float64]float64{0.5: l.Median / 1000, 1: l.Max / 1000})
}
