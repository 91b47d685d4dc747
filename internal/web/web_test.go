package web_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"cordee/internal/bitcoind"
	"cordee/internal/journal"
	"cordee/internal/web"
	"cordee/pool"
	"cordee/stratum"
)

// source is a pool that a test describes.
type source struct {
	status web.Status
	asked  []string // members
}

func (s *source) Status() web.Status { return s.status }
func (s *source) Rigs(member string) web.Rigs {
	s.asked = append(s.asked, member)
	return web.Rigs{Rigs: []web.Rig{{Name: "alice.barn.one", Accepted: 3}}}
}

func (s *source) Blocks() web.Blocks {
	split := &web.Split{State: web.SplitImmature, Reward: 100, Treasury: 40, Members: []web.Portion{
		{Member: "alpes", Index: 1, Credit: 60, Paid: 60}, {Member: "barn", Index: 2, Credit: 40},
	}}
	return web.Blocks{Blocks: []web.Block{
		{Height: 102, State: pool.BlockAccepted, Hash: hashOf("b")},
		{Height: 101, State: pool.BlockActive, Hash: hashOf("a"), Split: split},
	}}
}

func (s *source) Accounts() web.Accounts {
	return web.Accounts{Slot: 7, Members: []web.Account{{Member: "alpes", Index: 1, Paid: 5}, {Member: "barn", Index: 2}}}
}

func (s *source) Closes() web.Closes { return web.Closes{Closes: []web.Close{}} }

func hashOf(digit string) string { return strings.Repeat(digit, 64) }

func get(t *testing.T, h http.Handler, method, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Result()
}

func TestControl(t *testing.T) {
	s := &source{status: web.Status{Height: 101, Network: "regtest"}}
	h := web.Control(s)
	for path, want := range map[string]string{
		"/status":                     `"height":101`,
		"/blocks":                     `"state":"active"`,
		"/accounts":                   `"paid_sats":5`,
		"/payouts":                    `{"payouts":[{"member":"alpes","index":1,"height":101,"hash":"` + hashOf("a") + `","sats":60,"state":"immature","confirmations":0}]}`,
		"/payouts?member=barn":        `{"payouts":[]}`, // carried is not paid
		"/blocks?hash=" + hashOf("b"): `{"blocks":[{"hash":"` + hashOf("b"),
		"/blocks?hash=" + hashOf("c"): `{"blocks":[]}`,
		"/closes":                     `{"closes":[]}`,
		"/rigs":                       `"name":"alice.barn.one"`,
		"/rigs?member=alice":          `"accepted":3`,
	} {
		r := get(t, h, http.MethodGet, path)
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" ||
			!json.Valid(body) || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %s", path, r.Status, body)
		}
	}
	if got := fmt.Sprint(s.asked); got != "[ alice]" && got != "[alice ]" {
		t.Errorf("asked for members %s", got)
	}
	for _, bad := range []string{"/rigs?member=Alice", "/rigs?member=a.b", "/rigs?member=%22", "/rigs?member=" + strings.Repeat("a", 17), "/payouts?member=Alice", "/blocks?hash=12", "/blocks?hash=" + hashOf("A")} {
		if r := get(t, h, http.MethodGet, bad); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", bad, r.Status)
		}
	}
	for _, nobody := range []string{"bran", "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"} { // a slip, and an address of no open pool: not members who were paid nothing
		if r := get(t, h, http.MethodGet, "/payouts?member="+nobody); r.StatusCode != http.StatusNotFound {
			t.Errorf("payouts of %s: %s", nobody, r.Status)
		}
	}
	if len(s.asked) != 2 {
		t.Error("a bad member reached the source")
	}
	if r := get(t, h, http.MethodPost, "/status"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", r.Status)
	}
}

// What JSON cannot say is an error, not half an answer.
func TestControlWithoutJSON(t *testing.T) {
	s := &source{}
	s.status.Hashrate = 1 / float64(len(s.asked)) // +Inf
	if r := get(t, web.Control(s), http.MethodGet, "/status"); r.StatusCode != http.StatusInternalServerError {
		t.Errorf("%s", r.Status)
	}
}

