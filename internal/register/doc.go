// Package register knows the members: it reads members.toml strictly, resolves
// the names of rigs, and reloads the file while rigs mine (decisions 6, 38, 40).
//
// Invariants: a member's index is for ever, because coinbases, journals and
// receipts carry it; so no reload moves, reuses or drops one. To retire a
// member, take its sites away: its rigs are refused, what it is owed stays its
// own. A file that is refused leaves the members as they were.
package register
