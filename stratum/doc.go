// Package stratum is how rigs talk to us: Stratum V1 framing, the session's
// law, and the server. Sockets live here; verdicts do not.
//
// # One connection
//
//	rig                      session                                 pool
//	 |-- bytes ------------> Read, into a borrowed desk
//	 |                       cutLine, parseLine, law[method][state]
//	 |                       all submits of the read: one Batch -----> Post
//	 |                                                        (hash, judge, journal)
//	 |<- answers, in order - one write <------------------------ Ruled: verdicts
//	 |
//	 |<- mask, difficulty, notify - offer <-- broadcaster <-- Publish
//
// # The law
//
//	             submit  subscribe  authorize  everything else
//	fresh          25       ok         ok           ok
//	subscribed     24       ok         ok           ok
//	authorized     25       ok         ok           ok
//	working        ok       ok         ok           ok
//
// Nothing is pushed before working, which is reached when both subscribe and
// authorize are answered; then, in one write: set_version_mask if the rig asked
// for version rolling, set_difficulty, notify with clean_jobs. A set_difficulty
// is only ever sent directly before a notify, and only when it changed.
//
// # Who holds what
//
// A session has one goroutine, which reads and parses, until its rig has work: then
// it rests with the server's watch (on Linux), and whoever has its socket's turn
// reads. A goroutine that waits for verdicts is made only where the pool needs one;
// else it has Ruled called, and what is the reader's belongs to that until then (see
// post). The
// broadcaster and the second hand come from outside; what all sides touch is
// under session.mu. It is not held across a write, a hash or the journal: the
// write side has an owner flag (outbox.writing), and whoever holds that writes
// unlocked. Lock order: Server.pubMu, Server.mu, session.mu, sheet.mu; a
// session never takes Server.mu while it holds its own. crowd.mu and tlsConn.mu
// are leaves.
//
// # Doors
//
// What comes before the first line is done on the session's goroutine, within
// one deadline: the PROXY header of a balancer, then the TLS handshake. A TLS
// connection waits for its rig, and is written to, like a plain one: see
// tlsConn. Without work listeners are closed, and opened again with it.
//
// # Bounds
//
//	line             4 KiB before authorize, 8 KiB after; nesting 4
//	outbox           64 KiB of answers, and one pending work
//	issued jobs      32 a connection
//	names            128 a connection, all of one member
//	connections      MaxConns, and Caps of one address and network; fewer
//	                 before the first work, and one every 32 ms where those
//	                 of an address keep ending without it
//	                 (65 536 addresses remembered)
//	handshakes       10 s each; at once, twice the processors
//	PROXY header     107 bytes of version 1, 2 KiB of version 2
//	duplicates       pool.MaxSeen a connection and tip
//
// Every close has a name: see CloseReason.
package stratum
