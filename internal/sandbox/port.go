package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the range that kernels hand out to outgoing
// connections, so that a port still is free when a killed child returns to it.
// Each process has a lane of them: nobody is given the port of a child that is
// about to start, or will start again.
const (
	firstPort = 12000
	laneCount = 20
	laneSize  = 1000
)

// lane is the ports of one process.
type lane struct {
	guard net.Listener // on its first port, until the process ends; nil where all lanes have one
	first int

	mu   sync.Mutex
	next int // offset of the next port to be tried
}

// takeLane returns a lane that no other process has, or where there is none left
// any.
func takeLane() *lane {
	order := rand.Perm(laneCount)
	for _, i := range order {
		first := firstPort + i*laneSize
		if guard, err := net.Listen("tcp", loopback(first)); err == nil {
			return &lane{guard: guard, first: first, next: rand.IntN(laneSize)}
		}
	}
	return &lane{first: firstPort + order[0]*laneSize, next: rand.IntN(laneSize)}
}

var ownLane = sync.OnceValue(takeLane)

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreeAddress returns a loopback address, host:port, that could be listened on a
// moment ago, and that it returns again after 1000 others only. A process that
// does not ask here may be quicker: callers try again when the child says that it
// cannot bind.
func FreeAddress() (string, error) { return ownLane().free() }

func (l *lane) free() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var refused error
	for range laneSize {
		address := loopback(l.first + l.next)
		l.next = (l.next + 1) % laneSize
		found, err := net.Listen("tcp", address)
		if err != nil {
			refused = err
			continue
		}
		return address, found.Close()
	}
	return "", fmt.Errorf("no free port on loopback: %w", refused)
}

// FreeAddresses returns n different ones.
func FreeAddresses(n int) ([]string, error) {
	if n >= laneSize {
		return nil, errors.New("no free ports on loopback")
	}
	list := make([]string, n)
	for i := range list {
		var err error
		if list[i], err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
