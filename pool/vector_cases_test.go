package pool_test

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/harness"
	"cordee/pool"
	"cordee/pool/sha256d"
)

func TestShareVectors(t *testing.T) {
	for _, v := range loadVectors(t).Shares {
		t.Run(v.ID, func(t *testing.T) {
			work, want := v.work(), &v.Expected
			sub, fault := v.submission(work, v.Submit)
			if fault != pool.Accepted {
				t.Fatal(fault)
			}
			if got := hex.EncodeToString(work.Coinbase(nil, &sub)); got != want.Coinbase {
				t.Errorf("coinbase %s, want %s", got, want.Coinbase)
			}
			if got := chainhash.Hash(sha256d.Sum(work.Coinbase(nil, &sub))).String(); got != want.CoinbaseTxID {
				t.Errorf("coinbase id %s, want %s", got, want.CoinbaseTxID)
			}
			h := pool.Hash(nil, []pool.Submission{sub})[0]
			if got := hex.EncodeToString(h.Header[:]); got != want.Header {
				t.Errorf("header %s, want %s", got, want.Header)
			}
			if got := hex.EncodeToString(h.Header[36:68]); got != want.MerkleRoot {
				t.Errorf("merkle root %s, want %s", got, want.MerkleRoot)
			}
			if h.Hash.String() != want.Hash {
				t.Errorf("hash %v, want %s%s", h.Hash, want.Hash, mistake(v.IfMistake, h.Hash))
			}
			if sub.Version != number(want.Version) {
				t.Errorf("version %08x, want %s", sub.Version, want.Version)
			}
			if work.Template.BlockTarget.String() != want.NetworkTarget || h.Block != want.MeetsNetwork {
				t.Errorf("target %v, block %v; want %s, %v", work.Template.BlockTarget, h.Block, want.NetworkTarget, want.MeetsNetwork)
			}
			if got := pool.HashDifficulty(&h.Hash); math.Abs(got/want.ShareDifficulty-1) > 1e-13 {
				t.Errorf("difficulty %v, want %v", got, want.ShareDifficulty)
			}

			// Accepted at the highest difficulty the hash meets, refused one
			// unit above.
			one := new(big.Int).Lsh(big.NewInt(0xFFFF*int64(v.scale())), 208)
			hash, _ := new(big.Int).SetString(want.Hash, 16)
			highest := pool.Difficulty(new(big.Int).Quo(one, hash).Uint64())
			now := int64(sub.NTime)
			got := pool.Judge(&sub, &h, &pool.Claim{Issued: highest}, now, new(pool.Seen), v.scale())
			if got != (pool.Verdict{Credit: highest}) {
				t.Errorf("at difficulty %d: %+v", highest, got)
			}
			got = pool.Judge(&sub, &h, &pool.Claim{Issued: highest + 1}, now, new(pool.Seen), v.scale())
			if got != (pool.Verdict{Reject: pool.LowDifficulty}) {
				t.Errorf("at difficulty %d: %+v", highest+1, got)
			}
			if v.RequiredDifficulty > 0 {
				issued, err := pool.DifficultyFromFloat(v.RequiredDifficulty, v.scale())
				if err != nil {
					t.Fatal(err)
				}
				if got := pool.Judge(&sub, &h, &pool.Claim{Issued: issued}, now, new(pool.Seen), v.scale()); got.Credit != issued {
					t.Errorf("at the vector's own difficulty: %+v", got)
				}
			}
		})
	}
}

// mistake names the usual error that gives hash.
func mistake(known map[string]string, hash chainhash.Hash) string {
	for name, h := range known {
		if h == hash.String() {
			return ": this is the hash of " + name
		}
	}
	return ""
}

func TestBlockVectors(t *testing.T) {
	for _, v := range loadVectors(t).Shares {
		if v.Block == "" && v.CoinbaseWitness == "" {
			continue
		}
		work := v.work()
		sub, _ := v.submission(work, v.Submit)
		h := pool.Hash(nil, []pool.Submission{sub})[0]
		work.Template.Commitment = []byte{0x6a}
		got := hex.EncodeToString(work.Template.Block(&h.Header, work.Coinbase(nil, &sub)))
		want := v.Block
		if want == "" { // its transactions are not in the file
			want = v.Expected.Header + "01" + v.CoinbaseWitness
		}
		if got != want {
			t.Errorf("%s: block %s, want %s", v.ID, got, want)
		}
		work.Template.Commitment = nil
		got = hex.EncodeToString(work.Template.Block(&h.Header, work.Coinbase(nil, &sub)))
		if want := v.Expected.Header + "01" + v.Expected.Coinbase; got != want {
			t.Errorf("%s: block without segwit %s, want %s", v.ID, got, want)
		}
	}
}

