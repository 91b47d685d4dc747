package payout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// The rules by which a receipt's split was computed.
const (
	RuleTreasury  uint16 = 0 // everything to the treasury
	RuleUnitPPLNS uint16 = 1 // unit-pplns-v1; its bytes are fixed, its arithmetic is not here
)

// Kind says to whom a payment of a settlement goes.
type Kind uint8

// The kinds of payment.
const (
	ToMember   Kind = 1
	ToFee      Kind = 2
	ToTreasury Kind = 3
)

const (
	receiptVersion = 1
	maxMoney       = 21_000_000 * 1e8 // sats
)

var receiptMagic = []byte("CRCP")

// ErrReceipt reports a receipt, or bytes of one, that break a rule of ADR 0004.
var ErrReceipt = errors.New("not a valid receipt")

// Credit is what one member earned of a block.
type Credit struct {
	Member uint16 // index in the register; 0 is parked work
	Sats   int64
}

// Fee is what one account of the rule file earned of a block.
type Fee struct {
	Account string // 1 to 255 bytes
	Sats    int64
}

// Payment is one coinbase output, witness commitment aside.
type Payment struct {
	Kind   Kind
	Member uint16 // 0 unless Kind is ToMember
	Sats   int64
	Script []byte
}

// Receipt is the exact split of one template's value for one firmware class
// (ADR 0004). The coinbase commits to it by Commitment; the ledger applies a
// block only where the coinbase equals its receipt.
type Receipt struct {
	Rule       uint16
	Slot       uint32         // the cut: newest slot the split counts
	SlotHead   [32]byte       // of that slot's manifest
	LedgerHead [32]byte       // of the ledger whose carry it drains
	Drain      bool           // pays carry; false pays this block's credits only (decision 15)
	Height     int32          // of the block to be mined
	PrevHash   chainhash.Hash // hashing byte order
	WorkBits   uint32         // compact target that work is measured against
	Reward     int64          // sats; subsidy + fees
	Class      uint8
	Credits    []Credit  // members ascending, no zero entries
	Fees       []Fee     // in the order of the rule file
	Settlement []Payment // in coinbase order
}

// Check returns ErrReceipt, wrapped with what is wrong, where r breaks a rule.
func (r *Receipt) Check() error {
	switch {
	case r.Rule > RuleUnitPPLNS:
		return fmt.Errorf("rule %d is unknown: %w", r.Rule, ErrReceipt)
	case r.Height <= 0:
		return fmt.Errorf("height %d is not above 0: %w", r.Height, ErrReceipt)
	case r.Reward < 0 || r.Reward > maxMoney:
		return fmt.Errorf("reward of %d sats is out of range: %w", r.Reward, ErrReceipt)
	case len(r.Credits) > math.MaxUint16 || len(r.Fees) > math.MaxUint16 || len(r.Settlement) > math.MaxUint16:
		return fmt.Errorf("more than 65535 credits, fees or payments: %w", ErrReceipt)
	}
	if err := r.checkCredits(); err != nil {
		return err
	}
	if err := r.checkSettlement(); err != nil {
		return err
	}
	if r.Rule == RuleTreasury {
		return r.checkTreasury()
	}
	return nil
}

func (r *Receipt) checkCredits() error {
	var sum int64
	for i, c := range r.Credits {
		if i > 0 && c.Member <= r.Credits[i-1].Member {
			return fmt.Errorf("credit %d: member %d does not ascend: %w", i, c.Member, ErrReceipt)
		}
		if c.Sats == 0 {
			return fmt.Errorf("credit %d is zero: %w", i, ErrReceipt)
		}
		if err := addSats(&sum, c.Sats); err != nil {
			return fmt.Errorf("credit %d: %w", i, err)
		}
	}
	for i, f := range r.Fees {
		if f.Account == "" || len(f.Account) > math.MaxUint8 {
			return fmt.Errorf("fee %d: account of %d bytes, 1 to 255 are allowed: %w", i, len(f.Account), ErrReceipt)
		}
		if err := addSats(&sum, f.Sats); err != nil {
			return fmt.Errorf("fee %d: %w", i, err)
		}
	}
	if len(r.Credits)+len(r.Fees) > 0 && sum != r.Reward {
		return fmt.Errorf("credits and fees sum to %d sats, the reward is %d: %w", sum, r.Reward, ErrReceipt)
	}
	return nil
}

