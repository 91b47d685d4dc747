package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAppendShares measures a durable share with 1, 16 and 200 waiting
// connections, one share each, on the disk of the temporary directory (TMPDIR).
func BenchmarkAppendShares(b *testing.B) {
	for _, n := range []int{1, 16, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j, _, err := Open(Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			before := j.Stats()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					shares := make([]Share, 1)
					for left.Add(-1) >= 0 {
						shares[0] = Share{Difficulty: 1}
						t, err := j.AppendShares(shares)
						if err == nil {
							err = t.Wait()
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			s := j.Stats()
			commits := s.Commits - before.Commits
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shares/s")
			b.ReportMetric(float64(b.N)/float64(commits), "shares/commit")
			b.ReportMetric(float64((s.SyncSum-before.SyncSum)/time.Duration(commits))/1e3, "us/sync")
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
