// Package sandbox starts real servers as child processes on loopback: a full
// node (btcd or bitcoind) on a private chain, and redis-server. The demo and
// the tests mine against these, never against a mock of them.
//
//	StartNode ─ choose a binary ─ free ports ─ spawn ─ wait for RPC ─▶ Node
//	               │                             │
//	  CORDEE_BITCOIND, PATH,          one locked OS thread forks every child,
//	  or btcd built from tools/btcd   so that Pdeathsig means "parent died"
//
// What may be relied upon:
//
//   - A child listens on 127.0.0.1 only, and dials nothing but the peers it is
//     told of: no DNS seeds, no port mapping.
//   - A child never outlives the parent on Linux, even when that is killed with
//     SIGKILL; everywhere it ends with the context it was started with.
//   - A child is in a process group of its own: Ctrl-C on a terminal reaches
//     the parent, who then decides in which order things stop.
//   - Ports stay the same over a Restart, so whoever was connected can come back.
//   - Passwords are in files of mode 0600, never on a command line.
//
// # What btcd needs, and what differs
//
// A fresh btcd on regtest answers getblocktemplate without a peer and without a
// block: regtest is exempt from "not connected", and height 0 is exempt from
// "downloading blocks". From height 1 on, a tip older than 24 hours is refused
// with code -10 until one block is generated. --miningaddr is needed by
// `generate` and by templates asked as coinbasetxn only. btcd has no cookie, no
// ZMQ and no generatetoaddress, and by default closes the door on the eleventh
// RPC connection; we raise that. Bitcoin Core on a test chain answers
// getblocktemplate while it is still in initial block download.
//
// After SIGKILL the btcd that BuildBtcd makes comes back with every block it had
// acknowledged. A released btcd forgets its regtest chain at every start, and
// Core writes its block index to disk from time to time only, so that a killed
// Core may return with a shorter chain: see Node.Flush.
package sandbox
