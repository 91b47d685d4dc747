package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cordee/internal/sandbox"
)

// Strangers who open every connection that the machine's limit of open files
// leaves must not take those of a block: its file, and its way to the node.
func TestStrangersTakeNoDescriptorOfABlock(t *testing.T) {
	program, err := exec.LookPath("cordee")
	if err != nil {
		t.Fatal(err)
	}
	node := realNode(t)
	const hashesPerBlock = 1 << 14
	p := newPool(t, poolOptions{nodes: []*sandbox.Node{node}, hashesPerBlock: hashesPerBlock})
	shim := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nulimit -n 200 && exec '%s' \"$@\"\n", program)
	if err := os.WriteFile(filepath.Join(shim, "cordee"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", shim+string(os.PathListSeparator)+os.Getenv("PATH"))
	p.start()
	rig := p.dialRig("alpes.annecy.raw")
	for range 300 {
		conn, err := net.DialTimeout("tcp", p.stratum, time.Second)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	j := rig.job(func(rawJob) error { return nil })
	s := rig.solve(&j, blockTarget(t, hashesPerBlock))
	began := time.Now()
	if a := rig.submit(&s); !a.OK {
		t.Errorf("the block's share: %d %s", a.Code, a.Text)
	}
	eventually(t, patience, "the block in the node's chain", func() error {
		tip, _ := tipOf(t, node)
		if tip != s.Hash.String() {
			return errors.New("the tip is " + tip)
		}
		return nil
	})
	t.Logf("in the chain after %s", time.Since(began))
	eventually(t, patience, "the block's file", func() error { // a submit waits 2 ms for it
		_, err := os.Stat(filepath.Join(p.journalDir(), "candidates", s.Hash.String()+".cand"))
		return err
	})
	p.stop()
}
