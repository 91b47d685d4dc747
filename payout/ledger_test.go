package payout_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/payout"
	"cordee/pool"
)

// world drives a ledger through a chain of own blocks with reorganisations,
// batches and replays.
type world struct {
	ledger  *payout.Ledger
	log     []*payout.Event // that changed it
	rules   *payout.Rules
	members map[uint16]payout.Member
	chain   []*found // by height
	orphans []*found
	batches []*open
	made    int
}

type found struct {
	hash   chainhash.Hash
	turn   uint16
	mature bool
}

type open struct {
	id    [32]byte
	lines []payout.Line
	turn  uint16
	over  bool
}

func (w *world) apply(t *rapid.T, e *payout.Event) {
	before := w.ledger.Head()
	posts, err := w.ledger.Postings(e)
	if err != nil {
		t.Fatal(err)
	}
	var claims, coins int64
	for _, p := range posts {
		if p.Purse <= payout.PursePaid {
			claims += p.Sats
		} else {
			coins += p.Sats
		}
	}
	if claims != 0 || coins != 0 {
		t.Fatalf("%+v posts %d and %d, not 0", e, claims, coins)
	}
	if err := w.ledger.Apply(e); err != nil {
		t.Fatal(err)
	}
	if w.ledger.Head() == before {
		t.Fatalf("%+v changed nothing", e)
	}
	w.log = append(w.log, e)
}

