package keeper

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/internal/harness"
	"cordee/internal/journal"
	"cordee/internal/redisstore"
	"cordee/payout"
	"cordee/payout/verify"
	"cordee/pool"
)

// law is a pool's life at random, judged by the journal and the chain alone.
type law struct {
	*rapid.T
	kt    *kit
	ours  map[chainhash.Hash]*payout.Receipt
	rules map[chainhash.Hash]payout.Rules // that a block of ours was split by
	store payout.Store                    // without faults
	save  func() (restore func())         // copies the store
	saved []func()
}

func newLaw(r *rapid.T, t *testing.T, kept, faulty payout.Store, save func() (restore func())) *law {
	l := &law{T: r, ours: map[chainhash.Hash]*payout.Receipt{}, rules: map[chainhash.Hash]payout.Rules{}, store: kept, save: save}
	l.kt = newKit(t, 5, faulty)
	l.kt.chain.foreign(l.kt.chain.tip, 5)
	return l
}

// upTo returns the shares of slots 1 to cut, read from the journal whole.
func (l *law) upTo(cut uint32) []payout.Record {
	last := map[uint32]uint64{}
	for n := uint32(1); n <= cut; n++ {
		s, err := l.kt.k.Slot(n)
		if err != nil {
			l.Fatal(err)
		}
		for _, r := range s.Ranges {
			if r.First != last[r.Epoch]+1 {
				l.Fatalf("slot %d begins epoch %d at %d, the one before ended at %d", n, r.Epoch, r.First, last[r.Epoch])
			}
			last[r.Epoch] = r.Last
		}
	}
	var shares []payout.Record
	err := journal.Read(l.kt.cfg.Journal, func(r journal.RecordInfo, rec journal.Record) error {
		if s, ok := rec.(journal.Share); ok && r.Kind == journal.KindShare && s.Seq <= last[r.Epoch] {
			shares = append(shares, payout.Record{Member: s.Member, WorkBits: s.WorkBits, Difficulty: uint64(s.Difficulty)})
		}
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	return shares
}

func (l *law) judge(r *payout.Receipt) {
	if r.Rule == payout.RuleTreasury {
		if l.kt.k.slots.last != 0 {
			l.Fatal("treasury only after the first slot")
		}
		return
	}
	members := l.kt.cfg.Members.Members()
	want := verify.Credits(l.upTo(r.Slot), &l.kt.cfg.Rules, r.Reward, r.PrevHash, func(m uint16) string { return members[m].ID })
	have := map[uint16]int64{}
	for _, c := range r.Credits {
		have[c.Member] = c.Sats
	}
	if !maps.Equal(have, want) {
		l.Fatalf("slot %d: credits %v, the journal gives %v", r.Slot, have, want)
	}
}

// settle looks at the chain and compares every balance with it.
func (l *law) settle() {
	l.kt.cover()
	credit, paid := map[payout.Owner]int64{}, map[string]int64{}
	for h, r := range l.ours {
		if _, conf, err := l.kt.chain.InChain(l.Context(), h); err != nil || conf <= 0 {
			continue
		}
		for _, c := range r.Credits {
			credit[payout.Owner{Member: c.Member}] += c.Sats
		}
		for to, v := range paidTo(l.kt.chain.blocks[h]) {
			paid[to] += v
		}
	}
	held := paid[string(treasury)]
	for m := range l.kt.cfg.Members.Members() {
		b := l.kt.k.ledger.Balance(payout.Owner{Member: m})
		got, want := paid[string(script(byte(m)))], credit[payout.Owner{Member: m}]
		if b.Paid != got || b.Owed() != want-got || b.Owed() < 0 {
			l.Fatalf("member %d: ledger %+v, the chain credits %d and paid %d", m, b, want, got)
		}
	}
	if l.kt.k.ledger.Treasury() != held {
		l.Fatalf("treasury holds %d, the chain %d", l.kt.k.ledger.Treasury(), held)
	}
	if err := l.kt.k.ledger.Check(); err != nil || len(l.kt.k.Halts()) != 0 {
		l.Fatal(err, l.kt.k.Halts())
	}
}

// sync ships until the store has all, and compares it with a rebuilt one.
func (l *law) sync(final payout.Store) {
	for l.kt.k.Ship(l.Context()) != nil {
		if s := l.kt.k.Status(); s.Ship != ShipUnavailable {
			l.Fatal(s.ShipWhy)
		}
	}
	rep, _, err := l.kt.k.Check(l.Context())
	rep.Findings = slices.DeleteFunc(rep.Findings, l.ofOtherRules)
	if err != nil || len(rep.Findings) != 0 || rep.Unread != 0 || rep.Blocks != len(l.kt.k.ledger.Blocks()) {
		l.Fatal(err, rep)
	}
	want := fresh(l.kt.tb)
	if err := l.kt.k.Rebuild(l.Context(), want, harness.StoreMeta(1), func(uint32, uint32) {}); err != nil {
		l.Fatal(err)
	}
	same(l.kt.tb, final, want)
}

func (l *law) actions() map[string]func(*rapid.T) {
	kt := l.kt
	return map[string]func(*rapid.T){
		"work": func(r *rapid.T) {
			for range rapid.IntRange(1, 8).Draw(r, "shares") {
				kt.work(rapid.Uint64Range(1, 30).Draw(r, "difficulty"), uint16(rapid.IntRange(0, 5).Draw(r, "member")))
			}
		},
		"close": func(*rapid.T) { kt.close() },
		"block": func(r *rapid.T) {
			kt.keepRec = rapid.Bool().Draw(r, "candidate has its receipt")
			class := rapid.SampledFrom([]pool.Class{pool.DefaultClass, largeClass, pool.TinyClass, pool.MediumClass}).Draw(r, "class")
			h, receipt := kt.block(rapid.Int64Range(0, 20_000).Draw(r, "value"), class)
			l.ours[h], l.rules[h] = receipt, kt.cfg.Rules
			l.judge(receipt)
		},
		"foreign": func(r *rapid.T) { kt.chain.foreign(kt.chain.tip, rapid.IntRange(1, 3).Draw(r, "blocks")) },
		"reorg": func(r *rapid.T) {
			depth := min(rapid.IntRange(1, 4).Draw(r, "depth"), int(kt.chain.height[kt.chain.tip]))
			at := kt.chain.tip
			for range depth {
				at = kt.chain.blocks[at].Header.PrevBlock
			}
			kt.chain.foreign(at, depth+1)
		},
		"restore": func(r *rapid.T) {
			var off []chainhash.Hash
			for h := range l.ours {
				if _, conf, _ := kt.chain.InChain(r.Context(), h); conf < 0 && kt.chain.height[kt.chain.tip]-kt.chain.height[h] < 20 {
					off = append(off, h)
				}
			}
			if len(off) == 0 {
				r.Skip()
			}
			slices.SortFunc(off, func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) })
			h := rapid.SampledFrom(off).Draw(r, "block")
			kt.chain.foreign(h, int(kt.chain.height[kt.chain.tip]-kt.chain.height[h])+1)
		},
		"settle":       func(*rapid.T) { l.settle() },
		"settle again": func(*rapid.T) { l.settle() },
		"mature": func(r *rapid.T) {
			if rapid.IntRange(0, 3).Draw(r, "rarely") == 0 {
				kt.chain.foreign(kt.chain.tip, maturity)
				l.settle()
			}
		},
		"restart":         func(*rapid.T) { kt.restart() },
		"ship":            l.ship,
		"ship again":      l.ship,
		"store goes back": l.storeGoesBack,
		"batch again":     l.batchAgain,
		"fees":            l.changeFees,
		"crash":           func(r *rapid.T) { kt.crash(rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(r, "torn")) },
	}
}

