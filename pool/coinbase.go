package pool

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/wire/v2"
)

// Sizes of the coinbase layout, in bytes.
const (
	Extranonce1Size   = 4
	Extranonce2Size   = 8 // what the server issues; Submission takes 4 to 8
	MaxTag            = 20
	MaxScriptSig      = 86 // ours; consensus allows 100
	coinbaseSequence  = 0xfffffffe
	placeSize         = 4 + 1 + 2 + 1 + 4 // slot, class, member, variant, counter
	minCoinbaseWeight = 332 + 4*100       // header, tx count, smallest coinbase
)

// Errors of NewJob about its coinbase.
var (
	ErrTag          = errors.New("coinbase tag is longer than 20 bytes or not printable ASCII")
	ErrCoinbaseSize = errors.New("coinbase is larger than its class allows")
)

// appendHeight appends the BIP34 height push: OP_1 to OP_16 for 1 to 16, else
// the shortest little-endian signed number with its length (Core: CScript() <<
// nHeight).
func appendHeight(b []byte, height int32) []byte {
	if height >= 1 && height <= 16 {
		return append(b, 0x50+byte(height))
	}
	start := len(b)
	b = append(b, 0)
	for v := uint32(height); v > 0; v >>= 8 {
		b = append(b, byte(v))
	}
	if b[len(b)-1]&0x80 != 0 { // the top bit is the sign
		b = append(b, 0)
	}
	b[start] = byte(len(b) - start - 1)
	return b
}

// Place is where a coinbase says whose it is: the 12 bytes after the tag, in
// clear, so that proof of work binds a share to its member.
type Place struct {
	Slot    uint32
	Class   uint8
	Member  uint16 // index in the register; 0 is parked work
	Variant uint8
	Counter uint32
}

func (p Place) append(b []byte) []byte {
	b = append(b, placeSize)
	b = binary.BigEndian.AppendUint32(b, p.Slot)
	b = append(b, p.Class)
	b = binary.BigEndian.AppendUint16(b, p.Member)
	b = append(b, p.Variant)
	return binary.BigEndian.AppendUint32(b, p.Counter)
}

// checkTag accepts at most MaxTag printable ASCII bytes.
func checkTag(tag string) error {
	if len(tag) > MaxTag {
		return fmt.Errorf("tag %q: %w", tag, ErrTag)
	}
	for i := range len(tag) {
		if tag[i] < 0x20 || tag[i] > 0x7e {
			return fmt.Errorf("tag %q: %w", tag, ErrTag)
		}
	}
	return nil
}

// ErrScriptSig reports a coinbase script that is not laid out as ours.
var ErrScriptSig = errors.New("coinbase script is not of this pool's layout")

// ScriptSig is a decoded coinbase script of ours (ADR 0003).
type ScriptSig struct {
	Height      int32
	Tag         string
	Place       Place
	Commitment  [32]byte
	Extranonce1 [Extranonce1Size]byte
	Extranonce2 [Extranonce2Size]byte
}

// Append appends the script: height, tag, place, commitment, extranonces, each
// as one push so that no byte of them counts as an opcode (a stray 0xac would
// cost sigops).
func (s *ScriptSig) Append(b []byte) []byte {
	b = s.appendPrefix(b)
	b = append(b, s.Extranonce1[:]...)
	return append(b, s.Extranonce2[:]...)
}

// appendPrefix appends all that stands before extranonce1.
func (s *ScriptSig) appendPrefix(b []byte) []byte {
	b = appendHeight(b, s.Height)
	b = append(b, byte(len(s.Tag)))
	b = append(b, s.Tag...)
	b = s.Place.append(b)
	b = append(b, byte(len(s.Commitment)))
	b = append(b, s.Commitment[:]...)
	return append(b, Extranonce1Size+Extranonce2Size)
}

