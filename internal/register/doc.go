// Package register knows the members, and resolves the names of rigs (decisions
// 6, 38, 40). Register has those of members.toml, which it reads strictly and
// again while rigs mine; Open has whoever mines with an address (ADR 0016).
//
// Invariants: a member's index is for ever, because coinbases, journals and
// receipts carry it; so no reload moves, reuses or drops one, and an address has
// its own on disk before its first share is true. To retire a registered
// member, take its sites away: its rigs are refused, what it is owed stays its
// own. A file that is refused leaves the members as they were.
package register
