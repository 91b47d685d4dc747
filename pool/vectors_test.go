package pool_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"cordee/internal/harness"
	"cordee/pool"
)

// notifyParams are the parameters of mining.notify.
type notifyParams struct {
	id, prevHash, coinb1, coinb2 string
	branches                     []string
	version, nbits, ntime        string
	clean                        bool
}

func (p *notifyParams) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.id, &p.prevHash, &p.coinb1, &p.coinb2, &p.branches, &p.version, &p.nbits, &p.ntime, &p.clean})
}

type shareVector struct {
	ID, Network string
	Subscribe   struct {
		Extranonce1     string
		Extranonce2Size int `json:"extranonce2_size"`
	}
	Notify   notifyParams `json:"notify_params"`
	Submit   []string     `json:"submit_params"`
	Expected struct {
		Coinbase        string  `json:"coinbase_hex"`
		CoinbaseTxID    string  `json:"coinbase_txid"`
		MerkleRoot      string  `json:"merkle_root_internal"`
		Version         string  `json:"version_final"`
		Header          string  `json:"header_hex"`
		Hash            string  `json:"hash"`
		ShareDifficulty float64 `json:"share_difficulty"`
		NetworkTarget   string  `json:"network_target"`
		MeetsNetwork    bool    `json:"meets_network_target"`
	}
	RequiredDifficulty float64           `json:"required_difficulty"`
	IfMistake          map[string]string `json:"hash_if_mistake"`
	Block              string            `json:"block_witness_form"`
	CoinbaseWitness    string            `json:"coinbase_witness_form"`
	TemplateTxIDs      []string          `json:"template_txids"`
}

type vectors struct {
	Shares  []shareVector `json:"share_vectors"`
	Rejects []struct {
		ID, Base, Why, After, Hash string
		Code                       int      `json:"expected_error_code"`
		Required                   float64  `json:"required_difficulty"`
		Submit                     []string `json:"submit_params"`
	} `json:"reject_vectors"`
	Versions []struct {
		Base, Mask, Field, Note string
		Final                   *string
		Valid                   bool
	} `json:"version_combine"`
	PrevHashes []struct {
		Stratum, Display, From string
		Header                 string `json:"header_bytes"`
	} `json:"prevhash_forms"`
	Targets []struct{ Difficulty, Target string } `json:"difficulty_to_target"`
	NBits   []struct {
		NBits, Target string
		Difficulty    float64
	} `json:"nbits"`
	Templates []struct {
		Source   string
		Template struct {
			PrevHash   string `json:"previousblockhash"`
			TxIDs      []string
			Height     int32
			Value      int64 `json:"coinbasevalue"`
			Bits       string
			Version    uint32
			MinTime    uint32
			CurTime    uint32
			Commitment string `json:"default_witness_commitment"`
		}
		Notify notifyParams `json:"notify_params"`
	} `json:"template_to_notify"`
	Headers []struct {
		Name, Hash string
		Header     string `json:"header_hex"`
		Difficulty float64
	}
	Merkle []struct {
		Source      string
		Branches    []string
		Root        string `json:"merkle_root_internal"`
		CoinbaseHex string `json:"coinbase_hex"`
	}
}

func loadVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/stratum-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	v := new(vectors)
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
	if len(v.Shares) != 7 || len(v.Rejects) != 14 || len(v.Versions) != 10 || len(v.PrevHashes) != 9 ||
		len(v.Targets) != 12 || len(v.NBits) != 7 || len(v.Templates) != 4 || len(v.Headers) != 3 || len(v.Merkle) != 2 {
		t.Fatalf("vectors are not the known set")
	}
	return v
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // of our own files only
	}
	return b
}

func number(s string) uint32 {
	v, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		panic(err) // of our own files only
	}
	return uint32(v)
}

// scale of a vector's network.
func (v *shareVector) scale() pool.Scale {
	if v.Network == "regtest" {
		return pool.RegtestScale
	}
	return pool.MainScale
}

// work returns the vector's job for pool, its time bounds being those of the
// notify.
func (v *shareVector) work() *pool.Work {
	t := &pool.Template{
		Version: number(v.Notify.version), PrevHash: harness.NaivePrevHash(v.Notify.prevHash),
		Bits: number(v.Notify.nbits), MinTime: number(v.Notify.ntime), CurTime: number(v.Notify.ntime),
	}
	for _, b := range v.Notify.branches {
		t.Branches = append(t.Branches, [32]byte(unhex(b)))
	}
	var err error
	if t.BlockTarget, err = pool.TargetFromBits(t.Bits); err != nil {
		panic(err)
	}
	return &pool.Work{Template: t, Coinb1: unhex(v.Notify.coinb1), Coinb2: unhex(v.Notify.coinb2)}
}

// naive returns the same job for the naive validator.
func (v *shareVector) naive() *harness.NaiveJob {
	n := &v.Notify
	return &harness.NaiveJob{
		PrevHash: n.prevHash, Coinb1: n.coinb1, Coinb2: n.coinb2, Branches: n.branches, Version: n.version,
		NBits: n.nbits, NTime: n.ntime, Extranonce1: v.Subscribe.Extranonce1,
		Extranonce2Size: v.Subscribe.Extranonce2Size, Mask: "1fffe000", MinTime: int64(number(n.ntime)),
	}
}

// submission parses submit parameters as a session would; params are known to
// be hex of the right length. The Reject is its fault.
func (v *shareVector) submission(work *pool.Work, params []string) (pool.Submission, pool.Reject) {
	s := pool.Submission{
		Work: work, Extranonce1: [4]byte(unhex(v.Subscribe.Extranonce1)), Extranonce2Size: uint8(v.Subscribe.Extranonce2Size),
		NTime: number(params[3]), Nonce: number(params[4]), Version: work.Template.Version,
	}
	copy(s.Extranonce2[:], unhex(params[2]))
	if len(params) < 6 {
		return s, pool.Accepted
	}
	var ok bool
	if s.Version, ok = pool.MergeVersion(work.Template.Version, number(params[5]), pool.VersionRollingMask); !ok {
		return s, pool.BadVersion
	}
	return s, pool.Accepted
}

func naiveSubmission(params []string) *harness.NaiveSubmission {
	s := &harness.NaiveSubmission{Extranonce2: params[2], NTime: params[3], Nonce: params[4]}
	if len(params) > 5 {
		s.VersionBits = params[5]
	}
	return s
}
