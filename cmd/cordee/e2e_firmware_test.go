package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"cordee/internal/sandbox"
	"cordee/pool"
)

// coinbase is what j pays, as the rig would hash it.
func (r *rawRig) coinbase(j *rawJob) (*wire.MsgTx, int, error) {
	raw := bytes.Join([][]byte{j.coinb1, r.en1, make([]byte, r.en2size), j.coinb2}, nil)
	tx := new(wire.MsgTx)
	return tx, len(raw), tx.DeserializeNoWitness(bytes.NewReader(raw))
}

// membersPaid counts the outputs beside treasury and witness commitment.
func membersPaid(t *testing.T, coinbase *wire.MsgTx) int {
	t.Helper()
	network, err := pool.NetworkByName("regtest")
	if err != nil {
		t.Fatal(err)
	}
	treasury, err := network.Script(demoTreasury)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, o := range coinbase.TxOut {
		if o.Value > 0 && !bytes.Equal(o.PkScript, treasury) {
			n++
		}
	}
	return n
}

// TestFirmwareOnTheNode: sixteen members work; a rig whose firmware holds a large
// coinbase mines a block that pays all of them, one of unknown firmware a block
// that pays eight and owes the others, a small device one that pays fewer still.
// The node takes them all, and the audit agrees with each. A new table is in
// force after SIGHUP, one with a mistake is not.
func TestFirmwareOnTheNode(t *testing.T) {
	t.Parallel()
	const members, hashesPerShare = 16, 200
	n := realNode(t)
	p := newPool(t, poolOptions{
		nodes: []*sandbox.Node{n}, hashesPerBlock: easy, hashesPerShare: hashesPerShare, top: "firmware = \"firmware.toml\"",
	})
	var text strings.Builder
	for i := range members {
		fmt.Fprintf(&text, "[[member]]\nid = \"m%d\"\nindex = %d\ndestinations = [{ address = %q, bp = 10000 }]\n  [[member.site]]\n  id = \"s\"\n",
			i, i+1, demoAddress(fmt.Sprint("m", i)))
	}
	table := filepath.Join(p.dir, "firmware.toml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(p.dir, "members.toml"), text.String())
	write(table, "")
	p.start()

	block := blockTarget(t, easy)
	for i := range members {
		r := p.dialRig(fmt.Sprintf("m%d.s.r", i))
		for range 2 {
			j := r.job(func(rawJob) error { return nil })
			s := r.solve(&j, blockTarget(t, hashesPerShare))
			for block.Met(&s.Hash) { // one in a hundred: the share behind it could be stale
				s = r.solve(&j, blockTarget(t, hashesPerShare))
			}
			if a := r.submit(&s); !a.OK {
				t.Fatalf("member %d: code %d %s", i, a.Code, a.Text)
			}
		}
		_ = r.conn.Close()
	}
	eventually(t, patience, "slots of all that work", func() error {
		shares := 0.0
		for _, line := range p.logged("slot.closed") {
			n, _ := line["shares"].(float64)
			shares += n
		}
		if shares < 2*members {
			return fmt.Errorf("%v shares", shares)
		}
		return nil
	})

	outputs := map[string]int{}
	for _, c := range []struct {
		agent       string
		class       pool.Class
		least, most int // members paid
	}{
		{"bitaxe/BM1366/v2.4.1", pool.LargeClass, members, members},
		{"raw/1", pool.DefaultClass, 7, 9},
		{"NerdMinerV2/V1.8.3", pool.TinyClass, 1, 1},
	} {
		r := p.dialAgent("m0.s.r", c.agent)
		generate(t, n, 1) // what a new job is made for
		j := r.job(func(j rawJob) error {
			tx, size, err := r.coinbase(&j)
			if err != nil || size > c.class.MaxCoinbase {
				t.Fatalf("%s: a coinbase of %d bytes, %v", c.agent, size, err)
			}
			if tip, _ := tipOf(t, n); j.PrevHash != tip {
				return errors.New("of an older tip")
			}
			if paid := membersPaid(t, tx); paid < c.least {
				return fmt.Errorf("%d bytes pay %d members", size, paid)
			}
			return nil
		})
		s := r.solve(&j, block)
		if a := r.submit(&s); !a.OK {
			t.Fatalf("%s: code %d %s", c.agent, a.Code, a.Text)
		}
		eventually(t, patience, "block on the chain", func() error {
			if b, ok := p.block(s.Hash.String()); !ok || b.State != pool.BlockActive || b.Split == nil {
				return fmt.Errorf("%+v", b)
			}
			return nil
		})
		coinbase := rawBlock(t, n, s.Hash.String()).Transactions[0]
		script, err := pool.ParseScriptSig(coinbase.TxIn[0].SignatureScript)
		if err != nil || script.Place.Class != c.class.ID {
			t.Errorf("%s: the block is of class %d, %v", c.agent, script.Place.Class, err)
		}
		outputs[c.agent] = membersPaid(t, coinbase)
		if n := outputs[c.agent]; n > c.most {
			t.Errorf("%s: the block pays %d members", c.agent, n)
		}
		out, errOut, code := cordee(t, "rigs", "-c", p.config, "m0")
		if code != 0 || !strings.Contains(out, c.class.Name) || !strings.Contains(out, c.agent) {
			t.Errorf("cordee rigs: exit %d\n%s%s", code, out, errOut)
		}
	}
	t.Logf("members paid directly: %v", outputs)

	// The table is read again on SIGHUP.
	r := p.dialRig("m1.s.r")
	for _, c := range []struct{ text, event, class string }{
		{"[[firmware]]\nprefix = \"raw/\"\nclass = \"vast\"\n", "config.refused", "default"},
		{"[[firmware]]\nprefix = \"raw/\"\nclass = \"medium\"\n", "config.reload", "medium"},
	} {
		write(table, c.text)
		p.signal(syscall.SIGHUP)
		p.awaitLogged(c.event, 1)
		tip := generate(t, n, 1)[0]
		r.jobOn(tip)
		// A class that no rig had before gets its job a moment later.
		eventually(t, patience, "class "+c.class+" after "+c.event, func() error {
			if out, _, _ := cordee(t, "rigs", "-c", p.config, "m1"); !strings.Contains(out, c.class) {
				return errors.New(out)
			}
			return nil
		})
	}
	p.stop()
	report := p.audit(p.config)
	if !report.OK || len(report.Blocks) < 3 || report.Paying < 3 {
		t.Errorf("%d blocks, %d pay members, %v", len(report.Blocks), report.Paying, report.Mismatches)
	}
}
