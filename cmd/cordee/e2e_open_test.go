package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/audit"
	"cordee/internal/journal"
	"cordee/internal/register"
	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

func (p *testPool) addresses() string { return filepath.Join(p.dataDir(), "addresses") }

// bindings is what `cordee member list --json` says: index by address.
func (p *testPool) bindings() map[string]uint16 {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "member", "list", "--json", "-c", p.config)
	var l memberList
	if err := json.Unmarshal([]byte(lastLine(out)), &l); err != nil || code != 0 || l.File != p.addresses() {
		p.t.Fatalf("cordee member list: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	list := map[string]uint16{}
	for _, m := range l.Members {
		if list[m.ID] != 0 || len(m.Destinations) != 1 || m.Destinations[0] != m.ID+" 10000" {
			p.t.Errorf("%+v", m)
		}
		list[m.ID] = m.Index
	}
	return list
}

// workedUnder reads whose the names of the journal's shares are, by index: none
// may have two.
func (p *testPool) workedUnder() map[string]uint16 {
	p.t.Helper()
	var names map[uint32]string
	of, index := map[uint16]string{}, map[string]uint16{}
	err := journal.Read(p.journalDir(), func(_ journal.RecordInfo, rec journal.Record) error {
		switch r := rec.(type) {
		case journal.Epoch:
			names = map[uint32]string{}
		case journal.Rig:
			names[r.Number] = r.Name
		case journal.Share:
			id, _, _ := strings.Cut(names[r.Rig], ".")
			if was, known := of[r.Member]; known && was != id {
				p.t.Errorf("index %d is of %s and of %s", r.Member, was, id)
			}
			if was, known := index[id]; known && was != r.Member {
				p.t.Errorf("%s has indexes %d and %d", id, was, r.Member)
			}
			of[r.Member], index[id] = id, r.Member
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return index
}

// TestOpenPool: whoever comes with an address is credited and paid by the
// coinbase like a member, everything an operator looks at knows him by it, and a
// restart keeps his index. A file of addresses that lacks one is refused by name,
// and made whole from the journal.
func TestOpenPool(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, open: true, hashesPerBlock: 400_000, hashesPerShare: 4_000})
	anna, bruno, late := demoAddress("anna"), demoAddress("bruno"), demoAddress("late")
	legacy := "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"
	for user, text := range map[string]string{
		"alpes.annecy.rig": "name must begin with an address to pay to",
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.w": "this pool is on regtest, that address is of main",
	} {
		if a := p.authorize(user); a.Code != 24 || a.Text != text {
			t.Errorf("%s: %+v", user, a)
		}
	}
	_, stop := p.fleet([]string{anna + ".barn.1", strings.ToUpper(bruno), bruno + "_b", legacy}, 100_000, nil)
	var both audit.Block
	eventually(t, findPatience, "a block that pays both addresses", func() error {
		r, err := auditChain(t.Context(), p.config) // beside the running pool
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Blocks, func(b audit.Block) bool { return paysTo(&b, anna) && paysTo(&b, bruno) })
		if i < 0 {
			return fmt.Errorf("%d blocks, %d pay members", len(r.Blocks), r.Paying)
		}
		both = r.Blocks[i]
		return nil
	})
	coinbase := rawBlock(t, n, both.Hash).Transactions[0]
	for _, address := range []string{anna, bruno} {
		script, err := regtestNetwork(t).Script(address)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(coinbase.TxOut, func(o *wire.TxOut) bool { return bytes.Equal(o.PkScript, script) && o.Value > 0 }) {
			t.Errorf("the node's block %s pays nothing to %s", both.Hash, address)
		}
	}
	p.looksOpen(anna, bruno, legacy)
	stop()
	p.awaitConnections(0)
	before, err := os.ReadFile(p.addresses())
	if err != nil {
		t.Fatal(err)
	}
	known := p.bindings()
	if len(known) != 3 || !maps.Equal(known, p.workedUnder()) {
		t.Errorf("the file has %v, the journal %v", known, p.workedUnder())
	}
	if rep, code := p.ledgerCheck(); code != 0 || !rep.OK {
		t.Errorf("ledger check: exit %d, %+v", code, rep)
	}
	p.kill()

	p.start()
	_, stop = p.fleet([]string{late, bruno, anna}, 100_000, nil) // in another order
	eventually(t, patience, "a share of each", func() error {
		if list := p.bindings(); len(list) < 4 {
			return fmt.Errorf("%v", list)
		}
		return nil
	})
	stop()
	p.stop()
	all := p.bindings()
	for address, index := range known {
		if all[address] != index {
			t.Errorf("%s had index %d, has %d", address, index, all[address])
		}
	}
	if worked := p.workedUnder(); !maps.Equal(worked, all) {
		t.Errorf("the file has %v, the journal %v", all, worked)
	}

	refused := func(what string, texts ...string) {
		t.Helper()
		_, errOut, code := cordee(t, "serve", "-c", p.config)
		for _, want := range texts {
			if code != exitFailed || !strings.Contains(errOut, want) {
				t.Errorf("%s: exit %d, want %q in:\n%s", what, code, want, errOut)
			}
		}
	}
	newest, err := os.ReadFile(p.addresses())
	if err != nil {
		t.Fatal(err)
	}
	for what, old := range map[string][]byte{"restored from before": before, "gone": nil} {
		if err := os.WriteFile(p.addresses(), old, 0o600); err != nil {
			t.Fatal(err)
		}
		if old == nil {
			if err := os.Remove(p.addresses()); err != nil {
				t.Fatal(err)
			}
		}
		refused(what, p.addresses(), "is missing, ", "cordee member rebuild")
		if b, err := os.ReadFile(p.addresses()); !bytes.Equal(b, old) || (err == nil) != (old != nil) {
			t.Errorf("%s: the file was changed: %q, %v", what, b, err)
		}
		if out, errOut, code := cordee(t, "member", "rebuild", "-c", p.config); code != 0 || !strings.Contains(out, "4 addresses") {
			t.Errorf("%s: rebuild: exit %d\n%s%s", what, code, out, errOut)
		}
		if got := p.bindings(); !maps.Equal(got, all) {
			t.Errorf("%s: rebuilt %v, want %v", what, got, all)
		}
	}
	bad := bytes.Clone(newest)
	bad[len("cordee addresses 1 regtest\n")+3] ^= 1
	if err := os.WriteFile(p.addresses(), bad, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("damaged", p.addresses()+": line 2 is damaged")
	if err := os.WriteFile(p.addresses(), newest, 0o600); err != nil {
		t.Fatal(err)
	}

	// The same data_dir is of no consortium.
	b, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	asMembers := bytes.Replace(b, []byte(`identity = "open"`), []byte(`members = "members.toml"`), 1)
	if err := os.WriteFile(p.config, asMembers, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("consortium", "members.toml:", "who worked under it")
	if err := os.WriteFile(p.config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	if out, errOut, code := cordee(t, "member", "rebuild", "-c", p.config); code != exitFailed || !strings.Contains(errOut, "stop it first") {
		t.Errorf("rebuild under a running pool: exit %d\n%s%s", code, out, errOut)
	}
	p.stop()
	if r := p.audit(p.config); !r.OK {
		t.Errorf("%+v", r.Mismatches)
	}
}

const demoPrefix = "bcrt1q"

func paysTo(b *audit.Block, address string) bool {
	return slices.ContainsFunc(b.Outputs, func(o audit.Output) bool { return o.Member == address && o.Address == address && o.Sats > 0 })
}

// looksOpen asks all that an operator and a stranger can: it says addresses. The
// last is P2PKH, which no coinbase pays.
func (p *testPool) looksOpen(anna, bruno, legacy string) {
	p.t.Helper()
	// The block that pays the two may come before the third has a share, or one in a
	// slot.
	eventually(p.t, patience, "an account with something on it for everybody", func() error {
		var accounts web.Accounts
		if err := p.ask("/accounts", &accounts); err != nil {
			p.t.Fatal(err)
		}
		if len(accounts.Members) != 3 {
			return fmt.Errorf("%+v", accounts.Members)
		}
		for _, a := range accounts.Members {
			if (a.Member == legacy) != (a.Outputs+a.Paid == 0) || a.Maturing+a.Paid+a.Carried == 0 {
				return fmt.Errorf("%+v", a)
			}
		}
		return nil
	})
	for args, c := range map[string]struct{ says, not string }{
		"members":              {anna, "alpes"},
		"rigs":                 {anna + ".barn.1", "no rig"},
		"rigs " + bruno:        {bruno + ".b", anna},
		"rigs " + demoTreasury: {"no rig of member " + demoTreasury, anna},
		"payouts " + anna:      {anna, bruno},
		"payouts " + legacy:    {"no payment to member " + legacy, anna},
		"blocks":               {demoPrefix, "alpes"},
		"member list":          {legacy, "alpes"},
		"member check":         {"3 addresses", "unknown"},
		"check-config":         {"open to every address, so far: 3", "members:"},
		"doctor":               {"open to every address: 3 of 4096", "members.toml"},
		"member parked":        {"", demoPrefix},
	} {
		fields := strings.Fields(args)
		at := 1
		if fields[0] == "member" {
			at = 2
		}
		out, errOut, code := cordee(p.t, slices.Insert(fields, at, "-c", p.config)...)
		if code != 0 && args != "doctor" || !strings.Contains(out, c.says) || strings.Contains(out, c.not) {
			p.t.Errorf("cordee %s: exit %d, want %q and no %q in it:\n%s%s", args, code, c.says, c.not, out, errOut)
		}
	}
	for _, path := range []string{"/", "/api/members", "/api/blocks"} {
		if code, body, err := p.get(path); err != nil || code != 200 || !strings.Contains(body, anna) || !strings.Contains(body, bruno) || strings.Contains(body, "barn") {
			p.t.Errorf("%s: %d, %v\n%s", path, code, err, body)
		}
	}
}

// TestMinerdOpen: a miner that nobody here wrote mines with an address for a name,
// and finds it in the coinbase of a block.
func TestMinerdOpen(t *testing.T) {
	needMinerd(t)
	n := realNode(t)
	// Some 2 to 5 million hashes a second: a block takes seconds.
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, open: true, hashesPerBlock: 8e6, hashesPerShare: 1e6})
	address := demoAddress("minerd")
	_, stop := startMinerd(t, p, address+".cpu")
	eventually(t, findPatience, "a block that pays minerd's address", func() error {
		r, err := auditChain(t.Context(), p.config)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(r.Blocks, func(b audit.Block) bool { return paysTo(&b, address) }) {
			return fmt.Errorf("%d blocks", len(r.Blocks))
		}
		return nil
	})
	for name, count := range p.status().Shares {
		if count > 0 && name != pool.Accepted.Name() && name != "uncredited" && name != pool.Stale.Name() {
			t.Errorf("%d times %s", count, name)
		}
	}
	if said := stop(); !strings.Contains(said, "(yay!!!)") {
		t.Error("minerd heard no true")
	}
}

// TestOpenKilled: killed between authorize and first share a pool knows nobody;
// killed between the binding and the share it keeps the index for that address and
// gives it to no other; killed after the share likewise.
func TestOpenKilled(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, open: true, hashesPerBlock: 1e12, hashesPerShare: 2_000})
	user := func(i int) string { return demoAddress(fmt.Sprint("killed ", i)) }
	p.dialRig(user(0))
	p.dialRig(user(1) + ".w")
	p.kill()
	if _, err := os.Stat(p.addresses()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("two rigs signed in, and there is a file of addresses: %v", err)
	}

	// The binding is there, the share is not: what a kill between the two leaves.
	o, err := register.OpenAddresses(p.addresses(), regtestNetwork(t))
	if err != nil {
		t.Fatal(err)
	}
	w, _, _ := o.Resolve(user(2))
	if err := o.Keep(w.Member); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(p.addresses())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.addresses(), append(b, "2 2 bcrt1q"...), 0o600); err != nil { // and half of another
		t.Fatal(err)
	}
	p.start()
	share := func(user string) {
		t.Helper()
		r := p.dialRig(user)
		j := r.job(func(rawJob) error { return nil })
		s := r.solve(&j, blockTarget(t, 4_000))
		if a := r.submit(&s); !a.OK {
			t.Errorf("%s: %+v", user, a)
		}
	}
	share(user(1))
	share(user(2) + ".w")
	p.kill()
	kept := p.bindings()
	if len(kept) != 2 || kept[user(2)] != w.Member || kept[user(1)] == w.Member || !maps.Equal(kept, p.workedUnder()) {
		t.Errorf("the file has %v, the journal %v", kept, p.workedUnder())
	}
	p.start()
	share(user(0))
	share(user(1))
	p.stop()
	if again := p.bindings(); len(again) != 3 || again[user(1)] != kept[user(1)] || again[user(2)] != w.Member || len(p.workedUnder()) != 3 {
		t.Errorf("the file has %v, the journal %v; before the kill %v", again, p.workedUnder(), kept)
	}
	p.verify()
}

