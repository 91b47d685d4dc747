package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/config"
	"cordee/internal/harness"
	"cordee/internal/journal"
	"cordee/internal/keeper"
	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/payout"
	"cordee/pool"
)

// awayMemory is what the pool may grow by while its store is away, however long:
// what waits for the store waits on disk.
const awayMemory = 64 << 20

// TestRedisGoesAway: kill -9 of the store refuses no share and stops no slot;
// a pool that starts meanwhile mines; blocks found meanwhile enter the ledger
// and pay what the journal says; and what comes back is filled until it is what
// the files say. CORDEE_REDIS_AWAY says for how long it is away (10s).
func TestRedisGoesAway(t *testing.T) {
	t.Parallel()
	long := 10 * time.Second
	if text := os.Getenv("CORDEE_REDIS_AWAY"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CORDEE_REDIS_AWAY: %v", err)
		}
	}
	r := harness.StartRedis(t)
	n := realNode(t)
	const hashesPerBlock = 1e6 // so that rigs find some too: on a slow machine one hand is not enough
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, redis: r.Addr, hashesPerBlock: hashesPerBlock, hashesPerShare: 6000})
	heard := newPromises()
	_, stopRigs := p.mine(6, 20_000, heard.on)
	heard.more(t, 30)
	p.awaitStore(keeper.ShipCurrent, 1)

	r.Kill()
	gone := time.Now()
	away := p.awaitStore(keeper.ShipUnavailable, 1)
	eventually(t, patience, "trouble with the store", func() error { // a moment behind its state
		var a web.Accounts
		if err := p.ask("/accounts", &a); err != nil {
			return err
		}
		if !slices.ContainsFunc(a.Trouble, func(s string) bool { return strings.HasPrefix(s, "store: ") }) {
			return fmt.Errorf("trouble is %q", a.Trouble)
		}
		return nil
	})
	before, began := heard.accepted.Load(), memoryOf(p.cmd.Process.Pid)
	most := began
	holds(t, long, "while the store is away", func() error {
		rejected, ended := heard.complaints()
		rejected = slices.DeleteFunc(rejected, staleAnswer)
		if len(rejected)+len(ended) > 0 {
			return fmt.Errorf("rejected %q, ended %q", rejected, ended)
		}
		if most = max(most, memoryOf(p.cmd.Process.Pid)); most > began+awayMemory {
			return fmt.Errorf("the pool has grown from %d bytes to %d", began, most)
		}
		return nil
	})
	heardAway := heard.accepted.Load() - before
	heard.more(t, max(0, 5-heardAway)) // however slow the rigs are
	p.findBlock(hashesPerBlock, gone)
	later := p.awaitStore(keeper.ShipUnavailable, away.Slot+2)

	p.kill()
	p.start()
	heard.more(t, 20)
	last := p.awaitStore(keeper.ShipUnavailable, later.Slot+1)

	r.Start()
	back := time.Now()
	p.awaitStore(keeper.ShipCurrent, last.Slot)
	t.Logf("%s without a store: %d shares answered true, slots %d to %d, memory from %d to %d MiB; caught up %s after it was back",
		long, heardAway, away.Slot, last.Slot, began>>20, most>>20, time.Since(back).Round(time.Millisecond))
	stopRigs()
	p.awaitConnections(0)
	s := p.ownStore()
	eventually(t, patience, "store, files and journal are one", func() error { return p.compareStore(s) })
	if err := compareSlots(p.journalDir(), s); err != nil {
		t.Error(err)
	}
	out, errOut, code := cordee(t, "members", "-c", p.config)
	if code != 0 || !strings.Contains(out, "alpes") || !strings.Contains(out, "store: current") || strings.Contains(out, "HALTED") {
		t.Errorf("cordee members: exit %d\n%s%s", code, out, errOut)
	}
	p.stop()
	heard.audit(t, p.journalDir())
	if report := p.audit(p.config); !report.OK || report.Paying == 0 {
		t.Errorf("%d of %d blocks pay members: %v", report.Paying, len(report.Blocks), report.Mismatches)
	}
}

