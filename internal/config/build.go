package config

import (
	"encoding/hex"
	"math"
	"math/bits"
	"strings"
	"time"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// builder turns what is written into what is meant. Each problem goes to the
// file, with the key at fault; a rule that needs a value which is itself wrong
// is passed over, so that one mistake is one message.
type builder struct {
	*tomlfile.File
	raw *rawConfig
	c   *Config
}

func build(f *tomlfile.File, raw *rawConfig) *Config {
	b := &builder{f, raw, &Config{Path: f.Name, file: f}}
	if f.Broken() {
		return b.c
	}
	b.general()
	b.chain()
	b.edge()
	b.nodes()
	b.listeners()
	b.web()
	b.ports()
	b.limits()
	b.journal()
	b.store()
	b.payout()
	return b.c
}

func (b *builder) general() {
	b.c.DataDir = b.name("data_dir", b.raw.DataDir)
	b.identity()
	b.c.SlotKeyPath = b.name("slot_key", b.raw.SlotKey)
	if b.Has("firmware") {
		b.c.FirmwarePath = b.name("firmware", b.raw.Firmware)
	}

	b.c.Tag = b.raw.Tag
	if len(b.c.Tag) > pool.MaxTag {
		b.Errorf("tag", "%q has %d bytes: at most %d fit into the coinbase", b.c.Tag, len(b.c.Tag), pool.MaxTag)
	}
	if strings.IndexFunc(b.c.Tag, func(r rune) bool { return r < 0x20 || r > 0x7e }) >= 0 {
		b.Errorf("tag", "%q must be printable ASCII", b.c.Tag)
	}
}

// identity reads how rigs are named.
func (b *builder) identity() {
	b.c.MembersPath = b.name("members", b.raw.Members)
	b.c.AddressesPath = joinDir(b.c.DataDir, "addresses")
	switch b.raw.Identity {
	case "consortium":
	case "open":
		b.c.Open = true
		if b.Has("members") {
			b.Errorf("members", "an open pool has no file of members: take this key out, or write identity = \"consortium\" (line %d)", b.Line("identity"))
		}
	default:
		b.Errorf("identity", "%q is unknown: write \"consortium\", for rigs called member.site.rig as in members.toml, or \"open\", for rigs called by the address that is paid", b.raw.Identity)
	}
}

// name resolves a required file name.
func (b *builder) name(path, name string) string {
	if name == "" {
		b.Errorf(path, "must not be empty")
	}
	return b.rel(path, name)
}

// rel resolves a file name that may be empty.
func (b *builder) rel(path, name string) string {
	if strings.HasPrefix(name, "~") {
		b.Errorf(path, "~ is not expanded: write the full path, or one relative to this file")
	}
	if strings.ContainsRune(name, 0) {
		b.Errorf(path, "%q is not a file name", name)
	}
	return b.Rel(name)
}

// chain reads network and the two keys that only one network knows.
func (b *builder) chain() {
	name := b.raw.Network
	if n, err := pool.NetworkByName(name); err == nil {
		b.c.Network = n
	} else if !b.Has("network") {
		// Reported as missing, or as misspelt, already.
	} else if name == "mainnet" || name == "bitcoin" {
		b.Errorf("network", "%q is called \"main\" here", name)
	} else {
		b.Errorf("network", "%v", err)
	}
	if d := b.raw.RegtestDifficulty; d != nil {
		workBits, err := pool.BitsFromDifficulty(*d)
		switch {
		case b.c.Network != nil && b.c.Network.Name != "regtest":
			b.Errorf("regtest_difficulty", "only regtest has it; this is %s (line %d)", name, b.Line("network"))
		case err != nil:
			b.Errorf("regtest_difficulty", "%v", err)
		case b.c.Network != nil && !harder(workBits, b.c.Network.Params.PowLimitBits):
			b.Errorf("regtest_difficulty", "%v is easier than the chain's own difficulty: write at least %s, or leave it out", *d, "4.7e-10")
		default:
			b.c.WorkBits = workBits
		}
	}
	if s := b.raw.SignetChallenge; s != nil {
		script, err := hex.DecodeString(*s)
		switch {
		case b.c.Network != nil && b.c.Network.Name != "signet":
			b.Errorf("signet_challenge", "only a signet has it; this is %s (line %d)", name, b.Line("network"))
		case err != nil || len(script) == 0:
			b.Errorf("signet_challenge", "%q is not hex: write the value of the node's -signetchallenge, or leave the key out for the public signet", *s)
		default:
			b.c.SignetChallenge = script
		}
	}
}

// harder reports whether target a is at most target b, both compact and valid.
func harder(a, b uint32) bool {
	ta, errA := pool.TargetFromBits(a)
	tb, errB := pool.TargetFromBits(b)
	return errA == nil && errB == nil && ta.Cmp(tb) <= 0
}

func (b *builder) edge() {
	b.c.Edge.ID = uint16(b.within("edge.id", b.raw.Edge.ID, 1, math.MaxUint16))
	b.c.Edge.Prefix = byte(b.within("edge.prefix", b.raw.Edge.Prefix, 0, math.MaxUint8))
}

// within checks a whole number of the file, and returns 0 for one outside. A
// key that is absent is not checked: required ones are reported already.
func (b *builder) within(path string, v, least, most int64) int64 {
	if b.Has(path) && (v < least || v > most) {
		b.Errorf(path, "%d is not within %d to %d", v, least, most)
		return 0
	}
	return v
}

func (b *builder) listeners() {
	raws := b.raw.Listeners
	if len(raws) == 0 {
		raws = []rawListener{{}}
	}
	for i, r := range raws {
		at := tomlfile.Index("listener", i)
		l := Listener{Address: defaultListen, SharesPerMinute: defaultSharesPerMinute}
		if b.Has(at + ".address") {
			l.Address = r.Address
			b.hostPort(at+".address", r.Address)
		}
		if r.SharesPerMinute != nil {
			l.SharesPerMinute = int(b.within(at+".shares_per_minute", *r.SharesPerMinute, 4, 20))
		}
		b.difficulty(at, r, &l)
		b.tls(at, r, &l)
		l.ProxyFrom = b.networks(at+".proxy_from", r.ProxyFrom, "anyone could choose the address he is known by")
		b.c.Listeners = append(b.c.Listeners, l)
	}
}

func (b *builder) difficulty(at string, r rawListener, l *Listener) {
	n := b.c.Network
	if n == nil || b.Failed("regtest_difficulty") {
		return
	}
	start, least := difficulties(n, b.raw.RegtestDifficulty)
	if r.MinDifficulty != nil {
		least = *r.MinDifficulty
		start = max(start, least)
	}
	if r.StartDifficulty != nil {
		start = *r.StartDifficulty
		if r.MinDifficulty == nil {
			least = min(least, start)
		}
	}
	l.Start = b.units(at+".start_difficulty", start)
	if b.Failed(at + ".start_difficulty") {
		return
	}
	l.Min = b.units(at+".min_difficulty", least)
	if start < least {
		b.Errorf(at+".start_difficulty", "%v is below min_difficulty %v (line %d)", start, least, b.Line(at+".min_difficulty"))
	}
	if low := l.Min.PowerOfTwo(); low < l.Min {
		l.Min = 1 << bits.Len64(uint64(l.Min))
	}
	l.Start = max(l.Start.PowerOfTwo(), l.Min)
	if r.MaxDifficulty == nil {
		return
	}
	l.Max = b.units(at+".max_difficulty", *r.MaxDifficulty).PowerOfTwo()
	if l.Max < l.Start && !b.Failed(at+".max_difficulty") {
		b.Errorf(at+".max_difficulty", "%v is, as a power of two, below the difficulty that rigs begin with, %v", *r.MaxDifficulty, l.Start.Float(n.Scale))
	}
}

// units converts a difficulty as rigs know it.
func (b *builder) units(path string, v float64) pool.Difficulty {
	d, err := pool.DifficultyFromFloat(v, b.c.Network.Scale)
	switch {
	case err != nil:
		b.Errorf(path, "%v", err)
	case v*float64(b.c.Network.Scale) < 1:
		b.Errorf(path, "%v is below the smallest difficulty on %s, %s", v, b.c.Network.Name, pool.Difficulty(1).Text(b.c.Network.Scale))
	case d > maxDifficulty:
		b.Errorf(path, "%v is above every rig there is: at most %v", v, pool.Difficulty(maxDifficulty).Float(b.c.Network.Scale))
	}
	return d
}

// maxDifficulty keeps rounding up to a power of two within 64 bits. It is
// 2^52 as rigs know it on main and 2^30 on regtest.
const maxDifficulty = 1 << 62

func (b *builder) journal() {
	r := b.raw.Journal
	b.c.Journal = Journal{
		Dir:         b.rel("journal.dir", r.Dir),
		SegmentSize: int64(r.SegmentSize),
		MinGap:      time.Duration(r.MinGap),
		Written:     r.Ack == "written",
	}
	if r.Dir == "" {
		if b.Has("journal.dir") {
			b.Errorf("journal.dir", "must not be empty: leave it out for journal in data_dir")
		}
		b.c.Journal.Dir = joinDir(b.c.DataDir, "journal")
	}
	if r.SegmentSize < minSegment || r.SegmentSize > maxSegment {
		b.Errorf("journal.segment_size", "%s is not within %s to %s", r.SegmentSize, tomlfile.Size(minSegment), tomlfile.Size(maxSegment))
	}
	if b.c.Journal.MinGap > time.Second {
		b.Errorf("journal.min_gap", "%v would keep rigs waiting for their answers: at most 1s", b.c.Journal.MinGap)
	}
	switch r.Ack {
	case "durable":
	case "written":
		if b.c.Network != nil && b.c.Network.Name == "main" && !r.AckWrittenOnMain {
			b.Errorf("journal.ack", "\"written\" lets a power cut take shares that rigs were told are safe, and with them somebody's money; to accept that on main, write ack_written_on_main = true below it")
		}
	default:
		b.Errorf("journal.ack", "%q is unknown: write \"durable\" or \"written\"", r.Ack)
	}
}

// Bounds of a journal segment, in bytes.
const (
	minSegment = 1 << 20
	maxSegment = 1 << 30
)
