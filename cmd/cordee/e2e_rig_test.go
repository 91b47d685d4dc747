package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/pool"
	"cordee/pool/sha256d"
)

// rawRig is one Stratum connection driven by hand: it submits what a test wants
// when a test wants it. It rebuilds headers from the wire alone.
type rawRig struct {
	t       *testing.T
	user    string
	conn    net.Conn
	en1     []byte
	en2size int

	mu      sync.Mutex // guards what follows
	jobs    []rawJob   // every notify so far, oldest first
	answers map[int]rawAnswer
	nextID  int
	ended   error // why the connection ended
}

// rawAnswer is the pool's answer to a call. Code is 0 where it is no error.
type rawAnswer struct {
	OK     bool // the result is true
	Code   int
	Text   string
	Result json.RawMessage
}

// rawJob is a mining.notify, in the form of the header.
type rawJob struct {
	ID             string
	PrevHash       string // as explorers show it
	Clean          bool
	At             time.Time // when the line was read
	NTime          uint32
	Version, Bits  uint32
	prev           [32]byte // header order
	coinb1, coinb2 []byte
	branches       [][32]byte
}

// rawShare is a header that a rawRig hashed.
type rawShare struct {
	Job   rawJob
	En2   uint64
	Nonce uint32
	Hash  chainhash.Hash
}

// authorize is the pool's answer to user on a connection of its own.
func (p *testPool) authorize(user string) rawAnswer {
	p.t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(p.t.Context(), "tcp", p.stratum)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	r := &rawRig{t: p.t, user: user, conn: conn, answers: map[int]rawAnswer{}}
	go r.read()
	return r.call("mining.authorize", user, "x")
}

// dialRig connects, subscribes and authorizes user, and waits for work.
func (p *testPool) dialRig(user string) *rawRig {
	p.t.Helper()
	return p.dialAgent(user, "raw/1")
}

// dialAgent is dialRig for a rig of that firmware.
func (p *testPool) dialAgent(user, agent string) *rawRig {
	p.t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(p.t.Context(), "tcp", p.stratum)
	if err != nil {
		p.t.Fatal(err)
	}
	r := &rawRig{t: p.t, user: user, conn: conn, answers: map[int]rawAnswer{}}
	p.t.Cleanup(func() { _ = conn.Close() })
	go r.read()
	var sub []json.RawMessage
	var en1 string
	a := r.call("mining.subscribe", agent)
	if err := json.Unmarshal(a.Result, &sub); err != nil || len(sub) < 3 ||
		errors.Join(json.Unmarshal(sub[1], &en1), json.Unmarshal(sub[2], &r.en2size)) != nil {
		p.t.Fatalf("subscribe: %s, code %d %s", a.Result, a.Code, a.Text)
	}
	if r.en1, err = hex.DecodeString(en1); err != nil || r.en2size != 8 {
		p.t.Fatalf("extranonce1 %q, extranonce2 of %d bytes", en1, r.en2size)
	}
	if a := r.call("mining.authorize", user, "x"); !a.OK {
		p.t.Fatalf("authorize %s: code %d %s", user, a.Code, a.Text)
	}
	r.job(func(rawJob) error { return nil })
	return r
}

