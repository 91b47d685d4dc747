package fleet

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool/sha256d"
)

// quarry holds real shares mined before they are sent: share i has extranonce2 i,
// so only its nonce is kept, four bytes. As of rigs, no two have a coinbase in
// common.
type quarry struct {
	work   *work
	nonces []uint32
}

// mine fills q with n shares of w, in no more than most hashes each on average.
func (q *quarry) mine(ctx context.Context, w *work, n int, most float64) error {
	if w.en2size < 8 && uint64(n) > uint64(1)<<(8*w.en2size) {
		return fmt.Errorf("an extranonce2 of %d bytes has no room for %d shares: mine fewer", w.en2size, n)
	}
	q.work = w
	q.nonces = make([]uint32, 0, n)
	j := w.job
	coinbase := append(append(append([]byte(nil), j.coinb1...), w.en1...), make([]byte, w.en2size)...)
	en2 := len(coinbase) - w.en2size
	prefix := sha256d.NewMidstate(coinbase[:en2])
	coinbase = append(coinbase, j.coinb2...)
	header := j.header(w.en1, make([]byte, w.en2size), j.version, j.ntime)
	other := header
	budget := most * float64(n)
	for i := range n {
		if i%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		putExtranonce2(coinbase[en2:en2+w.en2size], uint64(i))
		root := sha256d.Fold(prefix.Sum(coinbase), j.branches)
		copy(header[36:], root[:])
		copy(other[36:], root[:])
		start := sha256d.NewMidstate(header[:64])
		found := false
		for nonce := uint32(0); !found; nonce += 2 {
			binary.LittleEndian.PutUint32(header[76:], nonce)
			binary.LittleEndian.PutUint32(other[76:], nonce+1)
			sums := sha256d.SumPair(&start, &start, header[:], other[:])
			for k := range sums {
				if hash := chainhash.Hash(sums[k]); w.target.Met(&hash) {
					q.nonces = append(q.nonces, nonce+uint32(k))
					found = true
					break
				}
			}
			if budget -= 2; budget < 0 {
				return fmt.Errorf("difficulty %g asks for more than %.0f hashes a share: let the server ask for less, or mine fewer shares", w.difficulty, most)
			}
			if nonce%(1<<20) == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func putExtranonce2(b []byte, v uint64) {
	for i := range b { // a little-endian counter, as ESP-Miner; beyond 8 bytes it shifts to 0
		b[i] = byte(v >> (8 * i))
	}
}

// pen writes submit lines of a quarry's shares.
type pen struct {
	q       *quarry
	en2size int
	name    string // from method to extranonce2
	ntime   string // from its end to the nonce
}

func newPen(q *quarry, user string) (pen, error) {
	// The library writes the line once, so that names are quoted as they must be.
	const mark = "0e2e2e2e0e2e2e2e"
	line, err := callLine(0, "mining.submit", user, q.work.job.id, mark, fmt.Sprintf("%08x", q.work.job.ntime), "")
	if err != nil {
		return pen{}, err
	}
	const head = `{"id":0`
	text := string(line)
	i := len(text) - len(mark+`","00000000",""]}`+"\n")
	return pen{
		q: q, en2size: q.work.en2size,
		name: text[len(head):i], ntime: text[i+len(mark) : len(text)-len(`"]}`+"\n")],
	}, nil
}

// append appends the line that sends share i.
func (p *pen) append(b []byte, id uint64, i int) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendUint(b, id, 10)
	b = append(b, p.name...)
	for k := range p.en2size {
		b = appendHexByte(b, byte(uint64(i)>>(8*k)))
	}
	b = append(b, p.ntime...)
	nonce := p.q.nonces[i]
	b = appendHexByte(b, byte(nonce>>24))
	b = appendHexByte(b, byte(nonce>>16))
	b = appendHexByte(b, byte(nonce>>8))
	b = appendHexByte(b, byte(nonce))
	return append(b, `"]}`+"\n"...)
}

func appendHexByte(b []byte, v byte) []byte {
	const digits = "0123456789abcdef"
	return append(b, digits[v>>4], digits[v&15])
}

// hashesPerShare is how many hashes a share of w takes on average.
func (w *work) hashesPerShare() float64 { return max(w.difficulty*HashesPerDifficulty, 1) }
