package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

//go:embed example
var examples embed.FS

// DemoTreasury is the regtest address of BIP173's example key, which is the
// number 1: everyone can spend from it, as befits coins that are worth nothing.
const DemoTreasury = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"

// The files that WriteExample makes.
const (
	FileName        = "cordee.toml"
	MembersFileName = "members.toml"
	SlotKeyFileName = "slot.key"
)

// InitOptions is what "cordee init" asks.
type InitOptions struct {
	Network  string // main, testnet4, signet or regtest; "" is regtest
	Treasury string // address of that network; may be "" on regtest only, see DemoTreasury
	// Cookie is the node's cookie file, ~/.bitcoin's of the network by default.
	Cookie string
	Rand   io.Reader // source of the signing key; nil is crypto/rand
}

// ErrTreasury reports InitOptions without an address where one is needed.
var ErrTreasury = errors.New("an address for the treasury is needed (--treasury): the part of each block that is not yet a member's goes there")

// WriteExample writes a commented cordee.toml, a members.toml with one member
// and the key that signs slots (mode 0600) to dir, which is made where it is
// missing. It writes all three or none: a file that exists already is
// fs.ErrExist, and nothing is touched. What it writes passes Load.
func WriteExample(dir string, opts InitOptions) (err error) {
	if opts.Network == "" {
		opts.Network = "regtest"
	}
	network, err := pool.NetworkByName(opts.Network)
	if err != nil {
		return err
	}
	demo := opts.Treasury == "" && network.Name == "regtest"
	if demo {
		opts.Treasury = DemoTreasury
	}
	if opts.Treasury == "" {
		return fmt.Errorf("network %s: %w", network.Name, ErrTreasury)
	}
	if opts.Cookie == "" {
		opts.Cookie = defaultCookie(network.Name)
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}

	files := map[string][]byte{}
	values := exampleValues(network, opts, demo)
	for _, name := range []string{FileName, MembersFileName} {
		if files[name], err = render(name, values); err != nil {
			return err
		}
	}
	// Whatever the options hold that the file cannot, a treasury of another
	// network first of all, is found before anything is written. The file does
	// not exist then, so its lines would be no help.
	if _, err := Parse(FileName, files[FileName]); err != nil {
		if wrong, ok := errors.AsType[*tomlfile.Error](err); ok && wrong.Problems[0].Path == "payout.treasury" {
			return fmt.Errorf("--treasury: %s", wrong.Problems[0].Text)
		}
		return err
	}
	if files[SlotKeyFileName], err = newSlotKey(opts.Rand); err != nil {
		return err
	}
	return writeAll(dir, files)
}

func exampleValues(n *pool.Network, opts InitOptions, demo bool) map[string]any {
	var regtest *float64
	if n.Name == "regtest" {
		v := 0.01 // as the template says
		regtest = &v
	}
	start, least := difficulties(n, regtest)
	units := func(v float64) string {
		d, err := pool.DifficultyFromFloat(v, n.Scale)
		if err != nil {
			panic(fmt.Sprintf("config: internal error: default difficulty of %s: %v", n.Name, err))
		}
		return d.PowerOfTwo().Text(n.Scale)
	}
	return map[string]any{
		"Network":  n.Name,
		"RPCPort":  rpcPorts[n.Name],
		"Cookie":   opts.Cookie,
		"Treasury": opts.Treasury,
		"Demo":     demo,
		"Member":   "first",
		"Start":    units(start),
		"Min":      units(least),
	}
}

func render(name string, values map[string]any) ([]byte, error) {
	t, err := template.ParseFS(examples, "example/"+name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&b, values); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// defaultCookie returns where Bitcoin Core of the user who runs this keeps its
// cookie, or where a packaged one does if there is no home.
func defaultCookie(network string) string {
	dir := "/var/lib/bitcoind"
	if home, err := os.UserHomeDir(); err == nil {
		dir = filepath.Join(home, ".bitcoin")
	}
	if network != "main" {
		dir = filepath.Join(dir, network)
	}
	return filepath.Join(dir, ".cookie")
}

// writeAll makes files in dir, all or none, and never opens an existing one.
func writeAll(dir string, files map[string][]byte) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				err = errors.Join(err, os.Remove(name))
			}
		}
	}()
	for _, name := range []string{FileName, MembersFileName, SlotKeyFileName} {
		mode := fs.FileMode(0o644)
		if name == SlotKeyFileName {
			mode = 0o600
		}
		full := filepath.Join(dir, name)
		f, err := os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already, and init overwrites nothing: move it away or choose another directory: %w", full, fs.ErrExist)
		}
		if err != nil {
			return err
		}
		made = append(made, full)
		_, err = f.Write(files[name])
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
	}
	return nil
}

// slotKeyType names the key's one purpose, in a form that no TLS, SSH or
// wallet program takes for a key of its own.
const slotKeyType = "CORDEE SLOT SIGNING KEY"

// WriteSlotKey makes a new key that signs slots in the file path, which must not
// exist, readable by its owner only.
func WriteSlotKey(path string) error {
	b, err := newSlotKey(rand.Reader)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func newSlotKey(random io.Reader) ([]byte, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: slotKeyType, Bytes: seed}), nil
}

// ReadSlotKey reads the key that signs slots. A file that others can read is
// refused.
func ReadSlotKey(name string) (ed25519.PrivateKey, error) {
	if err := secret(name); err != nil {
		return nil, fmt.Errorf("slot key: %w", err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("slot key: %w", err)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != slotKeyType || len(block.Bytes) != ed25519.SeedSize || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("slot key: %s is not a %s as cordee init makes it", name, slotKeyType)
	}
	return ed25519.NewKeyFromSeed(block.Bytes), nil
}
