package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// benchPlan is how much of everything a bench does.
type benchPlan struct {
	rounds      int
	connections int           // of storm, notify and idle
	events      int           // new jobs, more where few connections make them cheap:
	most        int           // as many jobs of one connection, and 30 events at most
	submit      time.Duration // of a window of shares
	churn       time.Duration
	scale       []int         // connections
	scaleLoad   time.Duration // of 10 shares a minute each
	benchtime   string        // of each Go benchmark
}

// planOfBench is what `make bench` runs, and with QUICK=1 a tenth of it, no more
// than which fits into the files that a process may have open.
func planOfBench(t *testing.T) benchPlan {
	t.Helper()
	p := benchPlan{
		rounds: 3, connections: 10_000, events: 5, most: 30_000, submit: 5 * time.Second, churn: 3 * time.Minute,
		scale: []int{100, 1000, 10_000, 19_000}, scaleLoad: 30 * time.Second, benchtime: "500ms",
	}
	if os.Getenv("QUICK") != "" {
		p = benchPlan{
			rounds: 1, connections: 2000, events: 3, most: 1000, submit: 2 * time.Second, churn: 10 * time.Second,
			scale: []int{100, 1000}, scaleLoad: 3 * time.Second, benchtime: "50ms",
		}
	}
	if text := os.Getenv("CHURN"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second {
			t.Fatalf("CHURN=%s: give a time from 1s, as 10m", text)
		}
		p.churn = d
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	most := int(min(files.Max, 1<<20)) - 1000 // journal, node, pages
	p.connections = min(p.connections, most)
	for i := range p.scale {
		p.scale[i] = min(p.scale[i], most)
	}
	return p
}

// TestBench measures the pool and the bare server in turn and prints the tables of
// docs/performance.md: `make bench` runs it, with BENCH_INTO naming that file,
// which is written only if everything could be measured. What else it obeys
// stands there.
func TestBench(t *testing.T) {
	if os.Getenv("CORDEE_BENCH") == "" {
		t.Skip("make bench runs it: CORDEE_BENCH is not set")
	}
	p := planOfBench(t)
	loadBefore, _ := os.ReadFile("/proc/loadavg") // is only said
	h := newBenchHouse(t)
	blocks := make(chan os.Signal, 1)
	signal.Notify(blocks, syscall.SIGUSR2)
	defer signal.Stop(blocks)
	go func() {
		for range blocks {
			h.block()
		}
	}()

	f := figures{}
	servers := []string{bareName, cordeeName}
	if peer() != nil {
		servers = append(servers, peerName)
	}
	h.worn(p, f) // before the peer, which is not ours to start anew, keeps anything of the rounds
	for round := range p.rounds {
		t.Logf("round %d of %d", round+1, p.rounds)
		h.round(p, f)
	}
	list := goals(p.connections, p.churn)
	parts := []string{
		"## Beside a server that validates nothing", h.preamble(p, string(loadBefore)), goalTable(f, list, servers),
		"### How cost grows", h.byConnections(p), h.byGoBenchmarks(p),
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	text := strings.Join(parts, "\n\n")
	t.Logf("\n%s", text)
	if out := os.Getenv("BENCH_INTO"); out != "" && !t.Failed() {
		doc, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := splice(string(doc), text)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if err := os.WriteFile(out, []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rivals starts all that are measured, anew where that is ours to do.
func (h *benchHouse) rivals() []*rival {
	list := []*rival{h.floor(), h.cordee()}
	if p := peer(); p != nil {
		list = append(list, p)
	}
	return list
}

// round measures everything once, each figure of one server right after that of
// the other.
func (h *benchHouse) round(p benchPlan, f figures) {
	h.t.Helper()
	rivals := h.rivals()
	conns := fmt.Sprint(p.connections)
	for _, r := range rivals {
		var idle idleReport
		if r.pid != 0 && r.name != peerName && h.load("idle", r, &idle, "--connections", conns, "--hold", "3s") {
			f.add("fresh", r.name, idle.Fresh)
		}
	}
	for _, r := range rivals {
		var s stormReport
		if h.load("storm", r, &s, "--connections", conns) {
			if r.pid != 0 {
				f.add("shake", r.name, s.PerHandshake)
			}
			f.add("ready", r.name, micros(s.Sample.Latency.Max)/1000)
		}
	}
	for _, r := range rivals {
		var n notifyReport
		if r.news != "" && h.load("notify", r, &n, "--connections", conns, "--events", fmt.Sprint(p.events), "--exec", r.news) {
			if r.pid != 0 {
				f.add("job", r.name, n.PerJob)
			}
			f.add("spread", r.name, micros(n.Spread)/1000)
		}
		if r.status != nil {
			first, err := r.status()
			if err != nil {
				h.t.Errorf("status: %v", err)
			} else if first > 0 {
				f.add("tip", r.name, first)
			}
		}
	}
	for _, inFlight := range []string{"1", "16"} {
		for _, r := range rivals {
			var s submitReport
			if !h.load("submit", r, &s, "--connections", "200", "--inflight", inFlight, "--duration", p.submit.String()) {
				continue
			}
			if s.Server != nil {
				f.add("share"+inFlight, r.name, s.Server.CPUPerShare)
			}
			f.add("rate"+inFlight, r.name, s.SharesPerSecond)
			h.t.Logf("%s, %s in flight: %.0f shares/s in %.1f s, the load itself %.2f us a share", r.name, inFlight, s.SharesPerSecond, s.Sample.Seconds, s.LoadCPU)
		}
	}
	for _, r := range rivals {
		r.stop()
	}
}

// worn has all churn at the same time: what memory they need does not depend on
// who else runs. A peer is fresh only here.
func (h *benchHouse) worn(p benchPlan, f figures) {
	h.t.Helper()
	rivals := h.rivals()
	reports := make([]idleReport, len(rivals))
	done := make([]bool, len(rivals))
	var wg sync.WaitGroup
	for i, r := range rivals {
		if r.pid != 0 {
			wg.Go(func() {
				done[i] = h.load("idle", r, &reports[i], "--connections", fmt.Sprint(p.connections), "--hold", "3s", "--churn", p.churn.String())
			})
		}
	}
	wg.Wait()
	for i, r := range rivals {
		if done[i] {
			f.add("worn", r.name, reports[i].After)
			if r.name == peerName {
				f.add("fresh", r.name, reports[i].Fresh)
			}
		}
		r.stop()
	}
}

// byConnections is the table of how cost grows with connections.
func (h *benchHouse) byConnections(p benchPlan) string {
	h.t.Helper()
	var b strings.Builder
	b.WriteString("With connections; a share is one in flight on each, and the load is 10 shares a minute of each, in percent of one core.\n\n" +
		"| connections | share, us: bare, cordee, ratio | job to all, ms: bare, cordee, ratio | memory each, KiB: bare, cordee | load: bare, cordee |\n|---|---|---|---|---|\n")
	last := 0
	for _, n := range p.scale {
		if n == last {
			continue // more files than that may not be open
		}
		last = n
		rivals := h.rivals()[:2]
		f := figures{}
		conns := fmt.Sprint(n)
		for _, r := range rivals {
			var idle idleReport
			if h.load("idle", r, &idle, "--connections", conns, "--hold", "3s", "--churn", p.scaleLoad.String(), "--rejoin", "0.01") {
				f.add("fresh", r.name, idle.Fresh)
				f.add("load", r.name, idle.Load)
			}
		}
		for _, r := range rivals {
			var nr notifyReport
			events := max(p.events, min(30, p.most/n)) // processor time is counted in steps of 10 ms
			if h.load("notify", r, &nr, "--connections", conns, "--events", fmt.Sprint(events), "--exec", r.news) {
				f.add("job", r.name, nr.PerJob)
			}
		}
		for _, r := range rivals {
			var s submitReport
			if h.load("submit", r, &s, "--connections", conns, "--inflight", "1", "--duration", p.submit.String()) {
				f.add("share", r.name, s.Server.CPUPerShare)
			}
		}
		for _, r := range rivals {
			r.stop()
		}
		pair := func(figure string) string {
			return digits(f.of(figure, bareName)) + ", " + digits(f.of(figure, cordeeName))
		}
		ratio := func(figure string) string {
			v := f.of(figure, cordeeName) / f.of(figure, bareName)
			if math.IsInf(v, 0) {
				v = math.NaN()
			}
			return ", " + digits(v)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", n, pair("share")+ratio("share"), pair("job")+ratio("job"), pair("fresh"), pair("load"))
	}
	return b.String()
}

// byGoBenchmarks are the tables that need no server: what grows with a template,
// its coinbase and the members.
func (h *benchHouse) byGoBenchmarks(p benchPlan) string {
	h.t.Helper()
	var out []byte
	var err error
	if before := os.Getenv("BENCH_GO"); before != "" { // make bench ran them all
		out, err = os.ReadFile(before)
	} else {
		cmd := exec.CommandContext(h.t.Context(), "go", "test", "-run", "^$", "-bench", "^Benchmark(Share|Payout|Render)By",
			"-benchtime", p.benchtime, "-count", fmt.Sprint(p.rounds), "./pool", "./internal/keeper", "./stratum")
		cmd.Dir = "../.."
		out, err = cmd.CombinedOutput()
	}
	if err != nil {
		h.t.Errorf("Go benchmarks: %v\n%s", err, out)
	}
	found := goBenchmarks(string(out))
	table := func(title, unit, benchmark string, per float64, sizes ...int) string {
		head, line, row := "| "+title+" |", "|---|", "| "+unit+" |"
		for _, n := range sizes {
			v := math.NaN()
			if runs := found[fmt.Sprintf("%s/%d", benchmark, n)]; len(runs) > 0 {
				v = median(runs, func(v float64) float64 { return v })
			}
			head += fmt.Sprintf(" %d |", n)
			line += "---|"
			row += " " + digits(v/per) + " |"
		}
		return head + "\n" + line + "\n" + row
	}
	return strings.Join([]string{
		"With the outputs of a coinbase, the branches of a template, and the members of the pool (medians of the same run):",
		table("outputs in the coinbase", "a share that comes alone, us", "ShareByOutputs", 1000, 1, 5, 20, 50, 100, 200),
		table("branches", "a share that comes alone, us", "ShareByBranches", 1000, 0, 4, 8, 12, 14),
		table("members", "a template split and settled, ms", "PayoutByMembers", 1e6, 10, 50, 200, 1000),
		table("members with rigs", "a job rendered for all of them, ms", "RenderByMembers", 1e6, 10, 50, 200, 1000),
	}, "\n\n")
}

// preamble says on what, when and how.
func (h *benchHouse) preamble(p benchPlan, load string) string {
	h.t.Helper()
	cpu, _ := os.ReadFile("/proc/cpuinfo") // is only said
	said, err := exec.CommandContext(h.t.Context(), filepath.Join(h.bin, "cordee"), "version", "--json").Output()
	var v struct {
		Kernel string `json:"sha256d_kernel"`
	}
	if err == nil {
		err = json.Unmarshal(said, &v)
	}
	if err != nil {
		h.t.Errorf("cordee version: %v", err)
	}
	rounds := fmt.Sprintf("medians of %d alternating rounds, with the least and the most", p.rounds)
	if p.rounds == 1 {
		rounds = "one round"
	}
	return machine(string(cpu), load, v.Kernel, time.Now()) + "\n" +
		"Server, load and node share the cores; " + rounds + ". The pool runs as `cordee serve` does, its journal and\n" +
		"ledger durable on disk, credits in memory, on " + h.node.Kind + " in regtest; shares are real, of 4 hashes each, on 200 connections where nothing else\n" +
		"is said. The bare server (`cordee-load floor`) answers `true` without a look."
}
