package stratum

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// A difficulty that nobody proved to be right is not remembered: names are
// public, and a stranger could leave one behind that keeps a rig without a
// share for minutes.
func TestMemoryTakesNoUnprovenDifficulty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 1<<40)))
		tw := newTwin(1 << 20)
		s := srv.enter(tw, Door{})
		tw.send(saySubscribe + sayAuthorize)
		synctest.Wait()
		is := issuedTo(s)[0]
		sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		tw.send(submitLine("5", "alpha.north.r1", keyID(is.key), sub, 0))
		tw.send(fmt.Sprintf(`{"id":6,"method":"mining.suggest_difficulty","params":[%d]}`+"\n", 1<<31))
		synctest.Wait()
		tw.hangUp()
		synctest.Wait()

		honest := newTwin(1 << 20)
		h := srv.enter(honest, Door{})
		honest.send(saySubscribe + sayAuthorize)
		synctest.Wait()
		if got := issuedTo(h)[0].difficulty; got > 16*4 {
			t.Errorf("the rig begins at %d, the only share proved %d", got, is.difficulty)
		}
		if err := srv.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A rig whose proven difficulty was lowered since is remembered with the lower.
func TestMemoryKeepsTheLowerDifficulty(t *testing.T) {
	srv, _ := testServer(t, nil)
	srv.Publish(jobSet(testJob(t, 1, 1, 1<<40)))
	p := newPuppet(t, srv)
	p.read([]byte(saySubscribe + sayAuthorize))
	is := issuedTo(p.s)[0]
	sub := mine(t, p.s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
	p.read([]byte(submitLine("5", "alpha.north.r1", keyID(is.key), sub, 0)))
	p.read([]byte(`{"id":6,"method":"mining.suggest_difficulty","params":[0.0000000009313225746154785]}` + "\n")) // 4 units
	if got := p.s.toRemember(); got != 4 {
		t.Errorf("remembers %d, want 4", got)
	}
}
