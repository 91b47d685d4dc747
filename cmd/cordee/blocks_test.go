package main

import (
	"encoding/json"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/keeper"
	"cordee/internal/web"
	"cordee/payout"
	"cordee/pool"
)

// A block is shown once, newest first, with its split where the ledger has one;
// one of an earlier run, which the edge does not know, is the ledger's alone.
func TestBlocksOf(t *testing.T) {
	receipt := func(height int32) *payout.Receipt {
		return &payout.Receipt{
			Rule: payout.RuleUnitPPLNS, Height: height, Reward: 1000,
			Credits: []payout.Credit{{Member: 1, Sats: 600}, {Member: 2, Sats: 300}, {Member: 9, Sats: 50}},
			Fees:    []payout.Fee{{Account: "none"}, {Account: "pool", Sats: 50}},
			Settlement: []payout.Payment{
				{Kind: payout.ToMember, Member: 1, Sats: 700, Script: []byte{1}},
				{Kind: payout.ToFee, Sats: 50, Script: []byte{2}},
				{Kind: payout.ToTreasury, Sats: 250, Script: []byte{3}},
			},
		}
	}
	hash := func(n byte) chainhash.Hash { return chainhash.Hash{n} }
	accounts := &keeper.Status{
		Members: []keeper.MemberStatus{{Member: 1, ID: "alpes"}, {Member: 2, ID: "barn"}},
		Blocks: []keeper.BlockStatus{
			{Hash: hash(1).String(), State: "mature", Receipt: receipt(10)},
			{Hash: hash(2).String(), State: "orphaned", Receipt: receipt(11)},
			{Hash: hash(3).String(), State: "immature", Receipt: receipt(100)},
		},
	}
	seen := []pool.Block{
		{Hash: hash(4), Height: 109, State: pool.BlockAccepted, Value: 1000, Member: 2},
		{Hash: hash(3), Height: 100, State: pool.BlockActive, Confirmations: 9, Value: 1000, Worker: "alpes.barn.one", Found: 5000},
	}
	got := blocksOf(seen, accounts, 109).Blocks
	if len(got) != 4 {
		t.Fatalf("%d blocks", len(got))
	}
	for i, want := range []struct {
		hash          chainhash.Hash
		state         pool.BlockState
		confirmations int64
		money         string
	}{
		{hash(4), pool.BlockAccepted, 0, ""},
		{hash(3), pool.BlockActive, 9, web.SplitImmature},
		{hash(2), pool.BlockOrphaned, 0, web.SplitOrphaned},
		{hash(1), pool.BlockActive, 100, web.SplitMature},
	} {
		b, money := got[i], ""
		if b.Split != nil {
			money = b.Split.State
		}
		if b.Hash != want.hash.String() || b.State != want.state || b.Confirmations != want.confirmations || money != want.money {
			t.Errorf("block %d: %+v, split %q", i, b, money)
		}
	}
	b, err := json.Marshal(got[1].Split.Members)
	const members = `[{"member":"alpes","index":1,"credit_sats":600,"paid_sats":700},` +
		`{"member":"barn","index":2,"credit_sats":300,"paid_sats":0},{"member":"#9","index":9,"credit_sats":50,"paid_sats":0}]`
	if err != nil || string(b) != members {
		t.Errorf("%s %v", b, err)
	}
	if s := got[1].Split; s.Treasury != 250 || s.Reward != 1000 || len(s.Fees) != 2 || s.Fees[1].Paid != 50 {
		t.Errorf("%+v", s)
	}
	if u := unripeOf(accounts.Blocks); len(u) != 1 || u[1] != 700 { // of the one immature block of three
		t.Errorf("unripe %v", u)
	}
	if !got[3].Found.IsZero() || got[1].Worker != "alpes.barn.one" || got[0].Member != "barn" {
		t.Error("an earlier run's block has a time, or this run's no rig")
	}
}

// A member sees each credited sat once: as maturing until it can be spent or is
// carried. Beside it stands what the ledger says of the same blocks.
func TestAccountOf(t *testing.T) {
	for name, c := range map[string]struct {
		ledger                              keeper.MemberStatus
		unripe                              int64
		maturing, inCoinbase, carried, paid int64
	}{
		"nothing yet":              {},
		"credited, not paid":       {keeper.MemberStatus{Maturing: 500}, 0, 500, 0, 0, 0},
		"paid by its own block":    {keeper.MemberStatus{Paid: 500}, 500, 500, 500, 0, 0},
		"paid in part":             {keeper.MemberStatus{Maturing: 100, Paid: 400}, 400, 500, 400, 0, 0},
		"carry drained, immature":  {keeper.MemberStatus{Maturing: -1000, Carried: 1200, Paid: 1500}, 1500, 1500, 1500, 200, 0},
		"the same, mature":         {keeper.MemberStatus{Carried: 200, Paid: 1500}, 0, 0, 0, 200, 1500},
		"mature and immature ones": {keeper.MemberStatus{Maturing: 10, Carried: 30, Paid: 900}, 400, 410, 400, 30, 500},
		"in a batch":               {keeper.MemberStatus{Carried: 30, Reserved: 70}, 0, 0, 0, 100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := accountOf(&c.ledger, c.unripe)
			if a.Maturing != c.maturing || a.Outputs != c.inCoinbase || a.Carried != c.carried || a.Paid != c.paid {
				t.Errorf("%+v, want maturing %d (%d in a coinbase), carried %d, paid %d", a, c.maturing, c.inCoinbase, c.carried, c.paid)
			}
			m := c.ledger
			if sum := a.Maturing + a.Carried + a.Paid; sum != m.Maturing+m.Carried+m.Reserved+m.Paid {
				t.Errorf("%d sats are shown, the ledger has %d", sum, m.Maturing+m.Carried+m.Reserved+m.Paid)
			}
		})
	}
}
