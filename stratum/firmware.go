package stratum

import (
	"strings"

	"cordee/pool"
)

// Match says how a row of the table of firmware is compared with a rig's agent,
// without regard to ASCII case: another spelling is not another firmware.
type Match uint8

// The ways to match.
const (
	MatchPrefix Match = iota
	MatchContains
	MatchExact
)

var matchNames = [...]string{"prefix", "contains", "exact"}

// String returns the name that the table's files use.
func (m Match) String() string { return matchNames[m] }

// FirmwareRow is what is known of a family of firmware by its user agent.
type FirmwareRow struct {
	Match Match
	Text  string // never empty
	Class pool.Class
	// MinDifficulty is a floor that no wish, suggestion or vardiff goes below;
	// StartDifficulty is what a rig of which nothing better is known starts with,
	// unless the network asks for less. Units of the network's scale; 0 is none.
	MinDifficulty, StartDifficulty pool.Difficulty
	Notes                          string
	Source                         string // file and line, for people
}

// Matches reports whether agent is of this firmware.
func (r *FirmwareRow) Matches(agent string) bool {
	agent, text := asciiLower(agent), asciiLower(r.Text)
	switch r.Match {
	case MatchContains:
		return strings.Contains(agent, text)
	case MatchExact:
		return agent == text
	default:
		return strings.HasPrefix(agent, text)
	}
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Firmware is the table of firmware classes. It never changes; the nil table
// has no rows.
type Firmware struct{ rows []FirmwareRow }

// NewFirmware returns a table of rows, the first that matches counting. It keeps
// rows.
func NewFirmware(rows []FirmwareRow) *Firmware { return &Firmware{rows} }

// Rows returns the rows in their order. They are not to be changed.
func (f *Firmware) Rows() []FirmwareRow {
	if f == nil {
		return nil
	}
	return f.rows
}

// Find returns the row of agent, as the rig sent it, and nil where none is: then
// the default class and the port's difficulties are in force.
func (f *Firmware) Find(agent string) *FirmwareRow {
	if f == nil {
		return nil
	}
	agent = clean([]byte(agent), maxAgent)
	for i := range f.rows {
		if f.rows[i].Matches(agent) {
			return &f.rows[i]
		}
	}
	return nil
}

// SetFirmware puts another table in force, nil for none. Connected rigs take
// their row of it with their next work.
func (s *Server) SetFirmware(f *Firmware) { s.firmware.Store(f) }

// maxMisses is how many shares in a row that miss their target, with none that
// meets it, say that a rig does not hash the coinbase it was sent.
const maxMisses = 20

// fitting is how a rig's class was found, and how it does with it.
type fitting struct {
	known  bool
	table  *Firmware    // the one that was looked into
	row    *FirmwareRow // of it, nil for none
	given  uint8        // class of the row
	class  pool.Class   // in force: the row's, or a smaller one
	fits   bool         // a share of a job of this class met its target
	misses uint8        // in a row, before that
}

// down reports a rig that stepped down from the class of its firmware.
func (f *fitting) down() bool { return f.known && f.class.ID != f.given }

// classify gives the rig the class of its firmware, by the newest table. A class
// that it stepped down to stays until its row has another. s.mu is held.
func (s *session) classify() {
	table := s.srv.firmware.Load()
	if s.fit.known && table == s.fit.table {
		return
	}
	row, class := table.Find(s.agent), pool.DefaultClass
	if row != nil {
		class = row.Class
	}
	if s.fit.known && s.fit.given == class.ID {
		s.fit.table, s.fit.row = table, row
		return
	}
	was := s.fit
	s.fit = fitting{known: true, table: table, row: row, given: class.ID}
	s.enterClass(was, class)
}

// enterClass puts class in force, and has its job made if there is none yet.
// s.mu is held.
func (s *session) enterClass(was fitting, class pool.Class) {
	s.fit.class, s.fit.fits, s.fit.misses = class, false, 0
	s.srv.classes[class.ID].Add(1)
	if was.known {
		s.srv.classes[was.class.ID].Add(-1)
	}
	if p := s.srv.set.Load(); p != nil && p.own(class) == nil && s.srv.cfg.NewClass != nil {
		s.srv.cfg.NewClass()
	}
}

// leave ends what classify began, and remembers what is worth it. s.mu is held.
func (s *session) leave() {
	if d := s.toRemember(); d > 0 {
		s.srv.memory.put(s.names[0].worker.Name, s.remembered(d, s.srv.now()))
	}
	if s.fit.known {
		s.srv.classes[s.fit.class.ID].Add(-1)
		s.fit.known = false
	}
}

// measure notes how a share on job was judged. A rig whose every share on jobs
// of its class misses the target does not hash what it was sent: it steps down
// one class. Where it was judged wrong for another reason nothing is learnt of
// the coinbase. It reports whether the rig stepped down. s.mu is held.
func (s *session) measure(job *pool.Job, r pool.Reject) (down bool) {
	switch {
	case job == nil || !s.fit.known || job.Class.ID != s.fit.class.ID || s.fit.fits:
	case r == pool.Accepted:
		s.fit.fits = true
	case r == pool.LowDifficulty:
		s.fit.misses++
		if s.fit.misses >= maxMisses {
			return s.stepDown()
		}
	}
	return false
}

func (s *session) stepDown() bool {
	was := s.fit
	next, ok := was.class.Below()
	if !ok {
		return false
	}
	s.enterClass(was, next)
	s.srv.count.stepDowns.Add(1)
	s.srv.say(evStepDown).Uint64("conn", s.id).Str("name", s.names[0].worker.Name).Str("agent", s.agent).
		Str("from", was.class.Name).Str("to", next.Name).Int("misses", maxMisses).
		Msg("all shares of a rig miss the target: it gets smaller coinbases")
	// What it has of the old class is of no use.
	s.box.want, s.box.wantClean = true, true
	return true
}

// show fills in what lists say of the class. s.mu is held.
func (f *fitting) show(r *RigInfo) {
	if f.known {
		r.Class = f.class.Name
	}
	if f.down() {
		given, _ := pool.ClassByID(f.given)
		r.ClassFrom = given.Name
	}
}

// agentStart is the difficulty that the firmware's row starts with, 0 for none.
// One that the network does not even ask for says nothing: it is of another
// chain than this test network. s.mu is held.
func (s *session) agentStart() pool.Difficulty {
	p := s.srv.set.Load()
	if s.fit.row == nil || p == nil || s.fit.row.StartDifficulty >= p.sheets[0].network {
		return 0
	}
	return s.fit.row.StartDifficulty
}

// agentFloor is the least difficulty of the firmware's row, 0 for none. s.mu is
// held.
func (s *session) agentFloor() pool.Difficulty {
	if s.fit.row == nil {
		return 0
	}
	return s.fit.row.MinDifficulty
}

// ClassesInUse returns the classes of connected rigs that have work or wait for
// it, by id.
func (s *Server) ClassesInUse() []pool.Class {
	var used []pool.Class
	for _, c := range pool.Classes {
		if s.classes[c.ID].Load() > 0 {
			used = append(used, c)
		}
	}
	return used
}
