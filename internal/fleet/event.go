package fleet

import (
	"fmt"
	"time"
)

// EventKind says what happened to a rig.
type EventKind uint8

// The kinds, in the order of a connection's life.
const (
	Connected    EventKind = iota // a TCP connection stands
	Disconnected                  // it ended, or a dial failed; Text says why
	Subscribed                    // the subscribe reply came; Share.Extranonce1 is set
	Authorized                    // the name was accepted
	Difficulty                    // set_difficulty came; it acts with the next Notify
	Notify                        // new work: JobID, Clean, PrevHash, Difficulty
	Submit                        // a share is about to be written
	Accepted                      // its answer was true
	Rejected                      // its answer was anything else: Code, Text
)

var kindNames = [...]string{
	"connected", "disconnected", "subscribed", "authorized", "difficulty", "notify", "submit", "accepted", "rejected",
}

// String returns the kind in lower case.
func (k EventKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// ShareKey names one header of one connection, as a journal or a log can
// compare it.
type ShareKey struct {
	Extranonce1 string // lower-case hex, as the server gave it
	Extranonce2 string // lower-case hex, as submitted
	NTime       uint32
	Nonce       uint32
	Version     uint32 // of the header, rolled bits included
}

// Event is one thing that happened to a rig. Fields that do not belong to its
// kind are zero.
type Event struct {
	Rig        int // index in Config.Rigs
	Kind       EventKind
	At         time.Time     // for what the server sent: when the line was read
	JobID      string        // Notify, Submit, Accepted, Rejected
	Clean      bool          // Notify
	PrevHash   string        // Notify: block hash as explorers show it, 64 hex digits
	Code       int           // Rejected, Disconnected after a refused name; 0 when the server gave none
	Text       string        // Rejected, Disconnected; printable ASCII, at most 120 bytes
	Difficulty float64       // Difficulty: as announced; Notify and shares: as the job was issued with
	Hash       [32]byte      // shares: header hash in hashing byte order
	Share      ShareKey      // Subscribed (Extranonce1 only) and shares
	Latency    time.Duration // Accepted, Rejected: from write to answer
}
