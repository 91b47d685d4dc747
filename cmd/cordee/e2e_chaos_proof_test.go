package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cordee/internal/journal"
	"cordee/internal/web"
	"cordee/payout"
)

// prove ends the mining and recomputes everything: shares from what rigs heard,
// slots from shares, the store from slots, blocks and balances from the journal
// and the node's chain.
func (c *chaos) prove() {
	c.t.Helper()
	c.p.paying(1, false) // however few blocks there were between the kills
	for _, stop := range c.rigs {
		stop()
	}
	c.p.awaitConnections(0)
	store := c.p.ownStore()
	same := func() error { return c.p.compareStore(store) }
	eventually(c.t, 2*patience, "store, files and journal are one", same)
	generate(c.t, c.node, 100)
	var book *payout.Ledger
	eventually(c.t, 2*patience, "every block in the store's ledger is mature or an orphan", func() (err error) {
		if book, err = foldStore(store); err != nil {
			return err
		}
		for _, b := range book.Blocks() {
			if b.State == payout.Active {
				return fmt.Errorf("block %s at %d is immature", b.Hash, b.Receipt.Height)
			}
		}
		return same()
	})
	var accounts web.Accounts
	if err := c.p.ask("/accounts", &accounts); err != nil {
		c.t.Fatal(err)
	}
	c.p.stop()

	c.heard.audit(c.t, c.p.journalDir())
	if bad := c.refusals(); len(bad) > 0 {
		c.t.Errorf("%d shares were refused for a reason of ours: %q", len(bad), bad)
	}
	if errs := c.trouble(); len(errs) > 0 {
		c.t.Errorf("the pool logged errors: %q", errs)
	}
	journal := c.p.verify()
	if want := 1 + c.did["kill of pool"] + c.did["kill of both"]; len(journal.Epochs) != want {
		c.t.Errorf("%d epochs after %d starts", len(journal.Epochs), want)
	}
	if err := compareSlots(c.p.journalDir(), store); err != nil {
		c.t.Error(err)
	}
	c.proveMoney(book, &accounts)
}

// proveMoney holds the ledger in the store, and what the pool said last, against
// the recomputation from journal and chain, whose outputs are the node's.
func (c *chaos) proveMoney(book *payout.Ledger, accounts *web.Accounts) {
	c.t.Helper()
	report := c.p.audit(c.p.config)
	if !report.OK || report.Mature != len(report.Blocks) || report.Paying == 0 {
		c.t.Errorf("audit: ok %t, %d blocks of which %d mature and %d pay members: %v", report.OK, len(report.Blocks), report.Mature, report.Paying, report.Mismatches)
	}
	checkAllSeen(c.t, c.node, &report)
	if err := book.Check(); err != nil || len(book.Halts()) != 0 || len(accounts.Halts) != 0 {
		c.t.Errorf("ledger: %v, halts %q and %q", err, book.Halts(), accounts.Halts)
	}
	active, orphans := 0, 0
	for _, b := range book.Blocks() {
		if b.State == payout.Orphaned {
			orphans++
		} else {
			active++
		}
	}
	if active != len(report.Blocks) {
		c.t.Errorf("%d blocks stand in the ledger, %d on the chain", active, len(report.Blocks))
	}
	var treasury int64
	for _, b := range report.Blocks {
		for _, o := range b.Outputs {
			if o.To == "treasury" {
				treasury += o.Sats
			}
		}
	}
	if book.Treasury() != treasury || accounts.Treasury != treasury {
		c.t.Errorf("the treasury holds %d sats by the chain, %d by the ledger, the pool says %d", treasury, book.Treasury(), accounts.Treasury)
	}
	type row struct{ owed, paid int64 }
	chain, ledger, said := map[string]row{}, map[string]row{}, map[string]row{}
	for _, m := range report.Members {
		chain[m.Member] = row{m.Carried, m.Paid}
		b := book.Balance(payout.Owner{Member: demoMembers[m.Member]})
		ledger[m.Member] = row{b.Owed() + b.Reserved, b.Paid}
	}
	for _, a := range accounts.Members {
		if a.Index != 0 || a.Carried+a.Paid != 0 { // no work was parked
			said[a.Member] = row{a.Maturing + a.Carried, a.Paid}
		}
	}
	if !maps.Equal(chain, ledger) || !maps.Equal(chain, said) || len(chain) != len(demoMembers) {
		c.t.Errorf("members are owed and paid: %v by journal and chain, %v by the store's ledger, %v by the pool", chain, ledger, said)
	}
	c.t.Logf("%d blocks on the chain, %d of them paying members, %d orphans, %d slots, %d shares; owed and paid: %v",
		len(report.Blocks), report.Paying, orphans, report.Slots, report.Shares, chain)
}