// read takes lines until the connection ends.
func (r *rawRig) read() {
	lines := bufio.NewScanner(r.conn)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		at := time.Now()
		var m struct {
			ID     *int              `json:"id"`
			Method string            `json:"method"`
			Params []json.RawMessage `json:"params"`
			Result json.RawMessage   `json:"result"`
			Error  []json.RawMessage `json:"error"`
		}
		err := json.Unmarshal(lines.Bytes(), &m)
		var job rawJob
		if err == nil && m.Method == "mining.notify" {
			job, err = parseRawJob(m.Params)
			job.At = at
		}
		r.mu.Lock()
		switch {
		case err != nil:
			r.ended = fmt.Errorf("line %q: %w", lines.Bytes(), err)
		case m.Method == "mining.notify":
			r.jobs = append(r.jobs, job)
		case m.Method == "" && m.ID != nil:
			a := rawAnswer{OK: string(m.Result) == "true", Result: m.Result}
			if len(m.Error) >= 2 {
				err = errors.Join(json.Unmarshal(m.Error[0], &a.Code), json.Unmarshal(m.Error[1], &a.Text))
				if err != nil {
					r.ended = err
				}
			}
			r.answers[*m.ID] = a
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	r.ended = errors.Join(errors.New("the connection ended"), lines.Err())
	r.mu.Unlock()
}

// parseRawJob reads the parameters of mining.notify.
func parseRawJob(params []json.RawMessage) (rawJob, error) {
	var j rawJob
	var prev, coinb1, coinb2, version, bits, ntime string
	var branches []string
	into := []any{&j.ID, &prev, &coinb1, &coinb2, &branches, &version, &bits, &ntime, &j.Clean}
	if len(params) != len(into) {
		return j, fmt.Errorf("%d parameters", len(params))
	}
	var errs []error
	for i, dst := range into {
		errs = append(errs, json.Unmarshal(params[i], dst))
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		errs = append(errs, err)
		return b
	}
	word := func(s string) uint32 {
		b := unhex(s)
		if len(b) != 4 {
			errs = append(errs, fmt.Errorf("%q is not a word", s))
			return 0
		}
		return binary.BigEndian.Uint32(b)
	}
	raw := unhex(prev)
	if len(raw) != 32 {
		return j, errors.Join(append(errs, fmt.Errorf("prevhash %q", prev))...)
	}
	for i := 0; i < 32; i += 4 { // each word is sent as a big-endian number
		binary.LittleEndian.PutUint32(j.prev[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	j.PrevHash = chainhash.Hash(j.prev).String()
	j.coinb1, j.coinb2 = unhex(coinb1), unhex(coinb2)
	for _, b := range branches {
		leaf := unhex(b)
		if len(leaf) != 32 {
			return j, errors.Join(append(errs, fmt.Errorf("branch %q", b))...)
		}
		j.branches = append(j.branches, [32]byte(leaf))
	}
	j.Version, j.Bits, j.NTime = word(version), word(bits), word(ntime)
	return j, errors.Join(errs...)
}

// call sends a request and waits for its answer.
func (r *rawRig) call(method string, params ...any) rawAnswer {
	r.t.Helper()
	r.mu.Lock()
	r.nextID++
	id := r.nextID
	r.mu.Unlock()
	line, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.conn.Write(append(line, '\n')); err != nil {
		r.t.Fatalf("%s: %v", method, err)
	}
	var a rawAnswer
	eventually(r.t, patience, "answer to "+method, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		var ok bool
		if a, ok = r.answers[id]; ok {
			return nil
		}
		return errors.Join(errors.New("none yet"), r.ended)
	})
	return a
}

// all returns every job so far, oldest first.
func (r *rawRig) all() []rawJob {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.jobs)
}

// job waits until the newest job is one that ok takes, and returns it.
func (r *rawRig) job(ok func(rawJob) error) rawJob {
	r.t.Helper()
	var j rawJob
	eventually(r.t, patience, "job", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.jobs) == 0 {
			return errors.Join(errors.New("none yet"), r.ended)
		}
		j = r.jobs[len(r.jobs)-1]
		return ok(j)
	})
	return j
}

// jobOn waits until the newest job is on the block prev, and returns the first
// one since the rig went there: that is the one which must say clean_jobs, and
// a second may follow at once.
func (r *rawRig) jobOn(prev string) rawJob {
	r.t.Helper()
	r.job(func(j rawJob) error {
		if j.PrevHash != prev {
			return fmt.Errorf("job %s is on %s, not %s", j.ID, j.PrevHash, prev)
		}
		return nil
	})
	jobs := r.all()
	last := len(jobs) - 1
	for last > 0 && jobs[last].PrevHash != prev { // it may have moved on meanwhile
		last--
	}
	first := last
	for first > 0 && jobs[first-1].PrevHash == prev {
		first--
	}
	return jobs[first]
}

// solve hashes j until a header meets target.
func (r *rawRig) solve(j *rawJob, target pool.Target) rawShare {
	r.t.Helper()
	deadline := time.Now().Add(findPatience)
	for time.Now().Before(deadline) {
		en2 := rand.Uint64()
		coinbase := slices.Concat(j.coinb1, r.en1, binary.BigEndian.AppendUint64(nil, en2), j.coinb2)
		root := sha256d.Fold(sha256d.Sum(coinbase), j.branches)
		var h [80]byte
		binary.LittleEndian.PutUint32(h[0:], j.Version)
		copy(h[4:], j.prev[:])
		copy(h[36:], root[:])
		binary.LittleEndian.PutUint32(h[68:], j.NTime)
		binary.LittleEndian.PutUint32(h[72:], j.Bits)
		for nonce := range uint32(1 << 16) {
			binary.LittleEndian.PutUint32(h[76:], nonce)
			hash := chainhash.Hash(sha256d.Sum(h[:]))
			if target.Met(&hash) {
				return rawShare{Job: *j, En2: en2, Nonce: nonce, Hash: hash}
			}
		}
	}
	r.t.Fatalf("no header found within %s: is the target too low for a test?", findPatience)
	return rawShare{}
}

// submit hands s in and returns the pool's answer.
func (r *rawRig) submit(s *rawShare) rawAnswer {
	r.t.Helper()
	return r.call("mining.submit", r.user, s.Job.ID,
		fmt.Sprintf("%016x", s.En2), fmt.Sprintf("%08x", s.Job.NTime), fmt.Sprintf("%08x", s.Nonce))
}

// blockTarget is the target of a pool made with hashesPerBlock.
func blockTarget(t *testing.T, hashesPerBlock float64) pool.Target {
	t.Helper()
	bits, err := pool.BitsFromDifficulty(hashesPerBlock / (1 << 32))
	if err != nil {
		t.Fatal(err)
	}
	target, err := pool.TargetFromBits(bits)
	if err != nil {
		t.Fatal(err)
	}
	return target
}
