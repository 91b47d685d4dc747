package pool_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"pgregory.net/rapid"

	"cordee/pool"
)

// found is a hash with the job it was hashed for: a header belongs to one job of
// one connection.
type found struct {
	job  int
	hash chainhash.Hash
}

// cheater is a client that does with its hashes what it likes: holds them back,
// has its difficulty moved, replays, reconnects, and picks the job it works on.
type cheater struct {
	*connection
	rng    *rand.Rand
	kept   []found
	hashes int
	credit pool.Difficulty
	risk   float64 // variance of what honest work would have earned
}

func (c *cheater) send(f found) pool.Verdict {
	v := c.submit(f.job, &f.hash)
	c.credit += v.Credit
	return v
}

// hash works n hashes on job; keep holds back what would count now or after a
// change.
func (c *cheater) hash(n, job int, keep bool) {
	for range n {
		f := found{job, drawHash(c.rng)}
		c.hashes++
		c.risk += float64(c.jobs[job].Issued)
		if keep {
			c.kept = append(c.kept, f)
		} else {
			c.send(f)
		}
	}
}

// Any program of a cheater's tricks earns at most what its hashes earn honestly.
func TestNoProgramOfTricksEarnsMore(t *testing.T) {
	const hardest, least = 32, 32 << 10 // 1024 shares at the hardest: six sigma are 19 %
	rapid.Check(t, func(t *rapid.T) {
		difficulties := rapid.SampledFrom([]pool.Difficulty{1, 2, 4, 16, hardest})
		program := rapid.SliceOfN(rapid.IntRange(0, 7), 2, 12).Draw(t, "program")
		aims := rapid.SliceOfN(difficulties, 2, 4).Draw(t, "difficulties")
		seed := rapid.Uint64().Draw(t, "seed")
		c := &cheater{connection: connect(aims[0]), rng: rand.New(rand.NewPCG(seed, 3))}
		for step := 0; c.hashes < least; step++ {
			aim := aims[step%len(aims)]
			newest := len(c.jobs) - 1
			switch program[step%len(program)] {
			case 0, 1: // hold back
				c.hash(500, newest, true)
			case 2: // work honestly
				c.hash(500, newest, false)
			case 3, 4: // suggest, or have vardiff believe it
				c.set(aim)
			case 5: // send what was held back
				for _, f := range c.kept {
					c.send(f)
				}
				c.kept = c.kept[:0]
			case 6: // send all of it twice, and work on an older job
				for range 2 {
					for _, f := range c.kept {
						c.send(f)
					}
				}
				c.hash(100, c.rng.IntN(len(c.jobs)), false)
			case 7: // leave and come back at another difficulty
				c.hash(100, newest, false)
				c.connection, c.kept = connect(aim), nil
			}
			if len(c.jobs) > 32 || c.seen.Len() > pool.MaxSeen/2 { // as a server's table ends, and as a tip does
				c.connection, c.kept = connect(c.current), nil
			}
			if step > 10_000 {
				return // a program without work
			}
		}
		earned := float64(c.credit) * 65536 / 65535
		if limit := float64(c.hashes) + 6*math.Sqrt(c.risk); earned > limit {
			t.Fatalf("%.4f credit a hash", earned/float64(c.hashes))
		}
	})
}
