// Package audit recomputes from files what the pool's blocks had to pay, and
// compares every output with the node's own bytes. It reads, and changes
// nothing: a pool may run beside it.
//
//	slots/N.slot ──┐
//	               ├─ log.go ── every share in order, each in one slot ──┐
//	journal ───────┤                                                     ▼
//	candidates ────┴─ receipts: cut's head, drain ──► expect.go ── naive walk, carry,
//	node ── audit.go: the coinbase as mined ◄────────── compare ───  choice, legs
//
// # What is trusted, what is not
//
//  1. Shares are the journal's. Each must be in the slot that follows the one
//     before, none left out, and the slot's record root must be theirs, under
//     the pool's signature. A
//     block's coinbase commits to the slot's head, so the shares it was split by
//     cannot be changed after it.
//  2. Of a receipt only three things are taken as told: whether the job drained
//     carry (decision 15), whether it left every sat in the treasury (while
//     payouts are halted, or the node has not called the coinbase's shape valid:
//     decision 21; credits stand all the same, and are carried), and which ledger
//     it cites. Credits, fees, amounts and
//     scripts are recomputed: window and division by payout/verify's naive walk,
//     carry by a sum over the blocks on the chain. Package payout only encodes
//     and decodes here. What the first two withheld from members is noted, with
//     the blocks: no rule forbids it, but a pool that always says so pays nobody.
//  3. Rules, treasury, members and destinations are those of the files now. A
//     block mined under others disagrees, by name; so does one drained after a treasury batch, for batches are not followed.
//  4. Where the journal begins later than a block's window, its credits are
//     those of its receipt, and the report says that it is not covered. Its
//     outputs, its commitment and its slot's head are still compared.
//  5. That a share meets its difficulty is the journal's word.
package audit
