// Package fleet is a fleet of simulated rigs: real Stratum V1 over TCP, real
// double SHA-256, throttled to a hash rate. It mines on any Stratum V1 server
// and knows nothing of how ours works inside.
//
// # Why real hashing
//
// A share is the outcome of an independent trial with a tiny chance, so shares
// of a rig that hashes arrive as a Poisson process by nature: nothing is drawn
// from a distribution and nothing has to be faked when the difficulty or the
// job changes. A rig is given elapsed x hashrate trials at each tick (20 ms, at
// a random phase of its own) and spends them on headers it never tried before.
//
// # How a rig behaves
//
// As good firmware does:
//
//   - subscribe, configure (where it rolls versions), authorize, one after the
//     other, then wait for work;
//   - set_difficulty and set_extranonce act with the next notify;
//   - each notify replaces the work at hand, at the latest 2048 hashes later;
//   - answers are matched to submits by id;
//   - no header is hashed twice in the life of a rig, even across connections.
//
// The order of the search: 1024 nonces, then the next of 16 versions, then the
// next extranonce2, then the next 1024 nonces. ntime follows the clock.
//
//	fleet.go    Config, Run, one goroutine a rig      rig.go    dial, back off, redial
//	session.go  one connection: loop, submits         handle.go what each line does
//	wire.go     lines in and out                      work.go   notify -> header
//	miner.go    the search                            stats.go  counters, latency, rejects
//	event.go    what tests can watch
//	crowd.go    ten thousand rigs that cost little      hostile.go what a server must survive
//
// To measure what a server costs, connections that do not hash while they run:
//
//	link.go     handshake, lines           quarry.go  shares mined before they are sent
//	volley.go   so many on their way       gun.go     one of its connections
//	watch.go    how a job spreads, and a storm of handshakes
package fleet
