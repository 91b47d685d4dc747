package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/payout"
	"cordee/pool"
	"cordee/stratum"
)

// fakeNode is a node whose every answer a test gives.
type fakeNode struct {
	updates chan bitcoind.Update

	mu       sync.Mutex
	submits  []seen
	proposes []seen
	submit   func(ctx context.Context, block []byte, each func(bitcoind.SubmitResult))
	propose  func(block []byte) (string, error)
	inChain  func(hash chainhash.Hash) (int64, error)
}

// seen is a block that reached the node.
type seen struct {
	at    time.Time
	block []byte
}

func (s seen) hash() chainhash.Hash { return chainhash.DoubleHashH(s.block[:80]) }

func newNode() *fakeNode {
	return &fakeNode{
		updates: make(chan bitcoind.Update),
		submit: func(_ context.Context, _ []byte, each func(bitcoind.SubmitResult)) {
			each(bitcoind.SubmitResult{Node: "a", Accepted: true})
		},
		propose: func([]byte) (string, error) { return "", nil },
		inChain: func(chainhash.Hash) (int64, error) { return 1, nil },
	}
}

func (n *fakeNode) Run(ctx context.Context, on func(bitcoind.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-n.updates:
			on(u)
		}
	}
}

func (n *fakeNode) SubmitBlock(ctx context.Context, block []byte, each func(bitcoind.SubmitResult)) {
	n.mu.Lock()
	n.submits = append(n.submits, seen{time.Now(), block})
	f := n.submit
	n.mu.Unlock()
	f(ctx, block, each)
}

func (n *fakeNode) Propose(_ context.Context, block []byte) (string, error) {
	n.mu.Lock()
	n.proposes = append(n.proposes, seen{time.Now(), block})
	f := n.propose
	n.mu.Unlock()
	return f(block)
}

func (n *fakeNode) InChain(_ context.Context, hash chainhash.Hash) (int32, int64, error) {
	n.mu.Lock()
	f := n.inChain
	n.mu.Unlock()
	confirmations, err := f(hash)
	return 0, confirmations, err
}

// set changes an answer.
func (n *fakeNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *fakeNode) submitted() []seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]seen(nil), n.submits...)
}

func (n *fakeNode) proposed() []seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]seen(nil), n.proposes...)
}

// board is the side of the server that jobs go out by, written down.
type board struct {
	mu    sync.Mutex
	sets  []posted
	inUse []pool.Class
}

// posted is a Publish, or a Withdraw where set has no jobs.
type posted struct {
	at     time.Time
	set    stratum.JobSet
	reason stratum.CloseReason
}

func (b *board) Publish(set stratum.JobSet) { b.add(posted{at: time.Now(), set: set}) }
func (b *board) Withdraw(r stratum.CloseReason) {
	b.add(posted{at: time.Now(), reason: r})
}

func (b *board) add(p posted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sets = append(b.sets, p)
}

func (b *board) ClassesInUse() []pool.Class {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.inUse)
}

// use says which classes rigs are in.
func (b *board) use(classes ...pool.Class) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inUse = classes
}

func (b *board) all() []posted {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]posted(nil), b.sets...)
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// count returns how many lines hold the event.
func (b *buffer) count(event string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), `"event":"`+event+`"`)
}

// everyone is a register in which each name is member 7.
type everyone struct{}

func (everyone) Resolve(user string) (pool.Worker, string, bool) {
	return pool.Worker{Member: 7, Name: user}, "", true
}
func (everyone) Leave(uint16)      {}
func (everyone) Keep(uint16) error { return nil }
func (everyone) Kept(uint16) bool  { return true }

// script is the treasury's.
var script = append([]byte{0x00, 0x14}, make([]byte, 20)...)

// kit is an edge with a scripted node, a real journal on a disk that can fail,
// and a board in place of the server.
type kit struct {
	t       testing.TB
	dir     string
	disk    *faultyDisk
	node    *fakeNode
	board   *board
	logged  *buffer
	journal *journal.Journal
	rec     *journal.Recovery
	edge    *Edge
	ended   chan error
	stop    context.CancelFunc
}

