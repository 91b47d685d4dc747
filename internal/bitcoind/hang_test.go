package bitcoind_test

import (
	"testing"
	"time"

	"cordee/internal/harness"
)

// A node that takes a question and never answers is not waited for: the next
// one is asked.
func TestQuestionsDoNotHang(t *testing.T) {
	stuck := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	good := harness.StartFakeCore(t, harness.FakeCoreConfig{Height: 20})
	cfg := configFor(t, stuck, good)
	cfg.SubmitTimeout, cfg.TemplateTimeout = 2*time.Second, 2*time.Second // the good one has it too
	c := newCluster(t, cfg)
	hang := make(chan struct{})
	defer close(hang)
	stuck.Fail("getblockheader", harness.Fault{Until: hang})
	stuck.Fail("getblocktemplate", harness.Fault{Until: hang})
	done := make(chan error, 2)
	go func() {
		_, n, err := c.InChain(t.Context(), good.Tip().Hash)
		if err != nil || n != 1 {
			t.Errorf("%d confirmations, %v", n, err)
		}
		done <- err
	}()
	go func() {
		_, err := c.Propose(t.Context(), make([]byte, 81))
		done <- err
	}()
	late := time.After(patience)
	for range 2 {
		select {
		case <-done:
		case <-late:
			t.Fatal("a question hangs with the node")
		}
	}
}