// memoryOf is what a process holds in memory, in bytes; 0 where the system does
// not tell as Linux does.
func memoryOf(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// TestRedisUnfit: serve refuses a store that would throw a ledger away, before
// it begins anything, and the change it asks for is enough.
func TestRedisUnfit(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	p := newPool(t, poolOptions{nodes: []*sandbox.Node{realNode(t)}, redis: r.Addr, hashesPerBlock: 1e9})
	p.launch()
	if code := p.wait(patience); code <= 0 {
		t.Fatalf("exit code %d with a store that evicts; log:\n%s", code, p.log())
	}
	if said := p.log(); !strings.Contains(said, "[redis] "+r.Addr) || !strings.Contains(said, "CONFIG SET maxmemory-policy noeviction") {
		t.Errorf("it does not say what to change:\n%s", said)
	}
	if files, _ := filepath.Glob(filepath.Join(p.journalDir(), "*.log")); len(files) > 0 {
		t.Errorf("a refused start has begun %q", files)
	}
	redisDo(t, r.Addr, "CONFIG SET maxmemory-policy noeviction")
	p.start()
	p.stop()
}

// TestRedisComesUnfit: a store that was away at the start and turns out to be
// wrong halts payouts by name, and mining goes on.
func TestRedisComesUnfit(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	r.Kill()
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{realNode(t)}, redis: r.Addr, hashesPerBlock: 1e12, hashesPerShare: 6000})
	heard := newPromises()
	_, stopRigs := p.mine(3, 20_000, heard.on)
	heard.more(t, 5)
	p.awaitStore(keeper.ShipUnavailable, 1)
	r.Start()
	eventually(t, patience, "halt", func() error {
		var a web.Accounts
		if err := p.ask("/accounts", &a); err != nil {
			return err
		}
		if a.Store != keeper.ShipStopped || !slices.Equal(a.Halts, []string{"store.unfit"}) {
			return fmt.Errorf("%s, halts %q, trouble %q", a.Store, a.Halts, a.Trouble)
		}
		return nil
	})
	heard.more(t, 5)
	if rejected, ended := heard.complaints(); len(rejected)+len(ended) > 0 {
		t.Errorf("rejected %q, ended %q", rejected, ended)
	}
	stopRigs()
	p.stop()
}

// findBlock mines until a block that was found after since, by a rig or another,
// pays members by the pool's word: the first on a new chain pays none.
func (p *testPool) findBlock(hashes float64, since time.Time) {
	p.t.Helper()
	rig := p.dialRig("jura.dole.raw")
	eventually(p.t, findPatience, "block of ours that pays members", func() error {
		for _, b := range p.blocks() {
			if b.State == pool.BlockActive && b.Found.After(since) && b.Split != nil &&
				slices.ContainsFunc(b.Split.Members, func(m web.Portion) bool { return m.Paid > 0 }) {
				return nil
			}
		}
		j := rig.job(func(rawJob) error { return nil })
		s := rig.solve(&j, blockTarget(p.t, hashes))
		a := rig.submit(&s)
		return fmt.Errorf("not yet active, or it pays nobody; the last was answered %v, %d %s", a.OK, a.Code, a.Text)
	})
}

// staleAnswer: a share on the way while a block is found is the chain's doing.
func staleAnswer(rejected string) bool { return strings.HasPrefix(rejected, "21 ") }

// awaitStore waits until the pool says that of its store, with at least so many
// slots closed, and returns what `cordee members --json` prints then.
func (p *testPool) awaitStore(state string, slots uint32) (a web.Accounts) {
	p.t.Helper()
	eventually(p.t, patience, "store is "+state, func() error {
		out, errOut, code := cordee(p.t, "members", "--json", "-c", p.config)
		a = web.Accounts{}
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
			return fmt.Errorf("cordee members: exit %d, %w\n%s%s", code, err, out, errOut)
		}
		if a.Store != state || a.Slot < slots || len(a.Halts) > 0 {
			return fmt.Errorf("%s, %d slots, want %d, halts %q, trouble %q", a.Store, a.Slot, slots, a.Halts, a.Trouble)
		}
		return nil
	})
	return a
}

