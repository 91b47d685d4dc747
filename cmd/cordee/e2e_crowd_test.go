package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"cordee/internal/fleet"
	"cordee/internal/sandbox"
)

// crowdSize is how large a crowd is. What `make storm` runs is that of issue 4;
// plain tests run a small one, which proves the same but the times.
type crowdSize struct {
	rigs, perKind int
	rate          float64       // real shares a second, of all rigs
	phase         time.Duration // without and with hostile clients
	rounds        int
}

// TestCrowd: hostile clients of every kind of spec/reliability 1.3 at once, beside
// honest rigs from other addresses and with the default limits. No honest share is
// refused, no honest rig is dropped, memory stays flat. Both phases of a round have
// the same rigs, on the same connections.
func TestCrowd(t *testing.T) {
	slow := os.Getenv("CORDEE_SLOW") != ""
	size := crowdSize{rigs: 300, perKind: 5, rate: 100, phase: 3 * time.Second, rounds: 1}
	if slow {
		size = crowdSize{rigs: 9300, perKind: 100, rate: 155, phase: 25 * time.Second, rounds: 3}
	}
	n := realNode(t)
	// A share costs a rig some 64 hashes, so that this machine can play them all.
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 1e12, hashesPerShare: 64})
	names := []string{"alpes.annecy", "jura.dole", "vosges.gerardmer"}
	name := func(i int) string { return names[i%len(names)] }

	var mu sync.Mutex
	var complaints []string
	empty, alone := p.memory(), p.costOfStatus(t)
	began := time.Now()
	rigs, err := fleet.Gather(t.Context(), fleet.CrowdConfig{
		LinkConfig: fleet.LinkConfig{
			Addr: p.stratum, Password: "x", Agent: "cordee-crowd/1",
			User: func(i int) string { return fmt.Sprintf("%s.rig-%d", name(i), i) },
			From: func(i int) net.IP { return net.IPv4(127, 1, byte(i%16), 1) },
		},
		Rigs: size.rigs, Seed: 1,
		Note: func(rig int, what, detail string) {
			mu.Lock()
			defer mu.Unlock()
			complaints = append(complaints, fmt.Sprintf("rig %d: %s: %s", rig, what, detail))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer rigs.Close()
	t.Logf("%d rigs have work after %s", size.rigs, time.Since(began).Round(time.Millisecond))
	// The page is looked at every second: it costs a pointer for each rig, no list of
	// them, which would be what the collector runs for.
	if each := (p.costOfStatus(t) - alone) / float64(size.rigs); each > 64 {
		t.Errorf("a look at the pool allocates %.0f bytes for each rig", each)
	} else {
		t.Logf("a look at the pool allocates %.0f bytes, and %.0f for each rig", alone, each)
	}
	hostile := fleet.Hostile{
		Addr: p.stratum, PerKind: size.perKind, Pause: time.Second,
		User: func(i int) string { return fmt.Sprintf("%s.hostile-%d", name(i), i) },
		From: func(kind int) net.IP { return net.IPv4(127, 66, byte(kind), 1) },
	}

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "round\thostile\tsent\taccepted\trejected\tunanswered\tended\tp50\tp90\tp99\tmax\tMiB\tpool cpu s\tclients cpu s\t")
	var ratios []float64
	var calm, stormy []int // memory
	measure := func(round int, with string) fleet.CrowdSample {
		t.Helper()
		cpu, own := p.cpu(), cpuOf(t, os.Getpid())
		s, err := rigs.Measure(t.Context(), size.rate, size.phase)
		if err != nil {
			t.Fatal(err)
		}
		rss := p.memory()
		if with == "no" {
			calm = append(calm, rss)
		} else {
			stormy = append(stormy, rss)
		}
		l := s.Latency
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%v\t%v\t%d\t%.1f\t%.1f\t\n", round, with,
			s.Sent, s.Accepted, s.Rejected, s.Unanswered, s.Ended, ms(l.P50), ms(l.P90), ms(l.P99), ms(l.Max), rss>>20, p.cpu()-cpu, cpuOf(t, os.Getpid())-own)
		if s.Rejected+s.Unanswered+s.Ended > 0 || s.Sent == 0 {
			t.Errorf("round %d, hostile clients: %s: %d rejected, %d unanswered, %d connections ended, of %d sent; %v",
				round, with, s.Rejected, s.Unanswered, s.Ended, s.Sent, s.Rejects)
		}
		return s
	}
	measure(0, "no") // warms up
	for round := 1; round <= size.rounds; round++ {
		a := measure(round, "no")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan []fleet.HostileCount, 1)
		go func() { done <- hostile.Run(ctx) }()
		b := measure(round, "yes")
		stop()
		for _, k := range <-done {
			if round == size.rounds {
				t.Logf("%-16s %7d connections, %5d failed dials, %9d kB sent", k.Kind, k.Connects, k.Failed, k.Bytes>>10)
			}
			if k.Connects == 0 {
				t.Errorf("%s: none came in", k.Kind)
			}
		}
		ratios = append(ratios, float64(b.Latency.P99)/float64(a.Latency.P99))
		eventually(t, patience, "the hostile clients are gone", func() error {
			if got := p.status().Connections; got != size.rigs {
				return fmt.Errorf("%d connections", got)
			}
			return nil
		})
	}
	_ = w.Flush() // into memory
	slices.Sort(ratios)
	t.Logf("memory %d MiB without rigs; p99 with hostile clients is %.2f times that without\n%s", empty>>20, ratios, table.String())

	// A hostile client may hold an outbox of 64 KiB and a read of 16 KiB.
	extra := 7*size.perKind*(80<<10) + 32<<20
	if most := slices.Max(stormy); most > calm[len(calm)-1]+extra || stormy[len(stormy)-1] > stormy[0]+16<<20 {
		t.Errorf("memory without hostile clients %d, with them %d bytes", calm, stormy)
	}
	if slow && ratios[len(ratios)/2] > 2 {
		t.Errorf("p99 of submit answers is %.2f times that without hostile clients, in the median", ratios[len(ratios)/2])
	}
	mu.Lock()
	if len(complaints) > 0 {
		t.Errorf("%d complaints of honest rigs, first %q", len(complaints), complaints[0])
	}
	mu.Unlock()
	s := p.status()
	t.Logf("the pool counted %v", s.Shares)
	if code, page, err := p.get("/metrics"); err != nil || code != 200 || !strings.Contains(page, `cordee_panics_total{where="session"} 0`) {
		t.Errorf("metrics: %d, %v: no zero counter of panics in them", code, err)
	}
	rigs.Close()
	p.stop()
	p.verify()
}

// costOfStatus returns the bytes that the pool allocates for one look at it.
func (p *testPool) costOfStatus(t *testing.T) float64 {
	t.Helper()
	const looks, total = 200, "go_memstats_alloc_bytes_total"
	before := metric(t, p.metrics(t), total)
	for range looks {
		p.status()
	}
	return (metric(t, p.metrics(t), total) - before) / looks
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func (p *testPool) cpu() float64 { return cpuOf(p.t, p.cmd.Process.Pid) }

// cpuOf returns the seconds of processor time that a process has used, 0 where
// there is no /proc.
func cpuOf(t *testing.T, pid int) float64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return float64(user+system) / 100 // of a second: USER_HZ
}