func (w *world) find(t *rapid.T) {
	w.made++
	height := int32(1000 + len(w.chain))
	reward := rapid.OneOf(rapid.Int64Range(0, 5000), rapid.Int64Range(0, 5_000_000)).Draw(t, "reward")
	e := &payout.Event{Kind: payout.BlockFound, Block: prevHash(10_000 + w.made)}
	if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
		e.Receipt = &payout.Receipt{Height: height, Reward: reward, Class: 1, Settlement: []payout.Payment{{Kind: payout.ToTreasury, Sats: reward, Script: treasuryScript}}}
	} else {
		w.rules.MaxOutputs = rapid.IntRange(0, 4).Draw(t, "outputs")
		prev := prevHash(w.made)
		split, err := w.rules.Split(reward, prev, drawWeights(t, rapid.IntRange(0, 6).Draw(t, "members")), name)
		if err != nil {
			t.Fatal(err)
		}
		e.Receipt, err = w.rules.Receipt(&payout.Order{
			Template: &pool.Template{Height: height, PrevHash: prev, Value: reward}, Class: pool.Class{ID: 2, MaxCoinbase: 2000}, ScriptSig: 80,
			Split: split, Slot: 1, LedgerHead: w.ledger.Head(), Drain: rapid.IntRange(0, 3).Draw(t, "drain") > 0,
			Carry: w.ledger.Carry(), Members: w.members, Treasury: treasuryScript,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.apply(t, e)
	w.chain = append(w.chain, &found{hash: e.Block})
}

func (w *world) orphan(t *rapid.T) {
	if n := len(w.chain); n > 0 && !w.chain[n-1].mature {
		b := w.chain[n-1]
		b.turn++
		w.apply(t, &payout.Event{Kind: payout.BlockOrphaned, Block: b.hash, Turn: b.turn})
		w.chain, w.orphans = w.chain[:n-1], append(w.orphans, b)
	}
}

func (w *world) restore(t *rapid.T) {
	// Only the block that was orphaned last fits on the tip, and only at once:
	// a batch may have reserved since what it drained (decision 16 is the
	// keeper's).
	n := len(w.orphans)
	if n == 0 {
		return
	}
	b := w.orphans[n-1]
	if last := w.log[len(w.log)-1]; last.Kind != payout.BlockOrphaned || last.Block != b.hash {
		return
	}
	b.turn++
	w.apply(t, &payout.Event{Kind: payout.BlockRestored, Block: b.hash, Turn: b.turn})
	w.orphans, w.chain = w.orphans[:n-1], append(w.chain, b)
}

func (w *world) mature(t *rapid.T) {
	for _, b := range w.chain {
		if !b.mature {
			b.mature = true
			w.apply(t, &payout.Event{Kind: payout.BlockMatured, Block: b.hash})
			return
		}
	}
}

func (w *world) reserve(t *rapid.T) {
	w.made++
	b := &open{id: prevHash(20_000 + w.made)}
	for _, o := range w.ledger.Owners() {
		if free := w.ledger.Reservable(o); free > 0 && rapid.Bool().Draw(t, "in the batch") {
			b.lines = append(b.lines, payout.Line{Owner: o, Sats: rapid.Int64Range(1, free).Draw(t, "sats")})
		}
	}
	if len(b.lines) == 0 {
		return
	}
	over := slices.Clone(b.lines)
	over[0].Sats = w.ledger.Reservable(over[0].Owner) + 1
	if err := w.ledger.Apply(&payout.Event{Kind: payout.BatchReserved, Batch: b.id, Lines: over}); !errors.Is(err, payout.ErrLedger) {
		t.Fatalf("a sat more than is free: %v", err)
	}
	w.apply(t, &payout.Event{Kind: payout.BatchReserved, Batch: b.id, Lines: b.lines})
	w.batches = append(w.batches, b)
}

func (w *world) flip(t *rapid.T) {
	for _, b := range w.batches {
		if b.over || rapid.Bool().Draw(t, "another") {
			continue
		}
		var sum int64
		for _, l := range b.lines {
			sum += l.Sats
		}
		switch {
		case b.turn%2 == 0 && rapid.IntRange(0, 3).Draw(t, "cancel") == 0:
			b.over = true
			w.apply(t, &payout.Event{Kind: payout.BatchCanceled, Batch: b.id})
		case b.turn%2 == 0:
			b.turn++
			w.apply(t, &payout.Event{Kind: payout.BatchPaid, Batch: b.id, Turn: b.turn, Height: int32(1000 + len(w.chain)), Fee: min(sum, 141)})
		default:
			b.turn++
			w.apply(t, &payout.Event{Kind: payout.BatchUnpaid, Batch: b.id, Turn: b.turn})
		}
		return
	}
}

// again repeats an event of the past: nothing may change, whatever it was.
func (w *world) again(t *rapid.T) {
	if len(w.log) == 0 {
		return
	}
	e := w.log[rapid.IntRange(0, len(w.log)-1).Draw(t, "which")]
	before := w.state()
	if err := w.ledger.Apply(e); err != nil {
		t.Fatal(err)
	}
	if after := w.state(); !maps.Equal(before, after) {
		t.Fatalf("%+v again: %v became %v", e, before, after)
	}
}

func (w *world) state() map[payout.Owner]payout.Balance {
	out := map[payout.Owner]payout.Balance{{Account: "head"}: {Paid: int64(w.ledger.Head()[0])<<8 | int64(w.ledger.Head()[1])}}
	for _, o := range w.ledger.Owners() {
		out[o] = w.ledger.Balance(o)
	}
	return out
}

// check is I4 and the treasury law, computed from receipts outside the ledger.
func (w *world) check(t *rapid.T) {
	if err := w.ledger.Check(); err != nil {
		t.Fatal(err)
	}
	earned := make(map[payout.Owner]int64)
	for _, b := range w.ledger.Blocks() {
		if b.State == payout.Orphaned {
			continue
		}
		rest := b.Receipt.Reward
		for _, c := range b.Receipt.Credits {
			earned[payout.Owner{Member: c.Member}] += c.Sats
			rest -= c.Sats
		}
		for _, f := range b.Receipt.Fees {
			earned[payout.Owner{Account: f.Account}] += f.Sats
			rest -= f.Sats
		}
		earned[payout.Owner{Account: payout.UnallocatedAccount}] += rest
	}
	var owed int64
	for _, o := range w.ledger.Owners() {
		b := w.ledger.Balance(o)
		if b.Immature+b.Mature+b.Reserved+b.Paid != earned[o] {
			t.Fatalf("%s earned %d and has %+v", o, earned[o], b)
		}
		if (b.Since > 0) != (b.Owed()+b.Reserved > 0) {
			t.Fatalf("%s waits since %d for %+v", o, b.Since, b)
		}
		owed += b.Owed() + b.Reserved
	}
	if owed != w.ledger.Treasury() {
		t.Fatalf("%d are owed, the treasury holds %d", owed, w.ledger.Treasury())
	}
}

func TestLedgerMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			ledger: payout.NewLedger(), members: make(map[uint16]payout.Member),
			rules: &payout.Rules{
				Version: payout.RuleUnitPPLNS, XMilli: 4000, Scale: 1024, MinPayout: 1000, Underfill: payout.ReserveMissed,
				Fees: []payout.FeeRule{{Account: "pool", BP: 150, Script: script(9)}, {Account: "node", BP: 0}, {Account: "don", BP: 25}},
			},
		}
		for i := range 7 {
			w.members[uint16(i)] = member(i)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			steps := []func(*rapid.T){w.find, w.find, w.find, w.orphan, w.restore, w.mature, w.mature, w.reserve, w.flip, w.again}
			steps[rapid.IntRange(0, len(steps)-1).Draw(t, "step")](t)
			w.check(t)
		}
		// The fold is a function of the events: bytes and all.
		fresh := &world{ledger: payout.NewLedger()}
		for _, e := range w.log {
			b, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := payout.DecodeEvent(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := fresh.ledger.Apply(back); err != nil {
				t.Fatal(err)
			}
		}
		if fresh.ledger.Head() != w.ledger.Head() || !maps.Equal(fresh.state(), w.state()) {
			t.Fatal("the events replayed give another ledger")
		}
	})
}

