package web_test

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordee/internal/web"
	"cordee/pool"
)

var rewrite = flag.Bool("rewrite", false, "write the golden pages anew")

// fixed is a pool with one of everything that a page shows.
type fixed struct {
	source
	accounts web.Accounts
	blocks   web.Blocks
	reads    int
}

func (f *fixed) Status() web.Status     { f.reads++; return f.status }
func (f *fixed) Accounts() web.Accounts { return f.accounts }
func (f *fixed) Blocks() web.Blocks     { return f.blocks }

func newFixed() *fixed {
	found := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC) // 02:30 in Paris, for the first time that night
	split := func(state string) *web.Split {
		return &web.Split{
			State: state, Slot: 7, Reward: 312_500_000, Treasury: 2_500_001, Receipt: hashOf("e"),
			Members: []web.Portion{
				{Member: "parked", Index: 0, Credit: 1},
				{Member: "alpes", Index: 1, Credit: 307_374_999, Paid: 307_374_999},
				{Member: "jura", Index: 2, Credit: 2_500_000},
			},
			Fees: []web.FeePortion{{Account: "pool", Credit: 2_625_000, Paid: 2_625_000}},
		}
	}
	return &fixed{
		source: source{status: web.Status{
			Network: "regtest", Height: 905_001, TemplateAge: 12.4, Connections: 1300, Working: 1234, Hashrate: 571.44e15,
			Nodes: []web.Node{
				{Name: "near", State: "ok", Healthy: true, Followed: true, Height: 905_000},
				{Name: "far", State: "syncing", Height: 904_998, Error: "dial tcp 10.0.0.7:8332: secret"},
			},
			Listeners: []string{"0.0.0.0:3333"},
		}},
		accounts: web.Accounts{
			Slot: 8, Store: "current", Treasury: 2_500_001, Halts: []string{"block.mismatch"}, Trouble: []string{"chain: /home/secret is gone"},
			Members: []web.Account{
				{Member: "parked", Index: 0, Maturing: 1},
				{Member: "alpes", Index: 1, Expected: 123_456_789, Direct: 125_000_000, Maturing: 307_374_999, Outputs: 307_374_999, Paid: 307_374_999},
				{Member: "jura", Index: 2, Expected: 1, Maturing: 2_500_000, Carried: 2_500_000},
			},
		},
		blocks: web.Blocks{Blocks: []web.Block{
			{Hash: hashOf("d"), Height: 905_000, State: pool.BlockOrphaned, Value: 312_500_000, Worker: "jura.dole.rig-1", Found: found.Add(time.Hour)},
			{Hash: hashOf("c"), Height: 904_999, State: pool.BlockAccepted, Value: 312_500_000, Worker: "alpes.annecy.secret", Found: found},
			{Hash: hashOf("b"), Height: 904_950, State: pool.BlockActive, Confirmations: 51, Value: 312_500_000, Worker: "alpes.annecy.secret", Found: found, Split: split(web.SplitImmature)},
			{Hash: hashOf("a"), Height: 904_000, State: pool.BlockActive, Confirmations: 1001, Value: 312_500_000, Split: split(web.SplitMature)},
		}},
	}
}

func public(s web.Source) http.Handler {
	return web.Public(web.Registry(func() web.Figures { return figures(1) }), s)
}

