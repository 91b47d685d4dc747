package stratum

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/rs/zerolog"

	"cordee/pool"
)

// vectorPool accepts every name and has its clock stand at the job's time.
type vectorPool struct {
	scale pool.Scale
	now   int64
	block bool
	bytes []byte // of the last block, with witness where the template has any
	hash  chainhash.Hash
}

func (*vectorPool) Authorize(user string) (pool.Worker, string, bool) {
	return pool.Worker{Member: 1, Name: user}, "", true
}

func (*vectorPool) Leave(pool.Worker) {}

func (p *vectorPool) Post(b *pool.Batch, _ Ruled) bool {
	p.Submit(b)
	return false
}

func (p *vectorPool) Submit(b *pool.Batch) {
	b.Hash()
	b.Judge(p.now, p.scale)
	for i := range b.Hashed {
		p.hash = b.Hashed[i].Hash
		if b.Hashed[i].Block {
			work := b.Subs[i].Work
			p.block, p.bytes = true, work.Template.Block(&b.Hashed[i].Header, work.Coinbase(nil, &b.Subs[i]))
		}
	}
}

type shareVector struct {
	ID        string
	Subscribe struct {
		Extranonce1     string
		Extranonce2Size uint8 `json:"extranonce2_size"`
	}
	Notify []json.RawMessage `json:"notify_params"`
	Submit []string          `json:"submit_params"`
	Expect struct {
		Meets      bool `json:"meets_network_target"`
		Hash       string
		Difficulty float64 `json:"share_difficulty"`
	} `json:"expected"`
	Block string `json:"block_witness_form"`
}

type rejectVector struct {
	ID       string
	Base     string
	Why      string
	Code     int      `json:"expected_error_code"`
	Required float64  `json:"required_difficulty"`
	Submit   []string `json:"submit_params"`
	After    string
}

func loadVectors(t *testing.T) (shares map[string]shareVector, rejects []rejectVector) {
	t.Helper()
	raw, err := os.ReadFile("testdata/stratum-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Shares  []shareVector  `json:"share_vectors"`
		Rejects []rejectVector `json:"reject_vectors"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	shares = make(map[string]shareVector)
	for _, s := range v.Shares {
		shares[s.ID] = s
	}
	return shares, v.Rejects
}

// workOf builds the work of a vector from its notify.
func workOf(t *testing.T, v shareVector) (*pool.Work, uint32) {
	t.Helper()
	str := func(i int) string {
		var s string
		if err := json.Unmarshal(v.Notify[i], &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	bin := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	word := func(i int) uint32 {
		n, err := strconv.ParseUint(str(i), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	tmpl := &pool.Template{Version: word(5), Bits: word(6), WorkBits: word(6), MinTime: word(7), CurTime: word(7)}
	for i, b := range bin(str(1)) {
		tmpl.PrevHash[i&^3+3-i&3] = b
	}
	if got := string(appendPrevHash(nil, tmpl.PrevHash[:])); got != str(1) {
		t.Fatalf("prevhash renders as %s, want %s", got, str(1))
	}
	var branches []string
	if err := json.Unmarshal(v.Notify[4], &branches); err != nil {
		t.Fatal(err)
	}
	for _, b := range branches {
		tmpl.Branches = append(tmpl.Branches, [32]byte(bin(b)))
	}
	var err error
	if tmpl.BlockTarget, err = pool.TargetFromBits(tmpl.Bits); err != nil {
		t.Fatal(err)
	}
	return &pool.Work{Template: tmpl, Member: 1, Coinb1: bin(str(2)), Coinb2: bin(str(3))}, word(7)
}

// vectorSession is a session to which v's job was issued at difficulty.
func vectorSession(t *testing.T, v shareVector, name string, difficulty float64) (*puppet, *vectorPool) {
	t.Helper()
	n, err := pool.NetworkByName("signet")
	if err != nil {
		t.Fatal(err)
	}
	work, when := workOf(t, v)
	vp := &vectorPool{scale: n.Scale, now: int64(when)}
	srv, err := NewServer(Config{Network: n, Pool: vp, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	p := newPuppet(t, srv)
	if _, err := hex.Decode(p.s.en1[:], []byte(v.Subscribe.Extranonce1)); err != nil {
		t.Fatal(err)
	}
	p.s.en2Size = v.Subscribe.Extranonce2Size
	auth, _ := json.Marshal(name)
	p.read([]byte(saySubscribe + `{"id":1,"method":"mining.authorize","params":[` + string(auth) + `]}` + "\n"))
	d, err := pool.DifficultyFromFloat(difficulty, n.Scale)
	if err != nil {
		t.Fatal(err)
	}
	p.s.issued.push(issue{key: wireKey(1, 0), work: work, difficulty: d, mask: pool.VersionRollingMask})
	p.twin.recv()
	return p, vp
}

// say submits params, with the vector's job id replaced by the issued one.
func (p *puppet) say(base shareVector, params []string) string {
	params = append([]string(nil), params...)
	if params[1] == base.Submit[1] {
		params[1] = keyID(wireKey(1, 0))
	}
	raw, _ := json.Marshal(params)
	p.read([]byte(`{"id":4,"method":"mining.submit","params":` + string(raw) + "}\n"))
	out, _ := p.twin.recv()
	return out
}

const accepted = `{"id":4,"result":true,"error":null}` + "\n"

// rejectVectors plays every reject vector through a session.
func rejectVectors(t *testing.T) {
	shares, rejects := loadVectors(t)
	if len(rejects) != 14 {
		t.Fatalf("%d reject vectors, want 14", len(rejects))
	}
	for _, r := range rejects {
		base := shares[r.Base]
		p, _ := vectorSession(t, base, base.Submit[0], r.Required)
		if r.Code == pool.NotSubscribed.Code() {
			p = newPuppet(t, p.srv)
		}
		if r.After != "" {
			if out := p.say(base, base.Submit); out != accepted {
				t.Fatal("the base share:", out)
			}
		}
		if out := p.say(base, r.Submit); !strings.Contains(out, fmt.Sprintf(`"error":[%d,`, r.Code)) {
			t.Errorf("%s, %s: %s, want %d", r.ID, r.Why, out, r.Code)
		}
	}
}

// shareVectors plays every share vector through a session: it is accepted, and
// its block is seen.
func shareVectors(t *testing.T) {
	shares, _ := loadVectors(t)
	if len(shares) != 7 {
		t.Fatalf("%d share vectors, want 7", len(shares))
	}
	for id, v := range shares {
		p, vp := vectorSession(t, v, v.Submit[0], 1.0/1024)
		if id == "F" { // regtest's difficulty is below what this scale can say
			p.s.issued.last().difficulty = 0
			vp.scale = pool.RegtestScale
		}
		if out := p.say(v, v.Submit); out != accepted {
			t.Error(id, out)
		}
		if vp.block != v.Expect.Meets {
			t.Errorf("%s: block %v, want %v", id, vp.block, v.Expect.Meets)
		}
		if d := pool.HashDifficulty(&vp.hash); vp.hash.String() != v.Expect.Hash || math.Abs(d/v.Expect.Difficulty-1) > 1e-9 {
			t.Errorf("%s: hash %s of difficulty %v, want %s of %v", id, vp.hash, d, v.Expect.Hash, v.Expect.Difficulty)
		}
	}
}
