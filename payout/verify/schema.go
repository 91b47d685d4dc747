package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cordee/pool"
)

// ErrFile reports a vector file that is not of the schema.
var ErrFile = errors.New("not a vector file")

// Rule is the only rule that vector files may be of.
const Rule = "unit-pplns-v1"

// File is a decoded vector file.
type File struct {
	Rule     string           `json:"rule"`
	Note     string           `json:"note"`
	Dust     map[string]int64 `json:"dust_thresholds"` // sats by script type
	Vectors  []Vector         `json:"vectors"`
	Negative []Negative       `json:"negative"`
}

// Vector is one history of shares and blocks, and what must come out of it.
type Vector struct {
	Name        string                   `json:"name"`
	Why         string                   `json:"why"`
	Params      Params                   `json:"params"`
	EpochsNBits []string                 `json:"epochs_nbits"` // 8 hex digits
	ShareFields []string                 `json:"share_fields"`
	Shares      []Share                  `json:"shares"` // in seq order
	Blocks      []VectorBlock            `json:"blocks"`
	Expected    []Expected               `json:"expected"`
	Policy      *Policy                  `json:"policy,omitempty"`
	MemberTypes map[string]string        `json:"member_types,omitempty"`
	Legs        map[string][]Destination `json:"destinations,omitempty"`
	Split       map[string][]LegAmount   `json:"expected_split,omitempty"`
	Settlement  []Settlement             `json:"expected_settlement,omitempty"`
	Events      []LedgerEvent            `json:"events,omitempty"`
	Ledger      []Balances               `json:"expected_ledger,omitempty"`

	epochs []uint32 // of EpochsNBits
}

// Params are the rules of a vector.
type Params struct {
	XMilli     uint64      `json:"x_milli"`
	WindowRule string      `json:"window_rule"` // "unit", or "work": all shares at the block's difficulty
	Scale      uint64      `json:"diff_scale"`
	Underfill  string      `json:"underfill"` // "normalize" or "reserve"
	Fees       []VectorFee `json:"fees"`
}

// VectorFee is one account's basis points.
type VectorFee struct {
	Account string `json:"account"`
	BP      int64  `json:"bp"`
}

// Share is [seq, member, difficulty, index of the epoch].
type Share struct {
	Seq        uint64
	Member     string
	Difficulty uint64
	Epoch      int
}

// VectorBlock is a block that was found.
type VectorBlock struct {
	Height   int64  `json:"height"`
	Hash     string `json:"hash"`     // lowercase display hex
	PrevHash string `json:"prevhash"` // lowercase display hex
	NBits    string `json:"nbits"`
	CutSeq   uint64 `json:"cut_seq"`
	Value    int64  `json:"coinbase_value"` // sats

	bits uint32
}

// Expected is the window and the split of one block.
type Expected struct {
	Capacity      string            `json:"window_capacity"`
	Weight        string            `json:"window_weight"`
	FilledPPM     int64             `json:"filled_ppm"`
	Counted       int               `json:"shares_counted"`
	OldestSeq     *uint64           `json:"oldest_seq"`
	Partial       Partial           `json:"partial"`
	Weights       map[string]string `json:"weights"`
	Fees          map[string]int64  `json:"fees"`
	Distributable int64             `json:"distributable"`
	Credits       map[string]int64  `json:"credits"`
	Unallocated   int64             `json:"unallocated"`
	Reserve       int64             `json:"reserve"`
}

// Partial is [seq, weight counted, full weight] of a clipped share, or null.
type Partial []string

// Policy is how coinbases pay.
type Policy struct {
	MinPayout  int64 `json:"min_payout"`
	MaxOutputs int   `json:"max_outputs"` // members; treasury and fees not counted
}

// Destination is one leg of a member.
type Destination struct {
	Address string `json:"addr"`
	Type    string `json:"type"`
	BP      int64  `json:"bp"`
}

// LegAmount is [address or member, sats].
type LegAmount struct {
	To   string
	Sats int64
}

// Settlement is what a coinbase pays, and what is owed after it.
type Settlement struct {
	Outputs  []LegAmount         `json:"outputs"`         // in payment order
	Treasury int64               `json:"treasury_output"` // of members' credits
	Carry    map[string][2]int64 `json:"carry_after"`     // sats, height since last paid
}

