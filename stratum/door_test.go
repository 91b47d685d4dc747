package stratum

import (
	"testing"
	"testing/synctest"

	"cordee/pool"
)

// Each listener asks its own: a port for small rigs beside one for large ones.
func TestDoors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 1<<40)))
		for i, c := range []struct {
			door  Door
			floor pool.Difficulty
			want  pool.Difficulty
		}{
			{Door{}, 0, srv.cfg.StartDifficulty},
			{Door{StartDifficulty: 1 << 20, MinDifficulty: 1 << 10}, 1 << 10, 1 << 20},
			{Door{StartDifficulty: 1 << 7, MinDifficulty: 1 << 6}, 1 << 6, 1 << 7},
			{Door{StartDifficulty: 1, MinDifficulty: 1 << 6}, 1 << 6, 1 << 6},
			{Door{StartDifficulty: 1 << 7, MaxDifficulty: 1 << 9}, 0, 1 << 7},
		} {
			tw := newTwin(1 << 20)
			s := srv.enter(tw, c.door)
			tw.send(saySubscribe + sayAuthorize)
			synctest.Wait()
			if got := issuedTo(s)[0].difficulty; got != c.want {
				t.Errorf("door %d: starts at %d, want %d", i, got, c.want)
			}
			if low := s.clamp(1, 1<<40); c.floor != 0 && low != c.floor {
				t.Errorf("door %d: the floor is %d, want %d", i, low, c.floor)
			}
			if high := s.clamp(1<<39, 1<<40); c.door.MaxDifficulty != 0 && high != c.door.MaxDifficulty || c.door.MaxDifficulty == 0 && high != 1<<39 {
				t.Errorf("door %d: at most %d, want %d", i, high, c.door.MaxDifficulty)
			}
		}
		if err := srv.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
