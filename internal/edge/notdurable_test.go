package edge

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordee/internal/journal"
	"cordee/pool"
)

// full is a journal without numbers left for rigs.
type full struct{ *journal.Journal }

func (full) RigNumber(uint16, string) (uint32, error) { return 0, journal.ErrTooManyRigs }

// What one rig's shares fail for is said, but not once a share.
func TestNotDurableDoesNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, t.TempDir(), func(c *Config) { c.Log = full{c.Log.(*journal.Journal)} })
		w := work(t, template(t, 101, 1, noBlocks, 50e8), 1, 1)
		memory, nonce := new(pool.Seen), uint32(0)
		submit := func(n int) {
			for range n {
				b := batch(memory, easy, submission(w, nonce))
				nonce++
				k.edge.Submit(b)
				if b.Verdicts[0].Reject != pool.NotDurable {
					t.Errorf("%v", b.Verdicts[0].Reject)
				}
			}
		}
		submit(1000)
		if n := k.logged.count("share.not_durable"); n != 1 {
			t.Errorf("%d lines for a thousand shares of one second", n)
		}
		if !strings.Contains(k.logged.b.String(), "let rigs keep their names") {
			t.Error("it does not say what to do")
		}
		time.Sleep(2 * time.Second)
		submit(1)
		if n := k.logged.count("share.not_durable"); n != 2 {
			t.Errorf("%d lines after a second more", n)
		}
		if k.edge.lost.Load() != 1001 {
			t.Errorf("%d counted", k.edge.lost.Load())
		}
		if err := k.journal.Close(); err != nil {
			t.Error(err)
		}
	})
}
