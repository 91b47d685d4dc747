package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The servers of a bench; a third is called peer.
const (
	bareName   = "bare server"
	cordeeName = "cordee"
)

// figures are what a bench measured: by figure, by server, one value a round.
type figures map[string]map[string][]float64

func (f figures) add(figure, server string, v float64) {
	if f[figure] == nil {
		f[figure] = map[string][]float64{}
	}
	f[figure][server] = append(f[figure][server], v)
}

// of returns the median, NaN where there is nothing.
func (f figures) of(figure, server string) float64 {
	if len(f[figure][server]) == 0 {
		return math.NaN()
	}
	return median(f[figure][server], func(v float64) float64 { return v })
}

// goal is one row of the table of goals.
type goal struct {
	figure, label string
	ratio         float64 // of cordee's to the bare server's that is aimed at; 0 for none
	most, least   float64 // of cordee's own that is aimed at; 0 for none
}

func goals(connections int, worn time.Duration) []goal {
	return []goal{
		{figure: "share1", label: "processor a share, 1 in flight, us", ratio: 1.6},
		{figure: "share16", label: "processor a share, 16 in flight, us", most: 3},
		{figure: "rate16", label: "shares a second, 16 in flight", least: 300_000},
		{figure: "shake", label: fmt.Sprintf("processor a handshake, %d at once, us", connections), ratio: 2},
		{figure: "ready", label: "the last of them has work after, ms"},
		{figure: "job", label: fmt.Sprintf("processor for a job to %d rigs, ms", connections), ratio: 1.2},
		{figure: "spread", label: "first rig to last, ms", ratio: 1.2},
		{figure: "tip", label: "the node's new block to the first rig, ms", most: 5},
		{figure: "fresh", label: "memory a fresh connection, KiB", most: 9},
		{figure: "worn", label: fmt.Sprintf("memory a connection after %s of load and churn, KiB", short(worn)), most: 14},
	}
}

// verdict says what was aimed at, and whether it was met.
func (g goal) verdict(cordee, bare float64) (aim, met string) {
	var ok bool
	switch {
	case g.ratio > 0:
		aim, ok = fmt.Sprintf("≤ %g times the bare server", g.ratio), cordee/bare <= g.ratio
	case g.most > 0:
		aim, ok = fmt.Sprintf("≤ %g", g.most), cordee <= g.most
	case g.least > 0:
		aim, ok = fmt.Sprintf("≥ %s", digits(g.least)), cordee >= g.least
	default:
		return "", ""
	}
	switch {
	case math.IsNaN(cordee) || g.ratio > 0 && math.IsNaN(bare):
		return aim, "not measured"
	case ok:
		return aim, "met"
	}
	return aim, "**missed**"
}

// goalTable is the table of goals in Markdown.
func goalTable(f figures, list []goal, servers []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s | cordee to bare | goal | |\n|---|%s---|---|---|\n", strings.Join(servers, " | "), strings.Repeat("---|", len(servers)))
	for _, g := range list {
		fmt.Fprintf(&b, "| %s |", g.label)
		for _, s := range servers {
			fmt.Fprintf(&b, " %s |", spread(f[g.figure][s]))
		}
		cordee, bare := f.of(g.figure, cordeeName), f.of(g.figure, bareName)
		aim, met := g.verdict(cordee, bare)
		ratio := "–"
		if r := cordee / bare; !math.IsNaN(r) {
			ratio = fmt.Sprintf("%.2f", r)
		}
		fmt.Fprintf(&b, " %s | %s | %s |\n", ratio, aim, met)
	}
	return b.String()
}

// spread is a median with the least and the most beside it.
func spread(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	mid := digits(median(values, func(v float64) float64 { return v }))
	low, high := digits(slices.Min(values)), digits(slices.Max(values))
	if low == high {
		return mid
	}
	return fmt.Sprintf("%s (%s to %s)", mid, low, high)
}

// digits prints three of them, and groups of thousands.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 1e6:
		return fmt.Sprintf("%.2f million", v/1e6)
	case a >= 1000:
		n := int64(math.Pow(10, math.Floor(math.Log10(a))-2))
		w := int64(math.Round(v/float64(n))) * n
		return fmt.Sprintf("%d %03d", w/1000, w%1000)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// short is a time without zeros at its end.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// machine says what the figures were taken on, from what Linux tells. kernel is
// the pool's hashing kernel.
func machine(cpuinfo, load, kernel string, now time.Time) string {
	name, flags := runtime.GOARCH, ""
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			name = strings.TrimSpace(value)
		case "flags", "Features":
			flags = " " + strings.TrimSpace(value) + " "
		}
	}
	var has, lacks []string
	for _, f := range [][2]string{{"sha_ni", "SHA-NI"}, {"sha2", "ARMv8 SHA2"}, {"avx512f", "AVX-512"}} {
		if strings.Contains(flags, " "+f[0]+" ") {
			has = append(has, f[1])
		}
	}
	if len(has) == 0 || has[0] == "AVX-512" {
		lacks = append(lacks, "It has no SHA instructions: the goals of a share's processor time and of shares a second cannot be shown on it.")
	}
	if before, _, ok := strings.Cut(load, " "); ok {
		lacks = append(lacks, fmt.Sprintf("Its load was %s before this began.", before))
	}
	text := fmt.Sprintf("%s, on %d cores of %s", now.UTC().Format(time.DateOnly), runtime.NumCPU(), name)
	if len(has) > 0 {
		text += " with " + strings.Join(has, " and ")
	}
	text += fmt.Sprintf(", %s, hashing kernel %s.", runtime.Version(), kernel)
	return strings.Join(append([]string{text}, lacks...), " ")
}

