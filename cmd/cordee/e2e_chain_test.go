package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

// easy is a regtest_difficulty, as hashes per block, that a raw rig solves in
// a moment.
const easy = 20_000

// TestMinesOnTheNode: simulated rigs find blocks, the node's own chain has
// them, and their bytes say who found them.
func TestMinesOnTheNode(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 200_000})
	f, stop := p.mine(4, 100_000, nil)
	eventually(t, patience, "two blocks on the chain", func() error {
		active := 0
		for _, b := range p.blocks() {
			if b.State == pool.BlockActive {
				active++
			}
		}
		if active < 2 {
			return fmt.Errorf("%d blocks", active)
		}
		return nil
	})
	stop()
	p.awaitConnections(0)
	mined := f.Stats()
	found := p.blocks()
	for _, b := range found {
		if b.State != pool.BlockActive {
			continue
		}
		if at, err := hashAt(t.Context(), n, b.Height); err != nil || at != b.Hash {
			t.Errorf("height %d is %s (%v), ours is %s", b.Height, at, err, b.Hash)
		}
		checkOurBlock(t, n, &b)
	}
	credited := p.status().Credited
	if mined.Violations > 0 || mined.Rejected > mined.Stale {
		t.Errorf("the rigs heard %+v", mined.Rejects)
	}
	p.stop()
	if r := p.verify(); uint64(r.Shares) != credited || credited == 0 {
		t.Errorf("the journal holds %d shares, %d were credited", r.Shares, credited)
	}
}

// demoMembers are the members' indices in what demoSetup writes.
var demoMembers = map[string]uint16{"alpes": 1, "jura": 2, "vosges": 3}

// checkOurBlock decodes the block as the node has it: the coinbase pays the
// treasury all there is, and its script names height and finder.
func checkOurBlock(t *testing.T, n *sandbox.Node, b *web.Block) {
	t.Helper()
	block := rawBlock(t, n, b.Hash)
	coinbase := block.Transactions[0]
	script, err := pool.ParseScriptSig(coinbase.TxIn[0].SignatureScript)
	if err != nil {
		t.Errorf("block %s: %v", b.Hash, err)
		return
	}
	finder := demoMembers[strings.Split(b.Worker, ".")[0]]
	if script.Height != b.Height || script.Place.Member != finder || finder == 0 {
		t.Errorf("block %d of %s says height %d, member %d, want member %d", b.Height, b.Worker, script.Height, script.Place.Member, finder)
	}
	network, err := pool.NetworkByName(n.Chain)
	if err != nil {
		t.Fatal(err)
	}
	ours := []string{demoTreasury, demoAddress("alpes"), demoAddress("alpes reserve"), demoAddress("jura"), demoAddress("vosges")}
	if n.Chain != "regtest" {
		ours = []string{testTreasury}
	}
	paid := int64(0)
	for _, out := range coinbase.TxOut {
		if slices.ContainsFunc(ours, func(address string) bool {
			script, err := network.Script(address)
			return err == nil && bytes.Equal(out.PkScript, script)
		}) {
			paid += out.Value
		} else if out.Value != 0 {
			t.Errorf("block %s pays %d sats to %x", b.Hash, out.Value, out.PkScript)
		}
	}
	// The chain is new and nobody sends anything: no fees.
	if want := pool.Subsidy(b.Height, network); paid != want || b.Value != want {
		t.Errorf("block %s pays treasury and members %d sats, the pool says %d, the subsidy is %d", b.Hash, paid, b.Value, want)
	}
}

// rawBlock is the block with hash as the node stores it, of any branch.
func rawBlock(t *testing.T, n *sandbox.Node, hash string) *wire.MsgBlock {
	t.Helper()
	var text string
	if err := rpc(t.Context(), n, &text, "getblock", hash, 0); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	block := new(wire.MsgBlock)
	if err := block.Deserialize(bytes.NewReader(raw)); err != nil {
		t.Fatalf("block %s: %v", hash, err)
	}
	if got := block.BlockHash().String(); got != hash {
		t.Fatalf("asked for %s, got %s", hash, got)
	}
	return block
}

// awaitState waits until the pool says state of its block.
func awaitState(t *testing.T, p *testPool, hash string, state pool.BlockState) web.Block {
	t.Helper()
	var b web.Block
	eventually(t, patience, "block "+state.String(), func() error {
		var ok bool
		if b, ok = p.block(hash); !ok {
			return fmt.Errorf("the pool does not know %s", hash)
		}
		if b.State != state {
			return fmt.Errorf("block %s at %d is %s, answers %v", b.Hash, b.Height, b.State, b.Answers)
		}
		return nil
	})
	return b
}

// mineBlock lets r find a block on its newest job, which must be on prev.
func (r *rawRig) mineBlock(p *testPool, prev string) string {
	r.t.Helper()
	j := r.jobOn(prev)
	s := r.solve(&j, blockTarget(r.t, easy))
	if a := r.submit(&s); !a.OK {
		r.t.Fatalf("a block on the tip: code %d %s", a.Code, a.Text)
	}
	awaitState(r.t, p, s.Hash.String(), pool.BlockActive)
	return s.Hash.String()
}

