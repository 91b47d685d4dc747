package pool_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"pgregory.net/rapid"

	"cordee/internal/harness"
	"cordee/pool"
)

// session is one connection before both validators.
type session struct {
	job   *harness.NaiveJob
	naive harness.NaiveValidator
	work  *pool.Work
	scale pool.Scale
	batch pool.Batch
	seen  pool.Seen
}

// claim is one submission in its spelling, with what it is judged by.
type claim struct {
	spelt         harness.NaiveSubmission
	now           int64
	issued, later pool.Difficulty
	stale         bool
}

// submit puts claims through both validators, as one batch through ours, and
// returns the first difference.
func (s *session) submit(claims []claim) error {
	s.batch.Reset(&s.seen)
	for _, c := range claims {
		sub := pool.Submission{
			Work: s.work, Extranonce1: [4]byte(unhex(s.job.Extranonce1)), Extranonce2Size: uint8(s.job.Extranonce2Size),
			NTime: number(c.spelt.NTime), Nonce: number(c.spelt.Nonce), Version: number(s.job.Version),
		}
		copy(sub.Extranonce2[:], unhex(c.spelt.Extranonce2))
		fault := pool.Accepted
		if c.spelt.VersionBits != "" {
			var mask uint32
			if s.job.Mask != "" {
				mask = number(s.job.Mask)
			}
			var ok bool
			if sub.Version, ok = pool.MergeVersion(sub.Version, number(c.spelt.VersionBits), mask); !ok {
				fault = pool.BadVersion
			}
		}
		s.batch.Add(sub, pool.Claim{Fault: fault, Issued: c.issued, Later: c.later, Stale: c.stale})
	}
	s.batch.Hash()
	s.batch.Judge(claims[0].now, s.scale)
	for i, c := range claims {
		terms := &harness.NaiveTerms{Now: claims[0].now, Issued: s.rat(c.issued), Stale: c.stale}
		if c.later != 0 {
			terms.Later = s.rat(c.later)
		}
		want := s.naive.Submit(s.job, &c.spelt, terms)
		var header bytes.Buffer
		if err := want.Header.Serialize(&header); err != nil {
			return err
		}
		h, v := &s.batch.Hashed[i], s.batch.Verdicts[i]
		switch {
		case !bytes.Equal(h.Header[:], header.Bytes()):
			return fmt.Errorf("claim %d: header %x, naive %x", i, h.Header, header.Bytes())
		case h.Hash != want.Hash:
			return fmt.Errorf("claim %d: hash %v, naive %v", i, h.Hash, want.Hash)
		case h.Block != want.Block:
			return fmt.Errorf("claim %d: block %v, naive %v", i, h.Block, want.Block)
		case v.Reject.Code() != want.Code:
			return fmt.Errorf("claim %d: %w, naive code %d", i, v.Reject, want.Code)
		case new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(v.Credit)), new(big.Int).SetUint64(uint64(s.scale))).Cmp(want.Credit) != 0:
			return fmt.Errorf("claim %d: credit %d, naive %v", i, v.Credit, want.Credit)
		}
	}
	return nil
}

func (s *session) rat(d pool.Difficulty) *big.Rat {
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(max(d, 1))), new(big.Int).SetUint64(uint64(s.scale)))
}

