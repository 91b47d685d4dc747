package stratum

import "net/netip"

const (
	// worklessMillis is what a connection that gets no work costs its address; its
	// network, a quarter.
	worklessMillis = 32
	// maxDebts bounds the addresses and networks that owe anything. One more is
	// let off: whoever has so many does not need the same one twice.
	maxDebts = 1 << 16
)

// debts slow down who keeps coming without ever getting work: when, in ms, all
// such connections of an address so far are paid for. Each owes when it comes,
// and is let off when it gets work; so 2 000 rigs that come back at once owe
// nothing, and nobody is shut out for what ended: an address that owes for as
// many as it may has one more let in every 32 ms. Callers hold crowd.mu.
type debts map[netip.Prefix]int64

// full reports whether p, which one connection costs cost, would owe for more
// than most connections of an address with one more. 0 is no bound.
func (d debts) full(p netip.Prefix, now, cost int64, most int) bool {
	return most > 0 && d[p]-now+cost > int64(most)*worklessMillis
}

// add notes that a connection from p came.
func (d *debts) add(p netip.Prefix, now, cost int64) {
	due, known := (*d)[p]
	if !known && len(*d) >= maxDebts {
		return
	}
	if *d == nil {
		*d = make(debts)
	}
	(*d)[p] = max(due, now) + cost
}

// pay notes that one got work.
func (d debts) pay(p netip.Prefix, cost int64) {
	if due, known := d[p]; known {
		d[p] = due - cost
	}
}

// forget drops what is paid for.
func (c *crowd) forget(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, due := range c.debts {
		if due <= now {
			delete(c.debts, p)
		}
	}
}
