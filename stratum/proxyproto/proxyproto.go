// Package proxyproto reads the header of the PROXY protocol, versions 1 and 2:
// what a load balancer puts before a client's first byte, to say whose
// connection it forwards. (HAProxy's doc/proxy-protocol.txt.)
//
// The header is believed, so it may be read from listed networks only: anyone
// else would choose his own address.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxHeader is the longest header that is read, in bytes. Version 1 has at most
// 107 (its specification). Version 2 could announce 64 KiB of extensions (TLVs);
// real balancers send well under 1 KiB.
const MaxHeader = 2048

const (
	maxV1     = 107
	prefixV1  = "PROXY "
	prefixV2  = "\r\n\r\n\x00\r\nQUIT\n"
	fixedV2   = 16 // bytes before the addresses
	version2  = 0x20
	local     = 0
	proxied   = 1
	unspec    = 0x00
	tcp4      = 0x11
	tcp6      = 0x21
	unix      = 0x31
	sizeTCP4  = 2 * (4 + 2)
	sizeTCP6  = 2 * (16 + 2)
	sizeUnix  = 2 * 108
	longestIP = 39 // characters of an IPv6 address
)

// ErrShort says that what is there may be the start of a header: read more.
var ErrShort = errors.New("proxyproto: header is not complete")

// ErrBad says that what is there is no header, and will not become one.
var ErrBad = errors.New("proxyproto: no valid header")

// Parse reads the header that b begins with. It returns the client's address
// and port, and how many bytes the header has. The address is the zero AddrPort
// where the header names none: a balancer's own health check (LOCAL), or a
// client it does not know (UNKNOWN); the socket's own address counts then.
//
// The error is ErrShort, or wraps ErrBad and says why.
func Parse(b []byte) (client netip.AddrPort, n int, err error) {
	switch {
	case begins(b, prefixV1):
		return parseV1(b)
	case begins(b, prefixV2):
		return parseV2(b)
	}
	return client, 0, fmt.Errorf("%w: it begins with neither version's mark", ErrBad)
}

// begins reports whether b begins with mark, as far as either goes.
func begins(b []byte, mark string) bool {
	n := min(len(b), len(mark))
	return string(b[:n]) == mark[:n]
}

func parseV1(b []byte) (client netip.AddrPort, n int, err error) {
	end := bytes.Index(b[:min(len(b), maxV1)], []byte("\r\n"))
	switch {
	case end < 0 && len(b) >= maxV1:
		return client, 0, fmt.Errorf("%w: no line end within %d bytes", ErrBad, maxV1)
	case end < 0:
		return client, 0, ErrShort
	case end < len(prefixV1):
		return client, 0, fmt.Errorf("%w: it ends within its mark", ErrBad)
	}
	n = end + 2
	line := string(b[len(prefixV1):end])
	family, rest, more := strings.Cut(line, " ")
	switch {
	case family == "UNKNOWN": // what follows must be ignored
		return client, n, nil
	case family != "TCP4" && family != "TCP6" || !more:
		return client, 0, fmt.Errorf("%w: protocol is not TCP4, TCP6 or UNKNOWN", ErrBad)
	}
	f := strings.Split(rest, " ")
	if len(f) != 4 {
		return client, 0, fmt.Errorf("%w: %d fields behind the protocol, want 4", ErrBad, len(f))
	}
	for i := range 2 {
		addr, ok := address(f[i], family == "TCP4")
		port, ok2 := portOf(f[2+i])
		if !ok || !ok2 {
			return netip.AddrPort{}, 0, fmt.Errorf("%w: not an address and port of %s", ErrBad, family)
		}
		if i == 0 {
			client = netip.AddrPortFrom(addr.Unmap(), port)
		}
	}
	return client, n, nil
}

// address reads an address of the family that was announced.
func address(s string, four bool) (netip.Addr, bool) {
	if len(s) > longestIP {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is4() == four && a.Zone() == ""
}

// portOf reads a port as the specification wants it: no sign, no leading zero.
func portOf(s string) (uint16, bool) {
	p, err := strconv.ParseUint(s, 10, 16)
	return uint16(p), err == nil && strconv.FormatUint(p, 10) == s
}

func parseV2(b []byte) (client netip.AddrPort, n int, err error) {
	// What is wrong is said as soon as it is there.
	switch {
	case len(b) > 12 && b[12] != version2|local && b[12] != version2|proxied:
		return client, 0, fmt.Errorf("%w: version and command are %#02x", ErrBad, b[12])
	case len(b) < fixedV2:
		return client, 0, ErrShort
	}
	size := int(binary.BigEndian.Uint16(b[14:fixedV2]))
	if n = fixedV2 + size; n > MaxHeader {
		return client, 0, fmt.Errorf("%w: it announces %d bytes, %d are read", ErrBad, n, MaxHeader)
	}
	if len(b) < n {
		return client, 0, ErrShort
	}
	if b[12] == version2|local { // all else must be ignored
		return client, n, nil
	}
	// Behind the addresses stand TLVs, which nothing here needs.
	body := b[fixedV2:n]
	var need int
	switch b[13] {
	case unspec:
		return client, n, nil
	case unix:
		need = sizeUnix
	case tcp4:
		need = sizeTCP4
	case tcp6:
		need = sizeTCP6
	default:
		return client, 0, fmt.Errorf("%w: family and protocol are %#02x", ErrBad, b[13])
	}
	if size < need {
		return client, 0, fmt.Errorf("%w: %d bytes of addresses, want %d", ErrBad, size, need)
	}
	switch b[13] {
	case tcp4:
		client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
	case tcp6:
		client = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
	}
	return client, n, nil
}