// foreignSession draws a job whose coinbase another program might have made:
// any script, extranonce2 of 4 to 8 bytes, any number of branches and outputs.
func foreignSession(t *rapid.T) *session {
	size := rapid.IntRange(4, 8).Draw(t, "extranonce2 size")
	before := rapid.SliceOfN(rapid.Byte(), 1, 60).Draw(t, "script before")
	after := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "script after")
	tx := wire.NewMsgTx(rapid.Int32Range(1, 2).Draw(t, "tx version"))
	in := wire.NewTxIn(&wire.OutPoint{Index: 0xffffffff}, append(append(before, make([]byte, 4+size)...), after...), nil)
	in.Sequence = rapid.Uint32().Draw(t, "sequence")
	tx.AddTxIn(in)
	for i := range rapid.IntRange(1, 300).Draw(t, "outputs") {
		tx.AddTxOut(wire.NewTxOut(int64(i), p2wpkh(uint64(i))))
	}
	tx.LockTime = rapid.Uint32().Draw(t, "lock time")
	var raw bytes.Buffer
	if err := tx.SerializeNoWitness(&raw); err != nil {
		t.Fatal(err)
	}
	cut := 42 + len(before)
	coinb1, coinb2 := raw.Bytes()[:cut], raw.Bytes()[cut+4+size:]

	tpl := &pool.Template{
		Version:  rapid.Uint32().Draw(t, "version"),
		PrevHash: randomHash(rapid.Uint64().Draw(t, "prevhash")),
		Bits:     rapid.SampledFrom([]uint32{0x207fffff, 0x2000ffff, 0x1f7fffff, 0x1d00ffff, 0x0300ffff, 0x1e0377ae}).Draw(t, "bits"),
		CurTime:  rapid.SampledFrom([]uint32{1_700_000_000, 0xffffffff, 0xffffffff - 6999, 7000, 1}).Draw(t, "curtime"),
	}
	tpl.MinTime = tpl.CurTime - rapid.Uint32Range(0, min(tpl.CurTime-1, 4000)).Draw(t, "mintime before")
	tpl.WorkBits = rapid.SampledFrom([]uint32{tpl.Bits, 0x1f7fffff, 0x200fffff}).Draw(t, "work bits")
	job := &harness.NaiveJob{
		PrevHash: stratumPrevHash(tpl.PrevHash), Coinb1: hex.EncodeToString(coinb1), Coinb2: hex.EncodeToString(coinb2),
		Version: fmt.Sprintf("%08x", tpl.Version), NBits: fmt.Sprintf("%08x", tpl.Bits), NTime: fmt.Sprintf("%08x", tpl.CurTime),
		WorkBits:        fmt.Sprintf("%08x", tpl.WorkBits),
		Extranonce1:     fmt.Sprintf("%08x", rapid.Uint32().Draw(t, "extranonce1")),
		Extranonce2Size: size, MinTime: int64(tpl.MinTime),
		Mask: rapid.SampledFrom([]string{"", "1fffe000", "00c00000", "ffffffff"}).Draw(t, "mask"),
	}
	for i := range rapid.IntRange(0, 13).Draw(t, "branches") {
		h := randomHash(uint64(1000 + i))
		tpl.Branches = append(tpl.Branches, h)
		job.Branches = append(job.Branches, hex.EncodeToString(h[:]))
	}
	target, err := pool.TargetFromBits(tpl.WorkBits)
	if err != nil {
		t.Fatal(err)
	}
	tpl.BlockTarget = target
	return &session{
		job: job, scale: pool.RegtestScale,
		work: &pool.Work{Template: tpl, Coinb1: coinb1, Coinb2: coinb2},
	}
}

// stratumPrevHash spells a hash as mining.notify does.
func stratumPrevHash(h chainhash.Hash) string {
	var b [32]byte
	for i := 0; i < 32; i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(h[i:]))
	}
	return hex.EncodeToString(b[:])
}

// drawClaim draws what a rig may send on s, near every bound there is.
func (s *session) drawClaim(t *rapid.T, now int64) claim {
	offsets := []int64{0, -1, 1}
	tpl := s.work.Template
	edges := []int64{
		int64(tpl.MinTime), int64(tpl.CurTime), int64(tpl.CurTime) + 7000, now + 7140, now, 0, 0xffffffff,
	}
	ntime := rapid.SampledFrom(edges).Draw(t, "ntime") + rapid.SampledFrom(offsets).Draw(t, "ntime offset")
	c := claim{
		spelt: harness.NaiveSubmission{
			Extranonce2: hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), s.job.Extranonce2Size, s.job.Extranonce2Size).Draw(t, "extranonce2")),
			NTime:       fmt.Sprintf("%08x", uint32(ntime)),
			Nonce:       fmt.Sprintf("%08x", rapid.Uint32().Draw(t, "nonce")),
		},
		issued: pool.Difficulty(1) << rapid.IntRange(0, 6).Draw(t, "issued"),
		stale:  rapid.IntRange(0, 7).Draw(t, "stale") == 0,
	}
	if rapid.Bool().Draw(t, "odd issued") { // the vectors need any difficulty
		c.issued = pool.Difficulty(rapid.Uint64Range(1, 300).Draw(t, "issued"))
	}
	if rapid.Bool().Draw(t, "later") {
		c.later = pool.Difficulty(rapid.Uint64Range(0, 300).Draw(t, "later"))
	}
	if rapid.Bool().Draw(t, "rolled") {
		bits := rapid.Uint32().Draw(t, "version bits")
		if s.job.Mask != "" && rapid.IntRange(0, 3).Draw(t, "inside") > 0 {
			bits &= number(s.job.Mask)
		}
		c.spelt.VersionBits = fmt.Sprintf("%08x", bits)
	}
	return c
}

// respell writes the same claim as another rig would: case, zero padding.
func respell(c claim) claim {
	c.spelt.Extranonce2 = strings.ToUpper(c.spelt.Extranonce2)
	c.spelt.NTime = strings.ToUpper(c.spelt.NTime)
	c.spelt.Nonce = strings.TrimLeft(c.spelt.Nonce[:len(c.spelt.Nonce)-1], "0") + c.spelt.Nonce[len(c.spelt.Nonce)-1:]
	if c.spelt.VersionBits != "" {
		c.spelt.VersionBits = strings.ToUpper(c.spelt.VersionBits)
	}
	return c
}

