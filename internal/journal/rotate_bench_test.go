package journal

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkRotation measures what a waiting share sees of a change of segment:
// 64 connections, batches of 16, on the disk of TMPDIR; segments of 8 MiB, so
// that there are enough of them, and as they are by default. A share that waited
// while the segment changed is counted apart.
func BenchmarkRotation(b *testing.B) {
	for _, mib := range []int64{8, 64} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) { rotation(b, mib<<20) })
	}
}

func rotation(b *testing.B, size int64) {
	const connections, batch = 64, 16
	j, _, err := Open(Config{Dir: b.TempDir(), SegmentSize: size})
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var plain, across []time.Duration
	segment := func() uint32 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.stats.Segment
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			shares := make([]Share, batch)
			for range b.N {
				for i := range shares {
					shares[i] = Share{Difficulty: 1}
				}
				before, start := segment(), time.Now()
				t, err := j.AppendShares(shares)
				if err == nil {
					err = t.Wait()
				}
				took := time.Since(start)
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				if segment() != before {
					across = append(across, took)
				} else {
					plain = append(plain, took)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, of := range []struct {
		name string
		list []time.Duration
	}{{"plain", plain}, {"across", across}} {
		slices.Sort(of.list)
		if n := len(of.list); n > 0 {
			b.ReportMetric(float64(of.list[n/2])/1e6, of.name+"-p50-ms")
			b.ReportMetric(float64(of.list[n*99/100])/1e6, of.name+"-p99-ms")
			b.ReportMetric(float64(of.list[n-1])/1e6, of.name+"-max-ms")
		}
	}
	s := j.Stats()
	b.ReportMetric(float64(s.Rotations), "rotations")
	b.ReportMetric(float64(s.Prepared), "prepared")
	b.ReportMetric(float64(s.RotateSum/time.Duration(max(s.Rotations, 1)))/1e6, "rotate-mean-ms")
	b.ReportMetric(float64(s.RotateMax)/1e6, "rotate-max-ms")
	b.ReportMetric(0, "ns/op")
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}