// LedgerEvent is one of block, orphan, mature with the block's index, or payout
// with amounts.
type LedgerEvent struct {
	Type    string           `json:"type"`
	Block   *int             `json:"block,omitempty"`
	Amounts map[string]int64 `json:"amounts,omitempty"`
}

// Balances is what the ledger holds after an event.
type Balances struct {
	After    LedgerEvent      `json:"after"`
	Immature map[string]int64 `json:"immature"`
	Mature   map[string]int64 `json:"mature"`
}

// Negative is an input that must be refused, with the field at fault.
type Negative struct {
	Name        string   `json:"name"`
	Shares      []Share  `json:"shares"`
	EpochsNBits []string `json:"epochs_nbits"`
	Error       string   `json:"error"`
}

// InputError is a refused input; Field is one of those that a Negative names.
type InputError struct {
	Field string // seq, diff, epoch, nbits, ...
	Text  string
}

func (e *InputError) Error() string { return e.Field + ": " + e.Text }

func refuse(field, format string, args ...any) error {
	return &InputError{field, fmt.Sprintf(format, args...)}
}

// Decode reads a vector file strictly: unknown fields, and what follows its
// end, are ErrFile. What the vectors themselves break is told by Check.
func Decode(data []byte) (*File, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	f := new(File)
	if err := d.Decode(f); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFile)
	}
	if d.More() {
		return nil, fmt.Errorf("something follows its end: %w", ErrFile)
	}
	if f.Rule != Rule {
		return nil, fmt.Errorf("rule %q, this program knows %q: %w", f.Rule, Rule, ErrFile)
	}
	if len(f.Vectors) == 0 {
		return nil, fmt.Errorf("it holds no vectors: %w", ErrFile)
	}
	return f, nil
}

// tuple decodes a JSON array of exactly the given fields.
func tuple(b []byte, fields ...any) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if len(raw) != len(fields) {
		return fmt.Errorf("%d entries in %s, %d are needed", len(raw), b, len(fields))
	}
	for i := range fields {
		if bytes.Equal(raw[i], []byte("null")) {
			return fmt.Errorf("entry %d of %s is null", i+1, b)
		}
		if err := json.Unmarshal(raw[i], fields[i]); err != nil {
			return fmt.Errorf("entry %d of %s: %w", i+1, b, err)
		}
	}
	return nil
}

// UnmarshalJSON reads [seq, member, difficulty, epoch].
func (s *Share) UnmarshalJSON(b []byte) error {
	return tuple(b, &s.Seq, &s.Member, &s.Difficulty, &s.Epoch)
}

// UnmarshalJSON reads [to, sats].
func (l *LegAmount) UnmarshalJSON(b []byte) error { return tuple(b, &l.To, &l.Sats) }

// MarshalJSON writes [to, sats].
func (l LegAmount) MarshalJSON() ([]byte, error) { return json.Marshal([]any{l.To, l.Sats}) }

// UnmarshalJSON reads [seq, "counted", "full"] or null.
func (p *Partial) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*p = nil
		return nil
	}
	var seq uint64
	var counted, full string
	if err := tuple(b, &seq, &counted, &full); err != nil {
		return err
	}
	*p = Partial{strconv.FormatUint(seq, 10), counted, full}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (p Partial) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("null"), nil
	}
	return json.Marshal([]any{json.Number(p[0]), p[1], p[2]})
}

// bitsOf reads a compact target of 8 hex digits.
func bitsOf(text string) (uint32, error) {
	v, err := strconv.ParseUint(text, 16, 32)
	if err != nil || len(text) != 8 {
		return 0, refuse("nbits", "%q is not 8 hex digits", text)
	}
	if _, err := pool.TargetFromBits(uint32(v)); err != nil {
		return 0, refuse("nbits", "%s: %v", text, err)
	}
	return uint32(v), nil
}

