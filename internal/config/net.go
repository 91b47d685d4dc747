package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"cordee/internal/tomlfile"
)

// rpcPorts are where Bitcoin Core listens by default.
var rpcPorts = map[string]string{"main": "8332", "testnet4": "48332", "signet": "38332", "regtest": "18443"}

func joinDir(dir, name string) string { return filepath.Join(dir, name) }

func (b *builder) nodes() {
	if len(b.raw.Nodes) == 0 && !b.Failed("node") {
		b.Errorf("node", "no [[node]]: the pool needs at least one Bitcoin node, with url and cookie")
	}
	urls, names := map[string]int{}, map[string]int{}
	for i, r := range b.raw.Nodes {
		at := tomlfile.Index("node", i)
		n := Node{Name: r.Name, User: r.User, ZMQ: r.ZMQ}
		n.URL = b.nodeURL(at+".url", r.URL)
		if n.URL != "" {
			same := strings.Replace(n.URL, "//localhost:", "//127.0.0.1:", 1)
			if j, ok := urls[same]; ok {
				other := tomlfile.Index("node", j)
				b.Errorf(at+".url", "%s is already %s (line %d)", n.URL, other, b.Line(other+".url"))
			} else {
				urls[same] = i
			}
		}
		if n.Name == "" {
			n.Name = strings.TrimPrefix(strings.TrimPrefix(n.URL, "http://"), "https://")
		}
		if j, ok := names[n.Name]; ok && r.Name != "" {
			other := tomlfile.Index("node", j)
			b.Errorf(at+".name", "%q is already the name of %s (line %d)", n.Name, other, b.Line(other+".name"))
		} else {
			names[n.Name] = i
		}
		b.credentials(at, r)
		n.Cookie = b.rel(at+".cookie", r.Cookie)
		n.PasswordFile = b.rel(at+".password_file", r.PasswordFile)
		b.zmq(at+".zmq", r.ZMQ)
		b.c.Nodes = append(b.c.Nodes, n)
	}
}

// credentials wants a cookie, or a user and the file of his password.
func (b *builder) credentials(at string, r rawNode) {
	switch {
	case r.Cookie != "" && (r.User != "" || r.PasswordFile != ""):
		other := "user"
		if r.User == "" {
			other = "password_file"
		}
		b.Errorf(at+"."+other, "there is a cookie too (line %d): use either cookie, or user and password_file", b.Line(at+".cookie"))
	case r.Cookie != "" || b.Failed(at+".cookie"):
	case r.User == "" && r.PasswordFile == "":
		if !b.Failed(at+".password") && !b.Failed(at+".rpcpassword") {
			b.Errorf(at, "says nothing about credentials: write cookie = \"/path/to/.cookie\", or user and password_file")
		}
	case r.User == "":
		b.Errorf(at+".password_file", "whose? write user too")
	case r.PasswordFile == "" && !b.Failed(at+".password") && !b.Failed(at+".rpcpassword"):
		b.Errorf(at+".user", "write password_file too: the name of a file that holds the password")
	}
}

// nodeURL returns s as http://host:port, or "" after reporting why not.
func (b *builder) nodeURL(path, s string) string {
	if !b.Has(path) || b.Failed(path) {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Opaque != "" {
		b.Errorf(path, "%q is not a URL of a node: write it like \"http://127.0.0.1:%s\"", s, b.rpcPort())
		return ""
	}
	if u.User != nil { // not shown: it may hold a password
		b.Errorf(path, "holds credentials: write them as user and password_file")
		return ""
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		b.Errorf(path, "%q has a path: the pool asks the node, not one of its wallets; write scheme, host and port only", s)
		return ""
	}
	port := u.Port()
	if port == "" {
		port = b.rpcPort()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		b.Errorf(path, "port %s is not within 1 to 65535", port)
		return ""
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func (b *builder) rpcPort() string {
	if b.c.Network == nil {
		return rpcPorts["main"]
	}
	return rpcPorts[b.c.Network.Name]
}

func (b *builder) zmq(path, s string) {
	if !b.Has(path) || b.Failed(path) {
		return
	}
	host, ok := strings.CutPrefix(s, "tcp://")
	if ok {
		_, port, err := net.SplitHostPort(host)
		n, perr := strconv.ParseUint(port, 10, 16)
		ok = err == nil && perr == nil && n > 0
	}
	if !ok {
		b.Errorf(path, "%q is not a ZMQ address: write what the node has as -zmqpubhashblock, like \"tcp://127.0.0.1:28332\", or leave it out for long polling", s)
	}
}

func (b *builder) web() {
	b.c.Web.Address = b.raw.Web.Address
	host, ok := b.hostPort("web.address", b.raw.Web.Address)
	if ok && !loopback(host) && !b.raw.Web.AllowNonLoopback {
		b.Errorf("web.address", "%q can be reached from other machines, and nothing asks for a password: listen on 127.0.0.1 and put a proxy before it, or write allow_non_loopback = true", b.raw.Web.Address)
	}
}

// hostPort checks an address to listen on and returns its host.
func (b *builder) hostPort(path, s string) (host string, ok bool) {
	if b.Failed(path) {
		return "", false
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err == nil && strings.ContainsAny(host, "/ ") {
		err = fmt.Errorf("host %q", host)
	}
	if err != nil {
		b.Errorf(path, "%q is not an address to listen on: write host:port or :port, like \":3333\"", s)
		return "", false
	}
	return host, true
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ports refuses two addresses that cannot both be listened on. Port 0 takes any
// free port and overlaps with nothing.
func (b *builder) ports() {
	type taken struct{ path, text, host, port string }
	var all []taken
	add := func(path, address string) {
		host, port, err := net.SplitHostPort(address)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || n == 0 || b.Failed(path) {
			return
		}
		port = strconv.FormatUint(n, 10)
		for _, o := range all {
			if o.port == port && overlap(o.host, host) {
				// Blame a key that stands in the file: a default cannot be mended.
				at := taken{path, address, host, port}
				if !b.Has(path) {
					at, o = o, at
				}
				where := "the default"
				if b.Has(o.path) {
					where = fmt.Sprintf("line %d", b.Line(o.path))
				}
				b.Errorf(at.path, "%q: port %s is already used by %s, %q (%s)", at.text, port, strings.TrimSuffix(o.path, ".address"), o.text, where)
				return
			}
		}
		all = append(all, taken{path, address, host, port})
	}
	for i, l := range b.c.Listeners {
		add(tomlfile.Index("listener", i)+".address", l.Address)
	}
	add("web.address", b.c.Web.Address)
}

// overlap reports whether listening on both hosts at one port can collide. A
// wildcard collides with all: whether :: takes IPv4 too is up to the system.
func overlap(a, b string) bool {
	wild := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	canon := func(h string) string {
		if h == "localhost" {
			return "127.0.0.1"
		}
		if ip, err := netip.ParseAddr(h); err == nil {
			return ip.Unmap().String()
		}
		return strings.ToLower(h)
	}
	return wild(a) || wild(b) || canon(a) == canon(b)
}
