// Package harness holds what only tests need: independent twins of the house's
// code, scripted nodes and contract tests.
package harness

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// NaiveJob is a job as a rig received it: the fields of mining.notify in their
// wire spelling, beside what the connection knows. Nothing of it is computed
// by the pool's own code.
type NaiveJob struct {
	PrevHash string // 64 hex digits in the order of mining.notify
	Coinb1   string
	Coinb2   string
	Branches []string
	Version  string
	NBits    string
	NTime    string

	Extranonce1     string
	Extranonce2Size int
	Mask            string // version rolling mask, "" for none
	MinTime         int64  // seconds
	WorkBits        string // compact target of a block, "" for NBits
}

// NaiveSubmission is mining.submit without user and job id.
type NaiveSubmission struct {
	Extranonce2 string
	NTime       string
	Nonce       string
	VersionBits string // "" where the sixth parameter is absent
}

// NaiveTerms is what a submission is judged by. Difficulties are rationals of
// the field's difficulty 1.
type NaiveTerms struct {
	Now    int64 // seconds
	Issued *big.Rat
	Later  *big.Rat // nil for none
	Stale  bool
}

// NaiveVerdict is what the naive validator rules.
type NaiveVerdict struct {
	Code   int      // stratum error code, 0 for true
	Credit *big.Rat // of difficulty 1; zero where nothing is credited
	Hashed bool     // a header could be built: the fields below hold
	Header wire.BlockHeader
	Hash   chainhash.Hash
	Block  bool
}

// NaiveValidator judges shares slowly and obviously: btcd's wire types and big
// integers, written from the field's rules and not from the pool's code. It is
// the oracle of differential tests. It remembers accepted hashes of one
// connection on one tip.
type NaiveValidator struct{ seen map[string]bool }

// Submit rules on one submission.
func (v *NaiveValidator) Submit(job *NaiveJob, s *NaiveSubmission, terms *NaiveTerms) NaiveVerdict {
	verdict := NaiveVerdict{Credit: new(big.Rat)}
	refuse := func(code int) NaiveVerdict {
		verdict.Code = code
		return verdict
	}
	extranonce2, err := hex.DecodeString(s.Extranonce2)
	if err != nil || len(extranonce2) != job.Extranonce2Size {
		return refuse(20)
	}
	ntime, err := naiveNumber(s.NTime)
	if err != nil {
		return refuse(20)
	}
	nonce, err := naiveNumber(s.Nonce)
	if err != nil {
		return refuse(20)
	}
	version, badVersion := naiveMust(job.Version), false
	if s.VersionBits != "" {
		rolled, err := naiveNumber(s.VersionBits)
		if err != nil {
			return refuse(20)
		}
		mask := uint32(0)
		if job.Mask != "" {
			mask = naiveMust(job.Mask)
		}
		// Bit by bit: under the mask the rig's, else the job's; what the rig
		// sets outside is hashed all the same, and refused.
		var merged uint32
		for bit := uint32(1); bit != 0; bit <<= 1 {
			switch {
			case rolled&bit != 0:
				merged |= bit
				badVersion = badVersion || mask&bit == 0
			case mask&bit == 0:
				merged |= version & bit
			}
		}
		version = merged
	}

	coinbase := naiveBytes(job.Coinb1 + job.Extranonce1 + s.Extranonce2 + job.Coinb2)
	var tx wire.MsgTx
	if err := tx.DeserializeNoWitness(bytes.NewReader(coinbase)); err != nil {
		panic(fmt.Sprintf("coinbase does not parse: %v", err))
	}
	verdict.Header = wire.BlockHeader{
		Version:    int32(version),
		PrevBlock:  NaivePrevHash(job.PrevHash),
		MerkleRoot: NaiveMerkleRoot(tx.TxHash(), job.Branches),
		Bits:       naiveMust(job.NBits),
		Nonce:      nonce,
	}
	var raw bytes.Buffer
	if err := verdict.Header.Serialize(&raw); err != nil {
		panic(err)
	}
	// The header's own time field cannot be set through time.Time beyond its
	// 32 bits on every path, so the bytes are patched.
	header := raw.Bytes()
	binary.LittleEndian.PutUint32(header[68:], ntime)
	if err := verdict.Header.Deserialize(bytes.NewReader(header)); err != nil {
		panic(err)
	}
	verdict.Hash = chainhash.DoubleHashH(header)
	verdict.Hashed = true
	value := naiveValue(verdict.Hash)
	workBits := job.NBits
	if job.WorkBits != "" {
		workBits = job.WorkBits
	}
	verdict.Block = value.Cmp(NaiveCompact(naiveMust(workBits))) <= 0

	if badVersion {
		return refuse(20)
	}
	earliest := job.MinTime
	latest := int64(naiveMust(job.NTime)) + 7000
	if clock := terms.Now + 7200 - 60; clock < latest {
		latest = clock
	}
	if int64(ntime) < earliest || int64(ntime) > latest {
		return refuse(20)
	}
	if v.seen[verdict.Hash.String()] {
		return refuse(22)
	}
	if terms.Stale {
		return refuse(21)
	}
	if value.Cmp(NaiveTarget(terms.Issued)) <= 0 {
		verdict.Credit = terms.Issued
	} else if terms.Later == nil || value.Cmp(NaiveTarget(terms.Later)) > 0 {
		return refuse(23)
	}
	if v.seen == nil {
		v.seen = make(map[string]bool)
	}
	v.seen[verdict.Hash.String()] = true
	return verdict
}

