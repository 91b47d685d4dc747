// Package redisstore keeps a payout.Store in one Redis or Valkey primary, and
// is the only importer of its client.
//
// # Keys
//
// All of a pool's keys share one hash tag, so that one script may touch all of
// them, and a Redis may hold several pools:
//
//	{cordee:NAME}:meta       hash    network, genesis, schema, incarnation: who this is
//	            :hwm         hash    "edge:epoch" → last applied seq
//	            :runs        hash    work_bits (8 hex digits) → 1: which run keys there are
//	            :run:BITS    hash    member → work against BITS since the beginning
//	            :delta:SLOT  hash    "member:BITS" → work in SLOT; open slots and the last closed
//	            :slot        hash    slot number → head ‖ prev ‖ manifest (32, 32, rest)
//	            :ledger      hash    record number → head ‖ key length (1) ‖ key ‖ data
//	            :ledgerkey   hash    record key → its number
//	            :state       hash    slot, slothead, records, head, fence
//	            :lease:NAME  string  "token holder", with an expiry
//
// Numbers are decimal, heads in state are hex. Raw shares, jobs and duplicates
// do not live here.
//
// # Scripts
//
// Every write is one Lua call. Redis isolates a script but rolls nothing back,
// so each of them looks at everything first and writes after. All begin with
// the same look at meta: a store that was flushed, restored from elsewhere or
// promoted empty is noticed by the first call, not the next check. Reads are
// scripts too: a MULTI would be refused, even for reading, while memory is short.
//
// Lua numbers are doubles. Sums, seqs and limits go in and out as text, are
// compared as text and added by HINCRBY; none is ever a Lua number.
//
// # Retries
//
// The client never retries by itself: a timeout says nothing about whether a
// script ran. Every script is harmless to repeat, and whoever calls repeats it.
// A script runs as EVALSHA, and once more as EVAL where the server has forgotten
// it, which it says before running anything.
package redisstore