// Hash and Judge agree with the naive validator on header, hash, block, verdict
// and credit, over whole connections: batches, replays, re-spelt replays.
func TestNaiveValidatorAgrees(t *testing.T) {
	codes := make(map[int]int)
	credited, uncredited, blocks := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := foreignSession(t)
		now := int64(s.work.Template.CurTime) + rapid.SampledFrom([]int64{0, -200, -7000, 10_000}).Draw(t, "now")
		var sent []claim
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			var claims []claim
			for range rapid.IntRange(1, 5).Draw(t, "batch size") {
				c := s.drawClaim(t, now)
				if len(sent) > 0 && rapid.IntRange(0, 3).Draw(t, "replay") == 0 {
					c = respell(rapid.SampledFrom(sent).Draw(t, "replayed"))
				}
				c.now = now
				claims, sent = append(claims, c), append(sent, c)
			}
			if err := s.submit(claims); err != nil {
				t.Fatal(err)
			}
			for i, v := range s.batch.Verdicts {
				codes[v.Reject.Code()]++
				switch {
				case v.Credit > 0:
					credited++
				case v.Reject == pool.Accepted:
					uncredited++
				}
				if s.batch.Hashed[i].Block {
					blocks++
				}
			}
		}
	})
	if testing.Short() {
		return // too few draws to see every verdict
	}
	for _, code := range []int{20, 21, 22, 23} {
		if codes[code] == 0 {
			t.Errorf("no submission was refused with %d: %v", code, codes)
		}
	}
	if credited == 0 || uncredited == 0 || blocks == 0 {
		t.Errorf("%d credited, %d accepted without credit, %d blocks: the test has lost its teeth", credited, uncredited, blocks)
	}
}

// The same over a fuzzer's bytes, from every published vector: fields re-spelt
// and moved, version bits, time bounds, later difficulties, replays.
func FuzzShareDifferential(f *testing.F) {
	all := loadVectors(f).Shares
	for i, v := range all {
		ntime, bits := number(v.Submit[3]), uint32(0)
		rolled := len(v.Submit) > 5
		if rolled {
			bits = number(v.Submit[5])
		}
		en2 := binary.BigEndian.Uint64(append(unhex(v.Submit[2]), make([]byte, 8)...))
		base := int64(number(v.Notify.ntime))
		add := func(ntime uint32, rolled bool, bits, mask uint32, now int64, issued, later uint64, flags uint8) {
			f.Add(uint8(i), en2, ntime, number(v.Submit[4]), rolled, bits, mask, now, issued, later, flags)
		}
		exact := uint64(v.Expected.ShareDifficulty * float64(v.scale()))
		add(ntime, rolled, bits, 0x1fffe000, base, exact, 0, 0)
		add(ntime, rolled, bits, 0x1fffe000, base, exact*2, exact/2, 0) // later and easier
		add(ntime, rolled, bits, 0x1fffe000, base, exact/2, exact*2, 0) // later and harder
		add(ntime, rolled, bits, 0x1fffe000, base, exact, 0, 1)         // stale
		add(ntime, !rolled, bits, 0x1fffe000, base, exact, 0, 0)
		add(ntime, true, 0x40000000, 0x1fffe000, base, exact, 0, 0)
		add(ntime, true, bits, 0, base, exact, 0, 0)
		for _, bound := range []int64{base, base + 7000, base + 7140, base + 7200} {
			for _, offset := range []int64{-1, 0, 1} {
				add(uint32(bound+offset), rolled, bits, 0x1fffe000, base, exact, 0, 0)
				add(uint32(bound+offset), rolled, bits, 0x1fffe000, base-200, 1, 0, 2)
			}
		}
	}
	f.Fuzz(func(t *testing.T, vector uint8, en2 uint64, ntime, nonce uint32, rolled bool, bits, mask uint32, now int64, issued, later uint64, flags uint8) {
		v := all[int(vector)%len(all)]
		if now < 0 || now > 1<<40 {
			return // no clock says so
		}
		s := &session{job: v.naive(), work: v.work(), scale: v.scale()}
		s.job.Mask = fmt.Sprintf("%08x", mask)
		var raw [8]byte
		binary.BigEndian.PutUint64(raw[:], en2)
		c := claim{
			spelt: harness.NaiveSubmission{
				Extranonce2: hex.EncodeToString(raw[:s.job.Extranonce2Size]),
				NTime:       fmt.Sprintf("%08x", ntime),
				Nonce:       fmt.Sprintf("%08x", nonce),
			},
			now: now, issued: pool.Difficulty(issued), later: pool.Difficulty(later), stale: flags&1 != 0,
		}
		if rolled {
			c.spelt.VersionBits = fmt.Sprintf("%08x", bits)
		}
		if c.issued == 0 {
			return // no job is issued at 0
		}
		easier := c
		easier.issued, easier.later = 1, 0
		for _, claims := range [][]claim{{c, respell(c)}, {easier}, {respell(easier), c}} {
			if err := s.submit(claims); err != nil {
				t.Fatal(err)
			}
		}
	})
}
