package config

import (
	"github.com/btcsuite/btcd/txscript/v2"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// Bounds of [payout].
const (
	maxWindow    = 1000        // expected blocks
	dust         = 546         // sats; nodes relay no smaller output
	maxMinPayout = 100_000_000 // sats; more is a typing error
	allBP        = 10_000      // basis points in the whole
	maxFeeName   = 32          // bytes
)

func (b *builder) payout() {
	r := b.raw.Payout
	p := &b.c.Payout
	p.TreasuryAddress = r.Treasury
	if b.Has("payout.treasury") {
		p.TreasuryScript = b.coinbaseScript("payout.treasury", r.Treasury)
	}
	p.WindowBlocks = int(b.within("payout.window_blocks", r.WindowBlocks, 1, maxWindow))
	p.MinPayout = int64(r.MinPayout)
	switch {
	case b.Failed("payout.min_payout"):
	case r.MinPayout < dust:
		b.Errorf("payout.min_payout", "%d sats is dust, which nodes do not relay: at least %d", r.MinPayout, dust)
	case r.MinPayout > maxMinPayout:
		b.Errorf("payout.min_payout", "%d sats is more than a whole coin, which is hardly meant: at most %d", r.MinPayout, maxMinPayout)
	}
	sum, accounts := int64(0), map[string]int{}
	for i, rf := range r.Fees {
		at := tomlfile.Index("payout.fees", i)
		f := Fee{Account: rf.Account, Address: rf.Address}
		if b.Has(at + ".account") {
			if !pool.ValidID(rf.Account, maxFeeName) {
				b.Errorf(at+".account", "%q must be 1 to %d of a-z 0-9 -", rf.Account, maxFeeName)
			} else if j, ok := accounts[rf.Account]; ok {
				other := tomlfile.Index("payout.fees", j) + ".account"
				b.Errorf(at+".account", "%q already has a fee (line %d)", rf.Account, b.Line(other))
			}
			accounts[rf.Account] = i
		}
		f.BP = int(b.within(at+".bp", rf.BP, 1, allBP))
		if before := sum; f.BP > 0 {
			if sum += int64(f.BP); sum > allBP && before <= allBP {
				b.Errorf(at+".bp", "the fees sum to %d basis points up to here: more than the whole reward, %d", sum, allBP)
			}
		}
		if b.Has(at + ".address") {
			f.Script = b.coinbaseScript(at+".address", rf.Address)
		}
		p.Fees = append(p.Fees, f)
	}
}

// coinbaseScript returns the script of an address that coinbases pay to.
func (b *builder) coinbaseScript(path, addr string) []byte {
	if b.c.Network == nil || b.Failed(path) {
		return nil
	}
	script, err := b.c.Network.Script(addr)
	if err != nil {
		b.Errorf(path, "%v", err)
		return nil
	}
	if txscript.IsPayToPubKeyHash(script) {
		// Decision 24. Each costs the block 4 sigops and 34 bytes, both of
		// which nodes reserve sparingly.
		b.Errorf(path, "%q is of the old P2PKH form, which coinbases do not pay to (each such output costs the block 4 sigops): use a segwit or P2SH address", addr)
		return nil
	}
	return script
}