// ParseScriptSig decodes a coinbase script of ours, or returns ErrScriptSig.
func ParseScriptSig(script []byte) (ScriptSig, error) {
	var s ScriptSig
	if len(script) > MaxScriptSig || len(script) == 0 {
		return s, fmt.Errorf("%d bytes: %w", len(script), ErrScriptSig)
	}
	rest := script
	push := func(what string, minLen, maxLen int) ([]byte, error) {
		if len(rest) == 0 || int(rest[0]) < minLen || int(rest[0]) > maxLen || len(rest) < 1+int(rest[0]) {
			return nil, fmt.Errorf("%s: %w", what, ErrScriptSig)
		}
		v := rest[1 : 1+rest[0]]
		rest = rest[1+rest[0]:]
		return v, nil
	}
	if op := rest[0]; op >= 0x51 && op <= 0x60 {
		s.Height = int32(op - 0x50)
		rest = rest[1:]
	} else {
		v, err := push("height", 1, 5)
		if err != nil {
			return s, err
		}
		var h int64
		for i, c := range v {
			h |= int64(c) << (8 * i)
		}
		s.Height = int32(h)
		if int64(s.Height) != h || h <= 16 || string(appendHeight(nil, s.Height)[1:]) != string(v) {
			return s, fmt.Errorf("height: %w", ErrScriptSig)
		}
	}
	tag, err := push("tag", 0, MaxTag)
	if err != nil {
		return s, err
	}
	s.Tag = string(tag)
	if err := checkTag(s.Tag); err != nil {
		return s, fmt.Errorf("tag: %w", ErrScriptSig)
	}
	place, err := push("place", placeSize, placeSize)
	if err != nil {
		return s, err
	}
	s.Place = Place{
		Slot:    binary.BigEndian.Uint32(place),
		Class:   place[4],
		Member:  binary.BigEndian.Uint16(place[5:]),
		Variant: place[7],
		Counter: binary.BigEndian.Uint32(place[8:]),
	}
	commitment, err := push("commitment", 32, 32)
	if err != nil {
		return s, err
	}
	copy(s.Commitment[:], commitment)
	nonces, err := push("extranonces", Extranonce1Size+Extranonce2Size, Extranonce1Size+Extranonce2Size)
	if err != nil {
		return s, err
	}
	if len(rest) != 0 {
		return s, fmt.Errorf("%d bytes after the extranonces: %w", len(rest), ErrScriptSig)
	}
	copy(s.Extranonce1[:], nonces)
	copy(s.Extranonce2[:], nonces[Extranonce1Size:])
	return s, nil
}

// appendOutputs appends count and outputs in wire form.
func appendOutputs(b []byte, outs []Output) []byte {
	b = appendVarInt(b, uint64(len(outs)))
	for _, o := range outs {
		b = binary.LittleEndian.AppendUint64(b, uint64(o.Sats))
		b = appendVarInt(b, uint64(len(o.Script)))
		b = append(b, o.Script...)
	}
	return b
}

// appendVarInt appends v in Bitcoin's CompactSize.
func appendVarInt(b []byte, v uint64) []byte {
	switch {
	case v < 0xfd:
		return append(b, byte(v))
	case v <= 0xffff:
		return binary.LittleEndian.AppendUint16(append(b, 0xfd), uint16(v))
	case v <= 0xffffffff:
		return binary.LittleEndian.AppendUint32(append(b, 0xfe), uint32(v))
	default:
		return binary.LittleEndian.AppendUint64(append(b, 0xff), v)
	}
}

// Block returns the full block in wire form: header, transaction count, the
// coinbase (with the reserved witness value of BIP141 where t has a
// commitment), t's transactions in their order. header must be the exact 80
// bytes that hashed, and coinbase the exact bytes without witness that its
// merkle root covers: nothing is recomputed here.
func (t *Template) Block(header *[80]byte, coinbase []byte) []byte {
	size := 80 + wire.MaxVarIntPayload + len(coinbase) + 36
	for i := range t.Txs {
		size += len(t.Txs[i].Raw)
	}
	b := make([]byte, 0, size)
	b = append(b, header[:]...)
	b = appendVarInt(b, uint64(len(t.Txs)+1))
	if t.Commitment == nil {
		b = append(b, coinbase...)
	} else {
		// Marker and flag go behind the version; one stack item of 32 zero
		// bytes before the lock time.
		b = append(b, coinbase[:4]...)
		b = append(b, 0x00, 0x01)
		b = append(b, coinbase[4:len(coinbase)-4]...)
		b = append(b, 0x01, 0x20)
		b = append(b, make([]byte, 32)...)
		b = append(b, coinbase[len(coinbase)-4:]...)
	}
	for i := range t.Txs {
		b = append(b, t.Txs[i].Raw...)
	}
	return b
}
