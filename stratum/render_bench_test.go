package stratum

import (
	"fmt"
	"testing"

	"cordee/pool"
)

// BenchmarkRenderByMembers is what a new job costs beside its sends: rendered once
// for each member that has rigs.
func BenchmarkRenderByMembers(b *testing.B) {
	job := testJob(b, 1, 1, 4096)
	for _, members := range []int{10, 50, 200, 1000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := newSheet(job, pool.RegtestScale)
				for m := range members {
					s.view(uint16(m+1), 0)
				}
			}
		})
	}
}
