// Package keeper is the pool's accountant: it closes slots, follows blocks to
// maturity, credits and settles. It alone writes the ledger. Goroutines, clock
// and files live here, arithmetic stays in package payout.
//
//	journal ──Tail──► close.go ── slots/N.slot ──┬──► cut: slot, head, weights ──┐
//	                                             │                               ▼
//	candidates ──► follow.go ── ledger/N.event ──┼──► book: carry, halts ──► Payout ──► edge
//	    ▲               ▲                        │                               ▲
//	 Candidate        Chain ── cover.go ── is every ancestor in the ledger? ─────┘
//	                                             │
//	                                        ship.go ──► payout.Store
//
// Manifests and events are files of their own, durable before anything cites
// them. The store is a copy of them: it may be away for hours, come back as of
// yesterday or empty, and each round of shipping starts from what it says it
// has. The shares behind a manifest stay in the journal.
//
// # Invariants
//
//  1. A slot counts only shares that no crash can take back, each once.
//  2. A cut or ledger head is on disk before a receipt names it.
//  3. What the store is told is a function of the files alone: whoever ships
//     them ships the same bytes, to an empty store or a restored one.
//  4. A block enters the ledger by its own coinbase, compared with its receipt,
//     byte for byte; a difference halts payouts and never mining.
//  5. While payouts are halted credits are computed on, and all sats go to the
//     treasury.
package keeper
