package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// How a rig dials.
const (
	dialTimeout  = 10 * time.Second
	backoffFirst = 200 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// errReconnect is a connection's end by client.reconnect.
var errReconnect = errors.New("client.reconnect")

// refusedError is a connection's end by an authorize that was not answered
// true.
type refusedError struct {
	code int
	text string
}

func (e *refusedError) Error() string { return "name refused: " + e.text }

// rig lives through connections. All but the atomics belongs to its goroutine.
type rig struct {
	Rig
	fleet *Fleet
	index int
	log   zerolog.Logger
	rng   *rand.Rand
	miner *miner

	connected  bool // ever
	authorized bool // ever

	difficulty atomic.Uint64 // float64 bits, as last announced
	work       atomic.Uint64 // float64 bits, accepted; one writer
}

func newRig(f *Fleet, i int) *rig {
	r := &rig{
		Rig: f.cfg.Rigs[i], fleet: f, index: i,
		log: f.cfg.Log.With().Int("rig", i).Str("user", f.cfg.Rigs[i].User).Logger(),
		rng: rand.New(rand.NewPCG(f.cfg.Seed, uint64(i))),
	}
	if r.Agent == "" {
		r.Agent = "cordee-fleet/1"
	}
	if r.Password == "" {
		r.Password = "x"
	}
	r.miner = newMiner(r.rng)
	return r
}

func (r *rig) emit(e Event) {
	if r.fleet.cfg.OnEvent == nil {
		return
	}
	e.Rig = r.index
	if e.At.IsZero() {
		e.At = time.Now()
	}
	r.fleet.cfg.OnEvent(e)
}

// run connects again and again until ctx ends.
func (r *rig) run(ctx context.Context) {
	wait := backoffFirst
	for ctx.Err() == nil {
		worked, err := r.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if worked {
			wait = backoffFirst
		}
		// Half to one and a half of wait, so that a fleet told to reconnect does
		// not come back as one wave.
		pause := wait/2 + time.Duration(r.rng.Int64N(int64(wait)))
		r.log.Debug().Err(err).Dur("retry_in", pause).Msg("rig_disconnected")
		if !sleep(ctx, pause) {
			return
		}
		wait = min(2*wait, backoffMost)
	}
}

// connect lives through one connection. worked reports that work came.
func (r *rig) connect(ctx context.Context) (worked bool, err error) {
	count := &r.fleet.count
	count.dials.Add(1)
	conn, err := r.fleet.cfg.Dial(ctx, "tcp", r.fleet.cfg.Addr)
	if err != nil {
		if ctx.Err() == nil {
			count.dialErrors.Add(1)
			r.emit(Event{Kind: Disconnected, Text: clip(err.Error())})
		}
		return false, err
	}
	count.connects.Add(1)
	if r.connected {
		count.reconnects.Add(1)
	}
	r.connected = true
	count.connected.Add(1)
	r.emit(Event{Kind: Connected})

	s := newSession(r, conn)
	err = s.run(ctx)

	count.connected.Add(-1)
	r.miner.setWork(nil)
	e := Event{Kind: Disconnected, Text: clip(err.Error())}
	if refused, ok := errors.AsType[*refusedError](err); ok {
		count.refused.Add(1)
		e.Code, e.Text = refused.code, refused.text
	}
	r.emit(e)
	return s.worked, err
}
