package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cordee/payout"
)

// Report is what Run found.
type Report struct {
	OK         bool       `json:"ok"`
	Shares     int        `json:"shares"` // in closed slots
	Slots      int        `json:"slots"`
	Missing    int        `json:"slots_not_covered"`  // the oldest of them: the journal begins behind their shares
	Uncovered  int        `json:"blocks_not_covered"` // of Blocks: compared with their receipt alone
	Found      int        `json:"found"`              // blocks of ours, on the chain or not
	Mature     int        `json:"mature"`             // of Blocks
	Paying     int        `json:"paying"`             // of Blocks: those whose coinbase pays members
	Blocks     []Block    `json:"blocks"`             // on the active chain, by height
	Members    []Member   `json:"members"`
	Mismatches []Mismatch `json:"mismatches"`
	Notes      []string   `json:"notes"` // what was taken as told
}

// Block is one block of ours.
type Block struct {
	Height        int32    `json:"height"`
	Hash          string   `json:"hash"`
	Confirmations int64    `json:"confirmations"`
	Mature        bool     `json:"mature"`
	Slot          uint32   `json:"cut_slot"` // 0: before the first, all to the treasury
	Value         int64    `json:"value"`    // sats
	Drained       bool     `json:"drained"`  // its job could pay carry, by its receipt
	Kept          bool     `json:"kept"`     // it left every sat in the treasury, by its receipt: credits are carried
	Waiting       int64    `json:"waiting"`  // sats due to members with a destination that it left out, as Drained and Kept say
	Outputs       []Output `json:"outputs"`  // on the chain, witness commitment aside
	Expected      []Output `json:"expected"` // recomputed
	Credits       []Credit `json:"credits"`  // recomputed
	Covered       bool     `json:"covered"`  // recomputed from shares; else what the receipt says is what is expected
	Agree         bool     `json:"agree"`
}

// notes says of which blocks something was taken as told (doc.go, 2), and what
// that withheld: a pool that claims it of every block pays nobody, and every
// satoshi agrees.
func notes(blocks []Block) []string {
	list := []string{}
	for _, kind := range []struct {
		is   func(b *Block) bool
		text string
	}{
		{func(b *Block) bool { return b.Kept }, "left every sat in the treasury: payouts were halted, or the node had not judged the coinbase"},
		{func(b *Block) bool { return !b.Kept && !b.Drained }, "paid no carry: their jobs were of the first moments on a new tip, or blocks below were not decided"},
	} {
		var waiting, n int64
		var heights []string
		for i := range blocks {
			b := &blocks[i]
			if b.Waiting == 0 || !kind.is(b) {
				continue
			}
			waiting = max(waiting, b.Waiting)
			if n++; n <= 5 {
				heights = append(heights, strconv.Itoa(int(b.Height)))
			}
		}
		if n > 5 {
			heights = append(heights, "...")
		}
		if n > 0 {
			list = append(list, fmt.Sprintf("%d of %d blocks %s; at most %d sats waited (height %s). The receipts say so; `cordee halt show` has the halts",
				n, len(blocks), kind.text, waiting, strings.Join(heights, " ")))
		}
	}
	if n := agreeing(blocks); n > 0 && n < len(blocks) {
		last := &blocks[len(blocks)-n-1]
		list = append(list, fmt.Sprintf("the newest %d of %d blocks agree, that of height %d is the last that differs: members.toml or the rules may have changed behind it; "+
			"audit the older ones with -c and the files of their day", n, len(blocks), last.Height))
	}
	return list
}

// agreeing counts the newest blocks behind the last one that differs.
func agreeing(blocks []Block) (n int) {
	for n < len(blocks) && blocks[len(blocks)-n-1].Agree {
		n++
	}
	return n
}

// PaysMembers reports whether the coinbase pays members.
func (b *Block) PaysMembers() bool {
	return slices.ContainsFunc(b.Outputs, func(o Output) bool { return o.To == "member" })
}

// Output is one payment of a coinbase.
type Output struct {
	To      string `json:"to"` // member, fee, treasury or unknown
	Member  string `json:"member,omitempty"`
	Script  string `json:"script"` // hex
	Address string `json:"address,omitempty"`
	Sats    int64  `json:"sats"`
}

// Credit is what a member earned of a block.
type Credit struct {
	Member string `json:"member"`
	Sats   int64  `json:"sats"`
}

// Member is one member over all blocks.
type Member struct {
	Member   string `json:"member"`
	Credited int64  `json:"credited"` // sats, recomputed
	Paid     int64  `json:"paid"`     // sats, by coinbases on the chain
	Carried  int64  `json:"carried"`  // sats, the treasury holds them
}

// Mismatch is one thing that differs.
type Mismatch struct {
	Height   int32  `json:"height"`
	Hash     string `json:"hash"`
	What     string `json:"what"` // output, credit, receipt, cut, value or commitment
	Member   string `json:"member,omitempty"`
	Expected int64  `json:"expected"`
	Found    int64  `json:"found"`
	Text     string `json:"text"`
}

// String returns one line.
func (m Mismatch) String() string {
	who := m.What
	if m.Member != "" {
		who = fmt.Sprintf("%s of %s", m.What, m.Member)
	}
	return fmt.Sprintf("block %d %s: %s: expected %d, found %d: %s", m.Height, m.Hash, who, m.Expected, m.Found, m.Text)
}

func (o Output) who() string {
	if o.Member != "" {
		return o.Member
	}
	return o.To
}

// compareOutputs compares place by place.
func compareOutputs(want, got []Output, add func(what, who string, want, got int64, text string)) {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			add("output", want[i].who(), want[i].Sats, 0, fmt.Sprintf("output %d is missing", i))
		case i >= len(want):
			add("output", got[i].who(), 0, got[i].Sats, fmt.Sprintf("output %d should not be there", i))
		case want[i].Script != got[i].Script:
			add("output", want[i].who(), want[i].Sats, got[i].Sats, fmt.Sprintf("output %d pays script %s, not %s", i, got[i].Script, want[i].Script))
		case want[i].Sats != got[i].Sats:
			add("output", want[i].who(), want[i].Sats, got[i].Sats, fmt.Sprintf("output %d pays another amount", i))
		}
	}
}

// compareCredits compares what the receipt says that members and accounts
// earned; most of it is on no output.
func compareCredits(members map[uint16]payout.Member, want, got *payout.Receipt, add func(what, who string, want, got int64, text string)) {
	const text = "the receipt credits another amount"
	a, b := map[string]int64{}, map[string]int64{}
	var names []string
	put := func(m map[string]int64, name string, sats int64) {
		if _, known := a[name]; !known && b[name] == 0 {
			names = append(names, name)
		}
		m[name] += sats
	}
	for _, side := range []struct {
		r *payout.Receipt
		m map[string]int64
	}{{want, a}, {got, b}} {
		for _, c := range side.r.Credits {
			put(side.m, members[c.Member].ID, c.Sats)
		}
		for _, f := range side.r.Fees {
			put(side.m, "account "+f.Account, f.Sats)
		}
	}
	for _, n := range names {
		if a[n] != b[n] {
			add("credit", n, a[n], b[n], text)
		}
	}
	if want.SlotHead != got.SlotHead {
		add("cut", "", int64(want.Slot), int64(got.Slot), "the receipt names another head of its slot")
	}
}
