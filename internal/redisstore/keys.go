package redisstore

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"cordee/payout"
)

// keys are the names of what one pool keeps; doc.go draws them.
type keys struct{ prefix string }

func keysOf(pool string) keys { return keys{"{cordee:" + pool + "}:"} }

func (k keys) meta() string   { return k.prefix + "meta" }
func (k keys) state() string  { return k.prefix + "state" }
func (k keys) hwm() string    { return k.prefix + "hwm" }
func (k keys) runs() string   { return k.prefix + "runs" }
func (k keys) slots() string  { return k.prefix + "slot" }
func (k keys) ledger() string { return k.prefix + "ledger" }
func (k keys) index() string  { return k.prefix + "ledgerkey" }

// run names the running sums against one block target.
func (k keys) run(workBits uint32) string { return k.prefix + "run:" + bitsField(workBits) }

// delta names the sums of one slot.
func (k keys) delta(slot uint32) string { return k.prefix + "delta:" + number(uint64(slot)) }

func (k keys) lease(name string) string { return k.prefix + "lease:" + name }

// all returns the keys whose absence makes a store empty.
func (k keys) all() []string {
	return []string{k.meta(), k.state(), k.hwm(), k.runs(), k.slots(), k.ledger(), k.index()}
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func bitsField(workBits uint32) string { return fmt.Sprintf("%08x", workBits) }

func markField(edge uint16, epoch uint32) string {
	return number(uint64(edge)) + ":" + number(uint64(epoch))
}

func parseMark(field, value string) (payout.Mark, error) {
	edge, epoch, _ := strings.Cut(field, ":")
	e, err1 := strconv.ParseUint(edge, 10, 16)
	p, err2 := strconv.ParseUint(epoch, 10, 32)
	seq, err3 := strconv.ParseUint(value, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return payout.Mark{}, fmt.Errorf("high-water mark %q is %q: %w", field, value, payout.ErrCorrupt)
	}
	return payout.Mark{Edge: uint16(e), Epoch: uint32(p), Seq: seq}, nil
}

// parseDelta reads "member:bits".
func parseDelta(field, value string) (payout.Sum, error) {
	member, bits, _ := strings.Cut(field, ":")
	b, err := strconv.ParseUint(bits, 16, 32)
	if err != nil {
		return payout.Sum{}, fmt.Errorf("sum %q: %w", field, payout.ErrCorrupt)
	}
	return parseSum(member, uint32(b), value)
}

func parseSum(member string, workBits uint32, value string) (payout.Sum, error) {
	m, err1 := strconv.ParseUint(member, 10, 16)
	d, err2 := strconv.ParseInt(value, 10, 64)
	if err1 != nil || err2 != nil || d <= 0 {
		return payout.Sum{}, fmt.Errorf("sum of member %q, nBits %08x is %q: %w", member, workBits, value, payout.ErrCorrupt)
	}
	return payout.Sum{Member: uint16(m), WorkBits: workBits, Difficulty: uint64(d)}, nil
}

func parseHash(s, what string) (h [32]byte, err error) {
	if n, err := hex.Decode(h[:], []byte(s[:min(len(s), 64)])); err != nil || n != len(h) || len(s) != 64 {
		return h, fmt.Errorf("%s is %q: %w", what, s, payout.ErrCorrupt)
	}
	return h, nil
}

func parseNumber(s, what string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is %q: %w", what, s, payout.ErrCorrupt)
	}
	return n, nil
}
