package stratum

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/pool"
)

// hub is a Pool that hashes and judges for real, and keeps no journal.
type hub struct {
	scale   pool.Scale
	members map[string]uint16
	hold    chan struct{} // when set, Submit waits for it to be closed
	left    atomic.Int64  // calls of Leave

	mu      sync.Mutex
	batches []int // sizes
	blocks  int
	credit  uint64
	boom    bool
}

func newHub(n *pool.Network) *hub {
	return &hub{scale: n.Scale, members: map[string]uint16{"alpha": 1, "beta": 2}}
}

func (h *hub) Authorize(user string) (pool.Worker, string, bool) {
	if user == "panic" {
		panic("authorize: asked to")
	}
	n, err := pool.ParseName(user)
	if err != nil {
		return pool.Worker{}, "Name must be member.site.rig", false
	}
	m, ok := h.members[n.Member]
	if !ok {
		return pool.Worker{}, "Unknown member", false
	}
	return pool.Worker{Member: m, Name: n.String()}, "", true
}

func (h *hub) Leave(pool.Worker) { h.left.Add(1) }

func (h *hub) Submit(b *pool.Batch) {
	h.kept()
	h.judge(b)
}

// Post has who need not wait told by another goroutine.
func (h *hub) Post(b *pool.Batch, r Ruled) (later bool) {
	h.judge(b)
	for i := range b.Verdicts {
		if b.Verdicts[i].Reject != pool.Accepted {
			h.kept()
			return false
		}
	}
	go func() {
		h.kept()
		r.Ruled()
	}()
	return true
}

// kept is where a test's journal takes its time.
func (h *hub) kept() {
	h.mu.Lock()
	hold := h.hold
	h.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

func (h *hub) judge(b *pool.Batch) {
	h.mu.Lock()
	boom := h.boom
	h.mu.Unlock()
	if boom {
		panic("submit: asked to")
	}
	b.Hash()
	b.Judge(time.Now().Unix(), h.scale)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches = append(h.batches, len(b.Subs))
	for i := range b.Subs {
		h.credit += uint64(b.Verdicts[i].Credit)
		if b.Hashed[i].Block {
			h.blocks++
		}
	}
}

func regtest(t testing.TB) *pool.Network {
	t.Helper()
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// testJob makes a job whose blocks need work units of work (regtest's unit is
// about one hash).
func testJob(t testing.TB, tip uint64, counter uint32, work float64) *pool.Job {
	t.Helper()
	bits, err := pool.BitsFromDifficulty(work / float64(pool.RegtestScale))
	if err != nil {
		t.Fatal(err)
	}
	now := uint32(time.Now().Unix())
	tmpl := &pool.Template{
		Height: 100 + int32(tip), Version: 0x20000000, Bits: 0x207fffff, WorkBits: bits,
		MinTime: now - 600, CurTime: now, Value: 50e8,
	}
	tmpl.PrevHash[0], tmpl.PrevHash[31] = byte(tip), 0xee
	tmpl, err = pool.NewTemplate(tmpl, nil)
	if err != nil {
		t.Fatal(err)
	}
	j, err := pool.NewJob(tmpl, pool.Payout{Outputs: []pool.Output{{Sats: 50e8, Script: []byte{0x51}}}},
		pool.DefaultClass, "/test/", tip, counter)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func jobSet(jobs ...*pool.Job) JobSet { return JobSet{Jobs: jobs} }

// testServer makes a server whose rigs start at 16 units of work.
func testServer(t testing.TB, edit func(*Config)) (*Server, *hub) {
	t.Helper()
	n := regtest(t)
	h := newHub(n)
	cfg := Config{
		Network: n, Pool: h, Prefix: 0xc0, StartDifficulty: 16, MinDifficulty: 1,
		Log: zerolog.New(io.Discard),
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

// What rigs say.
const (
	sayConfigure = `{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}` + "\n"
	saySubscribe = `{"id":2,"method":"mining.subscribe","params":["test/1"]}` + "\n"
	sayAuthorize = `{"id":3,"method":"mining.authorize","params":["alpha.north.r1","x"]}` + "\n"
)

// wanted is what a nonce is searched for.
type wanted int

const (
	aShare  wanted = iota // meets the issued difficulty, and is no block
	aBlock                // is a block
	weak                  // does not meet the issued difficulty
	between               // does not, but meets a later one
)

// target is what to mine on.
type target struct {
	issue
	later pool.Difficulty
}

// mine searches a submission that fits, from nonce on.
func mine(t testing.TB, s *session, is target, fits wanted, ntime, bits, nonce uint32) pool.Submission {
	t.Helper()
	sub := pool.Submission{
		Work: is.work, Extranonce1: s.en1, Extranonce2Size: s.en2Size, NTime: ntime, Nonce: nonce,
	}
	sub.Version, _ = pool.MergeVersion(is.work.Template.Version, bits, is.mask)
	issued, later := is.difficulty.Target(s.srv.scale), is.later.Target(s.srv.scale)
	var hashed [1]pool.Hashed
	for range 1 << 22 {
		h := &pool.Hash(hashed[:0], []pool.Submission{sub})[0]
		met := issued.Met(&h.Hash)
		switch {
		case fits == aShare && met && !h.Block,
			fits == aBlock && h.Block,
			fits == weak && !met && !h.Block,
			fits == between && !met && later.Met(&h.Hash):
			return sub
		}
		sub.Nonce++
	}
	t.Fatal("no nonce found")
	return sub
}

// submitLine renders sub as a rig would send it.
func submitLine(id, user, job string, sub pool.Submission, bits uint32) string {
	line := fmt.Sprintf(`{"id":%s,"method":"mining.submit","params":["%s","%s","%s","%08x","%08x"`,
		id, user, job, hex.EncodeToString(sub.Extranonce2[:sub.Extranonce2Size]), sub.NTime, sub.Nonce)
	if bits != 0 {
		line += fmt.Sprintf(`,"%08x"`, bits)
	}
	return line + "]}\n"
}

func keyID(key uint64) string { return fmt.Sprintf("%010x", key) }

// issuedTo returns what s was issued, oldest first.
func issuedTo(s *session) []issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]issue(nil), s.issued.list...)
}

func mustHave(t testing.TB, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Fatalf("want %q in:\n%s", want, got)
	}
}
