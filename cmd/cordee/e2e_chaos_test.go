package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"cordee/internal/fleet"
	"cordee/internal/harness"
	"cordee/internal/sandbox"
	"cordee/pool"
)

// fromEnv returns the number that the environment's name holds, else or.
func fromEnv(t *testing.T, name string, or uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return or
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

// TestChaos: kill -9 of the pool, of Redis or of both, at moments drawn at
// random, while rigs mine and blocks are found; then the whole history is
// recomputed. CORDEE_CHAOS_KILLS sets how many (5), CORDEE_CHAOS_SEED draws the
// schedule of an earlier run again; its processes keep their own pace.
func TestChaos(t *testing.T) {
	t.Parallel()
	kills := int(fromEnv(t, "CORDEE_CHAOS_KILLS", 5))
	seed := fromEnv(t, "CORDEE_CHAOS_SEED", rand.Uint64())
	c := newChaos(t, seed)
	began := time.Now()
	for range kills {
		c.meanwhile()
		c.kill()
	}
	took := time.Since(began)
	c.prove()
	t.Logf("CORDEE_CHAOS_SEED=%d on %s: %d kills in %s: %v", seed, c.node.Kind, kills, took.Round(time.Second), c.did)
}

// chaos is one pool, its node, its store and its rigs, and what is done to them.
type chaos struct {
	t     *testing.T
	rng   *rand.Rand
	node  *sandbox.Node
	redis *harness.Redis
	p     *testPool
	heard *promises
	rigs  []func() // each stops a fleet
	block pool.Target
	did   map[string]int

	onSubmit atomic.Pointer[func(block bool)] // called when a rig is about to submit
}

// The chaos's pool: a block every second or so, and dozens of shares.
const (
	chaosBlock = 400_000
	chaosShare = 2_000
	chaosRules = "window_blocks = 4\nmin_payout = 100_000_000\nfees = [{ account = \"tools\", bp = 70, address = %q }, { account = \"pool\", bp = 33 }]\n"
)

func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay the schedule with CORDEE_CHAOS_SEED=%d", seed)
		}
	})
	c := &chaos{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), redis: harness.StartRedis(t), node: realNode(t),
		heard: newPromises(), block: blockTarget(t, chaosBlock), did: map[string]int{},
	}
	generate(t, c.node, oldBlocks)
	c.p = newPool(t, poolOptions{nodes: []*sandbox.Node{c.node}, redis: c.redis.Addr, hashesPerBlock: chaosBlock, hashesPerShare: chaosShare})
	c.p.append(c.p.config, fmt.Sprintf(chaosRules, demoAddress("tools")))
	c.p.start()
	for rigs, rate := range map[int]float64{1: 120_000, 48: 5_000} { // the one is the first member's
		_, stop := c.p.mine(rigs, rate, c.on)
		c.rigs = append(c.rigs, stop)
	}
	c.heard.more(t, 50)
	return c
}

func (c *chaos) on(e fleet.Event) {
	if f := c.onSubmit.Load(); e.Kind == fleet.Submit && f != nil {
		hash := chainhash.Hash(e.Hash)
		(*f)(c.block.Met(&hash))
	}
	c.heard.on(e)
}

// between draws a time.
func (c *chaos) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rng.Int64N(int64(most-least)))
}

// pause lets the processes run. Only real time does.
func pause(d time.Duration) { <-time.After(d) }

// meanwhile does what may happen to any pool between two kills: nothing at all,
// somebody else's block, a reorganisation that takes a block away, a store that
// does not answer.
func (c *chaos) meanwhile() {
	c.t.Helper()
	pause(c.between(0, 500*time.Millisecond))
	what := []string{"nothing", "nothing", "nothing", "foreign block", "reorganisation", "frozen store"}[c.rng.IntN(6)]
	c.did[what]++
	switch what {
	case "foreign block":
		generate(c.t, c.node, 1)
	case "reorganisation":
		tip, _ := tipOf(c.t, c.node)
		if err := rpc(c.t.Context(), c.node, nil, "invalidateblock", tip); err != nil {
			c.t.Fatal(err)
		}
		// Within a second a node may make the very block again that has just become
		// invalid, and then refuses it.
		eventually(c.t, patience, "two blocks beside the invalid one", func() error {
			_, err := c.node.Generate(c.t.Context(), 2, "")
			return err
		})
	case "frozen store":
		c.signalStore(syscall.SIGSTOP)
		pause(c.between(100*time.Millisecond, 2500*time.Millisecond))
		c.signalStore(syscall.SIGCONT)
	}
}