func (r *Receipt) checkSettlement() error {
	var sum int64
	for i, p := range r.Settlement {
		if p.Kind < ToMember || p.Kind > ToTreasury {
			return fmt.Errorf("payment %d: kind %d is unknown: %w", i, p.Kind, ErrReceipt)
		}
		if p.Kind != ToMember && p.Member != 0 {
			return fmt.Errorf("payment %d: member %d on a payment to no member: %w", i, p.Member, ErrReceipt)
		}
		if len(p.Script) == 0 || len(p.Script) > math.MaxUint16 {
			return fmt.Errorf("payment %d: script of %d bytes: %w", i, len(p.Script), ErrReceipt)
		}
		if err := addSats(&sum, p.Sats); err != nil {
			return fmt.Errorf("payment %d: %w", i, err)
		}
	}
	if sum != r.Reward {
		return fmt.Errorf("settlement sums to %d sats, the reward is %d: %w", sum, r.Reward, ErrReceipt)
	}
	return nil
}

func (r *Receipt) checkTreasury() error {
	if len(r.Credits) != 0 || len(r.Fees) != 0 {
		return fmt.Errorf("rule 0 has no credits and no fees: %w", ErrReceipt)
	}
	if r.Slot != 0 || r.SlotHead != [32]byte{} || r.LedgerHead != [32]byte{} || r.Drain {
		return fmt.Errorf("rule 0 has no slot, no heads and drains nothing: %w", ErrReceipt)
	}
	if len(r.Settlement) != 1 || r.Settlement[0].Kind != ToTreasury {
		return fmt.Errorf("rule 0 has exactly one payment, to the treasury: %w", ErrReceipt)
	}
	return nil
}

// addSats adds v to sum; neither may be negative or exceed all money there is,
// so that no sum can overflow.
func addSats(sum *int64, v int64) error {
	if v < 0 || v > maxMoney || *sum+v > maxMoney {
		return fmt.Errorf("%d sats is out of range: %w", v, ErrReceipt)
	}
	*sum += v
	return nil
}

// Encode returns r's one encoding, or what Check says.
func (r *Receipt) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r.append(nil), nil
}

func (r *Receipt) append(b []byte) []byte {
	b = append(b, receiptMagic...)
	b = append(b, receiptVersion)
	b = binary.BigEndian.AppendUint16(b, r.Rule)
	b = binary.BigEndian.AppendUint32(b, r.Slot)
	b = append(b, r.SlotHead[:]...)
	b = append(b, r.LedgerHead[:]...)
	var drain byte
	if r.Drain {
		drain = 1
	}
	b = append(b, drain)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Height))
	b = append(b, r.PrevHash[:]...)
	b = binary.BigEndian.AppendUint32(b, r.WorkBits)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Reward))
	b = append(b, r.Class)
	return r.appendSettlement(r.appendCredits(b))
}

// appendCredits appends credits and fees, as the receipt and the credits root
// hold them.
func (r *Receipt) appendCredits(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Credits)))
	for _, c := range r.Credits {
		b = binary.BigEndian.AppendUint16(b, c.Member)
		b = binary.BigEndian.AppendUint64(b, uint64(c.Sats))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Fees)))
	for _, f := range r.Fees {
		b = append(b, byte(len(f.Account)))
		b = append(b, f.Account...)
		b = binary.BigEndian.AppendUint64(b, uint64(f.Sats))
	}
	return b
}