// NaivePrevHash reads the previous hash of mining.notify: eight words, each
// with its bytes turned round.
func NaivePrevHash(s string) chainhash.Hash {
	var h chainhash.Hash
	for i, b := range naiveBytes(s) {
		h[i-i%4+3-i%4] = b
	}
	return h
}

// NaiveMerkleRoot climbs from the coinbase's hash through the branches of
// mining.notify.
func NaiveMerkleRoot(coinbase chainhash.Hash, branches []string) chainhash.Hash {
	root := coinbase
	for _, b := range branches {
		root = chainhash.DoubleHashH(append(root.CloneBytes(), naiveBytes(b)...))
	}
	return root
}

// NaiveCompact expands nBits: three digits of a number in base 256 and how many
// digits it has. The sign bit is not expected.
func NaiveCompact(bits uint32) *big.Int {
	v := big.NewInt(int64(bits & 0xffffff))
	for digits := int(bits >> 24); digits > 3; digits-- {
		v.Mul(v, big.NewInt(256))
	}
	for digits := int(bits >> 24); digits < 3; digits++ {
		v.Div(v, big.NewInt(256))
	}
	return v
}

// NaiveTarget returns the largest hash value that meets difficulty d:
// floor(0xFFFF * 2^208 / d), at most 2^256-1.
func NaiveTarget(d *big.Rat) *big.Int {
	one := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(0xFFFF), 208))
	q := new(big.Rat).Quo(one, d)
	v := new(big.Int).Quo(q.Num(), q.Denom())
	limit := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	if v.Cmp(limit) > 0 {
		return limit
	}
	return v
}

// naiveValue reads a hash as the number that is compared with targets: the
// digits of its display form.
func naiveValue(h chainhash.Hash) *big.Int {
	v, _ := new(big.Int).SetString(h.String(), 16)
	return v
}

// naiveNumber reads up to eight hex digits, unpadded as some rigs send them.
func naiveNumber(s string) (uint32, error) {
	v, err := strconv.ParseUint(strings.ToLower(s), 16, 32)
	if err == nil && len(s) > 8 {
		err = strconv.ErrSyntax
	}
	return uint32(v), err
}

// naiveMust is naiveNumber for what the pool itself sent.
func naiveMust(s string) uint32 {
	v, err := naiveNumber(s)
	if err != nil {
		panic(err)
	}
	return v
}

// naiveBytes decodes hex that the pool itself sent.
func naiveBytes(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
