// Package bitcoind is the only speaker of node RPC and ZMQ: it turns one or
// several full nodes (Bitcoin Core, or btcd) into templates, and hands blocks
// to all of them.
//
// # The drawing
//
//	node A (followed)                 node B (stands by)
//	  watch: 1 s tip poll, health       watch: 1 s tip poll, health
//	  signal: ZMQ, else longpoll
//	  fetch: header -> empty template -> getblocktemplate
//	        |
//	     Cluster.Run: one goroutine, one generation number, on(Update)
//
//	Cluster.SubmitBlock: every node in parallel, on connections of its own
//
// # Invariants
//
//  1. A call never waits behind a call of another purpose: templates, blocks
//     and questions each have their own connections.
//  2. No failure of a node ends the process. It has a name (errors.go), shows
//     in Status, and is tried again; wrong answers leave the last template
//     standing.
//  3. A node's chain is checked before its first template and after every
//     outage.
//  4. The tip generation rises by one at every change of previous block hash
//     and never returns (ADR 0005).
//  5. While ZMQ is healthy no longpoll is pending on that node (decision 19):
//     a pending one makes the first call after a block wait tens of
//     milliseconds.
//  6. No secret stands in a log line or an error.
package bitcoind
