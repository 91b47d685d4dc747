package fleet

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cordee/pool"
	"cordee/pool/sha256d"
)

// vector is one verified share of testdata/stratum-vectors.json.
type vector struct {
	ID        string
	Subscribe struct {
		Extranonce1     string
		Extranonce2Size int `json:"extranonce2_size"`
	}
	NotifyParams []json.RawMessage `json:"notify_params"`
	SubmitParams []string          `json:"submit_params"`
	Expected     struct {
		HeaderHex       string `json:"header_hex"`
		Hash            string
		ShareDifficulty float64 `json:"share_difficulty"`
	}
}

func vectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/stratum-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		ShareVectors []vector `json:"share_vectors"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.ShareVectors) < 7 {
		t.Fatalf("%d share vectors, want at least 7", len(file.ShareVectors))
	}
	return file.ShareVectors
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func word(t testing.TB, s string) uint32 {
	t.Helper()
	v, err := strconv.ParseUint(s, 16, 32) // vector F's nonce is not padded
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

func displayHash(hash [32]byte) string {
	slices.Reverse(hash[:])
	return hex.EncodeToString(hash[:])
}

// TestVectorHeaders rebuilds every verified share from notify parameters.
func TestVectorHeaders(t *testing.T) {
	for _, v := range vectors(t) {
		j, err := parseNotify(v.NotifyParams)
		if err != nil {
			t.Fatalf("%s: %v", v.ID, err)
		}
		version := j.version
		if len(v.SubmitParams) > 5 {
			version = version&^bip320 | word(t, v.SubmitParams[5])
		}
		h := j.header(unhex(t, v.Subscribe.Extranonce1), unhex(t, v.SubmitParams[2]), version, word(t, v.SubmitParams[3]))
		binary.LittleEndian.PutUint32(h[76:], word(t, v.SubmitParams[4]))
		if got := hex.EncodeToString(h[:]); got != v.Expected.HeaderHex {
			t.Errorf("%s: header\n got %s\nwant %s", v.ID, got, v.Expected.HeaderHex)
		}
		if got := displayHash(sha256d.Sum(h[:])); got != v.Expected.Hash {
			t.Errorf("%s: hash %s, want %s", v.ID, got, v.Expected.Hash)
		}
	}
}

// TestMinerFindsVectors lets the search itself run into the known nonce of
// vectors C and D, both with rolled versions: what it then reports must be what
// the real rig submitted.
func TestMinerFindsVectors(t *testing.T) {
	found := 0
	for _, v := range vectors(t) {
		if v.ID != "C" && v.ID != "D" {
			continue
		}
		found++
		j, err := parseNotify(v.NotifyParams)
		if err != nil {
			t.Fatal(err)
		}
		target, err := targetOf(math.Floor(v.Expected.ShareDifficulty))
		if err != nil {
			t.Fatal(err)
		}
		m := newMiner(rand.New(rand.NewPCG(1, 2)))
		m.work = &work{job: j, en1: unhex(t, v.Subscribe.Extranonce1), en2size: v.Subscribe.Extranonce2Size, mask: bip320, target: target}
		en2 := append(unhex(t, v.SubmitParams[2]), make([]byte, 8)...)
		m.extranonce2 = binary.LittleEndian.Uint64(en2)
		m.enterLane(word(t, v.SubmitParams[5]), word(t, v.SubmitParams[3]))
		m.nonce = word(t, v.SubmitParams[4]) - 100
		m.left = laneNonces
		n, s := m.scan(laneNonces, time.Time{})
		if s == nil {
			t.Fatalf("%s: nothing found in %d nonces", v.ID, n)
		}
		if n != 101 || displayHash(s.hash) != v.Expected.Hash {
			t.Errorf("%s: hash %s after %d nonces, want %s after 101", v.ID, displayHash(s.hash), n, v.Expected.Hash)
		}
		got := []string{s.en2, fmt.Sprintf("%08x", s.ntime), fmt.Sprintf("%08x", s.nonce), fmt.Sprintf("%08x", s.rolled)}
		if want := v.SubmitParams[2:]; !slices.Equal(got, want) {
			t.Errorf("%s: would submit %v, want %v", v.ID, got, want)
		}
	}
	if found != 2 {
		t.Fatalf("%d of vectors C and D in the file", found)
	}
}

func TestPrevHashText(t *testing.T) {
	for _, v := range vectors(t) {
		if v.ID != "S" {
			continue
		}
		j, err := parseNotify(v.NotifyParams)
		if err != nil {
			t.Fatal(err)
		}
		const want = "00000000440b921e1b77c6c0487ae5616de67f788f44ae2a5af6e2194d16b6f8"
		if got := j.prevHashText(); got != want {
			t.Errorf("prevhash %s, want %s", got, want)
		}
	}
}

func TestTargetOf(t *testing.T) {
	raw, err := os.ReadFile("testdata/stratum-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Table []struct{ Difficulty, Target string } `json:"difficulty_to_target"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Table) == 0 {
		t.Fatal("no difficulty table in the vectors")
	}
	for _, row := range file.Table {
		d, err := strconv.ParseFloat(row.Difficulty, 64)
		if err != nil {
			t.Fatal(err)
		}
		got, err := targetOf(d)
		if err != nil || got.String() != row.Target {
			t.Errorf("difficulty %s: target %v (%v), want %s", row.Difficulty, got, err, row.Target)
		}
	}
	if got, err := targetOf(1e-300); err != nil || got != (pool.Target{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}) {
		t.Errorf("tiny difficulty: %v, %v; want every hash to meet it", got, err)
	}
	for _, d := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := targetOf(d); !errors.Is(err, pool.ErrBadDifficulty) {
			t.Errorf("difficulty %v: error %v, want ErrBadDifficulty", d, err)
		}
	}
}

// TestParseNotifyRefuses breaks each parameter of a good notify in turn.
func TestParseNotifyRefuses(t *testing.T) {
	good := vectors(t)[4].NotifyParams
	for i, bad := range []string{
		`7`, `"zz"`, `"0"`, `"xy"`, `["00"]`, `"2000000"`, `"1d00ffff00"`, `null`, `"yes"`,
	} {
		params := slices.Clone(good)
		params[i] = json.RawMessage(bad)
		if _, err := parseNotify(params); !errors.Is(err, errNotify) {
			t.Errorf("parameter %d = %s: error %v, want errNotify", i, bad, err)
		}
	}
	if _, err := parseNotify(good[:8]); err == nil || !strings.Contains(err.Error(), "need 9") {
		t.Errorf("eight parameters: %v", err)
	}
}
