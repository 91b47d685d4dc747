package config

import (
	"time"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// rawConfig is cordee.toml as it is written. Pointers are keys whose absence
// means something else than zero.
type rawConfig struct {
	Network           string   `toml:"network,required"`
	DataDir           string   `toml:"data_dir"`
	Tag               string   `toml:"tag"`
	Identity          string   `toml:"identity"`
	Members           string   `toml:"members"`
	Firmware          string   `toml:"firmware"`
	SlotKey           string   `toml:"slot_key"`
	Store             string   `toml:"store"`
	RegtestDifficulty *float64 `toml:"regtest_difficulty"`
	SignetChallenge   *string  `toml:"signet_challenge"`

	Edge      rawEdge       `toml:"edge,required"`
	Nodes     []rawNode     `toml:"node"`
	Listeners []rawListener `toml:"listener"`
	Limits    rawLimits     `toml:"limits"`
	Journal   rawJournal    `toml:"journal"`
	Redis     rawRedis      `toml:"redis"`
	Web       rawWeb        `toml:"web"`
	Payout    rawPayout     `toml:"payout,required"`
}

type rawEdge struct {
	ID     int64 `toml:"id,required"`
	Prefix int64 `toml:"prefix,required"`
}

type rawNode struct {
	Name         string `toml:"name"`
	URL          string `toml:"url,required"`
	Cookie       string `toml:"cookie"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	ZMQ          string `toml:"zmq"`
}

type rawListener struct {
	Address         string   `toml:"address"`
	StartDifficulty *float64 `toml:"start_difficulty"`
	MinDifficulty   *float64 `toml:"min_difficulty"`
	MaxDifficulty   *float64 `toml:"max_difficulty"`
	SharesPerMinute *int64   `toml:"shares_per_minute"`
	TLSCert         string   `toml:"tls_cert"`
	TLSKey          string   `toml:"tls_key"`
	ProxyFrom       []string `toml:"proxy_from"`
}

type rawLimits struct {
	PerIP          int64             `toml:"per_ip"`
	PerNetwork     int64             `toml:"per_network"`
	StrangersPerIP int64             `toml:"strangers_per_ip"`
	Trusted        []string          `toml:"trusted"`
	ShareGap       tomlfile.Duration `toml:"share_gap"`
}

type rawJournal struct {
	Dir              string            `toml:"dir"`
	SegmentSize      tomlfile.Size     `toml:"segment_size"`
	MinGap           tomlfile.Duration `toml:"min_gap"`
	Ack              string            `toml:"ack"`
	AckWrittenOnMain bool              `toml:"ack_written_on_main"`
}

type rawRedis struct {
	Mode                 string            `toml:"mode,required"`
	Addresses            []string          `toml:"addresses,required"`
	Master               string            `toml:"master"`
	Name                 string            `toml:"name"`
	DB                   int64             `toml:"db"`
	Username             string            `toml:"username"`
	PasswordFile         string            `toml:"password_file"`
	SentinelPasswordFile string            `toml:"sentinel_password_file"`
	TrustSettings        bool              `toml:"trust_settings"`
	Timeout              tomlfile.Duration `toml:"timeout"`
}

type rawWeb struct {
	Address          string `toml:"address"`
	AllowNonLoopback bool   `toml:"allow_non_loopback"`
}

type rawPayout struct {
	Treasury     string        `toml:"treasury,required"`
	WindowBlocks int64         `toml:"window_blocks"`
	MinPayout    tomlfile.Sats `toml:"min_payout"`
	Fees         []rawFee      `toml:"fees"`
}

type rawFee struct {
	Account string `toml:"account,required"`
	BP      int64  `toml:"bp,required"`
	Address string `toml:"address"`
}

// Values of keys that are not in the file.
const (
	defaultListen          = ":3333"
	defaultWeb             = "127.0.0.1:8080"
	defaultTag             = "/cordee/"
	defaultSharesPerMinute = 10
	defaultSegment         = 64 << 20 // bytes
	defaultMinGap          = 5 * time.Millisecond
	defaultWindow          = 4      // expected blocks (decision 36)
	defaultMinPayout       = 20_000 // sats (decision 36)
	defaultRedisName       = "cordee"
	defaultRedisTimeout    = 5 * time.Second
)

func defaults() rawConfig {
	return rawConfig{
		DataDir:  "data",
		Tag:      defaultTag,
		Identity: "consortium",
		Members:  "members.toml",
		SlotKey:  "slot.key",
		Store:    "memory",
		Limits:   rawLimits{PerIP: defaultPerIP, PerNetwork: defaultPerNetwork, StrangersPerIP: defaultStrangers, ShareGap: tomlfile.Duration(defaultShareGap)},
		Journal:  rawJournal{SegmentSize: defaultSegment, MinGap: tomlfile.Duration(defaultMinGap), Ack: "durable"},
		Redis:    rawRedis{Name: defaultRedisName, Timeout: tomlfile.Duration(defaultRedisTimeout)},
		Web:      rawWeb{Address: defaultWeb},
		Payout:   rawPayout{WindowBlocks: defaultWindow, MinPayout: defaultMinPayout},
	}
}

// difficulties are a network's defaults as rigs know them. Vardiff raises by up
// to 256 at a time, so a start that is too low costs a large rig a few shares
// and one that is too high costs a small one minutes.
func difficulties(n *pool.Network, regtest *float64) (start, least float64) {
	switch n.Name {
	case "regtest":
		least = 1 / float64(n.Scale)
		if regtest != nil {
			return max(*regtest/32, least), least // some 32 shares to a block
		}
		return least, least
	case "signet": // CPUs mine here
		return 1, 1 / float64(n.Scale)
	default:
		return 4096, 1
	}
}

// hints answer keys that people are known to try.
var hints = map[string]string{
	"sentinels":       "write mode = \"sentinel\" and their addresses in addresses",
	"password":        "secrets are file names here: put the password into a file of its own and name it with password_file",
	"rpcpassword":     "secrets are file names here: put the password into a file of its own and name it with password_file",
	"rpcuser":         "write user",
	"port":            "the port is part of address, as in \":3333\"",
	"fee":             "write fees = [ { account = \"pool\", bp = 100 } ]; 100 basis points are 1 %",
	"difficulty":      "write start_difficulty or min_difficulty",
	"testnet":         "write network = \"testnet4\", \"signet\" or \"regtest\"",
	"members_file":    "write members",
	"mode":            "write identity = \"open\" or \"consortium\"; the store's mode stands below [redis]",
	"open":            "write identity = \"open\"",
	"treasury_script": "write treasury with an address",
	"tls":             "write tls_cert and tls_key with the names of their files",
	"cert":            "write tls_cert",
	"proxy_protocol":  "write proxy_from with the networks of your balancers, like [\"10.0.0.5/32\"]",
	"max_connections": "the limit of open files bounds all of them; per_ip and per_network those of one place",
}