// An orphan brings back every balance as it was, and a restoration too.
func TestOrphanIsTheExactOpposite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, o := drawOrder(t)
		o.Drain, o.Carry = true, nil
		l := payout.NewLedger()
		apply := func(e *payout.Event) {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		enter := func(n int) *payout.Event {
			o.Template.Height = int32(n)
			o.LedgerHead, o.Carry = l.Head(), l.Carry()
			r, err := rules.Receipt(o)
			if err != nil {
				t.Fatal(err)
			}
			return &payout.Event{Kind: payout.BlockFound, Block: prevHash(n), Receipt: r}
		}
		state := (&world{ledger: l}).state
		apply(enter(1))
		apply(enter(2))
		before := state()
		apply(enter(3))
		with := state()
		apply(&payout.Event{Kind: payout.BlockOrphaned, Block: prevHash(3), Turn: 1})
		after := state()
		apply(&payout.Event{Kind: payout.BlockRestored, Block: prevHash(3), Turn: 2})
		again := state()
		for _, m := range []map[payout.Owner]payout.Balance{before, with, after, again} {
			delete(m, payout.Owner{Account: "head"})
			maps.DeleteFunc(m, func(_ payout.Owner, b payout.Balance) bool { return b == payout.Balance{} })
		}
		if !maps.Equal(before, after) || !maps.Equal(with, again) {
			t.Fatalf("before %v, orphaned %v; with %v, restored %v", before, after, with, again)
		}
	})
}

// TestParkedWorkWaits: member 0 is the zero Owner, as is that of a posting that
// belongs to nobody; since when it waits is kept all the same.
func TestParkedWorkWaits(t *testing.T) {
	l := payout.NewLedger()
	r := &payout.Receipt{
		Rule: payout.RuleUnitPPLNS, Slot: 1, Height: 6, Reward: 5, Class: 1, Credits: []payout.Credit{{Member: 0, Sats: 5}},
		Settlement: []payout.Payment{{Kind: payout.ToTreasury, Sats: 5, Script: []byte{1}}},
	}
	if err := l.Apply(&payout.Event{Kind: payout.BlockFound, Block: [32]byte{1}, Receipt: r}); err != nil {
		t.Fatal(err)
	}
	if b := l.Balance(payout.Owner{}); b.Since != 6 || b.Immature != 5 {
		t.Errorf("parked work has %+v", b)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
}