func (c *chaos) signalStore(sig syscall.Signal) {
	c.t.Helper()
	if err := syscall.Kill(c.redis.Pid(), sig); err != nil {
		c.t.Fatal(err)
	}
}

// kill ends pool, store or both at a moment of their life, and starts them again
// in either order.
func (c *chaos) kill() {
	c.t.Helper()
	victim := []string{"pool", "pool", "pool", "pool", "store", "store", "store", "store", "both"}[c.rng.IntN(9)]
	moment := []string{"any time", "submit", "block", "slot", "ledger"}[c.rng.IntN(5)]
	c.did["kill of "+victim]++
	c.did["at "+moment]++
	var pids []int
	if victim != "store" {
		pids = append(pids, c.p.cmd.Process.Pid)
	}
	if victim != "pool" {
		pids = append(pids, c.redis.Pid())
	}
	c.await(moment, sync.OnceFunc(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // its end is seen below
		}
	}))
	back := []func(){}
	if victim != "store" {
		if code := c.p.wait(patience); code != -1 {
			c.t.Fatalf("exit code %d of the pool, want a kill", code)
		}
		back = append(back, c.p.start)
	}
	if victim != "pool" {
		c.redis.Kill()
		back = append(back, c.redis.Start)
	}
	if c.rng.IntN(2) == 0 {
		slices.Reverse(back)
	}
	for _, start := range back {
		pause(c.between(0, 600*time.Millisecond))
		start()
	}
	c.heard.more(c.t, 1+c.rng.Int64N(20))
}

// await shoots at that moment, or after six seconds without one.
func (c *chaos) await(moment string, shoot func()) {
	late := time.NewTimer(6 * time.Second)
	defer late.Stop()
	defer shoot()
	fired := make(chan struct{})
	fire := sync.OnceFunc(func() {
		shoot()
		close(fired)
	})
	switch moment {
	case "any time":
		time.AfterFunc(c.between(0, 1500*time.Millisecond), fire)
	case "submit": // between it and its answer, more often than not
		var left atomic.Int64
		left.Store(1 + c.rng.Int64N(40))
		c.hook(func(bool) {
			if left.Add(-1) == 0 {
				fire()
			}
		})
	case "block": // from before the node has it to after it is in the ledger
		delay := c.between(0, 60*time.Millisecond)
		c.hook(func(block bool) {
			if block {
				time.AfterFunc(delay, fire)
			}
		})
	case "slot": // before, within and after its closing and its way to the store
		names, err := filepath.Glob(filepath.Join(c.p.dataDir(), "slots", "*.slot"))
		if err != nil || len(names) == 0 {
			break
		}
		if last, err := os.Stat(names[len(names)-1]); err == nil {
			at := last.ModTime().Add(slotEveryRegtest + c.between(-20*time.Millisecond, 20*time.Millisecond))
			time.AfterFunc(time.Until(at), fire)
		}
	case "ledger": // from the writing of an event to its way to the store
		c.awaitWrite(filepath.Join(c.p.dataDir(), "ledger"), late.C, c.between(0, 5*time.Millisecond))
		return
	}
	defer c.onSubmit.Store(nil)
	select {
	case <-fired:
	case <-late.C:
	}
}

func (c *chaos) hook(f func(block bool)) { c.onSubmit.Store(&f) }

// awaitWrite returns a moment after something was written to dir.
func (c *chaos) awaitWrite(dir string, late <-chan time.Time, delay time.Duration) {
	before, err := os.Stat(dir)
	if err != nil {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-late:
			return
		case <-tick.C:
		}
		if now, err := os.Stat(dir); err != nil || now.ModTime() != before.ModTime() {
			pause(delay)
			return
		}
	}
}

// refusals are the answers that the pool, and not the chain, is to blame for.
func (c *chaos) refusals() []string {
	rejected, _ := c.heard.complaints()
	return slices.DeleteFunc(rejected, staleAnswer)
}

// trouble is what the pool's log has as errors. A block on a parent that a
// reorganisation of ours made invalid is refused, and that is right.
func (c *chaos) trouble() (list []string) {
	for line := range strings.Lines(c.p.log()) {
		var l struct{ Level, Event, Answer string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			continue // a kill tore it
		}
		onInvalid := strings.Contains(l.Answer, "known to be invalid") || strings.Contains(l.Answer, "bad-prevblk")
		if l.Level == "error" && (l.Event != "block.refused" || !onInvalid || c.did["reorganisation"] == 0) {
			list = append(list, line)
		}
	}
	return list
}