// newKit opens the journal in dir and builds an edge on it. Run is the test's
// to start.
func newKit(t testing.TB, dir string, change func(*Config)) *kit {
	t.Helper()
	k := &kit{t: t, dir: dir, disk: &faultyDisk{}, node: newNode(), board: &board{}, logged: &buffer{}}
	regtest, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	k.journal, k.rec, err = journal.Open(journal.Config{
		Dir: dir, Edge: 1, Prefix: 1, Genesis: *regtest.Params.GenesisHash, Program: "test",
		SegmentSize: 1 << 20, FS: k.disk,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Network: regtest, Node: k.node, Log: k.journal, Payer: payout.Treasury{Script: script},
		Register: everyone{}, Stratum: stratum.Config{Network: regtest, Prefix: 1},
		Tag: "/test/", Recovery: k.rec, Logger: zerolog.New(io.Writer(k.logged)),
	}
	if change != nil {
		change(&cfg)
	}
	if k.edge, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	k.edge.jobs.out = k.board
	return k
}

// run starts the edge; end stops it and closes the journal.
func (k *kit) run() {
	ctx, stop := context.WithCancel(context.Background())
	k.stop, k.ended = stop, make(chan error, 1)
	go func() { k.ended <- k.edge.Run(ctx) }()
}

func (k *kit) end() {
	k.t.Helper()
	k.stop()
	if err := <-k.ended; err != nil {
		k.t.Errorf("Run: %v", err)
	}
	if err := k.journal.Close(); err != nil {
		k.t.Errorf("close journal: %v", err)
	}
}

// records returns what the journal holds of one kind.
func records[R journal.Record](k *kit) []R {
	k.t.Helper()
	var out []R
	err := journal.Read(k.dir, func(_ journal.RecordInfo, r journal.Record) error {
		if r, ok := r.(R); ok {
			out = append(out, r)
		}
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

// files returns how many files of dir's folder end in ext.
func (k *kit) files(folder, ext string) int {
	k.t.Helper()
	entries, err := os.ReadDir(k.dir + "/" + folder)
	if err != nil {
		k.t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ext) {
			n++
		}
	}
	return n
}

const (
	noBlocks  = 0x1d00ffff // no test hashes a block against it
	allBlocks = 0x207fffff // every second hash
)

// template returns a template of height whose parent only tip decides; value
// tells templates of one tip apart.
func template(t testing.TB, height int32, tip uint64, workBits uint32, value int64) *pool.Template {
	t.Helper()
	now := uint32(time.Now().Unix())
	tpl, err := pool.NewTemplate(&pool.Template{
		Node: "a", Height: height, Version: 0x20000000, Bits: allBlocks, WorkBits: workBits,
		PrevHash: sha256.Sum256(binary.BigEndian.AppendUint64(nil, tip)),
		MinTime:  now - 600, CurTime: now, Value: value,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// work is a job of its own, as member 7 hashes it.
func work(t testing.TB, tpl *pool.Template, tip uint64, counter uint32) *pool.Work {
	t.Helper()
	split, _, err := payout.Treasury{Script: script}.Payout(tpl, pool.DefaultClass)
	if err != nil {
		t.Fatal(err)
	}
	job, err := pool.NewJob(tpl, split, pool.DefaultClass, "/test/", tip, counter)
	if err != nil {
		t.Fatal(err)
	}
	return job.Work(7, 3)
}

// submission returns one on w with this nonce.
func submission(w *pool.Work, nonce uint32) pool.Submission {
	return pool.Submission{
		Work: w, Extranonce1: [4]byte{1}, Extranonce2Size: pool.Extranonce2Size,
		NTime: w.Template.CurTime, Nonce: nonce, Version: w.Template.Version,
	}
}

// mined returns the first submission from nonce that is a block, or is none.
func mined(w *pool.Work, nonce uint32, change func(*pool.Submission)) (pool.Submission, uint32) {
	for ; ; nonce++ {
		s := submission(w, nonce)
		if change != nil {
			change(&s)
		}
		if pool.Hash(nil, []pool.Submission{s})[0].Block {
			return s, nonce + 1
		}
	}
}

// easy is a claim that every hash meets.
var easy = pool.Claim{Issued: 1, Worker: &pool.Worker{Member: 9, Name: "alice.barn.one"}}

// numbered is easy with a name that the journal knows already.
func numbered(k *kit, w *pool.Work) pool.Claim {
	c := pool.Claim{Issued: 1, Worker: &pool.Worker{Member: w.Member, Name: "alice.barn.two"}}
	for nonce := uint32(1 << 30); c.Worker.Rig == 0; nonce++ {
		k.edge.Submit(batch(new(pool.Seen), c, submission(w, nonce)))
	}
	return c
}

// batch returns one of these submissions, all with one claim.
func batch(memory *pool.Seen, c pool.Claim, subs ...pool.Submission) *pool.Batch {
	b := &pool.Batch{}
	b.Reset(memory)
	for _, s := range subs {
		b.Add(s, c)
	}
	return b
}
