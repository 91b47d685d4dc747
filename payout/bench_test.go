package payout

import (
	"encoding/binary"
	"testing"
)

// BenchmarkLedger is a pool of 50 members and 10 000 blocks, each with a credit
// and a payment for everyone: read from its events, one more block, and all laws.
func BenchmarkLedger(b *testing.B) {
	const members, blocks = 50, 10_000
	found := func(n int) *Event {
		r := &Receipt{Rule: RuleUnitPPLNS, Height: int32(n), Reward: 2 * members}
		for m := range uint16(members) {
			r.Credits = append(r.Credits, Credit{Member: m + 1, Sats: 2})
			r.Settlement = append(r.Settlement, Payment{Kind: ToMember, Member: m + 1, Sats: 1, Script: []byte{1}})
		}
		r.Settlement = append(r.Settlement, Payment{Kind: ToTreasury, Sats: members, Script: []byte{2}})
		return &Event{Kind: BlockFound, Block: hashOfNumber(n), Receipt: r}
	}
	fold := func(b *testing.B) *Ledger {
		l := NewLedger()
		for n := 1; n <= blocks; n++ {
			if err := l.Apply(found(n)); err != nil {
				b.Fatal(err)
			}
		}
		return l
	}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			fold(b)
		}
	})
	l, n := fold(b), blocks
	b.Run("apply", func(b *testing.B) {
		for b.Loop() {
			n++
			if err := l.Apply(found(n)); err != nil {
				b.Fatal(err)
			}
		}
	})
	l = fold(b)
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if err := l.Check(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func hashOfNumber(n int) (h [32]byte) {
	binary.BigEndian.PutUint32(h[:], uint32(n))
	return h
}
