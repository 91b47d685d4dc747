// Package edge is the life of one process: template to job to publication,
// line to share to journal, candidate to node, drain at the end. It is the only
// room of mining with a clock, contexts and goroutines.
//
//	node --Update--> jobs.go --receipt, job: written--> journal
//	                    |
//	                    +--JobSet--> stratum.Server --notify--> rigs
//	                                      |
//	shares.go <--Batch-- session <--submit+
//	    |  Hash, then at once:
//	    +--block?--> blocks.go --candidate file, 2 ms at most--> submitblock to every node
//	    |  Judge
//	    +--AppendShares, Wait--> journal, then the rig hears true
//
// # Invariants
//
//  1. A job is in the journal before a rig sees it.
//  2. A share is in the journal before its rig hears true.
//  3. Nothing stands before submitblock but memory, a write that is waited for
//     2 ms, and a socket.
//  4. A job counter is never used twice by an edge, across restarts too.
package edge
