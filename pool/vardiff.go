package pool

import "math"

// Vardiff follows one connection's share rate and says when its difficulty
// should change. It decides what is asked of a rig, never what is credited, so
// it may estimate with floats. Times are milliseconds of a monotonic clock.
//
// The rule: with lambda shares expected and n seen since the
// last change, change only if n/lambda leaves 0.5..2 AND |n-lambda| exceeds
// three standard deviations. Poisson noise alone then moves a settled rig about
// once a day. The dead band is wider than the rounding to powers of two, so
// neighbours do not oscillate.
//
// The ramp, until a change was small or an estimate held: a raise is taken from
// 32 shares, whose estimate errs by a quarter of an octave, or from what two
// intervals brought where that is less; and it does not forget them. Else the
// next few shares would decide alone, and undo it now and then.
type Vardiff struct {
	interval int64   // ms between shares aimed at
	since    int64   // ms, start of the window
	last     int64   // ms, last share, change or silent step
	work     float64 // credit in the window, in Difficulty units
	shares   int     // in the window, since the last look
	silent   int     // silent steps since the last share
	current  Difficulty
	ramped   bool // a change settled: later ones keep their distance
	changed  int64
}

// Vardiff tuning, from simulation.
const (
	lookEvery     = 8      // shares
	rampShares    = 32     // that a raise of the ramp waits for,
	rampIntervals = 2      // for so long at most,
	rampAtOnce    = 1024   // unless it is off by so much, which 8 shares are sure of
	rampKeeps     = 16     // of the shares that a raise of the ramp was taken from
	maxRaise      = 256    // per change
	maxLower      = 4      // per change
	forgetAfter   = 60     // expected shares, then the window is halved
	silenceStep   = 60_000 // ms, at least
	silenceShares = 10     // expected shares in a silent step, at least
	minChangeGap  = 10_000 // ms, after the ramp
	settledChange = 8      // a change smaller than this ends the ramp
	longestWindow = 1 << 40
)

// NewVardiff starts a connection at d, aiming at perMinute shares a minute,
// which must be above 0.
func NewVardiff(d Difficulty, perMinute float64, now int64) Vardiff {
	return Vardiff{interval: max(int64(60_000/perMinute), 1), since: now, last: now, changed: now, current: max(d, 1)}
}

// Current returns the difficulty in force.
func (v *Vardiff) Current() Difficulty { return v.current }

// Set puts d in force, as after a suggestion or a clamp, and starts a new
// window; a raise of the ramp starts it with what was seen before. A series of
// silent steps goes on: only a share ends it.
func (v *Vardiff) Set(d Difficulty, now int64) {
	d = max(d, 1)
	kept, took := 0.0, 0.0 // shares, and ms that they would have taken at d
	if seen := v.work / float64(v.current); !v.ramped && d > v.current && seen >= lookEvery {
		kept = min(seen, rampKeeps)
		took = float64(now-v.since) * kept / seen * float64(d) / float64(v.current)
	}
	v.work = kept * float64(d)
	v.since = now - int64(min(took, longestWindow))
	v.current = d
	v.last, v.changed = now, now
	v.shares = 0
}

// Share counts an accepted share and returns the difficulty that should be in
// force now: Current, or a new power of two that the caller clamps and passes
// to Set.
func (v *Vardiff) Share(credit Difficulty, now int64) Difficulty {
	v.work += float64(credit)
	v.last = now
	v.silent = 0
	v.shares++
	if v.shares < lookEvery {
		return v.current
	}
	v.shares = 0
	return v.look(now)
}

// Tick is called about every 10 s, shares or not. A silent minute halves the
// difficulty, the next quarters it, and so on: at the right difficulty a silent
// minute has probability e^-10. Where fewer than 10 shares a minute are aimed
// at, the step is as long as 10 of them take, so that it has that probability
// too.
func (v *Vardiff) Tick(now int64) Difficulty {
	if now-v.last >= max(silenceStep, silenceShares*v.interval) {
		v.silent++
		v.last = now
		return max(v.current>>min(v.silent, 63), 1).PowerOfTwo()
	}
	return v.look(now)
}

func (v *Vardiff) look(now int64) Difficulty {
	elapsed := now - v.since
	lambda := float64(elapsed) / float64(v.interval)
	n := v.work / float64(v.current)
	if n == 0 {
		return v.current
	}
	ratio := n / max(lambda, 1e-9)
	if v.ramped && now-v.changed < minChangeGap && ratio < settledChange {
		return v.current // a rig that suggested far too little is not waited for
	}
	if (ratio > 2 && n >= lookEvery || ratio < 0.5) && math.Abs(n-lambda) > 3*math.Sqrt(max(lambda, 1)) {
		if ratio > 1 && !v.ramped && n < rampShares && lambda < rampIntervals && ratio < rampAtOnce {
			return v.current
		}
		factor := min(max(ratio, 1.0/maxLower), maxRaise)
		if factor < settledChange {
			v.ramped = true
		}
		next := math.Round(math.Log2(float64(v.current) * factor))
		return Difficulty(1) << uint(min(max(next, 0), 62))
	}
	if lambda > forgetAfter {
		v.since = now - elapsed/2
		v.work /= 2
		v.ramped = true
	}
	return v.current
}
