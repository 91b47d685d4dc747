package edge

import (
	"bytes"
	"strings"

	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/journal"
	"cordee/pool"
)

// refusedResult starts the result of a candidate that every node refused.
const refusedResult = "refused: "

// remember lists the blocks of earlier runs, so that a restart does not hide
// them: the newest that the list holds, and the chain says again where each
// stands. They are never submitted again.
func (b *blocks) remember(settled []journal.Settled) {
	settled = settled[max(0, len(settled)-keepBlocks):]
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range settled {
		s := &settled[i]
		c := &candidate{
			Block: pool.Block{
				Hash: s.Hash, Height: s.Height, State: pool.BlockAccepted, Found: s.When.UnixMilli(),
				Answers: map[string]string{},
			},
			written: make(chan struct{}), final: true,
		}
		close(c.written)
		c.Value, c.Member = readCoinbase(s.Coinbase)
		if strings.HasPrefix(s.Result, refusedResult) {
			c.State = pool.BlockRefused
		}
		b.known[c.Hash] = c
		b.order = append(b.order, c)
	}
}

// readCoinbase returns what a coinbase of ours pays, in sats, and the member
// its place names: the journal keeps no more of who found an old block.
func readCoinbase(raw []byte) (sats int64, member uint16) {
	var tx wire.MsgTx
	if err := tx.DeserializeNoWitness(bytes.NewReader(raw)); err != nil || len(tx.TxIn) != 1 {
		return 0, 0
	}
	for _, out := range tx.TxOut {
		sats += out.Value
	}
	if script, err := pool.ParseScriptSig(tx.TxIn[0].SignatureScript); err == nil {
		member = script.Place.Member
	}
	return sats, member
}
