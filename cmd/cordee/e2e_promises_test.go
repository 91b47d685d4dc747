package main

import (
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/fleet"
	"cordee/internal/journal"
)

// promises is what rigs heard: the oracle of every "no share lost" test. It
// sees lines, and nothing of the pool.
type promises struct {
	accepted atomic.Int64
	onSubmit atomic.Pointer[func()] // called when a rig is about to submit

	mu       sync.Mutex
	kept     map[chainhash.Hash]fleet.ShareKey // answered true
	twice    []chainhash.Hash                  // answered true a second time
	rejected []string
	ended    []string // why connections ended
}

func newPromises() *promises { return &promises{kept: map[chainhash.Hash]fleet.ShareKey{}} }

func (p *promises) on(e fleet.Event) {
	switch e.Kind {
	case fleet.Submit:
		if f := p.onSubmit.Load(); f != nil {
			(*f)()
		}
	case fleet.Accepted:
		p.mu.Lock()
		if _, seen := p.kept[e.Hash]; seen {
			p.twice = append(p.twice, e.Hash)
		}
		p.kept[e.Hash] = e.Share
		p.mu.Unlock()
		p.accepted.Add(1)
	case fleet.Rejected:
		p.mu.Lock()
		p.rejected = append(p.rejected, fmt.Sprintf("%d %s", e.Code, e.Text))
		p.mu.Unlock()
	case fleet.Disconnected:
		p.mu.Lock()
		p.ended = append(p.ended, e.Text)
		p.mu.Unlock()
	default:
	}
}

// complaints returns what was rejected and which connections ended so far.
func (p *promises) complaints() (rejected, ended []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.rejected...), append([]string(nil), p.ended...)
}

// more waits until n more shares were answered true.
func (p *promises) more(t *testing.T, n int64) {
	t.Helper()
	want := p.accepted.Load() + n
	eventually(t, findPatience, fmt.Sprintf("%d more shares answered true", n), func() error {
		if got := p.accepted.Load(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	})
}

// audit holds the journal in dir against what rigs heard: every share answered
// true is there, none is there twice, counters never repeat, epochs rise by
// one. It returns the number of epochs.
func (p *promises) audit(t *testing.T, dir string) (epochs int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.twice) > 0 {
		t.Errorf("%d headers were answered true twice: %s", len(p.twice), p.twice[0])
	}
	written := map[chainhash.Hash]fleet.ShareKey{}
	counters := map[uint32]bool{}
	var epoch, counter uint32
	err := journal.Read(dir, func(info journal.RecordInfo, rec journal.Record) error {
		switch rec := rec.(type) {
		case journal.Epoch:
			epochs++
			if rec.Epoch != epoch+1 {
				t.Errorf("epoch %d comes after epoch %d", rec.Epoch, epoch)
			}
			epoch = rec.Epoch
		case journal.Job:
			if counters[rec.Counter] || rec.Counter <= counter {
				t.Errorf("job counter %d of epoch %d comes after %d", rec.Counter, epoch, counter)
			}
			counter = rec.Counter
			counters[counter] = true
		case journal.Share:
			hash := rec.Hash
			if _, seen := written[hash]; seen {
				t.Errorf("share %s is in the journal twice, again at %s:%d", hash, info.File, info.Offset)
			}
			if !counters[rec.Counter] {
				t.Errorf("share %s is of job %d, which is not in the journal before it", hash, rec.Counter)
			}
			written[hash] = fleet.ShareKey{
				Extranonce1: hex.EncodeToString(rec.Extranonce1[:]), Extranonce2: hex.EncodeToString(rec.Extranonce2[:]),
				NTime: rec.NTime, Nonce: rec.Nonce, Version: rec.Version,
			}
		default:
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.kept) == 0 {
		t.Fatal("no share was answered true: nothing is proven")
	}
	for hash, key := range p.kept {
		if got, ok := written[hash]; !ok {
			t.Errorf("answered true and not in the journal: %s %+v", hash, key)
		} else if got != key {
			t.Errorf("share %s: the rig sent %+v, the journal has %+v", hash, key, got)
		}
	}
	t.Logf("%d shares answered true, %d in the journal, %d jobs, %d epochs", len(p.kept), len(written), len(counters), epochs)
	return epochs
}
