package fleet

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"cordee/pool"
	"cordee/pool/sha256d"
)

// maxExtranonce bounds extranonce1 and extranonce2, in bytes (cgminer 16,
// ESP-Miner 32).
const maxExtranonce = 32

// errNotify reports a mining.notify that no rig could work on.
var errNotify = errors.New("mining.notify")

// job is a parsed mining.notify. Immutable.
type job struct {
	id       string
	prevhash [32]byte // header order
	coinb1   []byte
	coinb2   []byte
	branches [][sha256d.Size]byte
	version  uint32
	bits     uint32
	ntime    uint32
	clean    bool
}

// parseNotify reads the nine parameters of mining.notify; more are ignored, as
// firmware does.
func parseNotify(params []json.RawMessage) (*job, error) {
	if len(params) < 9 {
		return nil, fmt.Errorf("%w: %d parameters, need 9", errNotify, len(params))
	}
	var j job
	var prev, coinb1, coinb2, version, bits, ntime string
	var branches []string
	into := []any{&j.id, &prev, &coinb1, &coinb2, &branches, &version, &bits, &ntime, &j.clean}
	for i, dst := range into {
		if err := json.Unmarshal(params[i], dst); err != nil {
			return nil, fmt.Errorf("%w: parameter %d: %w", errNotify, i, err)
		}
	}
	raw, err := hex.DecodeString(prev)
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("%w: prevhash %.80q is not 64 hex digits", errNotify, prev)
	}
	for i := 0; i < 32; i += 4 { // each word is sent as a big-endian number
		binary.LittleEndian.PutUint32(j.prevhash[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	if j.coinb1, err = hex.DecodeString(coinb1); err != nil {
		return nil, fmt.Errorf("%w: coinb1: %w", errNotify, err)
	}
	if j.coinb2, err = hex.DecodeString(coinb2); err != nil {
		return nil, fmt.Errorf("%w: coinb2: %w", errNotify, err)
	}
	for i, b := range branches {
		raw, err := hex.DecodeString(b)
		if err != nil || len(raw) != sha256d.Size {
			return nil, fmt.Errorf("%w: branch %d is not 64 hex digits", errNotify, i)
		}
		j.branches = append(j.branches, [sha256d.Size]byte(raw))
	}
	for _, n := range []struct {
		name, text string
		dst        *uint32
	}{{"version", version, &j.version}, {"nbits", bits, &j.bits}, {"ntime", ntime, &j.ntime}} {
		if *n.dst, err = parseWord(n.text); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errNotify, n.name, err)
		}
	}
	return &j, nil
}

// parseWord reads eight hex digits as a number.
func parseWord(s string) (uint32, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 {
		return 0, fmt.Errorf("%.20q is not 8 hex digits", s)
	}
	return binary.BigEndian.Uint32(raw), nil
}

// prevHashText returns the previous block's hash as explorers show it.
func (j *job) prevHashText() string {
	var b [32]byte
	for i := range b {
		b[i] = j.prevhash[31-i]
	}
	return hex.EncodeToString(b[:])
}

// header builds the 80 bytes for one extranonce pair, version and time, with
// nonce 0.
func (j *job) header(en1, en2 []byte, version, ntime uint32) [80]byte {
	coinbase := make([]byte, 0, len(j.coinb1)+len(en1)+len(en2)+len(j.coinb2))
	coinbase = append(coinbase, j.coinb1...)
	coinbase = append(coinbase, en1...)
	coinbase = append(coinbase, en2...)
	coinbase = append(coinbase, j.coinb2...)
	root := sha256d.Fold(sha256d.Sum(coinbase), j.branches)

	var h [80]byte
	binary.LittleEndian.PutUint32(h[0:], version)
	copy(h[4:], j.prevhash[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], ntime)
	binary.LittleEndian.PutUint32(h[72:], j.bits)
	return h
}

// work is a job together with what its connection had set when it came.
type work struct {
	job        *job
	en1        []byte
	en2size    int
	mask       uint32 // version bits to roll; 0 when none are granted
	difficulty float64
	target     pool.Target
	at         time.Time // when the notify was read
}

// diff1 is 0xFFFF * 2^208, the target of difficulty 1.
var diff1 = new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(0xFFFF), 208))

// HashesPerDifficulty is the expected number of hashes for one share of
// difficulty 1: 2^256 / (0xFFFF * 2^208).
const HashesPerDifficulty = float64(1<<48) / 0xFFFF

// targetOf returns floor(diff1 / difficulty), exact for any float64, capped at
// 2^256-1.
func targetOf(difficulty float64) (pool.Target, error) {
	if math.IsNaN(difficulty) || math.IsInf(difficulty, 0) || difficulty <= 0 {
		return pool.Target{}, fmt.Errorf("mining.set_difficulty %v: %w", difficulty, pool.ErrBadDifficulty)
	}
	q := new(big.Rat).Quo(diff1, new(big.Rat).SetFloat64(difficulty))
	return pool.TargetFromBig(new(big.Int).Quo(q.Num(), q.Denom())), nil
}
