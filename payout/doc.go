// Package payout says who is owed and how it leaves, to the satoshi. Like pool
// it is pure: no net, no clock, no store.
//
// # The story in types
//
//	Slot     a closed stretch of the share log: what a window may count
//	Receipt  the exact split of one template's value for one firmware class
//	Treasury the payer of the first half of the path: everything to one script
//
// # Invariants
//
//  1. A receipt's settlement sums to its reward; its credits and fees do too,
//     or there are none of either.
//  2. One value has one encoding. Decoders refuse every other spelling, an
//     unknown version or an unknown rule; they never guess.
//  3. Sats and difficulty are integers; an overflow is an error.
package payout
