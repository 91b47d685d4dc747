package stratum

import (
	"net/netip"
	"slices"
	"sync"
)

// Caps bound the connections of one address and of the network around it. A
// zero number is no bound. An address is an IPv4 address or an IPv6 /64, which
// is what one customer has; a network is a /24 or a /56.
type Caps struct {
	Strangers  int // of one address, before their first work
	PerAddress int // of one address, rigs and strangers
	PerNetwork int // of one network, likewise

	// Workless are the connections of one address that may end without work,
	// beyond one every 32 ms; of its network, four times as many. Above twice
	// Strangers, those who are here can never use it up.
	Workless int

	// Trusted networks are bounded by MaxConns only: farms behind one address.
	Trusted []netip.Prefix
}

// crowd counts who is here from where, and who keeps coming without ever getting
// work. The counts of an address go with the last connection from there, so they
// are bounded by MaxConns; for its debts see there.
type crowd struct {
	caps Caps

	mu    sync.Mutex // leaf: session.mu and Server.mu may be held
	here  map[netip.Prefix]tally
	debts debts
}

type tally struct{ all, strangers int }

// seat is one connection's place in the crowd, under crowd.mu. The zero value
// has none.
type seat struct {
	addr     netip.Addr
	taken    bool
	stranger bool
}

// around returns what a is counted under.
func around(a netip.Addr) (address, network netip.Prefix) {
	b, n := 32, 24
	if a.Is6() {
		b, n = 64, 56
	}
	address, _ = a.Prefix(b) // no error: a is valid and has so many bits
	network, _ = a.Prefix(n)
	return address, network
}

// enter takes a seat at now, in ms, for a newcomer from a, or says why there is
// none.
func (c *crowd) enter(s *seat, a netip.Addr, now int64) CloseReason {
	a = a.Unmap().WithZone("")
	trusted := slices.ContainsFunc(c.caps.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	if !a.IsValid() || trusted {
		return CloseNone // not counted
	}
	address, network := around(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	there, nearby := c.here[address], c.here[network]
	over := func(n, bound int) bool { return bound > 0 && n >= bound }
	switch {
	case over(there.all, c.caps.PerAddress):
		return CloseAddressFull
	case over(there.strangers, c.caps.Strangers):
		return CloseStrangers
	case over(nearby.all, c.caps.PerNetwork):
		return CloseNetworkFull
	case c.debts.full(address, now, worklessMillis, c.caps.Workless), c.debts.full(network, now, worklessMillis/4, c.caps.Workless):
		return CloseLoop
	}
	*s = seat{addr: a, taken: true, stranger: true}
	c.add(s, 1, 1)
	if c.caps.Workless > 0 {
		c.debts.add(address, now, worklessMillis)
		c.debts.add(network, now, worklessMillis/4)
	}
	return CloseNone
}

// settle notes that the connection got work: it is a rig now.
func (c *crowd) settle(s *seat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.taken && s.stranger {
		s.stranger = false
		c.add(s, 0, -1)
		address, network := around(s.addr)
		c.debts.pay(address, worklessMillis)
		c.debts.pay(network, worklessMillis/4)
	}
}

// leave gives the seat back.
func (c *crowd) leave(s *seat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.taken {
		return
	}
	strangers := 0
	if s.stranger {
		strangers = -1
	}
	c.add(s, -1, strangers)
	*s = seat{}
}

func (c *crowd) add(s *seat, all, strangers int) {
	if c.here == nil {
		c.here = make(map[netip.Prefix]tally)
	}
	address, network := around(s.addr)
	for _, p := range [...]netip.Prefix{address, network} {
		t := c.here[p]
		t.all, t.strangers = t.all+all, t.strangers+strangers
		if t.all == 0 {
			delete(c.here, p)
		} else {
			c.here[p] = t
		}
	}
}
