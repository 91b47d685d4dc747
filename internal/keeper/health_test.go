package keeper

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// moody is a store whose settings somebody changes.
type moody struct {
	payout.Store
	problems []payout.Problem
	err      error
	asked    int
}

func (m *moody) Health(context.Context) ([]payout.Problem, error) {
	m.asked++
	return m.problems, m.err
}

// TestStoreSettings: a setting that goes wrong is told once in log and status,
// stays told while the store is away, and is cleared when it is right again.
// Nothing halts.
func TestStoreSettings(t *testing.T) {
	var log bytes.Buffer
	m := &moody{Store: payout.NewMemory(func() int64 { return 0 })}
	kt := newKit(t, 3, m)
	kt.k.log = zerolog.New(&log)
	off := payout.Problem{Name: "appendonly", What: "it is no", Do: "CONFIG SET appendonly yes", Fatal: true}
	full := func(n string) payout.Problem {
		return payout.Problem{Name: "memory", What: n + " bytes are used", Do: "raise maxmemory"}
	}
	for i, step := range []struct {
		problems []payout.Problem
		err      error
		logged   string // of this step; "" for nothing
		trouble  bool
		listed   int
	}{
		{problems: nil},
		{problems: []payout.Problem{full("90")}, logged: `"level":"warn","event":"store.unfit"`, listed: 1},
		{problems: []payout.Problem{full("91")}, listed: 1}, // the same one
		{problems: []payout.Problem{off, full("92")}, logged: `"level":"error","event":"store.unfit"`, trouble: true, listed: 2},
		{problems: []payout.Problem{off, full("93")}, trouble: true, listed: 2},
		{err: errors.New("gone"), trouble: true, listed: 2},
		{problems: []payout.Problem{full("94")}, logged: `"level":"warn","event":"store.unfit"`, listed: 1},
		{problems: nil, logged: `"level":"info","event":"store.fit"`},
		{problems: nil},
	} {
		log.Reset()
		m.problems, m.err = step.problems, step.err
		kt.k.CheckStore(t.Context())
		s := kt.k.Status()
		_, trouble := s.Trouble["store-settings"]
		if lines := strings.Count(log.String(), "\n"); lines != min(1, len(step.logged)) || !strings.Contains(log.String(), step.logged) ||
			trouble != step.trouble || len(s.StoreProblems) != step.listed || len(s.Halts) != 0 {
			t.Errorf("step %d: log %q, trouble %q, problems %q, halts %q", i, log.String(), s.Trouble, s.StoreProblems, s.Halts)
		}
	}
}

// TestStoreIsAskedEachMinute, and not after the end.
func TestStoreIsAskedEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{Store: payout.NewMemory(func() int64 { return 0 })}
		k := &Keeper{cfg: Config{Store: m, HealthEach: time.Minute}, trouble: map[string]string{}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { k.watchStore(ctx); close(ended) }()
		time.Sleep(5*time.Minute + time.Second)
		stop()
		<-ended
		if m.asked != 5 {
			t.Errorf("asked %d times in five minutes", m.asked)
		}
	})
}

// emptied is a store that somebody empties, and gives back.
type emptied struct {
	payout.Store
	now atomic.Bool
}

func (e *emptied) Health(context.Context) ([]payout.Problem, error) {
	if e.now.Load() {
		return []payout.Problem{{Name: "incarnation", What: "it is empty", Fatal: true}}, nil
	}
	return nil, nil
}

// TestStoreThatIsBackIsAsked: what the store was told of while it was another, or
// empty, is not said of it once it is given back.
func TestStoreThatIsBackIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost emptied
		lost.Store = &faulty{Store: payout.NewMemory(func() int64 { return 0 }), before: func(string) error {
			if lost.now.Load() {
				return payout.ErrIncarnationMissing
			}
			return nil
		}}
		kt := newKit(t, 3, &lost)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- kt.k.Run(ctx) }()
		time.Sleep(30 * time.Second)
		lost.now.Store(true)
		time.Sleep(time.Minute)
		if s := kt.k.Status(); len(s.Trouble) != 2 || len(s.Halts) != 1 {
			t.Fatalf("%+v", s)
		}
		lost.now.Store(false)
		if err := kt.k.Lift(kt.k.Halts()[0], "given back"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := kt.k.Status(); len(s.Trouble) != 0 || len(s.StoreProblems) != 0 {
			t.Errorf("%+v", s)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		kt.end()
	})
}

// TestRedisSetOtherwise: somebody changes a running server, and changes it back.
func TestRedisSetOtherwise(t *testing.T) {
	server := harness.StartRedis(t)
	store, err := redisstore.New(redisstore.Config{Mode: redisstore.Single, Addrs: []string{server.Addr}, Name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var log bytes.Buffer
	kt := newKit(t, 3, store)
	kt.k.log = zerolog.New(&log)
	if err := kt.k.Ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := server.Admin()
	for name, values := range map[string][2]string{"appendonly": {"no", "yes"}, "maxmemory-policy": {"allkeys-lru", "noeviction"}, "appendfsync": {"no", "always"}} {
		for i, v := range values {
			log.Reset()
			if err := admin.ConfigSet(t.Context(), name, v).Err(); err != nil {
				t.Fatal(err)
			}
			kt.k.CheckStore(t.Context())
			kt.work(5, 1)
			kt.close()
			if err := kt.k.Ship(t.Context()); err != nil { // it goes on meanwhile
				t.Errorf("%s %s: %v", name, v, err)
			}
			s := kt.k.Status()
			event := []string{"store.unfit", "store.fit"}[i]
			if strings.Contains(s.Trouble["store-settings"], name) != (i == 0) || !strings.Contains(log.String(), event) || len(s.Halts) != 0 {
				t.Errorf("%s %s: trouble %q, halts %q, log %s", name, v, s.Trouble, s.Halts, log.String())
			}
		}
	}
}
