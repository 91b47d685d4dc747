package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// history is what a test knows from outside: which shares were handed to the
// journal, and which were answered true. A share is known by its Nonce.
type history struct {
	mu     sync.Mutex
	next   uint32
	issued map[uint32]bool
	acked  map[uint32]uint64 // nonce -> seq
}

func newHistory() *history { return &history{issued: map[uint32]bool{}, acked: map[uint32]uint64{}} }

func (h *history) take(n int) []Share {
	h.mu.Lock()
	defer h.mu.Unlock()
	shares := make([]Share, n)
	for i := range shares {
		h.next++
		h.issued[h.next] = true
		shares[i] = Share{Nonce: h.next, Difficulty: 1, Member: uint16(h.next), Rig: 1}
	}
	return shares
}

func (h *history) ack(shares []Share) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range shares {
		h.acked[s.Nonce] = s.Seq
	}
}

// check compares a recovered journal with h.
func (h *history) check(fs FS, dir string) error {
	found := map[uint32]bool{}
	_, err := verify(fs, dir, func(r RecordInfo) error {
		if r.Kind != KindShare {
			return nil
		}
		var s Share
		if err := DecodeShare(r.Kind, r.Body, &s); err != nil {
			return err
		}
		if found[s.Nonce] || !h.issued[s.Nonce] {
			return fmt.Errorf("share %d (seq %d) twice, or never issued", s.Nonce, s.Seq)
		}
		if seq, ok := h.acked[s.Nonce]; ok && seq != s.Seq {
			return fmt.Errorf("share %d has seq %d, answered with %d", s.Nonce, s.Seq, seq)
		}
		found[s.Nonce] = true
		return nil
	})
	if err != nil {
		return err
	}
	for n := range h.acked {
		if !found[n] {
			return fmt.Errorf("share %d (seq %d) was answered true and is lost", n, h.acked[n])
		}
	}
	return nil
}

// mine works on a journal until it fails.
func (h *history) mine(j *Journal, rng *rand.Rand, goroutines int) {
	var wg sync.WaitGroup
	for range goroutines {
		seed := rng.Uint64()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 2))
			for i := range 30 {
				if rng.IntN(8) == 0 {
					t, err := j.Append(Job{Counter: uint32(i), Coinb2: make([]byte, rng.IntN(700))}, Receipt{[]byte("r")})
					if err != nil || t.WaitWritten() != nil {
						return
					}
				}
				shares := h.take(1 + rng.IntN(5))
				t, err := j.AppendShares(shares)
				if err != nil || t.Wait() != nil {
					return
				}
				h.ack(shares)
			}
		})
	}
	wg.Wait()
}

// TestAnyCrashKeepsWhatWasAnswered is the law of the room: power may go at any
// call, any part of what was not synced may be on the disk, again and again,
// also while recovering: the journal opens, holds every answered share, holds
// nothing that was not handed to it, and reports no damage.
func TestAnyCrashKeepsWhatWasAnswered(t *testing.T) {
	for seed := range uint64(250) {
		rng := rand.New(rand.NewPCG(seed, 3))
		h := newHistory()
		disk := newMemFS(seed)
		// Half of them read no more at a start than they must.
		cfg := Config{Dir: "/j", Edge: 1, SegmentSize: 8192, MaxPending: 2048, RecoverBytes: int64(seed % 2)}
		for life := range 5 {
			powerLoss := rng.IntN(4) != 0
			disk.crashAt = 1 + rng.IntN(120)
			cfg.FS = disk
			j, _, err := Open(cfg)
			if err == nil {
				h.mine(j, rng, 1+rng.IntN(4))
				if err := j.Close(); err != nil && !errors.Is(err, errCrashed) {
					t.Fatalf("seed %d life %d: close: %v", seed, life, err)
				}
			} else if !errors.Is(err, errCrashed) {
				t.Fatalf("seed %d life %d: open: %v", seed, life, err)
			}
			disk = disk.restart(seed+uint64(life), powerLoss)
			if err := h.check(disk, cfg.Dir); err != nil {
				t.Fatalf("seed %d life %d: before recovery: %v", seed, life, err)
			}
		}
		cfg.FS = disk
		j, rec, err := Open(cfg)
		if err != nil {
			t.Fatalf("seed %d: open: %v", seed, err)
		}
		if err := h.check(disk, cfg.Dir); err != nil {
			t.Fatalf("seed %d: after recovery (%+v): %v", seed, rec, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
