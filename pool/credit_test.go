package pool_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
)

// connection is what the server holds of one rig: difficulty in force, the
// terms of the jobs it issued, the memory of accepted hashes.
type connection struct {
	current pool.Difficulty
	jobs    []pool.Claim
	seen    pool.Seen
	floor   pool.Difficulty
}

func connect(d pool.Difficulty) *connection {
	c := &connection{floor: 1, current: d}
	c.issue()
	return c
}

// issue sends a job at the difficulty in force.
func (c *connection) issue() { c.jobs = append(c.jobs, pool.Claim{Issued: c.current}) }

// set changes the difficulty, as vardiff or a suggestion would: jobs that are
// out learn the lowest sent since.
func (c *connection) set(d pool.Difficulty) {
	c.current = max(d, c.floor)
	for i := range c.jobs {
		if c.jobs[i].Later == 0 || c.current < c.jobs[i].Later {
			c.jobs[i].Later = c.current
		}
	}
	c.issue()
}

var creditWork = &pool.Work{Template: &pool.Template{MinTime: 1, CurTime: 1}}

// submit has the pool rule on a hash that the rig found for a job.
func (c *connection) submit(job int, h *chainhash.Hash) pool.Verdict {
	sub := pool.Submission{Work: creditWork, NTime: 1}
	return pool.Judge(&sub, &pool.Hashed{Hash: *h}, &c.jobs[job], 1, &c.seen, pool.RegtestScale)
}

// drawHash draws what one hash of a header gives: 256 uniform bits.
func drawHash(rng *rand.Rand) (h chainhash.Hash) {
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(h[i:], rng.Uint64())
	}
	return h
}

// Whatever a client does with its hashes, they earn no more than an honest
// client's. Each strategy hashes n times and returns its credit; one unit of
// difficulty at regtest's scale is one hash (65535/65536 of one), so honest
// credit per hash is 1.
func TestCheatingEarnsNothing(t *testing.T) {
	const n = 400_000
	type strategy func(rng *rand.Rand) pool.Difficulty
	honest := func(d pool.Difficulty) strategy {
		return func(rng *rand.Rand) (credit pool.Difficulty) {
			c := connect(d)
			for i := range n {
				if i%50_000 == 0 {
					c.seen.Reset() // a new tip, before the memory is full
				}
				h := drawHash(rng)
				credit += c.submit(0, &h).Credit
			}
			return credit
		}
	}
	for name, run := range map[string]strategy{
		"honest at 1":    honest(1),
		"honest at 64":   honest(64),
		"honest at 1024": honest(1024),

		// Keeps all shares back, has the difficulty lowered, then sends the
		// weak ones where the lower difficulty would take them and the strong
		// ones where they are worth more.
		"withhold and suggest": func(rng *rand.Rand) (credit pool.Difficulty) {
			for range n / 2000 {
				c := connect(256)
				kept := make([]chainhash.Hash, 2000)
				for i := range kept {
					kept[i] = drawHash(rng)
				}
				c.set(16)
				for i := range kept {
					credit += c.submit(0, &kept[i]).Credit
				}
			}
			return credit
		},

		// Suggests high when it has a strong share, low before weak ones.
		"suggest by luck": func(rng *rand.Rand) (credit pool.Difficulty) {
			c := connect(16)
			for range n {
				h := drawHash(rng)
				job := len(c.jobs) - 1
				if best := pool.NetworkDifficulty(targetOfHash(&h), pool.RegtestScale); best > 16 {
					c.set(best.PowerOfTwo())
				}
				credit += c.submit(job, &h).Credit
				if c.current != 16 {
					c.set(16)
				}
				if len(c.jobs) > 1000 {
					c = connect(16)
				}
			}
			return credit
		},

		// Sends each share until it is refused, before and after changes of
		// difficulty and for jobs issued later.
		"replay": func(rng *rand.Rand) (credit pool.Difficulty) {
			c := connect(64)
			for i := range n {
				h := drawHash(rng)
				v := c.submit(0, &h)
				credit += v.Credit
				if v.Reject != pool.Accepted {
					continue
				}
				c.set([]pool.Difficulty{16, 256}[i%2])
				for job := range c.jobs {
					v := c.submit(job, &h)
					credit += v.Credit
					if v != (pool.Verdict{Reject: pool.Duplicate}) {
						t.Errorf("replay: %+v", v)
					}
				}
				c.jobs = c.jobs[:1]
			}
			return credit
		},

		// Works on two jobs in turn and always sends to the one whose terms
		// were better when the difficulty flips.
		"flip-flop": func(rng *rand.Rand) (credit pool.Difficulty) {
			c := connect(8)
			for i := range n {
				if i%500 == 0 {
					c.set([]pool.Difficulty{8, 512}[i/500%2])
					if len(c.jobs) > 1000 {
						c.jobs = c.jobs[len(c.jobs)-2:]
					}
				}
				h := drawHash(rng)
				// Two jobs are out; which one a header is of is chosen before
				// it is hashed, here always the harder.
				job := len(c.jobs) - 1
				if job > 0 && c.jobs[job-1].Issued > c.jobs[job].Issued {
					job--
				}
				credit += c.submit(job, &h).Credit
			}
			return credit
		},

		// Leaves whenever it has had a share, for a fresh start at an easy
		// difficulty; then stays at a hard one until lucky.
		"reconnect": func(rng *rand.Rand) (credit pool.Difficulty) {
			c := connect(4)
			for i := range n {
				h := drawHash(rng)
				if v := c.submit(len(c.jobs)-1, &h); v.Reject == pool.Accepted {
					credit += v.Credit
					c = connect([]pool.Difficulty{4, 1024}[i%2])
				}
			}
			return credit
		},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			credit := run(rng)
			perHash := float64(credit) / n * 65536 / 65535
			// n hashes at difficulty d have a relative deviation of
			// sqrt(d/n); no strategy's own goes beyond d = 1024.
			sigma := math.Sqrt(1024.0 / n)
			t.Logf("%.4f credit a hash", perHash)
			if perHash > 1+4*sigma {
				t.Errorf("%.4f credit a hash, honest work earns 1", perHash)
			}
			if strings.HasPrefix(name, "honest") && perHash < 1-4*sigma {
				t.Errorf("honest work earns %.4f a hash", perHash)
			}
		})
	}
}

// targetOfHash returns the target that h just meets.
func targetOfHash(h *chainhash.Hash) (t pool.Target) {
	for i := range t {
		t[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	return t
}
