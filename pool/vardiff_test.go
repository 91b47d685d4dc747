package pool_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"cordee/pool"
)

// simulation is a rig before Vardiff: shares arrive as a Poisson process at
// the rate that hashrate and the difficulty in force give, without latency.
type simulation struct {
	v         pool.Vardiff
	rng       *rand.Rand
	hashrate  float64 // hashes per second
	scale     pool.Scale
	perMinute float64
	floor     pool.Difficulty // clamp of the caller
	now       float64         // ms
	tick      float64         // ms, the next
	shares    int
	changes   []float64 // ms of each
}

func simulate(seed uint64, hashrate float64, scale pool.Scale, start pool.Difficulty, perMinute float64) *simulation {
	return &simulation{
		v: pool.NewVardiff(start, perMinute, 0), rng: rand.New(rand.NewPCG(seed, 1)),
		hashrate: hashrate, scale: scale, perMinute: perMinute, floor: 1, tick: 10_000,
	}
}

// ideal is the difficulty, in units, at which shares come as often as wanted.
func (s *simulation) ideal() float64 {
	return s.hashrate * 60 / s.perMinute * float64(s.scale) / (1 << 32)
}

// settled reports whether the difficulty is within a factor of two of ideal,
// or at the floor where ideal is below that.
func (s *simulation) settled() bool {
	ratio := float64(s.v.Current()) / max(s.ideal(), float64(s.floor))
	return ratio >= 0.5 && ratio <= 2
}

// run goes on for duration ms, or until stop says so.
func (s *simulation) run(duration float64, stop func() bool) {
	end := s.now + duration
	for s.now < end && (stop == nil || !stop()) {
		mean := math.Inf(1) // ms between shares
		if s.hashrate > 0 {
			mean = float64(s.v.Current()) / float64(s.scale) * (1 << 32) / s.hashrate * 1000
		}
		var next pool.Difficulty
		if wait := s.rng.ExpFloat64() * mean; s.now+wait < s.tick {
			s.now += wait
			s.shares++
			next = s.v.Share(s.v.Current(), int64(s.now))
		} else { // memoryless: what is left of the wait may be drawn anew
			s.now = s.tick
			s.tick += 10_000
			next = s.v.Tick(int64(s.now))
		}
		if next = max(next, s.floor); next != s.v.Current() {
			s.v.Set(next, int64(s.now))
			s.changes = append(s.changes, s.now)
		}
	}
}

const (
	second = 1000.0
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// times returns the sorted times, in ms, after which 30 simulations settle.
func times(t *testing.T, limit float64, make func(seed uint64) *simulation) []float64 {
	t.Helper()
	var all []float64
	for seed := range uint64(30) {
		s := make(seed)
		began := s.now
		s.run(limit, s.settled)
		if !s.settled() {
			t.Errorf("seed %d: difficulty %d, ideal %.1f after %.0f s", seed, s.v.Current(), s.ideal(), limit/second)
		}
		all = append(all, s.now-began)
	}
	slices.Sort(all)
	return all
}

func TestVardiffRamp(t *testing.T) {
	for _, c := range []struct {
		name          string
		hashrate      float64
		scale         pool.Scale
		start         float64 // as rigs speak it
		median, worst float64 // ms
	}{
		{"300 TH/s from 4096", 300e12, pool.MainScale, 4096, 2.5 * second, 10 * second},
		{"1000 TH/s from 1024", 1000e12, pool.MainScale, 1024, 15 * second, 60 * second},
		{"50 kH/s from 4096, at the floor of main", 50e3, pool.MainScale, 4096, 8 * minute, 12 * minute},
		{"50 kH/s from 4096, without a floor", 50e3, pool.RegtestScale, 4096, 10 * minute, 14 * minute},
		{"1 TH/s from 2^10 too high", 1e12, pool.MainScale, 1397 * 1024, 6 * minute, 10 * minute},
		{"1 TH/s from 2^10 too low", 1e12, pool.MainScale, 1397.0 / 1024, 20 * second, 90 * second},
		{"500 TH/s from right", 500e12, pool.MainScale, 524288, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			start, err := pool.DifficultyFromFloat(c.start, c.scale)
			if err != nil {
				t.Fatal(err)
			}
			all := times(t, 20*minute, func(seed uint64) *simulation {
				return simulate(seed, c.hashrate, c.scale, start.PowerOfTwo(), 10)
			})
			median, worst := all[len(all)/2], all[len(all)-1]
			t.Logf("median %.1f s, worst %.1f s", median/second, worst/second)
			if median > c.median || worst > c.worst {
				t.Errorf("median %.1f s, worst %.1f s; want %.1f and %.1f", median/second, worst/second, c.median/second, c.worst/second)
			}
		})
	}
}

