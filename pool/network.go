package pool

import (
	"fmt"
	"strings"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"
)

// Network is a chain the pool can mine on. Testnet3 is not among them: its
// 20-minute rule makes difficulty meaningless (decision 2).
type Network struct {
	Name   string // main, testnet4, signet or regtest, as in cordee.toml
	Chain  string // what getblockchaininfo calls it
	Scale  Scale  // Difficulty units in difficulty 1
	Params *chaincfg.Params
}

var networks = []Network{
	{"main", "main", MainScale, &chaincfg.MainNetParams},
	{"testnet4", "testnet4", MainScale, &chaincfg.TestNet4Params},
	{"signet", "signet", MainScale, &chaincfg.SigNetParams},
	{"regtest", "regtest", RegtestScale, &chaincfg.RegressionNetParams},
}

// NetworkByName returns the network called name. The error lists what there
// is.
func NetworkByName(name string) (*Network, error) {
	names := make([]string, 0, len(networks))
	for i := range networks {
		if networks[i].Name == name {
			return &networks[i], nil
		}
		names = append(names, networks[i].Name)
	}
	return nil, fmt.Errorf("network %q is unknown: use %s", name, strings.Join(names, ", "))
}

// Script returns the output script that pays to addr, which must belong to n.
// An address of another network is refused by that network's name, and so are
// the two forms that are no place for money: a bare public key and
// pay-to-anchor, which anyone can spend. testnet4 and signet share their
// address forms and cannot be told apart.
func (n *Network) Script(addr string) ([]byte, error) {
	a, err := n.decode(addr)
	if err != nil {
		for i := range networks {
			if _, other := networks[i].decode(addr); other == nil {
				return nil, &foreignAddress{addr, networks[i].Name, n.Name}
			}
		}
		// The cause is kept back: for a typing error it names the checksum that
		// would fit, and somebody would paste it and pay to nobody.
		return nil, fmt.Errorf("address %q is not valid: copy it again from the wallet", addr)
	}
	switch a.(type) {
	case *address.AddressPubKey:
		return nil, fmt.Errorf("address %q is a bare public key: use an address", addr)
	case *address.AddressPayToAnchor:
		return nil, fmt.Errorf("address %q is pay-to-anchor, which anyone can spend", addr)
	}
	script, err := txscript.PayToAddrScript(a)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	return script, nil
}

// foreignAddress reports an address of another network.
type foreignAddress struct{ addr, of, on string }

func (e *foreignAddress) Error() string {
	return fmt.Sprintf("address %q is of %s, not of %s", e.addr, e.of, e.on)
}

// Address returns the one spelling of the address that script pays to, "" for a
// script that has none.
func (n *Network) Address(script []byte) string {
	_, addrs, _, err := txscript.ExtractPkScriptAddrs(script, n.Params)
	if err != nil || len(addrs) != 1 {
		return ""
	}
	return addrs[0].EncodeAddress()
}

func (n *Network) decode(addr string) (address.Address, error) {
	a, err := address.DecodeAddress(addr, n.Params)
	if err != nil {
		return nil, err
	}
	if !a.IsForNet(n.Params) {
		return nil, fmt.Errorf("not of network %s", n.Name)
	}
	return a, nil
}
