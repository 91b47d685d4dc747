package web

import (
	"bytes"
	"cmp"
	_ "embed"
	"html/template"
	"slices"
	"time"

	"cordee/pool"
)

//go:embed assets/page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// pageBlocks bounds the blocks on the page; /api/blocks has more.
const pageBlocks = 20

// pageMembers bounds the members on the page; /api/members has all of an open pool.
const pageMembers = 200

// sign is a state that never speaks by colour alone: class colours it, mark and
// text say it.
type sign struct{ Class, Mark, Text string }

var marks = map[string]string{"good": "✓", "wait": "◔", "watch": "▲", "alert": "■"}

func newSign(class, text string) sign { return sign{class, marks[class], text} }

// page is everything the template prints, in words already.
type page struct {
	*language
	At, AtISO                           string
	Condition                           sign
	Network, Hashrate, Rigs             string
	Mining, Template, Store, Slot, Till string
	NotMining                           bool
	Halts, Failing                      []string
	Last                                *pageBlock
	Nodes                               []pageNode
	Members                             []pageMember
	Blocks                              []pageBlock
	Largest, Everybody                  string // how many members, where not all are shown
	Shown, Total                        string // how many blocks, likewise
}

type pageNode struct {
	Name, Height string
	Health       sign
	Followed     bool
}

// amount is one sum of money, in sats and in BTC.
type amount struct{ Sats, BTC string }

type pageMember struct {
	Name                              string
	Expected, Maturing, Carried, Paid amount
	Direct                            string // what the block of Expected pays itself
	Outputs                           string // of Maturing; "" for nothing
}

type pageBlock struct {
	Height, Hash, Short, Confirmations, Member string
	Found, FoundISO                            string
	State                                      sign
	Value                                      amount
	Split                                      *pageSplit
	Open                                       bool   // the last is
	Note                                       string // on its split; "" for none
}

type pageSplit struct {
	Members, Fees           []pagePortion
	Credited, Paid, Receipt string // totals of credits and fees, and of outputs
	Treasury                string
}

// pagePortion is one line of a split.
type pagePortion struct{ Name, Credit, Paid string }

// render prints k in a language.
func render(k *look, lang *language) ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, newPage(k, lang))
	return b.Bytes(), err
}

func newPage(k *look, l *language) *page {
	p := &page{
		language: l, At: l.date(k.Pool.Time), AtISO: iso(k.Pool.Time),
		Network: k.Pool.Network, Hashrate: l.hashrate(k.Pool.Hashrate), Rigs: integer(int64(k.Pool.Rigs)),
		Mining: missing, Template: missing, Slot: missing, Store: say(l.store, k.Pool.Store), Till: sats(k.Pool.Treasury),
		Halts: k.Pool.Halts, NotMining: !k.Pool.Mining,
	}
	if k.Pool.Height > 0 {
		p.Mining, p.Template = integer(int64(k.Pool.Height)), seconds(k.Pool.TemplateAge)
	}
	if k.Pool.Slot > 0 {
		p.Slot = integer(int64(k.Pool.Slot))
	}
	classes := map[string]string{conditionNormal: "good", conditionWatch: "watch", conditionAlert: "alert"}
	p.Condition = newSign(classes[k.Pool.Condition], l.condition[k.Pool.Condition])
	for _, part := range k.Pool.Trouble {
		p.Failing = append(p.Failing, say(l.part, part))
	}
	for _, n := range k.Pool.Nodes {
		class := "good"
		if !n.Healthy {
			class = "alert"
		}
		p.Nodes = append(p.Nodes, pageNode{n.Name, integer(int64(n.Height)), newSign(class, say(l.node, n.State)), n.Followed})
	}
	for i, m := range largest(k.Members.Members, pageMembers) {
		p.Members = append(p.Members, pageMember{
			Name: l.member(m.Member, m.Index), Expected: l.amount(m.Expected), Maturing: l.amount(m.Maturing),
			Carried: l.amount(m.Carried), Paid: l.amount(m.Paid), Direct: sats(m.Direct),
		})
		if m.Outputs != 0 {
			p.Members[i].Outputs = sats(m.Outputs)
		}
	}
	if all := len(k.Members.Members); len(p.Members) < all {
		p.Largest, p.Everybody = integer(int64(len(p.Members))), integer(int64(all))
	}
	for i := range min(len(k.Blocks.Blocks), pageBlocks) {
		b := &k.Blocks.Blocks[i]
		p.Blocks = append(p.Blocks, l.block(b))
		p.Blocks[i].Open = b == k.Pool.LastBlock
	}
	if last := k.Pool.LastBlock; last != nil {
		b := l.block(last)
		p.Last = &b
	}
	if len(p.Blocks) < k.Blocks.Total {
		p.Shown, p.Total = integer(int64(len(p.Blocks))), integer(int64(k.Blocks.Total))
	}
	return p
}

func iso(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(paris).Format(time.RFC3339)
}

func (l *language) amount(n int64) amount { return amount{sats(n), l.btc(n)} }

// largest returns at most n of the members: those who may expect most, if some
// must be left out.
func largest(list []Account, n int) []Account {
	if len(list) <= n {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Account) int { return cmp.Compare(b.Expected, a.Expected) })
	return list[:n]
}

// member names a member, or the work that nobody has claimed.
func (l *language) member(id string, index uint16) string {
	if index == 0 {
		return l.T.Parked
	}
	return id
}

func (l *language) block(b *PublicBlock) pageBlock {
	state := blockState(b)
	classes := map[string]string{"mature": "good", "orphaned": "watch", "refused": "alert"}
	class := classes[state]
	if class == "" {
		class = "wait"
	}
	out := pageBlock{
		Height: integer(int64(b.Height)), Hash: b.Hash, Short: short(b.Hash), Confirmations: integer(b.Confirmations),
		Member: b.Member, Found: l.date(b.Found), FoundISO: iso(b.Found),
		State: newSign(class, l.blockText(state, b.Confirmations)), Value: l.amount(b.Value),
	}
	if out.Member == "" {
		out.Member = missing
	}
	if b.Split != nil {
		out.Split = l.split(b.Split)
	}
	switch {
	case b.State == pool.BlockOrphaned, b.State == pool.BlockRefused:
		out.Note = l.T.PaysNobody
	case b.Split == nil:
		out.Note = l.T.NoSplit
	}
	return out
}

// blockText is a block's state in words, with its way to maturity.
func (l *language) blockText(state string, confirmations int64) string {
	text := say(l.states, state)
	if state == "active" {
		text += nbsp + "(" + integer(confirmations) + "/" + integer(maturity) + ")"
	}
	return text
}

// split prints a receipt's split with the two totals that have to agree.
func (l *language) split(s *Split) *pageSplit {
	out := &pageSplit{Receipt: s.Receipt, Treasury: sats(s.Treasury)}
	var credited int64
	for _, m := range s.Members {
		out.Members = append(out.Members, pagePortion{l.member(m.Member, m.Index), sats(m.Credit), sats(m.Paid)})
		credited += m.Credit
	}
	for _, f := range s.Fees {
		out.Fees = append(out.Fees, pagePortion{f.Account, sats(f.Credit), sats(f.Paid)})
		credited += f.Credit
	}
	out.Credited, out.Paid = sats(credited), sats(s.Reward)
	if len(s.Members)+len(s.Fees) == 0 { // it was the treasury's, whole
		out.Credited = missing
	}
	return out
}

// short is the end of a hash: its beginning is zeros.
func short(hash string) string {
	if len(hash) <= 12 {
		return hash
	}
	return "…" + hash[len(hash)-12:]
}