// TestStaleBlock: a block on a job of yesterday's tip earns its rig error 21,
// and the node gets it all the same: its branch may win yet.
func TestStaleBlock(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: easy})
	r := p.dialRig("alpes.annecy.raw")
	tip, height := tipOf(t, n)
	old := r.jobOn(tip)

	// One block only: a job is looked at for blocks until the tip is two deep.
	theirs := generate(t, n, 1)[0]
	if j := r.jobOn(theirs); !j.Clean {
		t.Error("the job on a new tip does not say clean_jobs")
	}
	stale := r.solve(&old, blockTarget(t, easy))
	ours := stale.Hash.String()
	if a := r.submit(&stale); a.OK || a.Code != pool.Stale.Code() {
		t.Errorf("a stale block was answered ok=%t code %d %s", a.OK, a.Code, a.Text)
	}
	// Two blocks at one height. btcd stays with the first that it saw, as Core
	// does, but that Core was told that ours is precious.
	state, answer, best := pool.BlockOrphaned, "accepted", theirs
	if n.Kind == sandbox.Core {
		state, answer, best = pool.BlockActive, "inconclusive", ours
	}
	b := awaitState(t, p, ours, state)
	if b.Answers["n0"] != answer || b.Height != height+1 || b.Worker != r.user {
		t.Errorf("the stale block: %+v, want answer %s", b, answer)
	}
	r.jobOn(best)

	// Their branch grows: ours is an orphan, and the node keeps it.
	theirTip := extend(t, n, theirs, b.Height, 1)[0]
	awaitState(t, p, ours, pool.BlockOrphaned)
	r.jobOn(theirTip)

	// A longer branch on ours.
	branch := extend(t, n, ours, b.Height, 2)
	if got := awaitState(t, p, ours, pool.BlockActive); got.Confirmations < 3 {
		t.Errorf("%d confirmations under two blocks", got.Confirmations)
	}
	if j := r.jobOn(branch[1]); !j.Clean {
		t.Error("the job after a reorganisation does not say clean_jobs")
	}
	// And back, to a tip of less work: the node alone decides.
	if err := rpc(t.Context(), n, nil, "invalidateblock", ours); err != nil {
		t.Fatal(err)
	}
	awaitState(t, p, ours, pool.BlockOrphaned)
	if j := r.jobOn(theirTip); !j.Clean {
		t.Error("the job on a tip that came back does not say clean_jobs")
	}
	if err := rpc(t.Context(), n, nil, "reconsiderblock", ours); err != nil {
		t.Fatal(err)
	}
	awaitState(t, p, ours, pool.BlockActive)
	next := r.mineBlock(p, branch[1])

	p.stop()
	if rep := p.verify(); rep.Shares != 1 {
		t.Errorf("%d shares credited, want the one of block %s: a stale one earns nothing", rep.Shares, next)
	}
}

// TestOwnBlocksAtOneHeight: the second of two blocks of ours is no reason to
// leave the first, which the network heard of before.
func TestOwnBlocksAtOneHeight(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: easy})
	r := p.dialRig("jura.dole.raw")
	tip, _ := tipOf(t, n)
	old := r.jobOn(tip)
	first := r.mineBlock(p, tip)
	r.jobOn(first)
	second := r.solve(&old, blockTarget(t, easy))
	if a := r.submit(&second); a.Code != pool.Stale.Code() {
		t.Errorf("code %d %s", a.Code, a.Text)
	}
	awaitState(t, p, second.Hash.String(), pool.BlockOrphaned)
	awaitState(t, p, first, pool.BlockActive)
	r.mineBlock(p, first)
}

// extend mines count empty blocks on the block base, which is at height and on
// whatever branch, and hands them to the node.
func extend(t *testing.T, n *sandbox.Node, base string, height int32, count int) []string {
	t.Helper()
	var hashes []string
	header := rawBlock(t, n, base).Header
	parent, at := header.BlockHash(), header.Timestamp
	for range count {
		height++
		at = at.Add(time.Second)
		coinbase := wire.NewMsgTx(2)
		script := []byte{4} // the height as BIP34 wants it: OP_n to 16, then a number
		script = binary.LittleEndian.AppendUint32(script, 0xc0de0000)
		if height > 16 {
			t.Fatalf("height %d: this chain is meant to be short", height)
		}
		script = slices.Insert(script, 0, 0x50+byte(height))
		coinbase.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Index: wire.MaxPrevOutIndex}, SignatureScript: script, Sequence: wire.MaxTxInSequenceNum})
		coinbase.AddTxOut(&wire.TxOut{PkScript: []byte{0x51}})
		block := wire.NewMsgBlock(&wire.BlockHeader{
			Version: 0x20000000, PrevBlock: parent, MerkleRoot: coinbase.TxHash(),
			Timestamp: at, Bits: 0x207fffff,
		})
		if err := block.AddTransaction(coinbase); err != nil {
			t.Fatal(err)
		}
		target, err := pool.TargetFromBits(block.Header.Bits)
		if err != nil {
			t.Fatal(err)
		}
		var hash chainhash.Hash
		for hash = block.BlockHash(); !target.Met(&hash); hash = block.BlockHash() {
			block.Header.Nonce++
		}
		var wireForm bytes.Buffer
		if err := block.Serialize(&wireForm); err != nil {
			t.Fatal(err)
		}
		var answer *string
		if err := rpc(t.Context(), n, &answer, "submitblock", hex.EncodeToString(wireForm.Bytes())); err != nil {
			t.Fatal(err)
		}
		if answer != nil && *answer != "inconclusive" {
			t.Fatalf("submitblock at %d: %s", height, *answer)
		}
		parent = hash
		hashes = append(hashes, hash.String())
	}
	if err := n.WaitTip(t.Context(), hashes[count-1]); err != nil {
		t.Fatal(err)
	}
	return hashes
}
