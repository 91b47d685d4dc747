package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

// connect makes two nodes peers.
func connect(t *testing.T, a, b *sandbox.Node) {
	t.Helper()
	if err := a.ConnectTo(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// awaitTip waits until n's best block is hash, and returns when that was seen.
func awaitTip(t *testing.T, n *sandbox.Node, hash string) time.Time {
	t.Helper()
	eventually(t, patience, "tip of "+n.URL, func() error {
		tip, height, err := n.Tip(t.Context())
		if err == nil && tip != hash {
			err = fmt.Errorf("%s at %d, not %s", tip, height, hash)
		}
		return err
	})
	return time.Now()
}

// TestReorganisation: the node meets a longer branch and leaves ours. The pool
// leaves with it, at once, and goes on.
func TestReorganisation(t *testing.T) {
	t.Parallel()
	a, b := realNode(t), realNode(t, payingElsewhere)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{a}, hashesPerBlock: easy})
	r := p.dialRig("vosges.gerardmer.raw")
	tip, _ := tipOf(t, a)
	ours := r.mineBlock(p, tip)
	second := r.mineBlock(p, ours)

	theirs := generate(t, b, 5)[4] // 6 blocks against 3
	connect(t, a, b)
	seen := awaitTip(t, a, theirs)
	j := r.jobOn(theirs)
	t.Logf("%s reorganised by 3 blocks; the rig had its job %s after the test saw the tip", a.Kind, j.At.Sub(seen))
	if late := j.At.Sub(seen); late > 20*time.Second { // in 30 it would come by itself
		t.Errorf("the job came %s after the new tip", late)
	}
	clean := false
	for _, job := range r.all() {
		clean = clean || job.PrevHash == theirs && job.Clean
	}
	if !clean {
		t.Error("no job on the new branch said clean_jobs")
	}
	awaitState(t, p, ours, pool.BlockOrphaned)
	awaitState(t, p, second, pool.BlockOrphaned)

	next := r.mineBlock(p, theirs)
	awaitTip(t, b, next)
	if got, _ := p.block(next); got.Height != 7 {
		t.Errorf("our next block is at %d, want 7", got.Height)
	}
	p.stop()
	p.verify()
}

// followed returns whose templates are mined, as `cordee status` says it.
func followed(s *web.Status) string {
	for _, n := range s.Nodes {
		if n.Followed {
			return n.Name
		}
	}
	return ""
}

// TestTwoNodesAtOneHeight: nodes that disagree about the tip at equal height
// are no reason to change horses. When the one that is followed dies, the other
// takes over within two seconds.
func TestTwoNodesAtOneHeight(t *testing.T) {
	t.Parallel()
	a, b := realNode(t), realNode(t, payingElsewhere)
	tipA, heightA := tipOf(t, a)
	tipB, heightB := tipOf(t, b)
	if tipA == tipB || heightA != heightB {
		t.Fatalf("the nodes are at %d %s and %d %s: this test wants two tips at one height", heightA, tipA, heightB, tipB)
	}
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{a, b}, hashesPerBlock: easy})
	eventually(t, patience, "both nodes healthy", func() error {
		s := p.status()
		for _, n := range s.Nodes {
			if !n.Healthy || n.Height != heightA {
				return fmt.Errorf("node %s: %s at height %d", n.Name, n.State, n.Height)
			}
		}
		return nil
	})
	r := p.dialRig("alpes.chamonix.raw")
	holds(t, 3*time.Second, "two tips at one height", func() error {
		s := p.status()
		moves := p.logged("node.takeover")
		for _, m := range moves {
			if m["reason"] != "timeout" { // for 700 ms, as any node on a busy machine
				return fmt.Errorf("the pool went from %s to %s: %s", m["from"], m["to"], m["reason"])
			}
		}
		if now := followed(&s); now != "n0" && len(moves) == 0 {
			return fmt.Errorf("the pool follows %s, want the first of its file", now)
		}
		for _, j := range r.all() {
			if j.PrevHash != s.PrevHash && len(moves) == 0 {
				return fmt.Errorf("a job on %s, the pool mines on %s", j.PrevHash, s.PrevHash)
			}
		}
		return nil
	})
	other := "n1"
	if followed(new(p.status())) == other {
		a, b, tipA, other = b, a, tipB, "n0"
	}

	// A block on top makes one branch longer: both go there once they talk.
	ours := r.mineBlock(p, tipA)
	if at, err := hashAt(t.Context(), a, heightA+1); err != nil || at != ours {
		t.Errorf("%s has %s at %d (%v), not our block", a.Kind, at, heightA+1, err)
	}
	connect(t, b, a)
	awaitTip(t, b, ours)
	awaitState(t, p, ours, pool.BlockActive)

	// The followed node dies.
	jobs := len(r.all())
	died := time.Now()
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	var j rawJob
	eventually(t, patience, "job of the other node", func() error {
		if s := p.status(); s.Node != other {
			return fmt.Errorf("the pool mines for %s", s.Node)
		}
		all := r.all()
		if len(all) == jobs {
			return errors.New("no new job")
		}
		j = all[jobs]
		return nil
	})
	t.Logf("%s killed; first job of the other node after %s", a.Kind, j.At.Sub(died))

	next := r.mineBlock(p, ours)
	if at, err := hashAt(t.Context(), b, heightA+2); err != nil || at != next {
		t.Errorf("the other node has %s at %d (%v), not our block", at, heightA+2, err)
	}
	if answers := fmt.Sprint(p.blocks()[0].Answers); answers != "map["+other+":accepted]" {
		t.Logf("answers so far: %s", answers)
	}
	p.stop()
	p.verify()
}
