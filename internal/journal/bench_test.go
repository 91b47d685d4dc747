package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
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
			spent := processorTime(b)
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
			b.ReportMetric(float64(processorTime(b)-spent)/float64(b.N), "cpu-ns/share")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shares/s")
			b.ReportMetric(float64(b.N)/float64(commits), "shares/commit")
			b.ReportMetric(float64((s.SyncSum-before.SyncSum)/time.Duration(commits))/1e3, "us/sync")
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// processorTime is what this process used so far: commits wait for the disk, so
// a share's time says little of its cost.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