// N1 and N12 to N14 are refused by a session before there is anything to hash,
// and so never reach Judge; N2 to N4 are spellings, refused by the parser, here
// by the naive one.
func TestRejectVectors(t *testing.T) {
	all := loadVectors(t)
	base := make(map[string]*shareVector)
	for i := range all.Shares {
		base[all.Shares[i].ID] = &all.Shares[i]
	}
	judged := 0
	for _, r := range all.Rejects {
		switch r.ID {
		case "N1", "N12", "N13", "N14":
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			v := base[r.Base]
			work, now := v.work(), int64(number(v.Notify.ntime))
			terms := &harness.NaiveTerms{Now: now, Issued: new(big.Rat).SetFloat64(r.Required)}
			var naive harness.NaiveValidator
			if r.After != "" {
				if got := naive.Submit(v.naive(), naiveSubmission(v.Submit), terms); got.Code != 0 {
					t.Fatalf("naive: %s is refused with %d", r.After, got.Code)
				}
			}
			got := naive.Submit(v.naive(), naiveSubmission(r.Submit), terms)
			if got.Code != r.Code {
				t.Errorf("naive: %s: code %d, want %d", r.Why, got.Code, r.Code)
			}
			if !got.Hashed {
				return
			}
			judged++
			issued, err := pool.DifficultyFromFloat(r.Required, v.scale())
			if err != nil {
				t.Fatal(err)
			}
			var b pool.Batch
			b.Reset(new(pool.Seen))
			if r.After != "" {
				sub, fault := v.submission(work, v.Submit)
				b.Add(sub, pool.Claim{Fault: fault, Issued: issued})
			}
			sub, fault := v.submission(work, r.Submit)
			b.Add(sub, pool.Claim{Fault: fault, Issued: issued})
			b.Hash()
			b.Judge(now, v.scale())
			last := len(b.Verdicts) - 1
			if got := b.Verdicts[last]; got.Reject.Code() != r.Code || got.Credit != 0 {
				t.Errorf("%s: %+v, want code %d", r.Why, got, r.Code)
			}
			if r.Hash != "" && b.Hashed[last].Hash.String() != r.Hash {
				t.Errorf("hash %v, want %s%s", b.Hashed[last].Hash, r.Hash, mistake(v.IfMistake, b.Hashed[last].Hash))
			}
			if last == 1 && b.Verdicts[0] != (pool.Verdict{Credit: issued}) {
				t.Errorf("%s itself: %+v", r.After, b.Verdicts[0])
			}
		})
	}
	if judged != 7 {
		t.Errorf("%d vectors reached Judge, want N5 to N11", judged)
	}
}

func TestVersionVectors(t *testing.T) {
	for _, v := range loadVectors(t).Versions {
		got, ok := pool.MergeVersion(number(v.Base), number(v.Field), number(v.Mask))
		if ok != v.Valid || ok && got != number(*v.Final) {
			t.Errorf("%s: %08x, %v", v.Note, got, ok)
		}
	}
}

func TestPrevHashVectors(t *testing.T) {
	for _, v := range loadVectors(t).PrevHashes {
		h := harness.NaivePrevHash(v.Stratum)
		if hex.EncodeToString(h[:]) != v.Header || h.String() != v.Display {
			t.Errorf("%s: header %x, display %v", v.From, h[:], h)
		}
	}
}

