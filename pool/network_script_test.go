package pool_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"cordee/pool"
)

func TestNetworkScriptSaysWhy(t *testing.T) {
	const bip173 = "751e76e8199196d454941c45d1b3a323f1433bd6"
	for _, c := range []struct{ network, addr, script, refusal string }{
		{"main", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "0014" + bip173, ""},
		{"main", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014" + bip173, ""},
		{"main", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "76a914" + bip173 + "88ac", ""},
		{"main", "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN", "a914bcfeb728b584253d5f3f70bcb780e9ef218a68f487", ""},
		{"regtest", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "0014" + bip173, ""},
		{"signet", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "0014" + bip173, ""},
		{"testnet4", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "0014" + bip173, ""},

		{"regtest", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "", "is of main, not of regtest"},
		{"regtest", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "", "is of main, not of regtest"},
		{"main", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "", "is of regtest, not of main"},
		{"main", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "", "is not valid"},
		{"main", "bc1Qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "", "is not valid"},
		{"main", "", "", "is not valid"},
		{"main", "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", "", "bare public key"},
		{"main", "bc1pfeessrawgf", "", "anyone can spend"},
	} {
		n, err := pool.NetworkByName(c.network)
		if err != nil {
			t.Fatal(err)
		}
		script, err := n.Script(c.addr)
		switch {
		case c.refusal == "" && err != nil:
			t.Errorf("%s on %s: %v", c.addr, c.network, err)
		case c.refusal == "" && hex.EncodeToString(script) != c.script:
			t.Errorf("%s on %s: script %x, want %s", c.addr, c.network, script, c.script)
		case c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)):
			t.Errorf("%s on %s: error %v, want %q", c.addr, c.network, err, c.refusal)
		}
	}
}
