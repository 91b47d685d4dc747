package bitcoind

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// NodeConfig is one [[node]] of cordee.toml.
type NodeConfig struct {
	Name string // unique; default the URL's host
	URL  string // http://host:port of the RPC server, without credentials

	// Credentials, re-read on every call so that a rotated secret needs no
	// restart: either Cookie (a file with user:password, as bitcoind writes
	// it), or User and PasswordFile.
	Cookie       string
	User         string
	PasswordFile string

	ZMQ string // tcp://host:port of -zmqpubhashblock, "" for none
}

// Config is what a Cluster needs. Zero values of the durations mean the default
// named beside them.
type Config struct {
	Network         *pool.Network
	WorkBits        uint32 // work_bits (decision 3), regtest only; 0: the header's own nBits
	SignetChallenge []byte // compared with the node's; nil: taken as it is
	Nodes           []NodeConfig
	Log             zerolog.Logger

	Poll            time.Duration // 1 s; between two looks at a node's tip
	AskTimeout      time.Duration // 700 ms; for one look. Poll + AskTimeout bound the detection of a dead node
	Refresh         time.Duration // 30 s; a new template on the same tip
	TemplateTimeout time.Duration // 30 s; for one getblocktemplate
	SubmitTimeout   time.Duration // 10 s; for one try of submitblock
	EmptyLife       time.Duration // 15 s; an empty first template must be replaced by then
	BehindGrace     time.Duration // 5 s; how long a node may lack work that another node has
	StartWait       time.Duration // 10 s; Check waits so long for a node that does not listen yet
	MaxAnswer       int64         // 16 MiB; largest getblocktemplate answer, in bytes
}

// maxSmallAnswer bounds every answer but a template's, in bytes.
const maxSmallAnswer = 1 << 20

// setDefaults fills in what is zero.
func (c *Config) setDefaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.Poll, time.Second},
		{&c.AskTimeout, 700 * time.Millisecond},
		{&c.Refresh, 30 * time.Second},
		{&c.TemplateTimeout, 30 * time.Second},
		{&c.SubmitTimeout, 10 * time.Second},
		{&c.EmptyLife, 15 * time.Second},
		{&c.BehindGrace, 5 * time.Second},
		{&c.StartWait, 10 * time.Second},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if c.MaxAnswer <= 0 {
		c.MaxAnswer = 16 << 20
	}
}

// validate checks c and fills in names.
func (c *Config) validate() error {
	if c.Network == nil {
		return errors.New("network is missing")
	}
	if c.WorkBits != 0 {
		if c.Network.Name != "regtest" {
			return fmt.Errorf("regtest_difficulty is set on network %s: it is for regtest only", c.Network.Name)
		}
		if _, err := pool.TargetFromBits(c.WorkBits); err != nil {
			return fmt.Errorf("work bits %08x: %w", c.WorkBits, err)
		}
	}
	if c.SignetChallenge != nil && c.Network.Name != "signet" {
		return fmt.Errorf("signet_challenge is set on network %s: it is for signet only", c.Network.Name)
	}
	if len(c.Nodes) == 0 {
		return errors.New("no [[node]] is configured: add one with url and cookie")
	}
	names := make(map[string]bool)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if err := n.validate(); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		if names[n.Name] {
			return fmt.Errorf("node %d: name %q is used twice", i+1, n.Name)
		}
		names[n.Name] = true
	}
	return nil
}

func (n *NodeConfig) validate() error {
	u, err := url.Parse(n.URL)
	if err != nil {
		return errors.New("url is malformed: write http://host:port") // the error of Parse repeats the URL
	}
	if u.User != nil {
		return errors.New("url holds credentials: use cookie, or user and password_file")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("url %q: write http://host:port", n.URL)
	}
	if n.Name == "" {
		n.Name = u.Host
	}
	switch {
	case n.Cookie != "" && (n.User != "" || n.PasswordFile != ""):
		return fmt.Errorf("node %s has both cookie and user: keep one", n.Name)
	case n.Cookie == "" && (n.User == "" || n.PasswordFile == ""):
		return fmt.Errorf("node %s needs cookie, or user and password_file", n.Name)
	}
	if n.ZMQ != "" && !strings.HasPrefix(n.ZMQ, "tcp://") {
		return fmt.Errorf("node %s: zmq %q: write tcp://host:port", n.Name, n.ZMQ)
	}
	return nil
}