func (r *Receipt) appendSettlement(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Settlement)))
	for _, p := range r.Settlement {
		b = append(b, byte(p.Kind))
		b = binary.BigEndian.AppendUint16(b, p.Member)
		b = binary.BigEndian.AppendUint64(b, uint64(p.Sats))
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Script)))
		b = append(b, p.Script...)
	}
	return b
}

// CreditsRoot returns the hash over credits and fees, common to all classes of
// a job.
func (r *Receipt) CreditsRoot() [32]byte {
	return sha256.Sum256(r.appendCredits([]byte("cordee/credits/v1")))
}

// SettlementRoot returns the hash over the class and its settlement.
func (r *Receipt) SettlementRoot() [32]byte {
	return sha256.Sum256(r.appendSettlement(append([]byte("cordee/settlement/v1"), r.Class)))
}

// Commitment returns the 32 bytes that a coinbase paying by r carries.
func (r *Receipt) Commitment() [32]byte {
	credits, settlement := r.CreditsRoot(), r.SettlementRoot()
	b := append([]byte("cordee/split/v1"), credits[:]...)
	b = append(b, settlement[:]...)
	split := sha256.Sum256(binary.BigEndian.AppendUint16(b, r.Rule))
	b = append([]byte("cordee/commitment/v1"), r.SlotHead[:]...)
	return sha256.Sum256(append(b, split[:]...))
}

// ID returns the receipt's name: ReceiptID of its encoding. It means nothing
// for a receipt that Check refuses.
func (r *Receipt) ID() [32]byte { return ReceiptID(r.append(nil)) }

// ReceiptID returns the name of the receipt that encodes to b.
func ReceiptID(b []byte) [32]byte {
	return sha256.Sum256(append([]byte("cordee/receipt/v1"), b...))
}

// DecodeReceipt returns the receipt that encodes to exactly b, checked, or
// ErrReceipt wrapped with what is wrong. It keeps nothing of b.
func DecodeReceipt(b []byte) (*Receipt, error) {
	c := cursor{b: b}
	if magic := c.take(len(receiptMagic)); !bytes.Equal(magic, receiptMagic) {
		return nil, fmt.Errorf("does not start with %q: %w", receiptMagic, ErrReceipt)
	}
	if v := c.u8(); v != receiptVersion {
		return nil, fmt.Errorf("version %d, this program reads %d: %w", v, receiptVersion, ErrReceipt)
	}
	r := &Receipt{Rule: c.u16(), Slot: c.u32(), SlotHead: c.hash(), LedgerHead: c.hash()}
	drain := c.u8()
	if drain > 1 {
		return nil, fmt.Errorf("drain is %d, not 0 or 1: %w", drain, ErrReceipt)
	}
	r.Drain = drain == 1
	height := c.u32()
	r.PrevHash, r.WorkBits = c.hash(), c.u32()
	reward := c.u64()
	r.Class = c.u8()
	if height > math.MaxInt32 || reward > maxMoney {
		return nil, fmt.Errorf("height %d or reward %d is out of range: %w", height, reward, ErrReceipt)
	}
	r.Height, r.Reward = int32(height), int64(reward)

	for range c.entries(int(c.u16()), 2+8) {
		r.Credits = append(r.Credits, Credit{Member: c.u16(), Sats: int64(c.u64())})
	}
	for range c.entries(int(c.u16()), 1+8) {
		account := string(c.take(int(c.u8())))
		r.Fees = append(r.Fees, Fee{Account: account, Sats: int64(c.u64())})
	}
	for range c.entries(int(c.u16()), 1+2+8+2) {
		p := Payment{Kind: Kind(c.u8()), Member: c.u16(), Sats: int64(c.u64())}
		p.Script = bytes.Clone(c.take(int(c.u16())))
		r.Settlement = append(r.Settlement, p)
	}
	if c.err != nil {
		return nil, fmt.Errorf("%d bytes: %w: %w", len(b), c.err, ErrReceipt)
	}
	if len(c.b) != 0 {
		return nil, fmt.Errorf("%d bytes follow its end: %w", len(c.b), ErrReceipt)
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r, nil
}
