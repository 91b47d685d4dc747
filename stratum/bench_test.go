package stratum

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"cordee/pool"
)

// feed is a conn that brings the same reads again and again, and takes every
// answer.
type feed struct {
	twin

	reads [][]byte
	next  int
	left  int // reads
	round func()
}

func (f *feed) ReadHeader(time.Time) (netip.AddrPort, error) { return netip.AddrPort{}, nil }
func (f *feed) TryWrite(bufs [][]byte) (n int, err error) {
	for _, b := range bufs {
		n += len(b)
	}
	return n, nil
}

func (f *feed) Serve(r reader) error {
	for ; f.left > 0; f.left-- {
		if f.next == len(f.reads) {
			f.next = 0
			f.round()
		}
		f.next++
		if !r.work(copy(r.borrow(), f.reads[f.next-1])) {
			return nil
		}
	}
	return net.ErrClosed
}

// BenchmarkSession measures a share from the bytes of a read to those of the
// answer, hashing and judging included, without socket and journal.
func BenchmarkSession(b *testing.B) {
	for name, perRead := range map[string]int{"lone": 1, "16": 16} {
		b.Run(name, func(b *testing.B) {
			srv, _ := testServer(b, func(c *Config) {
				c.Pool = bare{pool.RegtestScale}
				c.StartDifficulty, c.MinDifficulty = 1, 1
			})
			srv.Publish(jobSet(testJob(b, 1, 1, 1<<40)))
			f := &feed{reads: [][]byte{[]byte(saySubscribe + sayAuthorize)}, left: 1}
			s := newSession(srv, f, Door{})
			s.place = 0
			s.run()
			s.reason, s.end = CloseNone, CloseNone
			if len(s.issued.list) != 1 {
				b.Fatal("no work")
			}
			is := issuedTo(s)[0]
			f.reads, f.next = nil, 0
			var nonce uint32
			for range 4096 / perRead {
				var read []byte
				for range perRead {
					sub := mine(b, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, nonce)
					nonce = sub.Nonce + 1
					read = append(read, submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0)...)
				}
				f.reads = append(f.reads, read)
			}
			f.round = func() { s.seen.Reset(); s.manners.shares.due = 0 }
			f.left = b.N
			accepted := s.accepted
			b.ReportAllocs()
			b.ResetTimer()
			s.run()
			b.StopTimer()
			if got := s.accepted - accepted; got != uint64(b.N*perRead) {
				b.Errorf("%d of %d shares accepted", got, b.N*perRead)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perRead), "ns/share")
		})
	}
}
