package fleet

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// The shape of the search.
const (
	laneNonces   = 1024             // nonces per lane: a lane is one (version, extranonce2, ntime)
	laneVersions = 16               // versions per extranonce2
	maxRoll      = 10 * time.Minute // ntime is rolled at most this far from the job's own
)

// share is a header that met its target.
type share struct {
	work    *work
	en2     string // hex
	ntime   uint32
	nonce   uint32
	version uint32 // of the header
	rolled  uint32 // the version bits within the mask
	hash    [32]byte
}

// key returns what names the share.
func (s *share) key() ShareKey {
	return ShareKey{
		Extranonce1: hex.EncodeToString(s.work.en1), Extranonce2: s.en2,
		NTime: s.ntime, Nonce: s.nonce, Version: s.version,
	}
}

// miner walks the header space of one rig. It has no clock and no socket: the
// caller says how many hashes it may try. Its counters only ever go forward,
// over jobs and connections, so that it tries no header twice even when a
// server repeats a job under another id or hands out an old extranonce1.
type miner struct {
	rng *rand.Rand

	work *work // nil: nothing to do

	// Position. Digits from the fastest: nonce, version, extranonce2, block.
	versionBase uint32 // random start among the versions, drawn per extranonce2
	versionStep uint32
	extranonce2 uint64
	block       uint32 // which laneNonces of the nonce space; wraps after 2^22

	// The current lane.
	header  [80]byte
	en2     []byte
	rolled  uint32
	nonce   uint32
	left    uint32
	prefix  []byte // SHA-256 state after the header's first 76 bytes
	hasher  hash.Hash
	restore encoding.BinaryUnmarshaler
}

func newMiner(rng *rand.Rand) *miner {
	h := sha256.New()
	return &miner{
		rng:     rng,
		hasher:  h,
		restore: h.(encoding.BinaryUnmarshaler), // documented of sha256.New
		block:   rng.Uint32(),
	}
}

// setWork drops the work at hand and starts on w; nil stops.
func (m *miner) setWork(w *work) {
	m.work = w
	m.left = 0
	if w != nil {
		m.nextExtranonce2() // another mask must not meet versions tried before
	}
}

func (m *miner) nextExtranonce2() {
	m.versionStep = 0
	m.versionBase = m.rng.Uint32()
	m.extranonce2++
	size := m.work.en2size
	if size < 8 && m.extranonce2>>(8*size) != 0 {
		m.extranonce2 = 0
		m.block++
	}
}

// nextLane moves to headers never tried and prepares their common part. now
// decides ntime.
func (m *miner) nextLane(now time.Time) {
	w := m.work
	versions := uint32(1) << min(bits.OnesCount32(w.mask), bits.TrailingZeros32(laneVersions))
	if m.versionStep >= versions {
		m.nextExtranonce2()
	}
	rolled := deposit(m.versionBase+m.versionStep, w.mask)
	m.versionStep++
	roll := min(max(now.Sub(w.at), 0), maxRoll)
	m.enterLane(rolled, w.job.ntime+uint32(roll/time.Second))
	m.nonce = m.block * laneNonces
	m.left = laneNonces
}

// enterLane builds the header of one (version, extranonce2, ntime) and hashes
// what all its nonces share.
func (m *miner) enterLane(rolled, ntime uint32) {
	w := m.work
	m.rolled = rolled
	m.en2 = append(m.en2[:0], make([]byte, w.en2size)...)
	for i, v := 0, m.extranonce2; i < len(m.en2) && i < 8; i++ {
		m.en2[i] = byte(v >> (8 * i)) // little-endian counter, as ESP-Miner
	}
	m.header = w.job.header(w.en1, m.en2, w.job.version&^w.mask|rolled, ntime)
	m.hasher.Reset()
	m.hasher.Write(m.header[:76])
	// AppendBinary of a SHA-256 state does not fail.
	m.prefix, _ = m.hasher.(encoding.BinaryAppender).AppendBinary(m.prefix[:0])
}

// deposit spreads the low bits of v over the set bits of mask.
func deposit(v, mask uint32) uint32 {
	var out uint32
	for ; mask != 0; mask &= mask - 1 {
		if v&1 != 0 {
			out |= mask & -mask
		}
		v >>= 1
	}
	return out
}

// scan tries at most budget headers and stops at the first that meets the
// target. It returns how many it tried, and the share or nil.
func (m *miner) scan(budget int, now time.Time) (int, *share) {
	if m.work == nil {
		return 0, nil
	}
	target := m.work.target
	var sum chainhash.Hash
	for done := 0; done < budget; {
		if m.left == 0 {
			m.nextLane(now)
		}
		nonce := m.nonce
		m.nonce++
		m.left--
		done++
		binary.LittleEndian.PutUint32(m.header[76:], nonce)
		if err := m.restore.UnmarshalBinary(m.prefix); err != nil {
			panic("fleet: SHA-256 refuses its own state: " + err.Error())
		}
		m.hasher.Write(m.header[76:])
		m.hasher.Sum(sum[:0])
		sum = sha256.Sum256(sum[:])
		if target.Met(&sum) {
			return done, &share{
				work: m.work, en2: hex.EncodeToString(m.en2),
				ntime:   binary.LittleEndian.Uint32(m.header[68:]),
				nonce:   nonce,
				version: binary.LittleEndian.Uint32(m.header[0:]),
				rolled:  m.rolled, hash: sum,
			}
		}
	}
	return budget, nil
}
