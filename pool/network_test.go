package pool_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"cordee/pool"
)

func TestNetworkByName(t *testing.T) {
	for _, name := range []string{"main", "testnet4", "signet", "regtest"} {
		if n, err := pool.NetworkByName(name); err != nil || n.Name != name || n.Params == nil {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	for _, name := range []string{"", "testnet3", "testnet", "Main", "mainnet"} {
		if _, err := pool.NetworkByName(name); err == nil || !strings.Contains(err.Error(), "main, testnet4, signet, regtest") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNetworkScript(t *testing.T) {
	for _, c := range []struct{ network, address, script string }{
		// BIP173 and BIP350's own examples.
		{"main", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6"},
		{"main", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"},
		{"signet", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "0014751e76e8199196d454941c45d1b3a323f1433bd6"},
		{"testnet4", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "0014751e76e8199196d454941c45d1b3a323f1433bd6"},
		{"main", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac"},
		{"main", "3P14159f73E4gFr7JterCCQh9QjiTjiZrG", "a914e9c3dd0c07aac76179ebc76a6c78d4d67c6c160a87"},
	} {
		n, err := pool.NetworkByName(c.network)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := n.Script(c.address); err != nil || hex.EncodeToString(got) != c.script {
			t.Errorf("%s on %s: %x, %v; want %s", c.address, c.network, got, err, c.script)
		}
	}
	for _, c := range []struct{ network, address string }{
		{"main", ""},
		{"main", "nonsense"},
		{"main", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"},
		{"regtest", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"},
		{"testnet4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"},
		{"testnet4", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"},
		{"main", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"},                                 // checksum
		{"main", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"},                         // checksum
		{"main", "bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"},                         // mixed case
		{"main", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd"},     // v1 with bech32
		{"main", "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"}, // a public key
		{"main", "bc1sw50qgdz25j"},                                                     // a version nobody can spend yet
	} {
		n, err := pool.NetworkByName(c.network)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := n.Script(c.address); err == nil {
			t.Errorf("%q on %s gives %x", c.address, c.network, got)
		}
	}
}
