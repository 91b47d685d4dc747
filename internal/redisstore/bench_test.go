package redisstore_test

import (
	"fmt"
	"testing"

	"cordee/internal/harness"
	"cordee/payout"
)

// BenchmarkApply ships batches into a real server that syncs its AOF before
// each answer, one after another as one edge does. The floor is 10 000 shares
// a second.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ shares, members int }{{256, 200}, {500, 200}, {500, 20}, {1, 1}} {
		b.Run(fmt.Sprintf("shares=%d/members=%d", c.shares, c.members), func(b *testing.B) {
			r := harness.StartRedis(b)
			s, _ := fresh(b, r.Addr)
			openStore(b, s, true)
			hwm := uint64(0)
			for b.Loop() {
				to := hwm + uint64(c.shares)
				got, applied, err := s.Apply(b.Context(), harness.StoreBatch(1, hwm+1, to, c.members))
				if err != nil || !applied || got != to {
					b.Fatal(got, applied, err)
				}
				hwm = to
			}
			b.ReportMetric(float64(hwm)/b.Elapsed().Seconds(), "shares/s")
		})
	}
}

// BenchmarkApplyMemory is the same without a server.
func BenchmarkApplyMemory(b *testing.B) {
	s := payout.NewMemory(func() int64 { return 0 })
	openStore(b, s, true)
	hwm := uint64(0)
	for b.Loop() {
		if _, _, err := s.Apply(b.Context(), harness.StoreBatch(1, hwm+1, hwm+500, 200)); err != nil {
			b.Fatal(err)
		}
		hwm += 500
	}
	b.ReportMetric(float64(hwm)/b.Elapsed().Seconds(), "shares/s")
}