// ownStore opens the pool's store beside it.
func (p *testPool) ownStore() *poolStore {
	p.t.Helper()
	cfg, err := config.Load(p.config)
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := openStore(p.t.Context(), cfg, zerolog.Nop())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = s.Close() })
	return s
}

// shelf returns the numbered files in a folder of data_dir, in order.
func (p *testPool) shelf(folder, ext string) [][]byte {
	p.t.Helper()
	names, err := filepath.Glob(filepath.Join(p.dataDir(), folder, "*."+ext)) // sorted
	if err != nil {
		p.t.Fatal(err)
	}
	files := make([][]byte, len(names))
	for i, name := range names {
		if files[i], err = os.ReadFile(name); err != nil {
			p.t.Fatal(err)
		}
	}
	return files
}

// compareStore holds the store against the manifests and events on disk, and
// both against the journal.
func (p *testPool) compareStore(s payout.Store) error {
	ctx := context.Background()
	key, err := config.ReadSlotKey(filepath.Join(p.dir, config.SlotKeyFileName))
	if err != nil {
		return err
	}
	slots, events := p.shelf("slots", "slot"), p.shelf("ledger", "event")
	marks, sums := map[uint32]uint64{}, map[[2]uint32]uint64{}
	for i, b := range slots {
		m, err := payout.OpenSlot(b, key.Public().(ed25519.PublicKey)) //nolint:forcetypeassert // it is one
		if err != nil {
			return err
		}
		for _, r := range m.Ranges {
			marks[r.Epoch] = r.Last
		}
		for _, v := range m.Sums {
			sums[[2]uint32{uint32(v.Member), v.WorkBits}] += v.Difficulty
		}
		there, err := s.Slots(ctx, uint32(i+1), 1)
		if err != nil || len(there) != 1 || !bytes.Equal(there[0].Bytes, b) || there[0].Head != m.Head() {
			return fmt.Errorf("slot %d is not the file's: %d there, %w", i+1, len(there), err)
		}
	}
	if last, _, err := s.LastSlot(ctx); err != nil || int(last) != len(slots) || last == 0 {
		return fmt.Errorf("the store ends with slot %d, the files with %d: %w", last, len(slots), err)
	}
	hwms, err := s.HWMs(ctx)
	if err != nil {
		return err
	}
	got := map[uint32]uint64{}
	for _, m := range hwms {
		got[m.Epoch] = m.Seq
	}
	shares, work, err := journalSums(p.journalDir())
	if err != nil {
		return err
	}
	if !maps.Equal(got, marks) || !maps.Equal(got, shares) {
		return fmt.Errorf("shares by epoch: %v in the store, %v in slots, %v in the journal", got, marks, shares)
	}
	run, err := s.Run(ctx)
	if err != nil {
		return err
	}
	total := map[[2]uint32]uint64{}
	for _, v := range run {
		total[[2]uint32{uint32(v.Member), v.WorkBits}] = v.Difficulty
	}
	if !maps.Equal(total, sums) || !maps.Equal(total, work) {
		return fmt.Errorf("sums: %v in the store, %v in slots, %v in the journal", total, sums, work)
	}
	records, err := s.Records(ctx, 1, len(events)+1)
	if err != nil || len(records) != len(events) {
		return fmt.Errorf("%d events in the store, %d files: %w", len(records), len(events), err)
	}
	for i, r := range records {
		if !bytes.Equal(slices.Concat(r.Data, r.Head[:]), events[i]) {
			return fmt.Errorf("event %d is not the file's", i+1)
		}
	}
	return nil
}

// journalSums returns the last seq by epoch, and work by member and nBits, of
// all shares in the journal.
func journalSums(dir string) (last map[uint32]uint64, work map[[2]uint32]uint64, err error) {
	last, work = map[uint32]uint64{}, map[[2]uint32]uint64{}
	err = journal.Read(dir, func(info journal.RecordInfo, rec journal.Record) error {
		if s, ok := rec.(journal.Share); ok {
			if s.Seq != last[info.Epoch]+1 {
				return errors.New("the journal's shares do not follow each other")
			}
			last[info.Epoch] = s.Seq
			work[[2]uint32{uint32(s.Member), s.WorkBits}] += uint64(s.Difficulty)
		}
		return nil
	})
	return last, work, err
}
