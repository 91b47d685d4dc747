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
// does not become a storm of shares.
type memory struct {
	mu   sync.Mutex
	rigs map[string]remembered // by canonical worker name
}

type remembered struct {
	difficulty pool.Difficulty
	at         int64 // ms
}

func (m *memory) put(name string, d pool.Difficulty, now int64) {
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
	m.rigs[name] = remembered{d, now}
}

// get returns the remembered difficulty, 0 for none or an old one.
func (m *memory) get(name string, now int64) pool.Difficulty {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rigs[name]
	if !ok || now-r.at > rememberMillis {
		return 0
	}
	return r.difficulty
}