func TestPublic(t *testing.T) {
	s := &source{}
	h := web.Public(web.Registry(func() web.Figures { return figures(1) }), s)
	for _, path := range []string{"/status", "/rigs", "/blocks", "/closes", "/accounts", "/payouts", "/index.html", "/api/", "/api/rigs", "/assets/style.css", "/debug/pprof/"} {
		if r := get(t, h, http.MethodGet, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	for _, c := range []struct {
		height  int32
		age     float64
		healthy bool
		want    int
	}{{0, 0, true, 503}, {101, 59, true, 200}, {101, 61, true, 503}, {101, 1, false, 503}} {
		s.status.Height, s.status.TemplateAge = c.height, c.age
		s.status.Nodes = []web.Node{{Name: "a"}, {Name: "b", Healthy: c.healthy}}
		if r := get(t, h, http.MethodGet, "/healthz"); r.StatusCode != c.want {
			t.Errorf("height %d, age %v: %s", c.height, c.age, r.Status)
		}
	}
	if r := get(t, h, http.MethodGet, "/metrics"); r.StatusCode != http.StatusOK {
		t.Errorf("metrics: %s", r.Status)
	}
}

// figures returns some in which every counter is n. Maps have the keys of
// their closed sets, as the rooms fill them.
func figures(n uint64) web.Figures {
	server, err := stratum.NewServer(stratum.Config{Network: &pool.Network{Scale: 1}, Pool: nobody{}})
	if err != nil {
		panic(err) // of this file only
	}
	st := server.Stats()
	for _, m := range []map[string]uint64{st.Closed, st.Messages, st.Shares} {
		for k := range m {
			m[k] = n
		}
	}
	st.NotifyFirst = []time.Duration{time.Millisecond, 3 * time.Millisecond}
	st.NotifyLast = []time.Duration{2 * time.Millisecond, 5 * time.Millisecond}
	j := journal.Stats{Seq: n, Commits: 3, SyncSum: 3 * time.Millisecond}
	j.SyncBuckets[0], j.SyncBuckets[len(j.SyncBuckets)-1] = 2, 1
	return web.Figures{
		Version: "1", Commit: "c", Network: "regtest", Stratum: st, Journal: j, Height: 101,
		Nodes:  []bitcoind.NodeStatus{{Name: "a", Healthy: true}, {Name: `b"\`}},
		Blocks: map[string]int{"active": 1}, Proposals: [2]uint64{n, n},
		Certificates: []web.Certificate{{Listener: ":3443", NotAfter: time.Now().Add(24 * time.Hour)}},
	}
}

type nobody struct{}

func (nobody) Authorize(string) (pool.Worker, string, bool) { return pool.Worker{}, "", false }
func (nobody) Leave(pool.Worker)                            {}
func (nobody) Submit(*pool.Batch)                           {}
func (nobody) Post(*pool.Batch, stratum.Ruled) bool         { return false }

// metricLine is the text format, version 0.0.4.
var metricLine = regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? [-+0-9.eInfNa]+)$`)

// Every family scrapes and parses, and has as many series after a flood as
// before.
func TestMetrics(t *testing.T) {
	few, many := web.Registry(func() web.Figures { return figures(1) }), web.Registry(func() web.Figures { return figures(1 << 40) })
	r := get(t, web.Public(few, &source{}), http.MethodGet, "/metrics")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if !metricLine.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("line %q", line)
		}
	}
	series := map[string]int{}
	a, err := few.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, f := range a {
		if strings.HasPrefix(f.GetName(), "cordee_") {
			series[f.GetName()] = len(f.GetMetric())
			total += len(f.GetMetric())
		}
	}
	b, err := many.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range b {
		if n, ok := series[f.GetName()]; ok && n != len(f.GetMetric()) {
			t.Errorf("%s has %d series, then %d", f.GetName(), n, len(f.GetMetric()))
		}
	}
	if len(series) != 38 || total > 120 {
		t.Errorf("%d families, %d series", len(series), total)
	}
}

// The histogram of the journal adds up, and what is slower than the last bound
// is counted.
func TestFsyncHistogram(t *testing.T) {
	families, err := web.Registry(func() web.Figures { return figures(1) }).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "cordee_journal_fsync_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 3 || len(h.GetBucket()) != len(journal.SyncBounds) || h.GetBucket()[len(h.GetBucket())-1].GetCumulativeCount() != 2 {
			t.Errorf("%v", h)
		}
		return
	}
	t.Error("no histogram")
}

func TestLatency(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		in   []time.Duration
		want web.Latency
	}{
		{nil, web.Latency{}},
		{[]time.Duration{3 * ms}, web.Latency{Count: 1, Median: 3, Max: 3}},
		{[]time.Duration{9 * ms, ms, 2 * ms}, web.Latency{Count: 3, Median: 2, Max: 9}},
	} {
		if got := web.LatencyOf(c.in); got != c.want {
			t.Errorf("%v: %+v", c.in, got)
		}
	}
}

// Nothing of the server is without a limit.
func TestServerLimits(t *testing.T) {
	s := web.Server(http.NotFoundHandler())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("%+v", s)
	}
}
