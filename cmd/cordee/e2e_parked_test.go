package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cordee/internal/audit"
	"cordee/internal/sandbox"
	"cordee/internal/web"
)

// TestParked: with unknown = "park" a rig that nobody knows mines. Its work is in
// the window for no member, is listed by full name, survives a kill, is paid to
// nobody, and every block agrees with the journal. With "refuse" its next
// authorize is error 24.
func TestParked(t *testing.T) {
	t.Parallel()
	n := realNode(t)
	p := newPool(t, poolOptions{nodes: []*sandbox.Node{n}, hashesPerBlock: 400_000, hashesPerShare: 4_000})
	members := filepath.Join(p.dir, "members.toml")
	known, err := os.ReadFile(members)
	if err != nil {
		t.Fatal(err)
	}
	write := func(policy string) {
		if err := os.WriteFile(members, fmt.Appendf(nil, "unknown = %q\n%s", policy, known), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("park")
	p.start()
	p.mine(1, 200_000, nil)
	strangers := []string{"nobody.barn.r1", "alpes.nowhere.r2"} // no such member, no such site
	_, stop := p.fleet(strangers, 200_000, nil)

	credits := func(r *audit.Report) (n int) {
		for _, b := range r.Blocks {
			if slices.ContainsFunc(b.Credits, func(c audit.Credit) bool { return c.Member == parkedID && c.Sats > 0 }) {
				n++
			}
			if slices.ContainsFunc(b.Outputs, func(o audit.Output) bool { return o.Member == parkedID }) {
				t.Errorf("block %d pays parked work", b.Height)
			}
		}
		return n
	}
	credited := func(least int) func() error {
		return func() error {
			r, err := auditChain(t.Context(), p.config)
			if err != nil {
				return err
			}
			if n := credits(r); n < least {
				return fmt.Errorf("%d blocks credit parked work", n)
			}
			return nil
		}
	}
	eventually(t, findPatience, "a block that credits parked work", credited(2))
	var before map[string]parkedName
	eventually(t, patience, "shares of both", func() error { // the blocks may credit one of them only
		if before = p.parked(); len(before) < len(strangers) {
			return fmt.Errorf("%+v", before)
		}
		return nil
	})
	p.kill()
	p.start()
	eventually(t, findPatience, "another after the kill", credited(3))
	stop()
	after := p.parked()
	for _, name := range strangers {
		if before[name].Shares == 0 || after[name].Units < before[name].Units {
			t.Errorf("%s: %+v, after a kill %+v", name, before[name], after[name])
		}
	}
	if len(after) != len(strangers) {
		t.Errorf("parked: %+v", after)
	}
	var accounts web.Accounts
	if err := p.ask("/accounts", &accounts); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(accounts.Members, func(a web.Account) bool { return a.Index == 0 }); i < 0 ||
		accounts.Members[i].Paid != 0 || accounts.Members[i].Expected+accounts.Members[i].Maturing+accounts.Members[i].Carried == 0 {
		t.Errorf("accounts: %+v", accounts.Members)
	}

	write("refuse")
	p.signal(syscall.SIGHUP)
	eventually(t, patience, "refusal of a stranger", func() error {
		if a := p.authorize("nobody.barn.r9"); a.Code != 24 || a.OK {
			return errors.New("it is let in")
		}
		return nil
	})
	if a := p.authorize("alpes.annecy.new"); !a.OK {
		t.Errorf("a member's new rig: %+v", a)
	}
	p.stop()
	if r := p.audit(p.config); !r.OK || credits(&r) < 3 {
		t.Errorf("%+v", r)
	}
}

// parked is what `cordee member parked --json` prints, by name.
func (p *testPool) parked() map[string]parkedName {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "member", "parked", "--json", "-c", p.config)
	var r parkedReport
	if err := json.Unmarshal([]byte(lastLine(out)), &r); err != nil || code != 0 {
		p.t.Fatalf("cordee member parked: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	names := map[string]parkedName{}
	for _, n := range r.Names {
		if n.Work == "" || n.Last.IsZero() || strings.Contains(n.Name, " ") {
			p.t.Errorf("%+v", n)
		}
		names[n.Name] = n
	}
	return names
}
