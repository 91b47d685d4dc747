package main

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"

	"cordee/internal/bitcoind"
	"cordee/internal/config"
	"cordee/internal/journal"
	"cordee/internal/keeper"
	"cordee/internal/register"
	"cordee/payout"
)

// Time between two slots, and other times of regtest, which is mainnet in
// miniature.
const (
	slotEvery        = 60 * time.Second
	slotEveryRegtest = 2 * time.Second
	// quietRegtest is how long after a tip a coinbase may be proposed to the node
	// there: blocks come every few seconds and cost it no time.
	quietRegtest = 200 * time.Millisecond
)

// newKeeper builds the accountant of the pool that cfg describes, on its journal
// and store.
func newKeeper(ctx context.Context, cfg *config.Config, st *poolStore, j *journal.Journal, rec *journal.Recovery, r memberRegister, nodes *bitcoind.Cluster, log zerolog.Logger) (*keeper.Keeper, error) {
	key, err := slotKey(cfg, log)
	if err != nil {
		return nil, err
	}
	every := slotEvery
	if cfg.Network.Name == "regtest" {
		every = slotEveryRegtest
	}
	return keeper.Start(ctx, keeper.Config{
		Dir: cfg.DataDir, Journal: cfg.Journal.Dir, Edge: cfg.Edge.ID, Log: j, Recovery: rec,
		Store: st, Meta: st.meta, Volatile: st.volatile,
		Rules: rulesOf(cfg), Treasury: cfg.Payout.TreasuryScript,
		Members: newRoster(r), Chain: chain{nodes}, Key: key, Secret: secretOf(key),
		Logger: log, SlotEvery: every,
	})
}

// slotKey reads the key that signs slots. On regtest, where nothing is at stake,
// a missing one is made; elsewhere it is the operator's to make and to keep. None
// is made where slots are: they hold by the key that is missing alone.
func slotKey(cfg *config.Config, log zerolog.Logger) (ed25519.PrivateKey, error) {
	signed, err := os.ReadDir(filepath.Join(cfg.DataDir, "slots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if _, err := os.Stat(cfg.SlotKeyPath); errors.Is(err, fs.ErrNotExist) && cfg.Network.Name == "regtest" && len(signed) == 0 {
		if err := config.WriteSlotKey(cfg.SlotKeyPath); err != nil {
			return nil, fmt.Errorf("slot key: %w", err)
		}
		log.Warn().Str("event", "slot.key_made").Str("file", cfg.SlotKeyPath).Msg("no slot key was there: made one, as is done on regtest only")
	}
	key, err := config.ReadSlotKey(cfg.SlotKeyPath)
	switch {
	case err == nil:
		return key, nil
	case len(signed) > 0:
		return nil, fmt.Errorf("%w; the slots in %s are signed with it and hold by no other: restore it from a backup", err, cfg.DataDir)
	}
	return nil, fmt.Errorf("%w; `cordee init` in an empty directory makes one", err)
}

// rulesOf are the payout rules of cordee.toml. Receipts name fees in the order
// of the rules, and those with an address must come first.
func rulesOf(cfg *config.Config) payout.Rules {
	r := payout.Rules{
		Version: payout.RuleUnitPPLNS, XMilli: uint64(cfg.Payout.WindowBlocks) * 1000,
		Scale: cfg.Network.Scale, MinPayout: cfg.Payout.MinPayout,
	}
	for _, f := range cfg.Payout.Fees {
		r.Fees = append(r.Fees, payout.FeeRule{Account: f.Account, BP: f.BP, Script: f.Script})
	}
	slices.SortStableFunc(r.Fees, func(a, b payout.FeeRule) int { return min(len(b.Script), 1) - min(len(a.Script), 1) })
	return r
}

// secretOf derives the pool's secret for salts from the key that signs slots:
// one file to keep, and neither gives away the other.
func secretOf(key ed25519.PrivateKey) [32]byte {
	m := hmac.New(sha256.New, key.Seed())
	m.Write([]byte("cordee/salts/v1"))
	return [32]byte(m.Sum(nil))
}

// incarnationFile holds the UUID in the data directory.
const incarnationFile = "incarnation"

// readIncarnation returns the UUID of this pool's accounts, drawn once and kept
// in the data directory before any store hears of it.
func readIncarnation(dir string) (id [16]byte, err error) {
	path := filepath.Join(dir, incarnationFile)
	text, err := os.ReadFile(path) // #nosec G304 -- of the operator's data_dir
	switch {
	case err == nil:
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(b) != len(id) {
			return id, fmt.Errorf("%s does not hold an incarnation (32 hex digits): restore it from a backup", path)
		}
		return [16]byte(b), nil
	case !errors.Is(err, fs.ErrNotExist):
		return id, err
	}
	for _, kept := range []string{"slots", "ledger"} { // accounts without their name are no new pool's
		if list, err := os.ReadDir(filepath.Join(dir, kept)); len(list) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return id, errors.Join(err, fmt.Errorf("%s is missing, and %s is not empty: restore it from a backup, it names these accounts to the store",
				path, filepath.Join(dir, kept)))
		}
	}
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- likewise
	if err != nil {
		return id, err
	}
	_, err = fmt.Fprintf(f, "%x\n", id)
	return id, errors.Join(err, f.Sync(), f.Close())
}

