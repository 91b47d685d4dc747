package pool_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool"
	"cordee/pool/sha256d"
)

// drawWorks draws works of several jobs and classes, as one read of a proxy may
// hold them: coinbases of other lengths, templates of other sizes, and one that
// nobody made a midstate for.
func drawWorks(t *rapid.T, tb testing.TB) []*pool.Work {
	const value = 50e8
	var works []*pool.Work
	for i := range rapid.IntRange(1, 3).Draw(t, "jobs") {
		tpl := *regtestTemplate(tb, 101+int32(i), value, nil)
		for n := range rapid.IntRange(0, 13).Draw(t, "branches") {
			tpl.Branches = append(tpl.Branches, randomHash(uint64(100*i+n)))
		}
		tag := "/cordee-of-some-site"[:rapid.IntRange(0, 20).Draw(t, "tag")]
		outputs := rapid.SampledFrom([]int{1, 2, 5, 40}).Draw(t, "outputs")
		job, err := pool.NewJob(&tpl, evenPayout(value, outputs), pool.Class{MaxCoinbase: 100_000}, tag, 5, 77)
		if err != nil {
			t.Fatal(err)
		}
		works = append(works, job.Work(4, 1), job.Work(4, 2), job.Work(9, 1))
	}
	w := works[0]
	return append(works, &pool.Work{Template: w.Template, Coinb1: w.Coinb1, Coinb2: w.Coinb2})
}

// Every submission of a batch has the header and the hash it has alone by
// chainhash, in its place, whatever stands beside it in the lanes.
func TestHashOfMixedWorks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		works := drawWorks(rt, t)
		var subs []pool.Submission
		// Reads are runs of one work, long enough for lanes or not.
		for range rapid.IntRange(0, 5).Draw(rt, "runs") {
			work := rapid.SampledFrom(works).Draw(rt, "work")
			size := uint8(rapid.IntRange(4, 8).Draw(rt, "extranonce2 size"))
			for range rapid.IntRange(1, 18).Draw(rt, "submissions") {
				if rapid.IntRange(0, 20).Draw(rt, "another work") == 0 {
					work = rapid.SampledFrom(works).Draw(rt, "work")
				}
				subs = append(subs, pool.Submission{
					Work:            work,
					Extranonce1:     [4]byte{1, 2, 3, byte(rapid.IntRange(0, 255).Draw(rt, "extranonce1"))},
					Extranonce2:     [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(rt, "extranonce2")),
					Extranonce2Size: size,
					NTime:           rapid.Uint32().Draw(rt, "ntime"),
					Nonce:           rapid.Uint32().Draw(rt, "nonce"),
					Version:         rapid.Uint32().Draw(rt, "version"),
				})
			}
		}
		before := make([]pool.Hashed, rapid.IntRange(0, 2).Draw(rt, "before"))
		got := pool.Hash(before, subs)
		if len(got) != len(before)+len(subs) {
			rt.Fatalf("%d results of %d submissions behind %d", len(got), len(subs), len(before))
		}
		for i := range subs {
			s, h := &subs[i], &got[len(before)+i]
			root := chainhash.DoubleHashH(s.Work.Coinbase(nil, s))
			for _, b := range s.Work.Template.Branches {
				root = chainhash.DoubleHashH(append(root[:], b[:]...))
			}
			if !bytes.Equal(h.Header[36:68], root[:]) {
				rt.Fatalf("submission %d of %d: root %x, want %x", i, len(subs), h.Header[36:68], root)
			}
			if want := chainhash.DoubleHashH(h.Header[:]); h.Hash != want {
				rt.Fatalf("submission %d of %d: hash %v, want %v", i, len(subs), h.Hash, want)
			}
		}
	})
}

// What decides whether a share counts is proven under each kernel of this
// machine, in a process of its own.
func TestUnderEveryKernel(t *testing.T) {
	for _, kernel := range sha256d.Kernels() {
		if kernel == sha256d.Kernel() {
			continue // this process
		}
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run",
			"^(TestNaiveValidatorAgrees|TestHashOfMixedWorks|Test.*Vectors?|FuzzShareDifferential|TestHashDoesNotAllocate|TestSharesDoNotAllocate)$")
		cmd.Env = append(os.Environ(), sha256d.Variable+"="+kernel)
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestNaiveValidatorAgrees")) {
			t.Errorf("%s: %v\n%s", kernel, err, out)
		}
	}
}
