package verify

import (
	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/payout"
)

// Credits returns what each member earned of a reward by the naive walk over
// shares, oldest first, as they stood when the block's job was built. Shares
// older than the window may be missing. id names a member and need not know
// member 0; prev is the block's parent. Members with nothing are left out.
func Credits(shares []payout.Record, rules *payout.Rules, reward int64, prev chainhash.Hash, id func(member uint16) string) map[uint16]int64 {
	v := Vector{Params: Params{XMilli: rules.XMilli, Scale: uint64(rules.Scale), WindowRule: "unit"}}
	if rules.Underfill == payout.ReserveMissed {
		v.Params.Underfill = "reserve"
	}
	for _, f := range rules.Fees {
		v.Params.Fees = append(v.Params.Fees, VectorFee{Account: f.Account, BP: int64(f.BP)})
	}
	epochs, members := map[uint32]int{}, map[string]uint16{}
	for i, r := range shares {
		name := id(r.Member)
		if name == "" && r.Member == 0 {
			name = payout.ParkedID
		}
		members[name] = r.Member
		if _, known := epochs[r.WorkBits]; !known {
			epochs[r.WorkBits] = len(v.epochs)
			v.epochs = append(v.epochs, r.WorkBits)
		}
		v.Shares = append(v.Shares, Share{Seq: uint64(i) + 1, Member: name, Difficulty: r.Difficulty, Epoch: epochs[r.WorkBits]})
	}
	v.Blocks = []VectorBlock{{PrevHash: prev.String(), CutSeq: uint64(len(shares)), Value: reward}}
	credits := map[uint16]int64{}
	for name, sats := range naiveBlock(&v, 0).Credits {
		if sats != 0 {
			credits[members[name]] = sats
		}
	}
	return credits
}
