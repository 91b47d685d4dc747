package redisstore

import (
	"context"
	"errors"
	"time"

	"cordee/payout"
)

// Examination is one look at a server from outside the pool.
type Examination struct {
	Version  string           // "" where it was not told
	Latency  time.Duration    // of one question
	Problems []payout.Problem // worst first
	// Identity is why what the store holds is not meta's pool, or is nobody's: it
	// wraps payout.ErrForeign or payout.ErrIncarnationMissing.
	Identity error
	Err      error // nothing could be looked at: payout.ErrUnavailable or ErrUnfit
}

// Examine looks at the store that c describes and changes nothing. Without meta
// it is not asked whose it is; nor where its settings are refused.
func Examine(ctx context.Context, c Config, meta *payout.Meta) (x Examination) {
	s, err := New(c)
	if err != nil {
		return Examination{Err: err}
	}
	defer s.Close()
	if err := s.client.Ping(ctx).Err(); err != nil { // opens the connection
		return Examination{Err: classify(ctx, err)}
	}
	start := time.Now()
	if err := s.client.Ping(ctx).Err(); err != nil {
		return Examination{Err: classify(ctx, err)}
	}
	x.Latency = time.Since(start)
	f, err := s.facts(ctx)
	if err != nil {
		return Examination{Err: err}
	}
	x.Version, x.Problems = f.info["redis_version"], sorted(f.judge())
	if meta == nil || len(fatalOf(x.Problems)) > 0 {
		return x
	}
	switch err := s.Open(ctx, *meta, false); {
	case errors.Is(err, payout.ErrForeign), errors.Is(err, payout.ErrIncarnationMissing):
		x.Identity = err
	default:
		x.Err = err
	}
	return x
}