// TestOpenKilledWhileMining: kill -9 while new addresses come, have their first
// shares and go. No index ever has two, no address ever has two, and the audit
// agrees.
func TestOpenKilledWhileMining(t *testing.T) {
	t.Parallel()
	const kills, rigs = 4, 10
	n := realNode(t)
	p := startPool(t, poolOptions{nodes: []*sandbox.Node{n}, open: true, hashesPerBlock: 400_000, hashesPerShare: 4_000})
	heard := newPromises()
	for run := range kills {
		var users []string
		for i := range rigs { // half of them come again
			users = append(users, fmt.Sprintf("%s.rig", demoAddress(fmt.Sprint("open ", run*rigs/2+i))))
		}
		rand.Shuffle(rigs, func(i, j int) { users[i], users[j] = users[j], users[i] })
		var left atomic.Int64
		left.Store(1 + rand.Int64N(2*rigs))
		pid := p.cmd.Process.Pid
		shoot := func() {
			if left.Add(-1) == 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // the test sees it below
			}
		}
		heard.onSubmit.Store(&shoot)
		_, stop := p.fleet(users, 40_000, heard.on)
		if code := p.wait(patience); code != -1 {
			t.Fatalf("exit code %d, want a kill", code)
		}
		heard.onSubmit.Store(nil)
		p.start()
		heard.more(t, 5)
		stop()
	}
	p.stop()
	p.verify()
	heard.audit(t, p.journalDir())
	kept := p.bindings()
	for address, index := range p.workedUnder() {
		if kept[address] != index {
			t.Errorf("%s worked under %d, the file has %d", address, index, kept[address])
		}
	}
	if r := p.audit(p.config); !r.OK {
		t.Errorf("%+v", r.Mismatches)
	}
}

func regtestNetwork(t *testing.T) *pool.Network {
	t.Helper()
	n, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	return n
}
