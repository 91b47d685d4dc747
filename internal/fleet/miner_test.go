package fleet

import (
	"encoding/json"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cordee/pool"
)

var everyHash = pool.Target{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}

// testWork is work on vector D's job.
func testWork(t testing.TB, target pool.Target, mask uint32, en2size int) *work {
	t.Helper()
	j, err := parseNotify(vectors(t)[4].NotifyParams)
	if err != nil {
		t.Fatal(err)
	}
	return &work{job: j, en1: []byte{1, 2, 3, 4}, en2size: en2size, mask: mask, target: target}
}

// TestNeverTheSameHeader: whatever jobs come, the same ones again included, no
// header is tried twice in a miner's life.
func TestNeverTheSameHeader(t *testing.T) {
	base := testWork(t, everyHash, 0, 0)
	rapid.Check(t, func(t *rapid.T) {
		m := newMiner(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		seen := make(map[[32]byte]bool)
		masks := []uint32{0, bip320, 0x00002000, 0x00c00000}
		for range rapid.IntRange(1, 12).Draw(t, "jobs") {
			w := *base
			w.mask = rapid.SampledFrom(masks).Draw(t, "mask")
			w.en2size = rapid.SampledFrom([]int{0, 1, 2, 4, 8, 9}).Draw(t, "en2size")
			m.setWork(&w)
			// Enough lanes to wrap one byte of extranonce2 now and then, few
			// hashes in each.
			for range rapid.IntRange(1, 400).Draw(t, "lanes") {
				for range 2 {
					n, s := m.scan(1, time.Time{})
					if n != 1 || s == nil {
						t.Fatalf("tried %d, found %v: every hash should be a share", n, s)
					}
					if seen[s.hash] {
						t.Fatalf("header tried twice: %+v", s.key())
					}
					seen[s.hash] = true
					if s.rolled&^w.mask != 0 || s.version&^w.mask != w.job.version&^w.mask {
						t.Fatalf("version %08x rolled %08x outside mask %08x", s.version, s.rolled, w.mask)
					}
				}
				m.left = 0
			}
		}
	})
}

// TestSearchUsesEverything: nonce, version, extranonce2 and ntime all move.
func TestSearchUsesEverything(t *testing.T) {
	w := testWork(t, everyHash, bip320, 4)
	m := newMiner(rand.New(rand.NewPCG(7, 7)))
	m.setWork(w)
	nonces, versions, en2s, ntimes := map[uint32]bool{}, map[uint32]bool{}, map[string]bool{}, map[uint32]bool{}
	var bitsSeen uint32
	for i := range 64 * laneNonces {
		_, s := m.scan(1, w.at.Add(time.Duration(i)*20*time.Millisecond))
		nonces[s.nonce], versions[s.rolled], en2s[s.en2], ntimes[s.ntime] = true, true, true, true
		bitsSeen |= s.rolled
		if s.ntime < w.job.ntime || s.ntime > w.job.ntime+uint32(maxRoll.Seconds()) {
			t.Fatalf("ntime %d, job has %d", s.ntime, w.job.ntime)
		}
	}
	if len(nonces) != laneNonces || len(en2s) != 4 || len(versions) < 3*laneVersions || len(ntimes) < 20 {
		t.Errorf("%d nonces, %d versions, %d extranonces, %d times", len(nonces), len(versions), len(en2s), len(ntimes))
	}
	if bitsSeen != bip320 {
		t.Errorf("version bits used %08x, want all of %08x", bitsSeen, uint32(bip320))
	}
}

func TestDeposit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mask, v := rapid.Uint32().Draw(t, "mask"), rapid.Uint32().Draw(t, "v")
		got := deposit(v, mask)
		n := bits.OnesCount32(mask)
		if got&^mask != 0 {
			t.Fatalf("%08x leaves mask %08x", got, mask)
		}
		want := v & uint32(uint64(1)<<n-1)
		var back uint32 // gather again
		for i, m := 0, mask; m != 0; i, m = i+1, m&(m-1) {
			if got&(m&-m) != 0 {
				back |= 1 << i
			}
		}
		if back != want {
			t.Fatalf("mask %08x: %08x came back as %08x", mask, want, back)
		}
	})
}

