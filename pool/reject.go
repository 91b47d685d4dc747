package pool

import "fmt"

// Reject names why a submission or a name was refused. It is the miner's
// fault; every other error is ours. One byte, so that returning it does not
// allocate. Zero is Accepted.
type Reject uint8

// The rejects. If you add one, give it a row in rejects below; the metric, the
// log field and the wire code follow from there.
const (
	Accepted Reject = iota
	Malformed
	UnknownJob
	Stale
	Duplicate
	LowDifficulty
	Unauthorized
	NotSubscribed
	BadTime
	BadVersion
	Flood
	NotDurable
	Draining
	rejectCount
)

// rejects holds the stable name (metrics, logs, JSON), the wire code (stratum's
// 20 to 25) and the text a rig shows: short ASCII without quotes.
var rejects = [rejectCount]struct {
	name string
	code int
	text string
}{
	Accepted:      {"accepted", 0, ""},
	Malformed:     {"malformed", 20, "Malformed parameters"},
	UnknownJob:    {"unknown_job", 21, "Job not found"},
	Stale:         {"stale", 21, "Stale share"},
	Duplicate:     {"duplicate", 22, "Duplicate share"},
	LowDifficulty: {"low_difficulty", 23, "Low difficulty share"},
	Unauthorized:  {"unauthorized", 24, "Unauthorized worker"},
	NotSubscribed: {"not_subscribed", 25, "Not subscribed"},
	BadTime:       {"bad_ntime", 20, "Time out of range"},
	BadVersion:    {"bad_version", 20, "Version bits outside the mask"},
	Flood:         {"flood", 20, "Too many shares for one block"},
	NotDurable:    {"not_durable", 20, "Share could not be stored"},
	Draining:      {"draining", 20, "Server is stopping"},
}

// Rejects returns every Reject but Accepted, in order.
func Rejects() []Reject {
	all := make([]Reject, 0, rejectCount-1)
	for r := Accepted + 1; r < rejectCount; r++ {
		all = append(all, r)
	}
	return all
}

func (r Reject) row() int {
	if r >= rejectCount {
		return int(Malformed)
	}
	return int(r)
}

// Name returns the stable name, for metrics and logs.
func (r Reject) Name() string { return rejects[r.row()].name }

// Code returns the stratum error code, 20 to 25, and 0 for Accepted.
func (r Reject) Code() int { return rejects[r.row()].code }

// Text returns what the rig is told.
func (r Reject) Text() string { return rejects[r.row()].text }

// Error makes a Reject an error.
func (r Reject) Error() string { return fmt.Sprintf("%s (code %d)", r.Name(), r.Code()) }
