package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that kernels hand out to outgoing
// connections, so that a port still is free when a killed child returns to it.
const (
	firstPort = 12000
	portCount = 20000
)

// FreeAddress returns a loopback address, host:port, that could be listened on a
// moment ago. Another process may be quicker: callers try again when the child
// says that it cannot bind.
func FreeAddress() (string, error) {
	var refused error
	for range 100 {
		port := firstPort + rand.IntN(portCount)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			refused = err
			continue
		}
		return address, l.Close()
	}
	return "", fmt.Errorf("no free port on loopback: %w", refused)
}

// FreeAddresses returns n different ones.
func FreeAddresses(n int) ([]string, error) {
	seen := make(map[string]bool, n)
	list := make([]string, 0, n)
	for range 10 * n {
		a, err := FreeAddress()
		if err != nil {
			return nil, err
		}
		if seen[a] {
			continue
		}
		seen[a] = true
		if list = append(list, a); len(list) == n {
			return list, nil
		}
	}
	return nil, errors.New("no free ports on loopback")
}
