package journal

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// TestTemplatesAndCandidates: what is put comes back whole after a restart,
// results end resubmission, templates of open candidates are never dropped.
func TestTemplatesAndCandidates(t *testing.T) {
	dir := t.TempDir()
	j, _ := open4(t, Config{Dir: dir})
	low, high := testTemplate(t, 101), testTemplate(t, 102)
	a, b := testCandidate(low, 1), testCandidate(low, 2)
	for range 2 {
		for _, c := range []Candidate{b, a} {
			if err := j.PutCandidate(c); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.PutTemplate(low); err != nil {
			t.Fatal(err)
		}
		if _, err := j.PutTemplate(high); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.CandidateDone(b.Hash, "accepted"); err != nil {
		t.Fatal(err)
	}
	wrong := a
	wrong.Hash[0]++
	if err := j.PutCandidate(wrong); err == nil {
		t.Error("a candidate under another hash was taken")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j, rec := open4(t, Config{Dir: dir})
	if len(rec.Candidates) != 1 || !reflect.DeepEqual(rec.Candidates[0], a) {
		t.Fatalf("%+v", rec.Candidates)
	}
	got, err := j.Template(low.ID())
	if err != nil || !reflect.DeepEqual(got, low) {
		t.Fatalf("%+v %v, want %+v", got, err, low)
	}
	if !bytes.Equal(rec.Candidates[0].Block(got), low.Block(&a.Header, a.Coinbase)) {
		t.Error("block differs")
	}
	none := func(int32, chainhash.Hash) bool { return false }
	if err := j.DropTemplates(none); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Template(high.ID()); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("want ErrNoTemplate, got %v", err)
	}
	if _, err := j.Template(low.ID()); err != nil {
		t.Errorf("template of an open candidate: %v", err)
	}
	if err := j.CandidateDone(a.Hash, "refused: high-hash"); err != nil {
		t.Fatal(err)
	}
	if err := j.DropTemplates(none); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Template(low.ID()); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("want ErrNoTemplate, got %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFlipInAFileIsNoticed: a damaged candidate is named, never handed
// out; a damaged template is never returned.
func TestEveryFlipInAFileIsNoticed(t *testing.T) {
	tpl := testTemplate(t, 101)
	c := testCandidate(tpl, 1)
	disk := newMemFS(1)
	s := &files{fs: disk, candidates: "/j/candidates", templates: "/j/templates", cited: map[chainhash.Hash]chainhash.Hash{}, heights: map[chainhash.Hash]int32{}}
	cand, temp := s.candidateName(c.Hash, candidateExt), s.templateName(tpl.ID())
	disk.names[temp] = &inode{cur: encodeTemplate(tpl)}
	for _, receipt := range [][]byte{nil, fill(3, 70)} {
		c.Receipt = receipt
		disk.names[cand] = &inode{cur: encodeCandidate(&c)}
		var whole Recovery
		if err := s.loadCandidates(&whole); err != nil || len(whole.Candidates) != 1 || !reflect.DeepEqual(whole.Candidates[0], c) {
			t.Fatalf("came back as %+v, %v", whole, err)
		}
		for at := range disk.names[cand].cur {
			for _, flip := range []byte{0x10, 1, 2, 3} {
				disk.names[cand].cur[at] ^= flip
				var rec Recovery
				err := s.loadCandidates(&rec)
				disk.names[cand].cur[at] ^= flip
				if len(rec.Candidates) != 0 || len(rec.BadCandidates) != 1 && !errors.Is(err, ErrNewer) {
					t.Fatalf("candidate byte %d: %+v %v", at, rec, err)
				}
			}
		}
	}
	for at := range disk.names[temp].cur {
		disk.names[temp].cur[at] ^= 0x10
		_, err := s.load(temp, templateMagic)
		disk.names[temp].cur[at] ^= 0x10
		if err == nil {
			t.Fatalf("template byte %d not noticed", at)
		}
	}
}
