package config

import (
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// Bounds of [redis].
const (
	maxRedisName    = 32 // bytes
	maxRedisDB      = math.MaxUint16
	minRedisTimeout = 100 * time.Millisecond
	maxRedisTimeout = 10 * time.Second // of a whole call of the store
)

// store reads store and the table that belongs to it. A table nobody reads
// would let an operator believe that his ledger is elsewhere.
func (b *builder) store() {
	switch b.raw.Store {
	case "memory":
		if b.Has("redis") {
			where := "is the default"
			if b.Has("store") {
				where = "stands in line " + strconv.Itoa(b.Line("store"))
			}
			b.Errorf("redis", "nothing reads this table, for store = \"memory\" %s: write store = \"redis\" at the top, or leave [redis] out", where)
		}
	case "redis":
		if !b.Has("redis") {
			b.Errorf("store", "\"redis\" needs a table [redis] that says where: mode, addresses, and the name of the pool in it")
			return
		}
		b.redis()
	default:
		b.Errorf("store", "%q is unknown: write \"memory\", or \"redis\" with a table [redis]", b.raw.Store)
	}
}

func (b *builder) redis() {
	r := b.raw.Redis
	b.c.Redis = &Redis{
		Sentinel: r.Mode == "sentinel", Addresses: r.Addresses, Master: r.Master, Name: r.Name,
		DB:       int(b.within("redis.db", r.DB, 0, maxRedisDB)),
		Username: r.Username, PasswordFile: b.rel("redis.password_file", r.PasswordFile),
		SentinelPasswordFile: b.rel("redis.sentinel_password_file", r.SentinelPasswordFile),
		TrustSettings:        r.TrustSettings, Timeout: time.Duration(r.Timeout),
	}
	b.redisMode(r)
	for i, a := range r.Addresses {
		at := tomlfile.Index("redis.addresses", i)
		if j := slices.Index(r.Addresses, a); j < i {
			b.Errorf(at, "%q stands there twice", a)
		}
		host, port, err := net.SplitHostPort(a)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ ") {
			b.Errorf(at, "%q is not an address of a server: write host:port, like \"127.0.0.1:6379\"", hideUser(a))
		}
	}
	if !pool.ValidID(r.Name, maxRedisName) {
		b.Errorf("redis.name", "%q must be 1 to %d of a-z 0-9 -: it is part of every key", r.Name, maxRedisName)
	}
	if t := b.c.Redis.Timeout; t < minRedisTimeout || t > maxRedisTimeout {
		b.Errorf("redis.timeout", "%v is not within %v to %v", t, minRedisTimeout, maxRedisTimeout)
	}
	if r.Username != "" && r.PasswordFile == "" && !b.Failed("redis.password") {
		b.Errorf("redis.username", "write password_file too: the name of a file that holds the password")
	}
}

// redisMode holds mode against the keys that only one mode has: it is chosen,
// never guessed from how many addresses there are (decision 35).
func (b *builder) redisMode(r rawRedis) {
	switch r.Mode {
	case "single":
		if len(r.Addresses) > 1 {
			b.Errorf("redis.addresses", "mode \"single\" has one server, here are %d: a cluster is not supported; for sentinels write mode = \"sentinel\"", len(r.Addresses))
		}
		for _, key := range []string{"redis.master", "redis.sentinel_password_file"} {
			if b.Has(key) {
				b.Errorf(key, "means nothing in mode \"single\" (line %d): leave it out, or write mode = \"sentinel\"", b.Line("redis.mode"))
			}
		}
	case "sentinel":
		if r.Master == "" {
			b.Errorf("redis.master", "mode \"sentinel\" needs it: what the sentinels call the primary (sentinel monitor NAME ...)")
		}
	default:
		if b.Has("redis.mode") {
			b.Errorf("redis.mode", "%q is unknown: write \"single\" or \"sentinel\"", r.Mode)
		}
	}
	if b.Has("redis.addresses") && len(r.Addresses) == 0 {
		b.Errorf("redis.addresses", "names no server: write addresses = [\"127.0.0.1:6379\"]")
	}
}

// hideUser takes what may be a password out of an address that is a URL.
func hideUser(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return "…" + address[at:]
	}
	return address
}