func TestTargetVectors(t *testing.T) {
	all := loadVectors(t)
	for _, v := range all.Targets {
		f, err := strconv.ParseFloat(v.Difficulty, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, scale := range []pool.Scale{pool.MainScale, pool.RegtestScale} {
			d, err := pool.DifficultyFromFloat(f, scale)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Target(scale).String(); got != v.Target {
				t.Errorf("difficulty %s: target %s, want %s", v.Difficulty, got, v.Target)
			}
			if got := d.Text(scale); got != v.Difficulty {
				t.Errorf("difficulty %s is spelt %s", v.Difficulty, got)
			}
		}
	}
	for _, v := range all.NBits {
		target, err := pool.TargetFromBits(number(v.NBits))
		if err != nil || target.String() != v.Target {
			t.Errorf("nBits %s: target %v, %v; want %s", v.NBits, target, err, v.Target)
		}
		if got := target.Bits(); got != number(v.NBits) {
			t.Errorf("nBits %s: back to %08x", v.NBits, got)
		}
		var h chainhash.Hash
		for i := range target {
			binary.LittleEndian.PutUint64(h[8*i:], target[i])
		}
		if got := pool.HashDifficulty(&h); math.Abs(got/v.Difficulty-1) > 1e-13 {
			t.Errorf("nBits %s: difficulty %v, want %v", v.NBits, got, v.Difficulty)
		}
		if got := pool.NetworkDifficulty(target, pool.RegtestScale); got != pool.Difficulty(math.Floor(v.Difficulty*(1<<32))) && v.Difficulty < 1<<20 {
			t.Errorf("nBits %s: network difficulty %d", v.NBits, got)
		}
	}
}

func TestTemplateVectors(t *testing.T) {
	for _, v := range loadVectors(t).Templates {
		prev, err := chainhash.NewHashFromStr(v.Template.PrevHash)
		if err != nil {
			t.Fatal(err)
		}
		var txs []pool.Tx
		for _, id := range v.Template.TxIDs {
			h, err := chainhash.NewHashFromStr(id)
			if err != nil {
				t.Fatal(err)
			}
			txs = append(txs, pool.Tx{Raw: make([]byte, 60), TxID: *h, WTxID: *h, Weight: 240})
		}
		tpl, err := pool.NewTemplate(&pool.Template{
			Height: v.Template.Height, Version: v.Template.Version, PrevHash: *prev, Bits: number(v.Template.Bits),
			MinTime: v.Template.MinTime, CurTime: v.Template.CurTime, Value: v.Template.Value, Txs: txs,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(tpl.Branches) != len(v.Notify.branches) {
			t.Fatalf("%s: %d branches, want %d", v.Source, len(tpl.Branches), len(v.Notify.branches))
		}
		for i, b := range tpl.Branches {
			if hex.EncodeToString(b[:]) != v.Notify.branches[i] {
				t.Errorf("%s: branch %d is %x, want %s", v.Source, i, b, v.Notify.branches[i])
			}
		}
		if tpl.PrevHash != harness.NaivePrevHash(v.Notify.prevHash) || tpl.Version != number(v.Notify.version) || tpl.Bits != number(v.Notify.nbits) {
			t.Errorf("%s: header fields differ", v.Source)
		}

		// The wtxids are not in the file; what the node committed to is.
		tpl.Commitment = unhex(v.Template.Commitment)
		job, err := pool.NewJob(tpl, evenPayout(v.Template.Value, 2), pool.DefaultClass, "", 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		work := job.Work(1, 0)
		theirs := unhex(v.Notify.coinb1)
		if push := theirs[42 : 42+3]; string(work.Coinb1[42:42+3]) != string(push) {
			t.Errorf("%s: height push %x, want %x", v.Source, work.Coinb1[42:42+3], push)
		}
		if end := strings.TrimSuffix(v.Notify.coinb2, "00000000"); !strings.HasSuffix(end, "000000000000000026"+v.Template.Commitment) {
			t.Errorf("%s: their commitment output is not the last", v.Source)
		}
		if ours := hex.EncodeToString(work.Coinb2[:len(work.Coinb2)-4]); !strings.HasSuffix(ours, "000000000000000026"+v.Template.Commitment) {
			t.Errorf("%s: our commitment output is not the last: %s", v.Source, ours)
		}
	}
}

// The commitment of an empty block is one constant: vectors A, B and C carry
// it in their coinbase.
func TestEmptyBlockCommitmentVector(t *testing.T) {
	got := hex.EncodeToString(regtestTemplate(t, 1, 0, nil).Commitment)
	for _, v := range loadVectors(t).Shares {
		switch v.ID {
		case "A", "B", "C":
			if !strings.Contains(v.Notify.coinb2, got) {
				t.Errorf("%s does not carry %s", v.ID, got)
			}
		}
	}
}

func TestHeaderVectors(t *testing.T) {
	for _, v := range loadVectors(t).Headers {
		h := chainhash.Hash(sha256d.Sum(unhex(v.Header)))
		if h.String() != v.Hash {
			t.Errorf("%s: hash %v, want %s", v.Name, h, v.Hash)
		}
		if got := pool.HashDifficulty(&h); v.Difficulty != 0 && math.Abs(got/v.Difficulty-1) > 1e-13 {
			t.Errorf("%s: difficulty %v, want %v", v.Name, got, v.Difficulty)
		}
	}
}

func TestMerkleVectors(t *testing.T) {
	for _, v := range loadVectors(t).Merkle {
		var branches [][32]byte
		for _, b := range v.Branches {
			branches = append(branches, [32]byte(unhex(b)))
		}
		root := sha256d.Fold(sha256d.Sum(unhex(v.CoinbaseHex)), branches)
		if hex.EncodeToString(root[:]) != v.Root {
			t.Errorf("%s: root %x, want %s", v.Source, root, v.Root)
		}
	}
}
