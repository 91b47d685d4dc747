package pool_test

import (
	"math"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool"
)

// terms builds a submission that has every fault named, beside one that has
// none.
type faults struct{ fault, time, duplicate, stale, target bool }

func judge(f faults) (pool.Verdict, int) {
	const now = 1_700_000_000
	tpl := &pool.Template{MinTime: now - 100, CurTime: now}
	sub := &pool.Submission{Work: &pool.Work{Template: tpl}, NTime: now}
	hash := randomHash(5)
	clear(hash[16:]) // difficulty 2^128 of regtest's and more
	claim := &pool.Claim{Issued: 8}
	var seen pool.Seen
	if f.fault {
		claim.Fault = pool.Unauthorized
	}
	if f.time {
		sub.NTime = now - 101
	}
	if f.target {
		hash = chainhash.Hash{31: 0xff}
	}
	if f.duplicate {
		seen.Add(&hash)
	}
	claim.Stale = f.stale
	before := seen.Len()
	v := pool.Judge(sub, &pool.Hashed{Hash: hash}, claim, now, &seen, pool.RegtestScale)
	return v, seen.Len() - before
}

// Of several faults, the first in the field's order is named; only an accepted
// share is remembered.
func TestJudgeOrder(t *testing.T) {
	order := []pool.Reject{pool.Unauthorized, pool.BadTime, pool.Duplicate, pool.Stale, pool.LowDifficulty}
	for mask := range 32 {
		v, remembered := judge(faults{mask&1 != 0, mask&2 != 0, mask&4 != 0, mask&8 != 0, mask&16 != 0})
		want := pool.Accepted
		for i, r := range order {
			if mask>>i&1 != 0 {
				want = r
				break
			}
		}
		if v.Reject != want || (v.Credit == 8) != (want == pool.Accepted) {
			t.Errorf("faults %05b: %+v, want %v", mask, v, want)
		}
		if (remembered == 1) != (want == pool.Accepted) {
			t.Errorf("faults %05b: %d hashes remembered", mask, remembered)
		}
	}
}

// Time bounds hold to the second, also where 32 bits end.
func TestJudgeTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edges := []uint32{1, 7000, 7140, 1_700_000_000, math.MaxUint32 - 7141, math.MaxUint32 - 7000, math.MaxUint32}
		tpl := &pool.Template{CurTime: rapid.SampledFrom(edges).Draw(t, "curtime")}
		tpl.MinTime = uint32(max(int64(tpl.CurTime)-rapid.Int64Range(0, 7200).Draw(t, "before"), 1))
		now := int64(tpl.CurTime) + rapid.Int64Range(-8000, 8000).Draw(t, "now")
		ntime := max(0, min(math.MaxUint32, rapid.SampledFrom([]int64{
			int64(tpl.MinTime), int64(tpl.CurTime) + 7000, now + 7140, 0, math.MaxUint32,
		}).Draw(t, "ntime")+rapid.Int64Range(-1, 1).Draw(t, "offset")))
		sub := &pool.Submission{Work: &pool.Work{Template: tpl}, NTime: uint32(ntime)}
		v := pool.Judge(sub, new(pool.Hashed), &pool.Claim{Issued: 1}, now, new(pool.Seen), pool.MainScale)
		good := ntime >= int64(tpl.MinTime) && ntime <= int64(tpl.CurTime)+7000 && ntime <= now+7140
		if good != (v.Reject == pool.Accepted) || !good && v.Reject != pool.BadTime {
			t.Fatalf("ntime %d of %d..%d at %d: %v", ntime, tpl.MinTime, tpl.CurTime, now, v.Reject)
		}
	})
}

// A rig that took an easier difficulty early hears true and earns nothing; one
// that took a harder one changes nothing.
func TestJudgeLater(t *testing.T) {
	sub := &pool.Submission{Work: &pool.Work{Template: &pool.Template{MinTime: 1, CurTime: 1}}, NTime: 1}
	for _, c := range []struct{ issued, later, hash, credit pool.Difficulty }{
		{64, 0, 64, 64}, {64, 16, 64, 64}, {64, 128, 64, 64}, {64, 128, 200, 64}, {64, 16, 16, 0}, {64, 16, 63, 0}, {64, 1, 1, 0},
	} {
		h := &pool.Hashed{Hash: hashOf(c.hash.Target(pool.RegtestScale))}
		v := pool.Judge(sub, h, &pool.Claim{Issued: c.issued, Later: c.later}, 1, new(pool.Seen), pool.RegtestScale)
		if v != (pool.Verdict{Credit: c.credit}) {
			t.Errorf("%+v: %+v", c, v)
		}
	}
	for _, c := range []struct{ issued, later, hash pool.Difficulty }{{64, 0, 63}, {64, 64, 63}, {64, 128, 63}, {64, 16, 15}} {
		h := &pool.Hashed{Hash: hashOf(c.hash.Target(pool.RegtestScale))}
		v := pool.Judge(sub, h, &pool.Claim{Issued: c.issued, Later: c.later}, 1, new(pool.Seen), pool.RegtestScale)
		if v != (pool.Verdict{Reject: pool.LowDifficulty}) {
			t.Errorf("%+v: %+v", c, v)
		}
	}
}

// A share answered true without credit is a duplicate when it comes again.
func TestJudgeRemembersUncredited(t *testing.T) {
	sub := &pool.Submission{Work: &pool.Work{Template: &pool.Template{MinTime: 1, CurTime: 1}}, NTime: 1}
	h := &pool.Hashed{Hash: hashOf(pool.Difficulty(16).Target(pool.RegtestScale))}
	var seen pool.Seen
	claim := &pool.Claim{Issued: 64, Later: 16}
	if v := pool.Judge(sub, h, claim, 1, &seen, pool.RegtestScale); v != (pool.Verdict{}) {
		t.Errorf("%+v", v)
	}
	if v := pool.Judge(sub, h, claim, 1, &seen, pool.RegtestScale); v != (pool.Verdict{Reject: pool.Duplicate}) {
		t.Errorf("again: %+v", v)
	}
}

func TestJudgeFlood(t *testing.T) {
	sub := &pool.Submission{Work: &pool.Work{Template: &pool.Template{MinTime: 1, CurTime: 1}}, NTime: 1}
	var seen pool.Seen
	for n := range uint64(pool.MaxSeen) {
		h := randomHash(n)
		seen.Add(&h)
	}
	h := &pool.Hashed{Block: true}
	if v := pool.Judge(sub, h, &pool.Claim{Issued: 1}, 1, &seen, pool.RegtestScale); v != (pool.Verdict{Reject: pool.Flood}) || !h.Block {
		t.Errorf("%+v, block %v", v, h.Block)
	}
}

// What rigs and dashboards read of a reject.
func TestRejectTable(t *testing.T) {
	names := make(map[string]bool)
	for _, r := range pool.Rejects() {
		if r.Code() < 20 || r.Code() > 25 || r.Text() == "" || len(r.Text()) > 60 || names[r.Name()] {
			t.Errorf("%v: code %d, text %q", r, r.Code(), r.Text())
		}
		for _, c := range r.Text() + r.Name() {
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				t.Errorf("%v: text %q needs escaping", r, r.Text())
			}
		}
		names[r.Name()] = true
	}
	if pool.Accepted.Code() != 0 || names[pool.Accepted.Name()] || len(names) != 12 {
		t.Errorf("%d rejects", len(names))
	}
	if unknown := pool.Reject(200); unknown.Code() != 20 || unknown.Error() == "" {
		t.Errorf("an unknown reject: %v", unknown)
	}
}