// poissonTest judges counts of equal intervals: z of the mean against expected,
// z of the dispersion (variance / mean, 1 for Poisson), chi-square z of the
// frequencies against the Poisson law. All are near standard normal.
func poissonTest(counts []int, expected float64) (mean, dispersion, shape float64) {
	n := float64(len(counts))
	var sum float64
	freq := map[int]float64{}
	for _, c := range counts {
		sum += float64(c)
		freq[c]++
	}
	avg := sum / n
	var squares float64
	for _, c := range counts {
		squares += (float64(c) - avg) * (float64(c) - avg)
	}
	mean = (avg - expected) / math.Sqrt(expected/n)
	dispersion = (squares/avg - (n - 1)) / math.Sqrt(2*(n-1))

	// Pool cells until each expects 10.
	var chi, cellWant, cellGot, usedWant, usedGot float64
	cells := 0
	add := func(want, got float64) {
		chi += (got - want) * (got - want) / want
		cells++
	}
	p := math.Exp(-expected)
	for k := 0; usedWant < n-10; k++ {
		cellWant, cellGot = cellWant+n*p, cellGot+freq[k]
		p *= expected / float64(k+1)
		if cellWant >= 10 {
			add(cellWant, cellGot)
			usedWant, usedGot = usedWant+cellWant, usedGot+cellGot
			cellWant, cellGot = 0, 0
		}
	}
	add(n-usedWant, n-usedGot)
	df := float64(cells - 1)
	return mean, dispersion, (chi - df) / math.Sqrt(2*df)
}

// TestArrivalsArePoisson drives the search as a session does, in budgets, and
// counts shares per interval. 2000 intervals of 1024 hashes, one share in 256.
func TestArrivalsArePoisson(t *testing.T) {
	const intervals, hashes, odds = 2000, 1024, 256
	target := pool.Target{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64 / odds}
	w := testWork(t, target, bip320, 8)
	m := newMiner(rand.New(rand.NewPCG(42, 0)))
	m.setWork(w)
	counts := make([]int, intervals)
	var gaps []float64
	since := 0
	for i := range counts {
		if i%50 == 49 {
			m.setWork(w) // new jobs do not disturb the process
		}
		for left := hashes; left > 0; {
			n, s := m.scan(left, time.Time{})
			left -= n
			since += n
			if s != nil {
				counts[i]++
				gaps = append(gaps, float64(since))
				since = 0
			}
		}
	}
	mean, dispersion, shape := poissonTest(counts, float64(hashes)/odds)
	t.Logf("z: mean %.2f, dispersion %.2f, shape %.2f", mean, dispersion, shape)
	for name, z := range map[string]float64{"mean": mean, "dispersion": dispersion, "shape": shape} {
		if math.Abs(z) > 4 {
			t.Errorf("%s is %.1f standard deviations off a Poisson process", name, z)
		}
	}
	// Memoryless: a gap longer than g exceeds 2g with the chance it exceeded g.
	var over, twice float64
	for _, g := range gaps {
		if g > odds {
			over++
		}
		if g > 2*odds {
			twice++
		}
	}
	p := over / float64(len(gaps))
	if z := (twice/over - p) / math.Sqrt(p*(1-p)/over); math.Abs(z) > 4 {
		t.Errorf("gaps have a memory: P(>2g | >g) = %.3f, P(>g) = %.3f", twice/over, p)
	}

	// The judge itself must be able to say no.
	regular := make([]int, intervals)
	bursty := make([]int, intervals)
	for i := range regular {
		regular[i] = hashes / odds
		bursty[i] = 2 * (i % 2) * hashes / odds
	}
	if _, d, _ := poissonTest(regular, 4); d > -4 {
		t.Errorf("a metronome passes as Poisson: dispersion z %.1f", d)
	}
	if _, d, s := poissonTest(bursty, 4); d < 4 || s < 4 {
		t.Errorf("bursts pass as Poisson: dispersion z %.1f, shape z %.1f", d, s)
	}
}

func BenchmarkScan(b *testing.B) {
	w := testWork(b, pool.Target{}, bip320, 8)
	m := newMiner(rand.New(rand.NewPCG(1, 1)))
	m.setWork(w)
	for b.Loop() {
		m.scan(1, time.Time{})
	}
}

// FuzzNotify: no parameters of a notify may panic the parser or the search.
func FuzzNotify(f *testing.F) {
	for _, v := range vectors(f) {
		raw, err := json.Marshal(v.NotifyParams)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`["1","","","",[],"","","",true]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var params []json.RawMessage
		if json.Unmarshal(raw, &params) != nil {
			return
		}
		j, err := parseNotify(params)
		if err != nil {
			return
		}
		m := newMiner(rand.New(rand.NewPCG(1, 1)))
		m.setWork(&work{job: j, en2size: 4, mask: bip320, target: everyHash})
		if n, s := m.scan(4, time.Time{}); n != 1 || s == nil || len(j.prevHashText()) != 64 {
			t.Fatalf("tried %d, found %v", n, s)
		}
	})
}
