// Package journal is where a share becomes true: an append-only, checksummed,
// group-committed log on the edge's own disk. A rig hears true only for a
// share that is in it. Redis, the ledger and every page are copies.
//
//	AppendShares ─┐                 ┌─ write(2) ─► WaitWritten   jobs, receipts
//	Append ───────┼─► pending ──────┤
//	RigNumber ────┘   (bounded)     └─ fdatasync ─► Wait         shares
//
// The bytes are frozen in ADR 0002. One committer goroutine takes what is
// pending, writes it as one frame and makes it durable. While it waits for the
// device, new records gather: the running fdatasync is the batching window, so
// an idle journal commits at once and a busy one commits in large groups, with
// no timer in between. Who needs only write(2) (a job before it is published)
// does not wait for a running fdatasync: it writes the frame itself.
//
// Invariants:
//
//  1. seq counts credited shares, from 1 in each epoch, without gaps, in the
//     order of the file.
//  2. A ticket is kept only for bytes that were written, and durable ones only
//     after an fdatasync that began behind them and succeeded.
//  3. After one failed write or fdatasync nothing more is acknowledged, ever:
//     what the kernel does with dirty pages after an error is not knowable.
//  4. A segment of an earlier epoch is never written to, only cut once behind
//     its last good frame.
//  5. A frame that a later frame proves durable is never dropped in silence.
//
// Candidates (blocks to be submitted) and templates have files of their own and
// never wait for the log.
package journal
