package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Mode says how the primary is found. It is chosen, never guessed from the
// number of addresses.
type Mode string

// The modes.
const (
	Single   Mode = "single"   // one server, at Addrs[0]
	Sentinel Mode = "sentinel" // the master that the sentinels at Addrs call Master
)

// Config says where a store is and what it is called.
type Config struct {
	Mode   Mode
	Addrs  []string // host:port; one in mode single, all sentinels in mode sentinel
	Master string   // the sentinels' name for the primary; empty in mode single
	Name   string   // of the pool, in every key: 1 to 32 of a-z, 0-9 and -
	DB     int      // database number, 0 unless set

	Username             string // empty: the default user
	PasswordFile         string // empty: none; read again for every connection
	SentinelPasswordFile string // empty: none

	// TrustSettings makes settings that the server does not show (CONFIG is
	// forbidden, as on managed servers) a warning, not a reason to refuse it.
	TrustSettings bool

	Timeout  time.Duration // of one answer; 0: 5 s
	PoolSize int           // connections at most; 0: 8
}

const (
	defaultTimeout  = 5 * time.Second
	defaultPoolSize = 8
)

// Check returns every mistake of c.
func (c *Config) Check() error {
	var errs []error
	wrong := func(format string, a ...any) { errs = append(errs, fmt.Errorf("redis: "+format, a...)) }
	switch {
	case c.Mode != Single && c.Mode != Sentinel:
		wrong("mode %q is unknown: write %q or %q", c.Mode, Single, Sentinel)
	case c.Mode == Single && len(c.Addrs) != 1:
		wrong("mode %q takes one address, not %d: a cluster is not supported; for sentinels write mode %q",
			Single, len(c.Addrs), Sentinel)
	case c.Mode == Single && c.Master != "":
		wrong("master %q means nothing in mode %q: remove it, or write mode %q", c.Master, Single, Sentinel)
	case c.Mode == Sentinel && (len(c.Addrs) == 0 || c.Master == ""):
		wrong("mode %q needs the addresses of the sentinels and the name of the master", Sentinel)
	}
	for _, a := range c.Addrs {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			wrong("address %q: write host:port", a)
		}
	}
	if len(c.Name) == 0 || len(c.Name) > 32 || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		wrong("name %q: write 1 to 32 of a-z, 0-9 and -", c.Name)
	}
	if c.DB < 0 || c.Timeout < 0 || c.PoolSize < 0 {
		wrong("database %d, timeout %v, pool size %d: none may be negative", c.DB, c.Timeout, c.PoolSize)
	}
	for _, file := range []string{c.PasswordFile, c.SentinelPasswordFile} {
		if _, err := readPassword(file); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("redis: password: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", fmt.Errorf("redis: password file %s is empty: write the password into it, or remove the setting", file)
	}
	return password, nil
}

// client returns a client of c that dials when first used. It retries nothing:
// whether a script ran is unknown after a timeout, and the caller repeats.
func (c *Config) client() (*redis.Client, error) {
	timeout, size := c.Timeout, c.PoolSize
	if timeout == 0 {
		timeout = defaultTimeout
	}
	if size == 0 {
		size = defaultPoolSize
	}
	credentials := func(context.Context) (string, string, error) {
		password, err := readPassword(c.PasswordFile)
		return c.Username, password, err
	}
	if c.PasswordFile == "" {
		credentials = nil
	}
	if c.Mode == Single {
		return redis.NewClient(&redis.Options{
			Addr: c.Addrs[0], DB: c.DB, Protocol: 2,
			Username: c.Username, CredentialsProviderContext: credentials,
			MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
			DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
			PoolSize: size, MaxActiveConns: size, PipelinePoolSize: -1,
			DisableIdentity:          true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}), nil
	}
	sentinelPassword, err := readPassword(c.SentinelPasswordFile)
	if err != nil {
		return nil, err
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: c.Master, SentinelAddrs: c.Addrs, SentinelPassword: sentinelPassword, DB: c.DB, Protocol: 2,
		Username: c.Username, CredentialsProviderContext: credentials,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		PoolSize: size, MaxActiveConns: size, PipelinePoolSize: -1,
		DisableIdentity: true,
	}), nil
}

// silence keeps the client from writing to standard error what it returns as
// errors too. Its logger is global, and this package its only importer.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silence{}) }
