// Package verify recomputes what the pool pays, by two independent paths, and
// compares.
//
// # The story in types
//
//	File       vectors of unit-pplns-v1 as JSON: history in, amounts out
//	Difference one field where the file, the naive walk or package payout
//	           disagree
//
// The naive path (naive.go) walks every share, newest first, with schoolbook
// arithmetic; it shares no code with package payout. The production path
// (production.go) is package payout as the pool runs it, with shares in closed
// slots of several sizes. Neither does I/O. Naive* (plain.go) lend the walk to
// who recomputes real blocks.
package verify
