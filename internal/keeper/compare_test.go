package keeper

import (
	"context"
	"slices"
	"strings"
	"testing"

	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// TestCompareStoreFinds: each thing that a store holds, changed behind our back
// in a real Redis, is found and named; a whole one, and one that is behind, give
// no finding.
func TestCompareStoreFinds(t *testing.T) {
	server := harness.StartRedis(t)
	store, err := redisstore.New(redisstore.Config{Mode: redisstore.Single, Addrs: []string{server.Addr}, Name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	kt := newKit(t, 3, nil)
	history(kt)
	if err := kt.k.Rebuild(t.Context(), store, harness.StoreMeta(1), func(uint32, uint32) {}); err != nil {
		t.Fatal(err)
	}
	admin := server.Admin()
	ctx := t.Context()
	run := "{cordee:c}:run:" + "207fffff"
	flip := func(key, field string, at int) func() error {
		return func() error {
			b, err := admin.HGet(ctx, key, field).Bytes()
			if err != nil {
				return err
			}
			b[at] ^= 1
			return admin.HSet(ctx, key, field, b).Err()
		}
	}
	for _, c := range []struct {
		name  string
		spoil func() error
		found string // where
	}{
		{"whole", nil, ""},
		{"a byte of a manifest", flip("{cordee:c}:slot", "2", 70), "slot 2"},
		{"a manifest's head", flip("{cordee:c}:slot", "2", 3), "slot 2"},
		{"a manifest lost", func() error { return admin.HDel(ctx, "{cordee:c}:slot", "3").Err() }, "store"},
		{"a byte of an event", flip("{cordee:c}:ledger", "2", 120), "event 2"},
		{"an event's head", flip("{cordee:c}:ledger", "2", 0), "event 2"},
		{"the ledger's head", func() error {
			return admin.HSet(ctx, "{cordee:c}:state", "head", strings.Repeat("ab", 32)).Err()
		}, "ledger head"},
		{"the newest slot's head", func() error {
			return admin.HSet(ctx, "{cordee:c}:state", "slothead", strings.Repeat("ab", 32)).Err()
		}, "newest slot"},
		{"a mark", func() error { return admin.HIncrBy(ctx, "{cordee:c}:hwm", "1:2", 1).Err() }, "share mark of edge 1 epoch 2"},
		{"a mark lost", func() error { return admin.HDel(ctx, "{cordee:c}:hwm", "1:1").Err() }, "share mark of edge 1 epoch 1"},
		{"a sum", func() error { return admin.HIncrBy(ctx, run, "2", -1).Err() }, "work of member 2 at bits 207fffff"},
		{"a sum that is none", func() error { return admin.HSet(ctx, run, "2", "much").Err() }, "store"},
		{"a sum of nobody", func() error { return admin.HSet(ctx, run, "9", "1").Err() }, "work of member 9 at bits 207fffff"},
		{"ahead", func() error { return admin.HIncrBy(ctx, "{cordee:c}:state", "slot", 1).Err() }, "store"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, err := admin.Keys(ctx, "*").Result()
			if err != nil {
				t.Fatal(err)
			}
			saved := map[string]string{}
			for _, k := range keys {
				if saved[k], err = admin.Dump(ctx, k).Result(); err != nil {
					t.Fatal(err)
				}
			}
			if c.spoil != nil {
				if err := c.spoil(); err != nil {
					t.Fatal(err)
				}
			}
			got, err := kt.k.CompareStore(ctx, store)
			if err != nil {
				t.Fatal(err)
			}
			if c.found == "" && (len(got.Findings) != 0 || got.Slots != 6 || got.Events != 8) ||
				c.found != "" && !slices.ContainsFunc(got.Findings, func(f Finding) bool { return f.Invariant == "store" && f.Where == c.found }) {
				t.Errorf("%+v", got)
			}
			for k, v := range saved {
				if err := admin.RestoreReplace(ctx, k, 0, v).Err(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	kt.work(5, 1)
	kt.close()
	if got, err := kt.k.CompareStore(ctx, store); err != nil || len(got.Findings) != 0 || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "1 slots and 0 events behind") {
		t.Errorf("behind: %+v, %v", got, err)
	}
}

// TestCompareChainFinds: where the chain has another opinion of a block of ours
// than the ledger.
func TestCompareChainFinds(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(kt *kit)
		words string
	}{
		{"whole", func(*kit) {}, ""},
		{"gone", func(kt *kit) { kt.chain.tip = kt.chain.blocks[kt.chain.tip].Header.PrevBlock }, "not in the chain"},
		{"forgotten", func(kt *kit) {
			tip := kt.chain.tip
			kt.chain.tip = kt.chain.blocks[tip].Header.PrevBlock
			delete(kt.chain.blocks, tip)
		}, "not in the chain"},
		{"back", func(kt *kit) {
			for _, b := range kt.k.ledger.Blocks() {
				if b.State == payout.Orphaned {
					kt.chain.tip = b.Hash
				}
			}
		}, "orphaned in the ledger, and in the chain"},
		{"another height", func(kt *kit) { kt.chain.height[kt.chain.tip]++ }, "its receipt says"},
		{"another payment", func(kt *kit) { kt.chain.blocks[kt.chain.tip].Transactions[0].TxOut[0].Value++ }, "the receipt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kt := newKit(t, 3, nil)
			history(kt)
			c.spoil(kt)
			got, err := kt.k.CompareChain(context.Background(), kt.chain, kt.k.ledger)
			if err != nil {
				t.Fatal(err)
			}
			if c.words == "" && (len(got.Findings) != 0 || len(got.Waiting) != 0 || got.Blocks != 6) ||
				c.words != "" && !slices.ContainsFunc(got.Findings, func(f Finding) bool { return f.Invariant == "chain" && strings.Contains(f.What, c.words) }) {
				t.Errorf("%+v", got)
			}
		})
	}
	kt := newKit(t, 3, nil)
	history(kt)
	kt.block(50e8, largeClass)
	if got, err := kt.k.CompareChain(t.Context(), kt.chain, kt.k.ledger); err != nil || len(got.Findings) != 0 || len(got.Waiting) != 1 {
		t.Errorf("a block that is not entered yet: %+v, %v", got, err)
	}
}
