package stratum

import (
	"time"

	"cordee/pool"
)

// Pool is what the server needs of the hub. internal/edge implements it.
type Pool interface {
	// Authorize resolves a user name to the worker behind it. ok is false for
	// a name that is refused; text then says why in a few words for the rig
	// (ASCII, no quotes, under 60 characters). Each worker that it returned is
	// given back by one Leave, when his last share is ruled on.
	Authorize(user string) (w pool.Worker, text string, ok bool)
	Leave(w pool.Worker)

	// Submit rules on a batch: it hashes, hands blocks on, judges, and
	// journals what was accepted. On return b.Verdicts is final and every
	// verdict that says Accepted is durable. It blocks for the journal's
	// commit, and is called from many goroutines.
	Submit(b *pool.Batch)

	// Post is Submit for who must not wait: it never blocks. True means that r is
	// told when b.Verdicts is final; b is not touched after that. False means that
	// b.Verdicts is final already, and r is not told; or that it is empty: nothing
	// was done, and this batch needs Submit.
	Post(b *pool.Batch, r Ruled) (later bool)
}

// Ruled is told that a batch is ruled on. It must not block: other rigs are
// answered after it.
type Ruled interface{ Ruled() }

// JobSet is what is mined now: one job for each firmware class in use, all on
// one template and tip. Immutable once published.
type JobSet struct {
	Jobs   []*pool.Job // the first is the default class
	Clean  bool        // older jobs are of another tip: rigs must drop them
	Signal time.Time   // when the node announced the new tip; zero on the same tip
}
