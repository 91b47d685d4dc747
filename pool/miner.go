package pool

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Miner is a parsed name of open mode: who is paid, and which of his machines
// it is. Two spellings of one address are one.
type Miner struct {
	Address string // in the one spelling that Network.Address has
	Script  []byte // output script of Address
	Label   string // free text that can be shown anywhere; "default" where there is none
}

// String returns address.label.
func (m *Miner) String() string { return m.Address + "." + m.Label }

// ErrNoAddress reports a user name that is none of open mode.
var ErrNoAddress = errors.New("name must begin with an address to pay to")

// ParseMiner parses address, address.label or address_label. The label begins
// behind the first of these signs, which no address holds, and may have more of
// them. Errors: ErrNoAddress, or for an address of another network one that names
// both; they are ASCII without quotes, under 60 bytes.
func (n *Network) ParseMiner(user string) (Miner, error) {
	user = strings.TrimSpace(user)
	addr, label := user, ""
	if i := strings.IndexAny(user, "._"); i >= 0 {
		addr, label = user[:i], user[i+1:]
	}
	script, err := n.Script(addr)
	if err == nil {
		return Miner{n.Address(script), script, showable(label)}, nil
	}
	if e, ok := errors.AsType[*foreignAddress](err); ok {
		return Miner{}, fmt.Errorf("this pool is on %s, that address is of %s", e.on, e.of)
	}
	return Miner{}, ErrNoAddress
}

// showable keeps of a label what pages, terminals and logs show as it is.
func showable(label string) string {
	label = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) || strings.ContainsRune("<>&\"'`\\", r) {
			return -1
		}
		return r
	}, label))
	if label == "" {
		return "default"
	}
	return label
}