// A rig whose boards fail keeps a hundredth of its hashrate.
func TestVardiffFollowsLoss(t *testing.T) {
	all := times(t, 20*minute, func(seed uint64) *simulation {
		s := simulate(seed, 100e12, pool.MainScale, 128*1024*1024, 10)
		s.run(2*hour, nil)
		s.hashrate /= 100
		return s
	})
	t.Logf("median %.1f s, worst %.1f s", all[15]/second, all[29]/second)
	if all[15] > 5*minute || all[29] > 10*minute {
		t.Errorf("median %.1f s, worst %.1f s", all[15]/second, all[29]/second)
	}
}

// A proxy behind which rigs join by steps.
func TestVardiffFollowsGrowth(t *testing.T) {
	s := simulate(1, 1e12, pool.MainScale, 1024*1024, 10)
	for range 12 {
		s.run(30*minute, nil)
		if !s.settled() {
			t.Fatalf("difficulty %d, ideal %.0f at %.0f TH/s", s.v.Current(), s.ideal(), s.hashrate/1e12)
		}
		s.hashrate *= 3
	}
}

// A settled rig is left alone, whatever its hashrate and whatever the rate
// aimed at: about one change a day, and never a see-saw.
func TestVardiffSettles(t *testing.T) {
	for _, perMinute := range []float64{4, 10, 20} {
		changes, days := 0, 0
		for i := range 24 { // the place within an octave matters, so cover one
			hashrate := 1e12 * math.Exp2(float64(i)/8)
			s := simulate(uint64(i), hashrate, pool.MainScale, 1024*1024, perMinute)
			s.run(hour, nil)
			s.changes, s.shares = nil, 0
			s.run(4*day, nil)
			changes, days = changes+len(s.changes), days+4
			if rate := float64(s.shares) / (4 * day / minute); rate < perMinute/2 || rate > perMinute*2 {
				t.Errorf("%.0f a minute: %.2f TH/s settled at %.1f", perMinute, hashrate/1e12, rate)
			}
			for j := 5; j < len(s.changes); j++ {
				if s.changes[j]-s.changes[j-5] < hour {
					t.Errorf("%.0f a minute: %.2f TH/s changes six times within an hour", perMinute, hashrate/1e12)
					break
				}
			}
		}
		rate := float64(changes) / float64(days)
		t.Logf("%.0f a minute: %.2f changes a day", perMinute, rate)
		if rate > 1.5 {
			t.Errorf("%.0f a minute: %.2f changes a day", perMinute, rate)
		}
	}
}

// From 50 kH/s to 500 TH/s, the rate ends near what is aimed at.
func TestVardiffReachesTheRate(t *testing.T) {
	for hashrate := 50e3; hashrate < 600e12; hashrate *= 10 {
		s := simulate(3, hashrate, pool.RegtestScale, 1<<40, 10)
		s.run(2*hour, nil)
		s.shares = 0
		s.run(2*hour, nil)
		if rate := float64(s.shares) / 120; rate < 5 || rate > 20 {
			t.Errorf("%g H/s: %.1f shares a minute", hashrate, rate)
		}
	}
}

// Without any share, and without the caller taking what it is told, difficulty
// falls by growing steps, a step a minute, to 1 and no further.
func TestVardiffSilence(t *testing.T) {
	v := pool.NewVardiff(1<<22, 10, 0)
	var at []int64
	for now := int64(10_000); now < 3_600_000; now += 10_000 {
		d := v.Tick(now)
		if d == 0 || d > v.Current() {
			t.Fatalf("%d at %d ms", d, now)
		}
		if d != v.Current() {
			at = append(at, now)
			v.Set(d, now)
		}
	}
	want := []int64{60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000}
	if v.Current() != 1 || !slices.Equal(at, want) {
		t.Errorf("difficulty %d, changes at %v, want %v", v.Current(), at, want)
	}

	// Clamped by the caller to where it is, it is told once a minute.
	v = pool.NewVardiff(64, 10, 0)
	told := 0
	for now := int64(10_000); now <= 600_000; now += 10_000 {
		if v.Tick(now) != 64 {
			told++
		}
	}
	if told != 10 {
		t.Errorf("told %d times in 10 minutes", told)
	}

	// A share ends the series.
	v = pool.NewVardiff(1<<20, 10, 0)
	v.Set(v.Tick(60_000), 60_000)
	v.Share(v.Current(), 70_000)
	if d := v.Tick(130_000); d != v.Current()/2 {
		t.Errorf("after a share the first silent minute gives %d of %d", d, v.Current())
	}
}
