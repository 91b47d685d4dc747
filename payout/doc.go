// Package payout says who is owed and how it leaves, to the satoshi. Like pool
// it is pure: no net, no clock, no store.
//
// # The story in types
//
//	Slot     a closed stretch of the share log: what a window may count
//	Rules    what the members agreed on: window, fees, minimum (unit-pplns-v1)
//	Window   closed slots in, weights of the members at any cut out
//	Split    who earned what of one template's value, common to all classes
//	Order    a split, a register, carry and a class: what one receipt is made of
//	Receipt  the exact split of one template's value for one firmware class
//	Event    what happened to a block or a batch; one entry of the ledger
//	Ledger   a fold over events: who is owed what, and since when
//	Treasury the payer of the first half of the path: everything to one script
//
// # Invariants
//
//  1. A receipt's settlement sums to its reward; its credits and fees do too,
//     or there are none of either.
//  2. One value has one encoding. Decoders refuse every other spelling, an
//     unknown version or an unknown rule; they never guess.
//  3. Every event of the ledger sums to zero, and may come again unharmed.
//  4. Sats and difficulty are integers; an overflow is an error.
package payout
