package proxyproto

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// v2 builds a header of version 2.
func v2(command, family byte, body ...[]byte) string {
	all := []byte{}
	for _, b := range body {
		all = append(all, b...)
	}
	h := append([]byte(prefixV2), 0x20|command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(all)))
	return string(append(h, all...))
}

func ends(src, dst string, sport, dport uint16) []byte {
	b := append(netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, sport)
	return binary.BigEndian.AppendUint16(b, dport)
}

func tlv(kind byte, value string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))
	return append(b, value...)
}

// The longest headers of version 1, as its specification gives them.
const (
	longest4 = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"
	longest6 = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
	longestU = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
)

var sound = map[string]struct{ header, client string }{
	"v1":             {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324"}, // the specification's example
	"v1 longest":     {longest4, "255.255.255.255:65535"},
	"v1 six":         {"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1"},
	"v1 six longest": {longest6, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	"v1 mapped":      {"PROXY TCP6 ::ffff:10.1.2.3 ::1 7 8\r\n", "10.1.2.3:7"},
	"v1 unknown":     {"PROXY UNKNOWN\r\n", ""},
	"v1 unknown all": {longestU, ""},
	"v1 unknown odd": {"PROXY UNKNOWN \x00\xff whatever\r\n", ""},
	"v2 four":        {v2(1, 0x11, ends("203.0.113.7", "10.0.0.1", 40000, 3333)), "203.0.113.7:40000"},
	"v2 six":         {v2(1, 0x21, ends("2001:db8::7", "::1", 40000, 3333)), "[2001:db8::7]:40000"},
	"v2 mapped":      {v2(1, 0x21, ends("::ffff:203.0.113.7", "::1", 1, 2)), "203.0.113.7:1"},
	"v2 tlvs":        {v2(1, 0x11, ends("1.2.3.4", "5.6.7.8", 9, 10), tlv(3, "\x00\x00\x00\x00"), tlv(4, strings.Repeat("x", 900))), "1.2.3.4:9"},
	"v2 odd tlvs":    {v2(1, 0x11, ends("1.2.3.4", "5.6.7.8", 9, 10), []byte{3, 0xff}), "1.2.3.4:9"},
	"v2 local":       {v2(0, 0x00), ""},
	"v2 local full":  {v2(0, 0x11, ends("1.2.3.4", "5.6.7.8", 9, 10)), ""},
	"v2 local odd":   {v2(0, 0x77, []byte("xyz")), ""},
	"v2 unspec":      {v2(1, 0x00, []byte("whatever")), ""},
	"v2 unix":        {v2(1, 0x31, make([]byte, 216)), ""},
	"v2 most":        {v2(1, 0x11, ends("1.2.3.4", "5.6.7.8", 9, 10), make([]byte, MaxHeader-28)), "1.2.3.4:9"},
}

var broken = map[string]string{
	"stratum":         `{"id":1,"method":"mining.subscribe","params":[]}` + "\n",
	"tls":             "\x16\x03\x01\x02\x00\x01",
	"http":            "GET / HTTP/1.1\r\n\r\n",
	"v1 small":        "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
	"v1 protocol":     "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
	"v1 nothing":      "PROXY \r\n",
	"v1 no addresses": "PROXY TCP4\r\n",
	"v1 three":        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
	"v1 five":         "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
	"v1 two spaces":   "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
	"v1 family":       "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
	"v1 family six":   "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
	"v1 octal":        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
	"v1 name":         "PROXY TCP4 localhost 5.6.7.8 1 2\r\n",
	"v1 zone":         "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
	"v1 port":         "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
	"v1 port zeros":   "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
	"v1 port sign":    "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
	"v1 second port":  "PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n",
	"v1 too long":     "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n",
	"v1 line feed":    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + strings.Repeat("x", 100),
	"v2 version":      prefixV2 + "\x11\x11\x00\x0c",
	"v2 command":      prefixV2 + "\x22\x11\x00\x0c",
	"v2 short":        v2(1, 0x11, []byte("1234")),
	"v2 short six":    v2(1, 0x21, ends("1.2.3.4", "5.6.7.8", 9, 10)),
	"v2 datagram":     v2(1, 0x12, ends("1.2.3.4", "5.6.7.8", 9, 10)),
	"v2 family":       v2(1, 0x41, ends("1.2.3.4", "5.6.7.8", 9, 10)),
	"v2 too long":     prefixV2 + "\x21\x11\xff\xff",
	"v2 mark":         "\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x0c",
}

func TestParse(t *testing.T) {
	for name, c := range sound {
		want := netip.AddrPort{}
		if c.client != "" {
			want = netip.MustParseAddrPort(c.client)
		}
		for _, behind := range []string{"", "{\"id\":1}\n", c.header} {
			got, n, err := Parse([]byte(c.header + behind))
			if err != nil || got != want || n != len(c.header) {
				t.Errorf("%s: %v, %d bytes of %d, %v", name, got, n, len(c.header), err)
			}
		}
		// However it is cut, more is asked for.
		for i := range c.header {
			if _, _, err := Parse([]byte(c.header[:i])); !errors.Is(err, ErrShort) {
				t.Errorf("%s, cut after %d: %v", name, i, err)
			}
		}
	}
	for name, header := range broken {
		if got, n, err := Parse([]byte(header)); !errors.Is(err, ErrBad) || got.IsValid() || n != 0 {
			t.Errorf("%s: %v, %d, %v", name, got, n, err)
		}
	}
}

// FuzzParse: no input of any length is more than a header of bounded size, what
// follows a header changes nothing, and what is cut off is asked for.
func FuzzParse(f *testing.F) {
	for _, c := range sound {
		f.Add([]byte(c.header))
	}
	for _, b := range broken {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, n, err := Parse(b)
		switch {
		case errors.Is(err, ErrShort):
			if len(b) >= MaxHeader {
				t.Fatalf("asks for more than %d bytes", len(b))
			}
			return
		case errors.Is(err, ErrBad):
			if client.IsValid() || n != 0 {
				t.Fatal("an address with an error")
			}
			if _, _, err := Parse(append(b, b...)); !errors.Is(err, ErrBad) {
				t.Fatal("more bytes made it good")
			}
			return
		case err != nil || n < 1 || n > min(len(b), MaxHeader):
			t.Fatalf("%d of %d bytes, %v", n, len(b), err)
		}
		for i := range n {
			if _, _, err := Parse(b[:i]); !errors.Is(err, ErrShort) {
				t.Fatalf("cut after %d of %d: %v", i, n, err)
			}
		}
		again, m, err := Parse(append(b[:n:n], 0))
		if again != client || m != n || err != nil {
			t.Fatalf("%v %d, then %v %d, %v", client, n, again, m, err)
		}
	})
}
