package pool

// Bounds of ntime beside the template's mintime, in seconds (decision 4).
const (
	ntimeAheadOfJob   = 7000
	ntimeAheadOfClock = 7140 // 60 s under the 2 h that nodes accept
)

// Claim is what a session knows of a submission beside its bytes: how the job
// was issued on this connection, and what was wrong before hashing.
type Claim struct {
	Worker *Worker // who is credited: the member of the coinbase that was hashed; one name of the connection, so that Worker.Rig is asked for once
	Fault  Reject  // a fault found before hashing that does not stop the block test, or 0
	Issued Difficulty
	Later  Difficulty // lowest difficulty sent since on this connection, 0 for none
	Stale  bool       // the job is of an earlier tip, or too old to be credited
}

// Verdict is what Judge rules. Reject 0 means the rig hears true.
type Verdict struct {
	Reject Reject
	Credit Difficulty // 0 with Reject 0: answered true, credited nothing
}

// Judge rules on one hashed submission, in the order of the field: fault, time,
// duplicate, stale, target. now is the pool's clock in Unix seconds. An
// accepted hash is remembered in seen; others leave no trace, so that a flood
// of bad shares costs no memory.
//
// Credit is c.Issued, the difficulty the job was issued with on that
// connection. A hash below it that meets c.Later is honest work of a rig that
// took a new difficulty early: true, and no credit (decision 1: a rule that
// pays it can be farmed for 1.5 to 1.95 times honest pay).
func Judge(s *Submission, h *Hashed, c *Claim, now int64, seen *Seen, scale Scale) Verdict {
	t := s.Work.Template
	if c.Fault != Accepted {
		return Verdict{Reject: c.Fault}
	}
	if s.NTime < t.MinTime || int64(s.NTime) > min(int64(t.CurTime)+ntimeAheadOfJob, now+ntimeAheadOfClock) {
		return Verdict{Reject: BadTime}
	}
	if seen.Has(&h.Hash) {
		return Verdict{Reject: Duplicate}
	}
	if c.Stale {
		return Verdict{Reject: Stale}
	}
	target := c.Issued.Target(scale)
	credit := c.Issued
	if !target.Met(&h.Hash) {
		if c.Later == 0 || c.Later >= c.Issued {
			return Verdict{Reject: LowDifficulty}
		}
		later := c.Later.Target(scale)
		if !later.Met(&h.Hash) {
			return Verdict{Reject: LowDifficulty}
		}
		credit = 0
	}
	if !seen.Add(&h.Hash) {
		return Verdict{Reject: Flood}
	}
	return Verdict{Credit: credit}
}

// Batch is all submissions of one read of one connection. It is reused; its
// slices have equal length once ruled on. Seen belongs to the connection: the
// header holds its unique extranonce1, so no other connection can send the
// same hash.
type Batch struct {
	Subs     []Submission
	Claims   []Claim
	Hashed   []Hashed
	Verdicts []Verdict
	Seen     *Seen

	coinbase []byte // scratch of Hash, kept so that no coinbase of any size allocates twice
}

// Reset empties b for the next read of a connection. Works and names do not live on
// in it.
func (b *Batch) Reset(seen *Seen) {
	clear(b.Subs)
	clear(b.Claims)
	b.Subs, b.Claims, b.Hashed, b.Verdicts = b.Subs[:0], b.Claims[:0], b.Hashed[:0], b.Verdicts[:0]
	b.Seen = seen
}

// Add appends one submission with its claim.
func (b *Batch) Add(s Submission, c Claim) {
	b.Subs = append(b.Subs, s)
	b.Claims = append(b.Claims, c)
}

// Hash fills Hashed.
func (b *Batch) Hash() { b.Hashed, b.coinbase = hashAll(b.Hashed[:0], b.Subs, b.coinbase) }

// Judge fills Verdicts, in order. Hash must have run.
func (b *Batch) Judge(now int64, scale Scale) {
	b.Verdicts = b.Verdicts[:0]
	for i := range b.Subs {
		b.Verdicts = append(b.Verdicts, Judge(&b.Subs[i], &b.Hashed[i], &b.Claims[i], now, b.Seen, scale))
	}
}
