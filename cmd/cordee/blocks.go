package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"cordee/internal/keeper"
	"cordee/internal/web"
	"cordee/payout"
	"cordee/pool"
)

// Blocks implements web.Source: what the edge says of where a block stands, and
// the ledger of how it is split. Blocks of earlier runs are the ledger's alone.
func (p *process) Blocks() web.Blocks {
	accounts := p.keeper.Status()
	return blocksOf(p.edge.Blocks(), &accounts, p.edge.Status().Height-1)
}

// blocksOf joins the edge's blocks, newest first, with the ledger's, oldest
// first. tip is the height of the newest block of the chain.
func blocksOf(seen []pool.Block, accounts *keeper.Status, tip int32) web.Blocks {
	ids := make(map[uint16]string, len(accounts.Members))
	for _, m := range accounts.Members {
		ids[m.Member] = m.ID
	}
	settled := make(map[string]*keeper.BlockStatus, len(accounts.Blocks))
	for i := range accounts.Blocks {
		settled[accounts.Blocks[i].Hash] = &accounts.Blocks[i]
	}
	out := web.Blocks{Blocks: []web.Block{}}
	for _, b := range seen {
		x := web.Block{
			Hash: b.Hash.String(), Height: b.Height, State: b.State, Confirmations: b.Confirmations,
			Value: b.Value, Worker: b.Worker, Found: time.UnixMilli(b.Found), Answers: b.Answers,
		}
		if b.Member != 0 { // else nobody has claimed the work
			x.Member = ids[b.Member]
		}
		if s := settled[x.Hash]; s != nil {
			x.Split = splitOf(s, ids)
			delete(settled, x.Hash)
		}
		out.Blocks = append(out.Blocks, x)
	}
	for i := range accounts.Blocks {
		s := &accounts.Blocks[i]
		if settled[s.Hash] == nil {
			continue
		}
		x := web.Block{
			Hash: s.Hash, Height: s.Receipt.Height, State: pool.BlockActive, Value: s.Receipt.Reward,
			Answers: map[string]string{}, Split: splitOf(s, ids),
		}
		if s.State == web.SplitOrphaned {
			x.State = pool.BlockOrphaned
		} else {
			x.Confirmations = max(0, int64(tip)-int64(x.Height)+1)
		}
		out.Blocks = append(out.Blocks, x)
	}
	slices.SortStableFunc(out.Blocks, func(a, b web.Block) int { return int(b.Height) - int(a.Height) })
	return out
}

// splitOf copies a receipt for the pages. ids are the members' ids by index.
func splitOf(b *keeper.BlockStatus, ids map[uint16]string) *web.Split {
	commitment := b.Receipt.Commitment()
	out := &web.Split{
		State: b.State, Slot: b.Receipt.Slot, Reward: b.Receipt.Reward, Receipt: hex.EncodeToString(commitment[:]),
		Members: []web.Portion{}, Fees: []web.FeePortion{},
	}
	rows := map[uint16]*web.Portion{}
	row := func(m uint16) *web.Portion {
		if rows[m] == nil {
			id := ids[m]
			if id == "" { // left the register since
				id = fmt.Sprintf("#%d", m)
			}
			rows[m] = &web.Portion{Member: id, Index: m}
		}
		return rows[m]
	}
	for _, c := range b.Receipt.Credits {
		row(c.Member).Credit = c.Sats
	}
	for _, f := range b.Receipt.Fees {
		out.Fees = append(out.Fees, web.FeePortion{Account: f.Account, Credit: f.Sats})
	}
	fee := 0 // payments of fees follow the fees' order, without those of 0 sats
	for _, x := range b.Receipt.Settlement {
		switch x.Kind {
		case payout.ToMember:
			row(x.Member).Paid += x.Sats
		case payout.ToTreasury:
			out.Treasury += x.Sats
		case payout.ToFee:
			for fee < len(out.Fees) && out.Fees[fee].Credit == 0 {
				fee++
			}
			if fee < len(out.Fees) {
				out.Fees[fee].Paid = x.Sats
			}
			fee++
		}
	}
	for _, r := range rows {
		out.Members = append(out.Members, *r)
	}
	slices.SortFunc(out.Members, func(a, b web.Portion) int { return int(a.Index) - int(b.Index) })
	return out
}

// unripeOf sums what immature blocks paid, by member.
func unripeOf(blocks []keeper.BlockStatus) map[uint16]int64 {
	out := map[uint16]int64{}
	for _, b := range blocks {
		if b.State != web.SplitImmature {
			continue
		}
		for _, p := range b.Receipt.Settlement {
			if p.Kind == payout.ToMember {
				out[p.Member] += p.Sats
			}
		}
	}
	return out
}

// accountOf sorts what blocks of the chain credited to m by when it can be
// spent. The ledger has it by how it leaves: there, an output of a coinbase is
// paid at once, and carry that it drains is already gone. Outputs, of which
// unripe is the sum over immature blocks, are shown as maturing until then, and
// carry they drain with them.
func accountOf(m *keeper.MemberStatus, unripe int64) web.Account {
	drained := max(-m.Maturing, 0) // immature outputs beyond what their blocks credit
	return web.Account{
		Member: m.ID, Index: m.Member, Expected: m.Expected, Direct: m.Direct,
		Maturing: m.Maturing + drained + unripe, Outputs: unripe,
		Carried: m.Carried + m.Reserved - drained, Paid: m.Paid - unripe,
	}
}
