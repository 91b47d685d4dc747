package config_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordee/internal/config"
)

// treasuries are BIP173's example key on each network.
var treasuries = map[string]string{
	"main":     "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
	"testnet4": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
	"signet":   "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
	"regtest":  "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
}

func TestWriteExampleLoads(t *testing.T) {
	for network, treasury := range treasuries {
		t.Run(network, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			if err := config.WriteExample(dir, config.InitOptions{Network: network, Treasury: treasury}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, config.FileName)
			c, err := config.Load(path)
			if err != nil {
				t.Fatalf("the example does not load:\n%v", err)
			}
			if c.Network.Name != network || c.Payout.TreasuryAddress != treasury {
				t.Errorf("loaded %s paying %s", c.Network.Name, c.Payout.TreasuryAddress)
			}
			if err := c.Check(); err != nil {
				t.Errorf("Check: %v", err)
			}
			if _, err := config.ReadSlotKey(c.SlotKeyPath); err != nil {
				t.Error(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), demoWarning) {
				t.Error("the demo warning stands beside an address that was given")
			}
			optionalKeys(t, path, string(text))
		})
	}
}

const demoWarning = "THE DEMO ADDRESS"

// TestExampleExamples uncomments what the example calls an example: each must
// be accepted as it stands there.
func TestExampleExamples(t *testing.T) {
	dir := t.TempDir()
	if err := config.WriteExample(dir, config.InitOptions{Network: "signet", Treasury: treasuries["signet"]}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	redisKeys := []string{
		`# store = "memory"`, `store = "redis"`, "# [redis]", "[redis]", "# addresses", "addresses", `# name = "cordee"`, `name = "cordee"`,
		"# db", "db", "# username", "username", `# password_file = "redis`, `password_file = "redis`, "# trust_settings =", "trust_settings =",
		"# timeout", "timeout",
	}
	redisKeys = slices.Clip(redisKeys)
	cookie := text[strings.Index(text, "\ncookie = ")+1:]
	cookie = cookie[:strings.Index(cookie, "\n")]
	for _, edit := range []*strings.Replacer{
		strings.NewReplacer("# signet_challenge", "signet_challenge"),
		strings.NewReplacer(cookie, "", "# user =", "user =", `# password_file = "node`, `password_file = "node`),
		strings.NewReplacer("# zmq", "zmq", `# name = "core"`, `name = "core"`),
		strings.NewReplacer(append(redisKeys, "# mode =", "mode =")...),
		strings.NewReplacer(append(redisKeys, `# mode = "single"`, `mode = "sentinel"`, "# master", "master", "# sentinel_password", "sentinel_password")...),
		strings.NewReplacer("# tls_cert", "tls_cert", "# tls_key", "tls_key"),
		strings.NewReplacer("# proxy_from", "proxy_from"),
		strings.NewReplacer("# trusted", "trusted"),
		strings.NewReplacer("# max_difficulty", "max_difficulty"),
		strings.NewReplacer("# fees", "fees", "#   {", "{", "# ]", "]"),
		strings.NewReplacer("# ack = \"durable\"", "ack = \"written\"", "# ack_written", "ack_written"),
	} {
		with := edit.Replace(text)
		c, err := config.Parse(config.FileName, []byte(with))
		if err != nil {
			t.Error(err)
			continue
		}
		if plain, _ := config.Parse(config.FileName, data); !config.Differ(c, plain) {
			t.Errorf("changed nothing:\n%s", with)
		}
	}
}

// optionalKeys uncomments each optional key that the example says is a default
// and wants the same Config: the manual must not lie about defaults.
func optionalKeys(t *testing.T, path, text string) {
	t.Helper()
	want, err := config.Parse(path, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	tried := 0
	example := false // the comment above says that this is one
	for i, line := range lines {
		body, comment := strings.CutPrefix(line, "# ")
		if !comment {
			example = false
			continue
		}
		key, _, isKey := strings.Cut(body, " = ")
		if !isKey || strings.ContainsAny(key, " {") {
			example = example || strings.Contains(body, "an example")
			continue
		}
		if example {
			continue
		}
		tried++
		lines[i] = body
		got, err := config.Parse(path, []byte(strings.Join(lines, "\n")))
		lines[i] = line
		if err != nil {
			t.Errorf("with %q:\n%v", body, err)
			continue
		}
		if config.Differ(got, want) {
			t.Errorf("%q is not the default", body)
		}
	}
	if tried < 15 {
		t.Errorf("only %d optional keys found in the example", tried)
	}
}

func TestWriteExampleDemoTreasury(t *testing.T) {
	dir := t.TempDir()
	if err := config.WriteExample(dir, config.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(dir, config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if c.Network.Name != "regtest" || c.Payout.TreasuryAddress != config.DemoTreasury || c.WorkBits == 0 {
		t.Errorf("demo config: %s, %s, work bits %08x", c.Network.Name, c.Payout.TreasuryAddress, c.WorkBits)
	}
	if text, err := os.ReadFile(filepath.Join(dir, config.FileName)); err != nil || !strings.Contains(string(text), demoWarning) {
		t.Errorf("the demo address stands there without its warning: %v", err)
	}
	st, err := os.Stat(filepath.Join(dir, config.SlotKeyFileName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("slot key: %v %v", st.Mode(), err)
	}
}

func TestWriteExampleRefusals(t *testing.T) {
	for _, c := range []struct {
		opts config.InitOptions
		want string
	}{
		{config.InitOptions{Network: "main"}, "--treasury"},
		{config.InitOptions{Network: "signet"}, "--treasury"},
		{config.InitOptions{Network: "testnet3"}, "unknown"},
		{config.InitOptions{Network: "main", Treasury: treasuries["regtest"]}, "--treasury: address"},
		{config.InitOptions{Network: "regtest", Treasury: `"` + "\nx = 1"}, "--treasury: "},
		{config.InitOptions{Network: "main", Treasury: "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"}, "--treasury: "},
	} {
		dir := t.TempDir()
		err := config.WriteExample(dir, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.opts, err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%+v left %v behind", c.opts, left)
		}
	}
}

func TestWriteExampleOverwritesNothing(t *testing.T) {
	for _, name := range []string{config.FileName, config.MembersFileName, config.SlotKeyFileName} {
		dir := t.TempDir()
		precious := []byte("precious")
		if err := os.WriteFile(filepath.Join(dir, name), precious, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := config.WriteExample(dir, config.InitOptions{}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: error %v", name, err)
		}
		entries, _ := os.ReadDir(dir)
		if got, _ := os.ReadFile(filepath.Join(dir, name)); len(entries) != 1 || !bytes.Equal(got, precious) {
			t.Errorf("%s: %q, directory holds %v", name, got, entries)
		}
	}
}

func TestReadSlotKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := config.WriteExample(dir, config.InitOptions{Rand: bytes.NewReader(make([]byte, 32))}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, config.SlotKeyFileName)
	key, err := config.ReadSlotKey(name)
	if err != nil || !bytes.Equal(key.Seed(), make([]byte, 32)) {
		t.Fatalf("seed %x, %v", key.Seed(), err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := config.ReadSlotKey(name); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("open key: %v", err)
	}
	if err := errors.Join(os.Chmod(name, 0o600), os.WriteFile(name, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := config.ReadSlotKey(name); err == nil || !strings.Contains(err.Error(), "SLOT SIGNING KEY") {
		t.Errorf("foreign key: %v", err)
	}
}