// foldStore returns the ledger that the events in s give.
func foldStore(s payout.Store) (*payout.Ledger, error) {
	l := payout.NewLedger()
	for at := uint64(1); ; {
		page, err := s.Records(context.Background(), at, payout.MaxPage)
		if err != nil || len(page) == 0 {
			return l, err
		}
		for _, r := range page {
			e, err := payout.DecodeEvent(r.Data)
			if err == nil {
				err = l.Apply(e)
			}
			if err == nil && l.Head() != r.Head {
				err = errors.New("its head does not follow")
			}
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", at, err)
			}
			at++
		}
	}
}

// compareSlots walks over the journal: each share is in exactly one slot of the
// store, each slot has the root and the sums of its own shares, and nothing else
// is in the store's totals and marks.
func compareSlots(dir string, s payout.Store) error {
	ctx := context.Background()
	type id struct {
		epoch uint32
		seq   uint64
	}
	in := map[id]uint32{} // the slot of each share
	var slots []*payout.Slot
	for more := true; more; {
		page, err := s.Slots(ctx, uint32(len(slots)+1), payout.MaxPage)
		if err != nil {
			return err
		}
		more = len(page) > 0
		for _, p := range page {
			m, err := payout.DecodeSlot(p.Bytes[:max(0, len(p.Bytes)-ed25519.SignatureSize)])
			if err != nil {
				return fmt.Errorf("slot %d of the store: %w", p.Number, err)
			}
			slots = append(slots, m)
			for _, r := range m.Ranges {
				for seq := r.First; seq <= r.Last; seq++ {
					if other := in[id{r.Epoch, seq}]; other != 0 {
						return fmt.Errorf("share %d of epoch %d is in slots %d and %d", seq, r.Epoch, other, m.Number)
					}
					in[id{r.Epoch, seq}] = m.Number
				}
			}
		}
	}
	type key struct {
		member uint16
		bits   uint32
	}
	sums := make([]map[key]uint64, len(slots)+1) // by slot; 0 is all
	for i := range sums {
		sums[i] = map[key]uint64{}
	}
	bodies := make([][][]byte, len(slots)+1)
	marks := map[uint32]uint64{}
	err := journal.Read(dir, func(info journal.RecordInfo, rec journal.Record) error {
		x, ok := rec.(journal.Share)
		if !ok || info.Kind != journal.KindShare {
			return nil
		}
		n := in[id{info.Epoch, x.Seq}]
		if n == 0 {
			return fmt.Errorf("share %d of epoch %d is in no slot", x.Seq, info.Epoch)
		}
		delete(in, id{info.Epoch, x.Seq})
		k := key{x.Member, x.WorkBits}
		sums[0][k] += uint64(x.Difficulty)
		sums[n][k] += uint64(x.Difficulty)
		bodies[n] = append(bodies[n], bytes.Clone(info.Body))
		marks[info.Epoch] = max(marks[info.Epoch], x.Seq)
		return nil
	})
	if err != nil {
		return err
	}
	for x, n := range in {
		return fmt.Errorf("slot %d has share %d of epoch %d, the journal does not", n, x.seq, x.epoch)
	}
	flat := func(list []payout.Sum) map[key]uint64 {
		out := map[key]uint64{}
		for _, v := range list {
			out[key{v.Member, v.WorkBits}] += v.Difficulty
		}
		return out
	}
	for i, m := range slots {
		if got := flat(m.Sums); !maps.Equal(got, sums[i+1]) || payout.RecordRoot(bodies[i+1]) != m.RecordRoot {
			return fmt.Errorf("slot %d has sums %v, its shares %v", m.Number, got, sums[i+1])
		}
	}
	total, err := s.Run(ctx)
	if err != nil {
		return err
	}
	if got := flat(total); !maps.Equal(got, sums[0]) {
		return fmt.Errorf("the store's sums are %v, the journal's %v", got, sums[0])
	}
	hwms, err := s.HWMs(ctx)
	if err != nil {
		return err
	}
	if len(hwms) != len(marks) || slices.ContainsFunc(hwms, func(m payout.Mark) bool { return marks[m.Epoch] != m.Seq }) {
		return fmt.Errorf("the store's marks are %v, the journal ends at %v", hwms, marks)
	}
	return nil
}
