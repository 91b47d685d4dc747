package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// Config is a checked cordee.toml. File names are resolved against the
// directory of the file; defaults are filled in.
type Config struct {
	Path    string        // of cordee.toml, as given to Load
	Network *pool.Network // chain mined on
	DataDir string        // state of this machine: journal, templates, candidates, socket
	Tag     string        // coinbase tag, at most pool.MaxTag printable ASCII bytes

	Edge      Edge
	Nodes     []Node     // at least one, no two alike
	Listeners []Listener // at least one
	Limits    Limits
	Journal   Journal
	Redis     *Redis // where credits are kept; nil keeps them in memory
	Web       Web
	Payout    Payout

	// Open says that rigs are named by the address that is paid, and AddressesPath
	// which has which index; else by MembersPath, members.toml.
	Open          bool
	AddressesPath string
	MembersPath   string

	FirmwarePath string // more rows for the table of firmware; "" for none
	SlotKeyPath  string // key that signs slots, see ReadSlotKey

	// WorkBits is the compact target that work is measured against on regtest
	// with regtest_difficulty (decision 3); 0 means the header's own nBits.
	WorkBits uint32
	// SignetChallenge is the script that a custom signet's blocks must satisfy;
	// nil elsewhere, and on the public signet.
	SignetChallenge []byte

	file *tomlfile.File // where the keys stand, for Check
}

// Edge names this process among all that ever mine for the pool. Both numbers
// are configured, unique and for ever (decision 10).
type Edge struct {
	ID     uint16 // 1 to 65535
	Prefix byte   // first byte of every extranonce1
}

// Node is one Bitcoin node.
type Node struct {
	Name         string // for logs and metrics; host:port of URL by default
	URL          string // http://host:port, the port filled in, no user, no path
	Cookie       string // file that the node writes its credentials to; "" with User
	User         string // rpcuser; "" with Cookie
	PasswordFile string // holds the password of User
	ZMQ          string // publisher of hashblock, tcp://host:port; "" for none
}

// Listener is one port for rigs.
type Listener struct {
	Address string // host:port to listen on
	// Start is the difficulty of a rig nobody knows yet, Min the lowest one
	// issued and Max the highest, 0 for no bound, in units of the network's
	// scale. All are powers of two: Min is rounded up, Start down, but never
	// below Min, and Max down, but never below Start.
	Start, Min, Max pool.Difficulty
	SharesPerMinute int // vardiff's aim, 4 to 20

	TLSCert, TLSKey string         // PEM files; "" and "" is a port without TLS
	ProxyFrom       []netip.Prefix // who must send a header of the PROXY protocol
}

// Limits bound the connections from one place, and the shares of each; the
// process's limit of open files bounds all of them.
type Limits struct {
	PerIP          int // of one IPv4 address or IPv6 /64
	PerNetwork     int // of one /24 or /56; at least PerIP
	StrangersPerIP int // of one address, before their first work; at most PerIP
	Trusted        []netip.Prefix
	ShareGap       time.Duration // between two shares of a connection, on average; 0 is no bound
}

// Journal is where and how accepted shares are made durable (decision 12).
type Journal struct {
	Dir         string
	SegmentSize int64         // bytes
	MinGap      time.Duration // least time between two commits of few shares; 0 commits at once
	Written     bool          // answer after write(2) instead of fdatasync
}

// Redis is the store of credits that all machines of a pool share.
type Redis struct {
	Sentinel             bool     // Addresses are sentinels, which know where Master is
	Addresses            []string // host:port; one unless Sentinel
	Master               string   // the sentinels' name for the primary; "" unless Sentinel
	Name                 string   // of the pool, in every key: [a-z0-9-], at most 32 bytes
	DB                   int
	Username             string // "" is the default user
	PasswordFile         string // "" is none
	SentinelPasswordFile string // "" is none
	// TrustSettings accepts a server that does not show its settings, as managed
	// ones do not.
	TrustSettings bool
	Timeout       time.Duration // of one answer
}

// Web is the address of pages, API and /metrics.
type Web struct{ Address string }

// Payout is how a block's reward is divided.
type Payout struct {
	TreasuryAddress string // takes what no member output carries
	TreasuryScript  []byte // its output script
	WindowBlocks    int    // PPLNS window in expected blocks
	MinPayout       int64  // sats; less is carried to a later block
	Fees            []Fee
}

// Fee is a share of every reward for an account that is not a member.
type Fee struct {
	Account string // [a-z0-9-], at most 32 bytes
	BP      int    // basis points of the reward; 100 are 1 %
	Address string // "" leaves the fee in the treasury (decision 17)
	Script  []byte // of Address; nil without one
}

// Load reads and checks the cordee.toml at path. An error of the file's
// content is a *tomlfile.Error and lists all problems, one per line.
func Load(path string) (*Config, error) {
	raw := defaults()
	f, err := tomlfile.Read(path, &raw, hints)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (cordee init writes one, -c names another)", err)
	}
	if err != nil {
		return nil, err
	}
	c := build(f, &raw)
	checkSecrets(f, c)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse is Load without a look at any other file, for data that stands, or
// would stand, at path.
func Parse(path string, data []byte) (*Config, error) {
	raw := defaults()
	f := tomlfile.Parse(path, data, &raw, hints)
	c := build(f, &raw)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return c, nil
}