// The lines between which a bench writes.
const (
	benchBegin = "<!-- make bench writes from here -->"
	benchEnd   = "<!-- to here -->"
)

// splice replaces what stands between the marker lines of a document.
func splice(document, text string) (string, error) {
	head, rest, ok := strings.Cut(document, benchBegin+"\n")
	_, tail, ok2 := strings.Cut(rest, benchEnd+"\n")
	if !ok || !ok2 {
		return "", fmt.Errorf("there is no line %q with a line %q below it", benchBegin, benchEnd)
	}
	return head + benchBegin + "\n" + strings.TrimSpace(text) + "\n" + benchEnd + "\n" + tail, nil
}

// goBenchmarks reads what `go test -bench` prints: by name, without processors,
// ns an operation of each run.
func goBenchmarks(out string) map[string][]float64 {
	found := map[string][]float64{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") || f[3] != "ns/op" {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		var ns float64
		if _, err := fmt.Sscan(f[2], &ns); err == nil {
			found[name] = append(found[name], ns)
		}
	}
	return found
}

func TestBenchReport(t *testing.T) {
	f := figures{}
	for i, v := range []float64{8, 7, 9} {
		f.add("share1", bareName, v)
		f.add("share1", cordeeName, 1.5*v)
		f.add("rate16", cordeeName, 250_000+float64(i))
		f.add("share16", cordeeName, 2.25)
	}
	got := goalTable(f, goals(10_000, 3*time.Minute)[:4], []string{bareName, cordeeName})
	want := "" +
		"| | bare server | cordee | cordee to bare | goal | |\n" +
		"|---|---|---|---|---|---|\n" +
		"| processor a share, 1 in flight, us | 8.00 (7.00 to 9.00) | 12.0 (10.5 to 13.5) | 1.50 | ≤ 1.6 times the bare server | met |\n" +
		"| processor a share, 16 in flight, us | – | 2.25 | – | ≤ 3 | met |\n" +
		"| shares a second, 16 in flight | – | 250 000 | – | ≥ 300 000 | **missed** |\n" +
		"| processor a handshake, 10000 at once, us | – | – | – | ≤ 2 times the bare server | not measured |\n"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestBenchMachine(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	with := machine("model name\t: Fast\nflags\t\t: fpu sha_ni avx512f\n", "0.25 1 1 1/2 3", "sha-ni", now)
	if !strings.Contains(with, "2030-01-02, on ") || !strings.Contains(with, " of Fast with SHA-NI and AVX-512, go") || !strings.HasSuffix(with, "kernel sha-ni. Its load was 0.25 before this began.") {
		t.Error(with)
	}
	without := machine("model name\t: Slow\nflags\t\t: fpu avx512f\n", "", "generic", now)
	if !strings.Contains(without, "no SHA instructions") {
		t.Error(without)
	}
}

// TestBenchSplice: only what is between the markers changes, of the real document
// too.
func TestBenchSplice(t *testing.T) {
	doc, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	once, err := splice(string(doc), "figures\n")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(once, benchBegin+"\nfigures\n"+benchEnd+"\n") {
		t.Error("they do not stand there")
	}
	again, err := splice(once, "figures")
	if err != nil || again != once {
		t.Error("a second time changes it", err)
	}
	head, _, _ := strings.Cut(string(doc), benchBegin)
	_, tail, _ := strings.Cut(string(doc), benchEnd)
	if !strings.HasPrefix(once, head) || !strings.HasSuffix(once, tail) {
		t.Error("something else changed")
	}
	for _, bad := range []string{"", benchBegin + "\n", benchEnd + "\n" + benchBegin + "\n"} {
		if _, err := splice(bad, "x"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestBenchDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.631: "0.63", 37.94: "37.9", 110.4: "110", 1234: "1 230", 46_049: "46 000", 1_460_000: "1.46 million", 300_000: "300 000", 999.9: "1000",
	} {
		if got := digits(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{3 * time.Minute: "3m", 20 * time.Second: "20s", time.Hour: "1h", 90 * time.Second: "1m30s"} {
		if got := short(d); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
	got := goBenchmarks("goos: linux\nBenchmarkShareByOutputs/200-2  \t 12295\t     10203 ns/op\t 6376 bytes\nBenchmarkX 3 4.5 ns/op\nBenchmarkX 3 5 ns/op\nok x 1s\n")
	if len(got) != 2 || !slices.Equal(got["ShareByOutputs/200"], []float64{10203}) || !slices.Equal(got["X"], []float64{4.5, 5}) {
		t.Error(got)
	}
}