// roster gives the register to the keeper.
type roster struct {
	of   memberRegister
	last atomic.Pointer[enrolled]
}

// enrolled is a list of the register, which never changes, as the keeper wants it.
type enrolled struct {
	from []register.Member
	as   map[uint16]payout.Member
}

func newRoster(r memberRegister) *roster { return &roster{of: r} }

// parkedID stands for work of rigs that nobody has claimed yet, index 0.
const parkedID = "parked"

// Members implements keeper.Members. A member with a P2PKH destination is paid
// by batch only (decision 24), so the coinbase knows no leg of his.
func (r *roster) Members() map[uint16]payout.Member {
	list := r.of.Members()
	if last := r.last.Load(); last != nil && len(list) == len(last.from) && (len(list) == 0 || &list[0] == &last.from[0]) {
		return last.as
	}
	out := payees(list)
	r.last.Store(&enrolled{list, out})
	return out
}

// payees returns list as the keeper knows members, with that of parked work.
func payees(list []register.Member) map[uint16]payout.Member {
	out := map[uint16]payout.Member{0: {ID: parkedID}}
	for _, m := range list {
		who := payout.Member{ID: m.ID}
		if !slices.ContainsFunc(m.Destinations, func(d register.Destination) bool { return isP2PKH(d.Script) }) {
			for _, d := range m.Destinations {
				who.Legs = append(who.Legs, payout.Leg{Address: d.Address, Script: d.Script, BP: d.BP})
			}
		}
		out[m.Index] = who
	}
	return out
}

func isP2PKH(script []byte) bool { return len(script) == 25 && script[0] == 0x76 }

// membersRemembered returns an error where the register gives an index that worked
// to another member than the data directory remembers.
func membersRemembered(cfg *config.Config, list []register.Member) error {
	if err := keeper.CheckIndexes(cfg.DataDir, payees(list)); err != nil {
		return fmt.Errorf("%s: %w", registerPath(cfg), err)
	}
	return nil
}

// chain gives the nodes to the keeper.
type chain struct{ *bitcoind.Cluster }

// Unknown implements keeper.Chain.
func (chain) Unknown(err error) bool { return errors.Is(err, bitcoind.ErrUnknownBlock) }

// Block implements keeper.Chain.
func (c chain) Block(ctx context.Context, hash chainhash.Hash) ([]byte, error) {
	raw, err := c.Call(ctx, "getblock", hash.String(), 0)
	if err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, fmt.Errorf("getblock: %w", err)
	}
	return hex.DecodeString(text)
}

var (
	_ keeper.Members = (*roster)(nil)
	_ keeper.Chain   = chain{}
)
