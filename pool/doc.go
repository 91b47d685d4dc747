// Package pool is the hub: what work is, what a share is, and whether a share
// counts. Everything else in the house is a spoke.
//
// It is pure. No net, no Redis, no clock, no log, no goroutine: time and
// randomness come in as arguments, verdicts go out as values. So every rule of
// the pool can be tested by calling a function.
//
// # The story in types
//
//	Template   what the node offers: a checked getblocktemplate
//	Payout     how its coinbase value leaves: scripts and sats, to the satoshi
//	Job        Template + Payout + Class, immutable once published
//	Work       a Job as one member's rigs hash it: (Job, member, variant)
//	Submission what a rig claims: extranonces, time, nonce, version
//	Hashed     the 80 bytes that the claim stands for, and their hash
//	Verdict    accepted with a credit, or a Reject with a name
//	Share      an accepted claim, as the journal keeps it
//
// # The drawing
//
//	Template --NewJob(Payout, Class)--> Job --Work(member, variant)--> Work
//	                                                                     |
//	line of a rig --parse--> Submission{Work, extranonces, ntime, ...} <-+
//	                             |
//	                         Hash (batch)  ---- Block? ----> the block lane, at once
//	                             |
//	                         Judge (one by one) --> Verdict --> journal --> answer
//
// # Invariants
//
//  1. A published Job never changes.
//  2. The outputs of a Job sum to its template's coinbase value, always.
//  3. Sats, difficulty and weights are integers; floats only for display.
//  4. A hash that meets the network target is reported by Hash, before and
//     whatever any share rule says.
//  5. Credit is the difficulty the job was issued with on that connection,
//     nothing else.
package pool
