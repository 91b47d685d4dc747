package keeper

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
)

const (
	// maturity is how many confirmations a coinbase needs to be spent.
	maturity = 100
	// watchMature is how many confirmations a mature block is still looked at
	// for: if it leaves the chain, people decide.
	watchMature = 200
	// askPatience bounds one round of questions to the nodes.
	askPatience = 60 * time.Second
)

// candidate is a block of ours that the chain may have.
type candidate struct {
	hash    chainhash.Hash
	height  int32
	receipt []byte // nil: to be looked for by the coinbase's commitment
	halted  bool   // it is not what its receipt says: not in the ledger
	aside   bool   // and people have lifted that halt
}

// Candidate tells the keeper of a block of ours, once its file is written. It
// returns at once; telling it again is harmless.
func (k *Keeper) Candidate(c journal.Candidate) {
	k.learn(c.Hash, c.Height, c.Receipt)
	poke(k.pokeChain)
}

func (k *Keeper) learn(hash chainhash.Hash, height int32, receipt []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.candidates[hash] == nil {
		k.candidates[hash] = &candidate{hash: hash, height: height, receipt: receipt}
	}
}

// recoverCandidates learns the blocks of earlier runs that the ledger does not
// have.
func (k *Keeper) recoverCandidates(rec *journal.Recovery) {
	list := slices.Clone(rec.Candidates)
	for _, s := range rec.Settled {
		list = append(list, s.Candidate)
	}
	for _, c := range list {
		if _, known := k.ledger.Block(c.Hash); !known {
			k.learn(c.Hash, c.Height, c.Receipt)
		}
	}
}

// follow keeps the ledger with the chain until ctx ends.
func (k *Keeper) follow(ctx context.Context) {
	tick := time.NewTicker(k.cfg.FollowEach)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := k.Follow(ctx)
		if ctx.Err() == nil && k.note("chain", err) {
			k.log.Warn().Str("event", "chain.behind").Err(err).
				Msg("blocks of ours could not be compared with the chain: carry is not drained until they are")
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-k.pokeChain:
		}
	}
}

// place is where a block stands now.
type place struct {
	hash   chainhash.Hash
	height int32
	conf   int64 // 0: not known, below: off the chain
	block  *payout.Block
}

// Follow compares every open block of ours with the chain once and enters what
// happened: found, orphaned, restored, matured. Then it says whether the ledger
// covers the tip. Blocks that are not what their receipt says halt payouts and
// are no error here.
func (k *Keeper) Follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	k.following.Lock()
	defer k.following.Unlock()
	k.mu.Lock()
	tip := k.tip
	k.mu.Unlock()
	path, err := k.walk(ctx, tip)
	if err != nil {
		return err
	}
	places, err := k.ask(ctx, tip, path)
	if err != nil {
		return err
	}
	heights := map[int32]chainhash.Hash{}
	for _, p := range places {
		if other, twice := heights[p.height]; p.conf > 0 && twice {
			return fmt.Errorf("blocks %s and %s are both in the chain at height %d: it moved while it was read", other, p.hash, p.height)
		} else if p.conf > 0 {
			heights[p.height] = p.hash
		}
	}
	changed := false
	for _, enter := range []func(context.Context, place) (bool, error){k.leave, k.join, k.mature} {
		for _, p := range places {
			did, err := enter(ctx, p)
			if err != nil {
				return fmt.Errorf("block %s: %w", p.hash, err)
			}
			changed = changed || did
		}
		slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.height, b.height) }) // the first round ran newest first
	}
	k.cover(tip, path)
	if changed {
		return k.checkLedger()
	}
	return nil
}

// ask returns where all open blocks stand, newest first.
func (k *Keeper) ask(ctx context.Context, tip pool.Tip, path map[int32]chainhash.Hash) ([]place, error) {
	var places []place
	k.writing.Lock()
	blocks := k.ledger.Blocks()
	k.writing.Unlock()
	inLedger := map[chainhash.Hash]bool{}
	for i := range blocks {
		b := &blocks[i]
		inLedger[b.Hash] = true
		if deep := tip.Height - b.Receipt.Height; b.State == payout.Active || deep < watchMature {
			places = append(places, place{hash: b.Hash, height: b.Receipt.Height, block: b})
		}
	}
	k.mu.Lock()
	for hash, c := range k.candidates {
		switch {
		case inLedger[hash]:
			delete(k.candidates, hash) // followed by the ledger now
		case !c.halted:
			places = append(places, place{hash: hash, height: c.height})
		}
	}
	k.mu.Unlock()
	for i := range places {
		p := &places[i]
		height, conf, err := k.cfg.Chain.InChain(ctx, p.hash)
		switch at, walked := path[p.height]; {
		case err == nil && conf > 0 && height != p.height:
			return nil, fmt.Errorf("block %s is at height %d, its receipt says %d", p.hash, height, p.height)
		case err == nil:
			p.conf = cmp.Or(conf, -1)
		case !k.cfg.Chain.Unknown(err):
			return nil, err
		case walked && at != p.hash: // forgotten, and another stands in its place
			p.conf = -1
		}
		if p.block == nil && p.conf <= 0 && tip.Height-p.height > watchMature {
			k.forget(p.hash)
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(b.height, a.height), bytes.Compare(a.hash[:], b.hash[:]))
	})
	return places, nil
}

