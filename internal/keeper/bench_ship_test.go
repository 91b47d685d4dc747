package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"cordee/internal/harness"
	"cordee/internal/journal"
	"cordee/internal/redisstore"
	"cordee/payout"
	"cordee/pool"
)

// shipMembers share the benchmarks' work.
const shipMembers = 200

// line is a keeper on the disk of the temporary directory (TMPDIR), and a Redis
// there that syncs each write before it answers.
type line struct {
	*kit
	redis  string
	stores int
}

func newLine(b *testing.B) *line {
	b.Helper()
	l := &line{redis: harness.StartRedis(b).Addr}
	l.kit = newKitIn(b, b.TempDir(), 64<<20, shipMembers, l.store(b))
	return l
}

// store returns an empty store.
func (l *line) store(b *testing.B) payout.Store {
	b.Helper()
	l.stores++
	s, err := redisstore.New(redisstore.Config{Mode: redisstore.Single, Addrs: []string{l.redis}, Name: fmt.Sprintf("bench-%d", l.stores)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// forget leaves the journal and nothing else.
func (l *line) forget(b *testing.B) {
	b.Helper()
	for _, name := range []string{"slots", "ledger", StoreMark} {
		if err := os.RemoveAll(filepath.Join(l.cfg.Dir, name)); err != nil {
			b.Fatal(err)
		}
	}
	l.cfg.Store = l.store(b)
	var err error
	if l.k, err = New(l.cfg); err != nil {
		b.Fatal(err)
	}
}

// journalled appends n durable shares of all members, in commits of a thousand.
func (t *kit) journalled(n int) {
	t.tb.Helper()
	list := make([]journal.Share, 0, 1000)
	for i := range n {
		list = append(list, journal.Share{Member: uint16(i%shipMembers) + 1, WorkBits: testBits, Difficulty: pool.Difficulty(1 + i%7)})
		if len(list) < cap(list) && i < n-1 {
			continue
		}
		tk, err := t.journal.AppendShares(list)
		if err == nil {
			err = tk.Wait()
		}
		if err != nil {
			t.tb.Fatal(err)
		}
		list = list[:0]
	}
}

func (t *kit) shipped() {
	t.tb.Helper()
	if err := t.k.Ship(t.tb.Context()); err != nil {
		t.tb.Fatal(err)
	}
}

// BenchmarkShip is the whole way of shares into Redis; the floor is 10 000 a
// second. Its parts are:
//
//   - live: what a second at the floor brings is journalled, closed as a slot and
//     shipped, again and again
//   - journal: a million shares that are in the journal only, as after a stop of
//     the keeper, are closed and shipped
//   - outage: a million shares in slots of 10 000, closed while the store was
//     away, are shipped
func BenchmarkShip(b *testing.B) {
	const second, million = 10_000, 1_000_000
	has := func(b *testing.B, s payout.Store, shares int) {
		b.Helper()
		if hwm, err := s.HWM(b.Context(), 1, 1); err != nil || hwm != uint64(shares) {
			b.Fatalf("the store has shares to %d, not %d: %v", hwm, shares, err)
		}
	}
	perSecond := func(b *testing.B, shares int) {
		b.Helper()
		b.ReportMetric(float64(shares)/b.Elapsed().Seconds(), "shares/s")
	}
	b.Run("live", func(b *testing.B) {
		l := newLine(b)
		for b.Loop() {
			l.journalled(second)
			l.close()
			l.shipped()
		}
		perSecond(b, b.N*second)
		has(b, l.cfg.Store, b.N*second)
	})
	b.Run("journal", func(b *testing.B) {
		l := newLine(b)
		l.journalled(million)
		for b.Loop() {
			b.StopTimer()
			l.forget(b)
			b.StartTimer()
			l.close()
			l.shipped()
		}
		perSecond(b, b.N*million)
		has(b, l.cfg.Store, million)
	})
	b.Run("outage", func(b *testing.B) {
		l := newLine(b)
		for range million / second {
			l.journalled(second)
			l.close()
		}
		var s payout.Store
		for b.Loop() {
			b.StopTimer()
			s = l.store(b)
			b.StartTimer()
			if err := l.k.Rebuild(b.Context(), s, l.cfg.Meta, func(uint32, uint32) {}); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, b.N*million)
		has(b, s, million)
	})
}