// TestEverySatoshiIsOfTheJournal: whatever happens, in whatever order, credits
// are what a naive walk over the journal gives, balances what the chain's
// coinbases leave, and the store what a rebuild gives.
func TestEverySatoshiIsOfTheJournal(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		mem := payout.NewMemory(func() int64 { return 0 })
		fault := func(string) error {
			if rapid.IntRange(0, 9).Draw(r, "fault") == 0 {
				return payout.ErrUnavailable
			}
			return nil
		}
		l := newLaw(r, t, mem, &faulty{Store: mem, before: fault, after: fault}, func() func() {
			b := mem.Checkpoint()
			return func() {
				if err := mem.Restore(b); err != nil {
					t.Fatal(err)
				}
			}
		})
		defer l.kt.end()
		r.Repeat(l.actions())
		l.settle()
		l.sync(mem)
		head := l.kt.k.book.Load().head
		l.kt.restart()
		if l.kt.k.book.Load().head != head {
			t.Fatal("another ledger after a restart")
		}
	})
}

// TestTheSameOnRedis is a short run of it on a real server, which goes back by
// being killed and started on the files of an earlier moment.
func TestTheSameOnRedis(t *testing.T) {
	server := harness.StartRedis(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		if n++; n > 30 {
			return
		}
		store, err := redisstore.New(redisstore.Config{
			Mode: redisstore.Single, Addrs: []string{server.Addr}, Name: fmt.Sprintf("law-%d", n),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		l := newLaw(r, t, store, store, server.Copy)
		defer l.kt.end()
		r.Repeat(l.actions())
		l.settle()
		l.sync(store)
	})
}