// forget ends the questions about a candidate that is too deep to come back
// into the chain. One that is in the chain is never too deep: its coinbase paid.
func (k *Keeper) forget(hash chainhash.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.candidates, hash)
}

// leave enters that a block left the chain.
func (k *Keeper) leave(_ context.Context, p place) (bool, error) {
	if p.block == nil || p.conf >= 0 {
		return false, nil
	}
	switch p.block.State {
	case payout.Active:
		k.mu.Lock()
		k.covered = pool.Tip{}
		k.mu.Unlock()
		k.log.Warn().Str("event", "block.orphaned").Stringer("hash", p.hash).Int32("height", p.height).Msg("a block of ours left the chain")
		return true, k.append(&payout.Event{Kind: payout.BlockOrphaned, Block: p.hash, Turn: p.block.Turn + 1})
	case payout.Mature:
		return false, k.haltBlock("block.mature-orphaned", fmt.Sprintf("block %s at height %d was mature and left the chain", p.hash, p.height))
	default:
		return false, nil
	}
}

// join enters that a block is in the chain, or is again.
func (k *Keeper) join(ctx context.Context, p place) (bool, error) {
	if p.conf <= 0 {
		return false, nil
	}
	if p.block != nil {
		if p.block.State != payout.Orphaned {
			return false, nil
		}
		k.log.Info().Str("event", "block.restored").Stringer("hash", p.hash).Int32("height", p.height).Msg("a block of ours is back in the chain")
		return true, k.append(&payout.Event{Kind: payout.BlockRestored, Block: p.hash, Turn: p.block.Turn + 1})
	}
	block, err := k.fetch(ctx, p.hash)
	if err != nil {
		return false, err
	}
	receipt, err := k.receiptOf(p.hash, p.height, block)
	if err != nil || receipt == nil {
		return false, err
	}
	if err := k.append(&payout.Event{Kind: payout.BlockFound, Block: p.hash, Receipt: receipt}); err != nil {
		if errors.Is(err, payout.ErrLedger) {
			return false, k.haltBlock("ledger.refused", fmt.Sprintf("block %s: %v", p.hash, err))
		}
		return false, err
	}
	k.log.Info().Str("event", "block.credited").Stringer("hash", p.hash).Int32("height", p.height).
		Int64("value_sats", receipt.Reward).Int("members", len(receipt.Credits)).Msg("a block of ours is in the chain and credited")
	return true, nil
}

// mature enters that a block's coinbase may be spent.
func (k *Keeper) mature(_ context.Context, p place) (bool, error) {
	if p.conf < maturity || p.block != nil && p.block.State == payout.Mature {
		return false, nil
	}
	k.writing.Lock()
	b, known := k.ledger.Block(p.hash)
	k.writing.Unlock()
	if !known || b.State != payout.Active {
		return false, nil
	}
	k.log.Info().Str("event", "block.matured").Stringer("hash", p.hash).Int32("height", p.height).Msg("a block of ours is mature")
	return true, k.append(&payout.Event{Kind: payout.BlockMatured, Block: p.hash})
}

// checkLedger halts payouts where the ledger breaks one of its laws.
func (k *Keeper) checkLedger() error {
	k.writing.Lock()
	err := k.ledger.Check()
	k.writing.Unlock()
	if err != nil {
		return k.Halt("ledger.law", err.Error())
	}
	return nil
}

// fetch returns a block, decoded.
func (k *Keeper) fetch(ctx context.Context, hash chainhash.Hash) (*wire.MsgBlock, error) {
	return fetchBlock(ctx, k.cfg.Chain, hash)
}

func fetchBlock(ctx context.Context, chain Chain, hash chainhash.Hash) (*wire.MsgBlock, error) {
	raw, err := chain.Block(ctx, hash)
	if err != nil {
		return nil, err
	}
	block := new(wire.MsgBlock)
	if err := block.Deserialize(bytes.NewReader(raw)); err != nil {
		return nil, fmt.Errorf("block %s: the node's bytes are no block: %w", hash, err)
	}
	if got := block.BlockHash(); got != hash || len(block.Transactions) == 0 {
		return nil, fmt.Errorf("block %s: the node gave block %s", hash, got)
	}
	return block, nil
}
