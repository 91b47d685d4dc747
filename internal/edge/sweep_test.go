package edge

import (
	"testing"
	"testing/synctest"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
)

// slowDrop is a journal on a disk that takes its time to delete.
type slowDrop struct {
	*journal.Journal
	hold chan struct{}
}

func (s slowDrop) DropTemplates(keep func(int32, chainhash.Hash) bool) error {
	<-s.hold
	return s.Journal.DropTemplates(keep)
}

// No job waits for the deletion of old template files: after a new block the
// node's own template follows the empty one at once.
func TestDeletionDelaysNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		k := newKit(t, t.TempDir(), func(c *Config) { c.Log = slowDrop{c.Log.(*journal.Journal), hold} })
		k.run()
		k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8), Tip: 1}
		sent := make(chan struct{})
		go func() {
			k.node.updates <- bitcoind.Update{Template: template(t, 101, 1, noBlocks, 50e8+1), Tip: 1}
			close(sent)
		}()
		synctest.Wait()
		if n := len(k.board.all()); n != 2 {
			t.Errorf("%d jobs while a file is deleted, want 2", n)
		}
		close(hold)
		<-sent
		k.end()
	})
}