// checkShares returns the epochs' targets, or the InputError of what is wrong.
func checkShares(shares []Share, nbits []string) (epochs []uint32, err error) {
	for _, text := range nbits {
		v, err := bitsOf(text)
		if err != nil {
			return nil, err
		}
		epochs = append(epochs, v)
	}
	for i, s := range shares {
		switch {
		case s.Seq == 0 || i > 0 && s.Seq <= shares[i-1].Seq:
			return nil, refuse("seq", "share %d has seq %d, which does not increase", i+1, s.Seq)
		case s.Difficulty == 0:
			return nil, refuse("diff", "share %d (seq %d) has difficulty 0", i+1, s.Seq)
		case s.Epoch < 0 || s.Epoch >= len(epochs):
			return nil, refuse("epoch", "share %d (seq %d) is of epoch %d, there are %d", i+1, s.Seq, s.Epoch, len(epochs))
		case s.Member == "" || s.Member[0] == 0:
			return nil, refuse("member", "share %d (seq %d) is of member %q", i+1, s.Seq, s.Member)
		}
	}
	return epochs, nil
}

// prepare checks what Decode cannot see and fills in what is derived.
func (v *Vector) prepare(dust map[string]int64) (err error) {
	if v.epochs, err = checkShares(v.Shares, v.EpochsNBits); err != nil {
		return err
	}
	p := &v.Params
	switch {
	case !slices.Equal(v.ShareFields, []string{"seq", "member", "diff", "epoch"}):
		return refuse("share_fields", "%q", v.ShareFields)
	case p.WindowRule != "unit" && p.WindowRule != "work":
		return refuse("params.window_rule", "%q is neither unit nor work", p.WindowRule)
	case p.Underfill != "normalize" && p.Underfill != "reserve":
		return refuse("params.underfill", "%q is neither normalize nor reserve", p.Underfill)
	case p.Fees == nil:
		return refuse("params.fees", "it is missing")
	case len(v.Expected) != len(v.Blocks):
		return refuse("expected", "%d entries for %d blocks", len(v.Expected), len(v.Blocks))
	case (v.Policy == nil) != (v.Settlement == nil), v.Settlement != nil && len(v.Settlement) != len(v.Blocks):
		return refuse("expected_settlement", "%d entries for %d blocks, policy given: %t", len(v.Settlement), len(v.Blocks), v.Policy != nil)
	case v.Policy != nil && (v.Policy.MaxOutputs < 1 || v.Policy.MinPayout < 0):
		return refuse("policy", "%+v", *v.Policy)
	case len(v.Ledger) != len(v.Events):
		return refuse("expected_ledger", "%d entries for %d events", len(v.Ledger), len(v.Events))
	case (v.Legs == nil) != (v.Split == nil), v.Legs != nil && len(v.Blocks) != 1:
		return refuse("expected_split", "destinations need it, and exactly one block")
	}
	for i := range v.Blocks {
		b := &v.Blocks[i]
		if b.bits, err = bitsOf(b.NBits); err != nil {
			return err
		}
		if b.Height < 1 || b.Height > 1<<31-1 || b.Value < 0 || !displayHash(b.Hash) || !displayHash(b.PrevHash) {
			return refuse("blocks", "block %d: height %d, value %d, hash %q, prevhash %q", i+1, b.Height, b.Value, b.Hash, b.PrevHash)
		}
	}
	for i, e := range v.Events {
		isPayout := e.Type == "payout"
		if !slices.Contains([]string{"block", "orphan", "mature", "payout"}, e.Type) || isPayout != (e.Block == nil) || isPayout != (e.Amounts != nil) ||
			!isPayout && (*e.Block < 0 || *e.Block >= len(v.Blocks)) {
			return refuse("events", "event %d is none of block, orphan, mature with a block's index, payout with amounts", i+1)
		}
	}
	return v.checkTypes(dust)
}

// checkTypes looks at script types and destinations.
func (v *Vector) checkTypes(dust map[string]int64) error {
	for id, kind := range v.MemberTypes {
		if _, known := dust[kind]; !known {
			return refuse("member_types", "%s: %q has no dust threshold", id, kind)
		}
	}
	for _, s := range v.Shares {
		if _, known := v.MemberTypes[s.Member]; v.Policy != nil && !known {
			return refuse("member_types", "%s is missing", s.Member)
		}
	}
	for id, legs := range v.Legs {
		for _, l := range legs {
			if _, known := dust[l.Type]; !known {
				return refuse("destinations", "%s: %q has no dust threshold", id, l.Type)
			}
		}
	}
	return nil
}

func displayHash(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
