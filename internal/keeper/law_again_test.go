package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"pgregory.net/rapid"

	"cordee/payout"
)

// ship is a round of shipping, after which the store is copied.
func (l *law) ship(r *rapid.T) {
	err := l.kt.k.Ship(r.Context())
	if err != nil && l.kt.k.Status().Ship != ShipUnavailable {
		r.Fatal(err)
	}
	if err == nil && len(l.saved) < 8 {
		l.saved = append(l.saved, l.save())
	}
}

// storeGoesBack puts an earlier copy of the store back. The keeper is not told.
func (l *law) storeGoesBack(r *rapid.T) {
	if len(l.saved) == 0 {
		r.Skip()
	}
	rapid.SampledFrom(l.saved).Draw(r, "copy")()
}

// batchAgain tells the store what it has: a batch of a slot that is in it, shares
// it has counted under another slot, or shares of which it has counted some. It
// must count none.
func (l *law) batchAgain(r *rapid.T) {
	ctx := r.Context()
	last, _, err := l.store.LastSlot(ctx)
	if errors.Is(err, payout.ErrNotOpen) || errors.Is(err, payout.ErrUnavailable) || err == nil && last == 0 {
		r.Skip()
	}
	if err != nil {
		r.Fatal(err)
	}
	m, err := l.kt.k.Slot(rapid.Uint32Range(1, last).Draw(r, "slot"))
	if err != nil {
		r.Fatal(err)
	}
	b := rapid.SampledFrom(Batches(m)).Draw(r, "batch")
	if rapid.Bool().Draw(r, "under the next slot") {
		b.Slot = last + 1
	}
	b.To += rapid.Uint64Range(0, 5).Draw(r, "and more")
	before := l.counted()
	if hwm, applied, err := l.store.Apply(ctx, b); applied || hwm < b.From && err == nil {
		r.Fatalf("shares %d to %d of epoch %d, of slot %d, are counted again: mark %d, %v", b.From, b.To, b.Epoch, m.Number, hwm, err)
	}
	if after := l.counted(); !reflect.DeepEqual(after, before) {
		r.Fatalf("sums and marks were %v, they are %v", before, after)
	}
}

// counted is all sums and marks of the store.
func (l *law) counted() []any {
	sums, err := l.store.Run(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	marks, err := l.store.HWMs(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return []any{sums, marks}
}

// changeFees is an operator's new line in cordee.toml and a restart. What was
// credited before stays.
func (l *law) changeFees(r *rapid.T) {
	l.kt.cfg.Rules.Fees = rapid.SampledFrom([][]payout.FeeRule{
		testRules.Fees, nil, {{Account: "pool", BP: 250, Script: feeTo}, {Account: "tools", BP: 33}}, {{Account: "tools", BP: 10_000}},
	}).Draw(r, "fees")
	l.kt.restart()
}

// ofOtherRules: Check goes by the rules in force, and says that a block from
// before a change differs.
func (l *law) ofOtherRules(f Finding) bool {
	for h, rules := range l.rules {
		if f.Invariant == "I7" && f.Where == fmt.Sprintf("block %s", h) {
			return !reflect.DeepEqual(rules.Fees, l.kt.cfg.Rules.Fees)
		}
	}
	return false
}

// crash is a process that was killed: the next begins on the files as they are,
// with torn bytes behind the journal's last commit, and unfinished files.
func (t *kit) crash(torn []byte) {
	t.tb.Helper()
	end := t.journal.Durable()
	dir, err := os.MkdirTemp(filepath.Dir(t.cfg.Dir), "keeper")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(t.cfg.Dir))
	}
	if err == nil {
		err = errors.Join(t.journal.Close(), os.RemoveAll(t.cfg.Dir))
	}
	if err != nil {
		t.tb.Fatal(err)
	}
	t.cfg.Dir, t.cfg.Journal = dir, filepath.Join(dir, "journal")
	if err := os.WriteFile(filepath.Join(dir, "slots", fmt.Sprintf("%010d.slot%s", t.k.slots.last+1, temporary)), torn, 0o600); err != nil {
		t.tb.Fatal(err)
	}
	t.tear(filepath.Join(t.cfg.Journal, fmt.Sprintf("seg-%08x-%08x.cj", end.Epoch, end.Segment)), end.Offset, torn)
	t.start()
}

// tear writes the beginning of a commit into a segment. One that is full is not
// written to any more, and zeros begin none.
func (t *kit) tear(segment string, at int64, torn []byte) {
	t.tb.Helper()
	f, err := os.OpenFile(segment, os.O_RDWR, 0)
	if err != nil {
		t.tb.Fatal(err)
	}
	st, err := f.Stat()
	if err == nil && st.Size()%4096 == 0 && at < st.Size() {
		_, err = f.WriteAt(torn[:min(int64(len(torn)), st.Size()-at)], at)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.tb.Fatal(err)
	}
}
