package stratum

import (
	"sync"

	"cordee/pool"
)

// Bounds of what is remembered of rigs that left.
const (
	rememberMillis = 24 * 3600_000
	maxRemembered  = 1 << 16
)

// memory keeps the difficulty a rig left with, so that a storm of reconnects
// does not become a storm of shares, and the class that it stepped down to.
type memory struct {
	mu   sync.Mutex
	rigs map[string]remembered // by canonical worker name
}

type remembered struct {
	difficulty pool.Difficulty
	at         int64 // ms
	// class is the one that a rig of agent stepped down to and had shares
	// accepted in, 0 for none.
	class uint8
	agent string
}

// remembered is what is worth remembering of a rig that leaves with d. A class
// that it stepped down to, like a difficulty, only where shares proved it. s.mu
// is held.
func (s *session) remembered(d pool.Difficulty, now int64) remembered {
	r := remembered{difficulty: d, at: now}
	if s.fit.down() && s.fit.fits {
		r.class, r.agent = s.fit.class.ID, s.agent
	}
	return r
}

// recall puts the class in force that this rig stepped down to last time. s.mu
// is held.
func (s *session) recall(r *remembered) {
	if class, ok := pool.ClassByID(r.class); ok && r.agent == s.agent && class.MaxCoinbase < s.fit.class.MaxCoinbase {
		s.enterClass(s.fit, class)
	}
}

func (m *memory) put(name string, r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rigs == nil {
		m.rigs = make(map[string]remembered)
	}
	if _, known := m.rigs[name]; !known && len(m.rigs) >= maxRemembered {
		for k := range m.rigs { // any one: map order is as good as random
			delete(m.rigs, k)
			break
		}
	}
	m.rigs[name] = r
}

// get returns what is remembered of a rig, nothing of one that left long ago.
func (m *memory) get(name string, now int64) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rigs[name]
	if !ok || now-r.at > rememberMillis {
		return remembered{}
	}
	return r
}