// ask gets path in a language header; it returns the answer and its body.
func ask(t *testing.T, h http.Handler, path, accept string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	r.Header.Set("Accept-Language", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// The page in both languages, as it is kept in testdata; the bubble's clock
// stands at midnight of 1 January 2000, UTC.
func TestPage(t *testing.T) {
	for _, lang := range []string{"fr", "en"} {
		synctest.Test(t, func(t *testing.T) {
			r, body := ask(t, public(newFixed()), "/?lang="+lang, "")
			if r.StatusCode != http.StatusOK || r.Header.Get("Content-Language") != lang || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Fatalf("%s %v", r.Status, r.Header)
			}
			if strings.Contains(body, "secret") || strings.Contains(body, "3333") {
				t.Error("the page tells what is for the operator")
			}
			if strings.Contains(body, "<script") || strings.Contains(body, " style=") || strings.Contains(body, "http") {
				t.Error("the page has a script, a style of its own or something from elsewhere")
			}
			golden := filepath.Join("testdata", "page."+lang+".html")
			if *rewrite {
				if err := os.WriteFile(golden, []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if body != string(want) {
				t.Errorf("the page is not %s; go test ./internal/web -rewrite writes it anew. Got:\n%s", golden, body)
			}
		})
	}
}

// tags are what a reader does not see.
var tags = regexp.MustCompile(`<[^>]*>`)

// breaks are the spaces that French lets no line break at, and here would.
var breaks = regexp.MustCompile(`[  ]?[ ][:;!?»%]|« |[0-9] [0-9]|[0-9] (sats|BTC|s\b|PH/s)|'|&#39;`)

func TestFrenchTypography(t *testing.T) {
	_, body := ask(t, public(newFixed()), "/", "")
	for _, bad := range breaks.FindAllStringIndex(tags.ReplaceAllString(body, "|"), -1) {
		text := tags.ReplaceAllString(body, "|")
		t.Errorf("%q", text[max(0, bad[0]-20):min(len(text), bad[1]+20)])
	}
}

// Names come from people; the page takes them as text wherever they stand.
func TestPageEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><b onmouseover='x'>{{.}}`
	f := newFixed()
	f.status.Network, f.status.Nodes[0].Name, f.status.Nodes[0].State = evil, evil, evil
	f.accounts.Store, f.accounts.Halts, f.accounts.Trouble = evil, []string{evil}, []string{evil}
	for i := range f.accounts.Members {
		f.accounts.Members[i].Member = evil
	}
	for i := range f.blocks.Blocks {
		b := &f.blocks.Blocks[i]
		b.Hash, b.Worker = evil, evil
		if b.Split != nil {
			b.Split.Members[1].Member, b.Split.Fees[0].Account, b.Split.Receipt = evil, evil, evil
		}
	}
	_, plain := ask(t, public(newFixed()), "/", "")
	_, body := ask(t, public(f), "/", "")
	for _, tag := range []string{"<script", "<b ", "onmouseover='"} {
		if strings.Contains(body, tag) {
			t.Errorf("%s stands in the page", tag)
		}
	}
	if n := strings.Count(body, "&lt;script&gt;alert(1)"); n < 20 {
		t.Errorf("the name stands only %d times", n)
	}
	if a, b := strings.Count(plain, "<"), strings.Count(body, "<"); a != b {
		t.Errorf("%d tags with tame names, %d with others", a, b)
	}
}

func TestLanguage(t *testing.T) {
	h := public(newFixed())
	for _, c := range []struct{ path, accept, want string }{
		{"/", "", "fr"},
		{"/", "de", "fr"},
		{"/", "*", "fr"},
		{"/", "en", "en"},
		{"/", "EN-gb, fr;q=0.9", "en"},
		{"/", "fr-CA,en;q=0.8", "fr"},
		{"/", "en;q=0.3, fr;q=0.7", "fr"},
		{"/", "de, en;q=0.1", "en"},
		{"/", "en;q=0", "fr"},
		{"/", "en;q=2", "fr"},
		{"/", "en;q=NaN", "fr"},
		{"/", "en;level=1", "fr"},
		{"/", strings.Repeat(",;q=", 1000), "fr"},
		{"/?lang=fr", "en", "fr"},
		{"/?lang=en", "fr", "en"},
		{"/?lang=de", "en", "en"},
		{"/?lang=", "en", "en"},
	} {
		if r, body := ask(t, h, c.path, c.accept); r.Header.Get("Content-Language") != c.want || !strings.Contains(body, `<html lang="`+c.want+`"`) {
			t.Errorf("%s, %.40q: %s", c.path, c.accept, r.Header.Get("Content-Language"))
		} else if r.Header.Get("Vary") != "Accept-Language" {
			t.Error("Vary is missing")
		}
	}
}

// Every answer, errors too, tells browsers to keep to the page.
func TestHeaders(t *testing.T) {
	h := public(newFixed())
	for _, path := range []string{"/", "/api/pool", "/style.css", "/metrics", "/healthz", "/nowhere"} {
		r, _ := ask(t, h, path, "")
		csp := r.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: policy %q lacks %s", path, csp, part)
			}
		}
		if strings.Contains(csp, "unsafe") || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		for _, path := range []string{"/", "/api/pool", "/api/members", "/api/blocks", "/style.css"} {
			if r := get(t, h, method, path); r.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, r.Status)
			}
		}
	}
}

// The JSON has these fields and no others, so that nothing slips out.
func TestPublicJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := public(newFixed())
		for path, want := range map[string]string{
			"/api/pool": "condition halts hashrate height last_block last_block.confirmations last_block.found last_block.found_by last_block.hash " +
				"last_block.height last_block.state last_block.value_sats mining network nodes nodes.followed nodes.healthy nodes.height " +
				"nodes.name nodes.state rigs slot store template_age_seconds time treasury_sats trouble",
			"/api/members": "members members.carried_sats members.direct_sats members.expected_sats members.index members.maturing_in_coinbase_sats " +
				"members.maturing_sats members.member members.paid_sats time",
			"/api/blocks": "blocks blocks.confirmations blocks.found blocks.found_by blocks.hash blocks.height blocks.split " +
				"blocks.split.fees blocks.split.fees.account blocks.split.fees.credit_sats blocks.split.fees.paid_sats " +
				"blocks.split.members blocks.split.members.credit_sats blocks.split.members.index blocks.split.members.member " +
				"blocks.split.members.paid_sats blocks.split.receipt blocks.split.reward_sats blocks.split.slot blocks.split.state " +
				"blocks.split.treasury_sats blocks.state blocks.value_sats time total",
		} {
			r, body := ask(t, h, path, "")
			var v map[string]any
			if err := json.Unmarshal([]byte(body), &v); err != nil || r.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%s: %v %v", path, err, r.Header)
			}
			if got := strings.Join(fields(v), " "); got != want {
				t.Errorf("%s:\n got %s\nwant %s", path, got, want)
			}
			if strings.Contains(body, "secret") || v["time"] != "2000-01-01T00:00:00Z" {
				t.Errorf("%s: %s", path, body)
			}
		}
	})
}

// A crowd reads the pool once a second.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixed()
		h := public(f)
		for range 100 {
			ask(t, h, "/", "fr")
			ask(t, h, "/?lang=en", "")
			ask(t, h, "/api/blocks", "")
		}
		if f.reads != 1 {
			t.Errorf("read %d times", f.reads)
		}
		time.Sleep(time.Second) // of the bubble
		f.status.Network = "signet"
		if _, body := ask(t, h, "/", ""); f.reads != 2 || !strings.Contains(body, "signet") {
			t.Errorf("read %d times, or an old page", f.reads)
		}
	})
}

// The longest lists are cut, and say so.
func TestLongLists(t *testing.T) { synctest.Test(t, testLongLists) }

func testLongLists(t *testing.T) {
	f := newFixed()
	for len(f.blocks.Blocks) < 1000 {
		f.blocks.Blocks = append(f.blocks.Blocks, f.blocks.Blocks[3])
	}
	h := public(f)
	if _, body := ask(t, h, "/", ""); strings.Count(body, "<details") != 20 || !strings.Contains(body, "20/1\u202f000") {
		t.Errorf("%d blocks on the page", strings.Count(body, "<details"))
	}
	const anybody = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080" // of an open pool
	for i := range 1000 {
		f.accounts.Members = append(f.accounts.Members, web.Account{Member: anybody, Index: uint16(100 + i), Expected: int64(1000 + i)})
	}
	time.Sleep(2 * time.Second)
	if _, body := ask(t, h, "/", ""); strings.Count(body, ` class="hash">`+anybody) > 200 || !strings.Contains(body, "200/1\u202f00") || !strings.Contains(body, "1\u202f999") {
		t.Errorf("%d addresses on the page", strings.Count(body, anybody))
	}
	if _, body := ask(t, h, "/api/members", ""); strings.Count(body, anybody) != 1000 {
		t.Error("the JSON has not all members")
	}
	if _, body := ask(t, h, "/api/blocks", ""); strings.Count(body, `"confirmations"`) != 100 || !strings.Contains(body, `"total":1000`) {
		t.Error("the JSON has not 100 of 1000 blocks")
	}
}
