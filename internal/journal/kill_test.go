package journal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

const childEnv = "CORDEE_JOURNAL_CHILD"

// TestMain turns the test binary into a process that only appends and says
// what was answered true, until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func child(dir string) error {
	j, rec, err := Open(Config{Dir: dir, SegmentSize: 32768})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for g := range uint32(8) {
		wg.Go(func() {
			for i := uint32(1); ; i++ {
				shares := []Share{{Difficulty: 1, Nonce: g<<24 | i}, {Difficulty: 1, Nonce: g<<24 | i, Version: 1}}
				t, err := j.AppendShares(shares)
				if err == nil {
					err = t.Wait()
				}
				if err != nil {
					panic(err)
				}
				// One write(2) a line: the pipe keeps it whole.
				fmt.Fprintf(os.Stdout, "%d %d %d\n", rec.Epoch, shares[1].Seq, shares[1].Nonce)
			}
		})
	}
	wg.Wait()
	return nil
}

// TestKillKeepsWhatWasAnswered kills a real process with SIGKILL, several
// times on one directory: every share it answered is there.
func TestKillKeepsWhatWasAnswered(t *testing.T) {
	dir := t.TempDir()
	type place struct {
		epoch uint32
		seq   uint64
	}
	acked := map[place]uint32{}
	for range 3 {
		cmd := exec.Command(os.Args[0]) // #nosec G204 -- this test binary itself
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for in := bufio.NewScanner(out); in.Scan(); lines++ {
			var p place
			var nonce uint32
			if _, err := fmt.Sscan(in.Text(), &p.epoch, &p.seq, &nonce); err != nil {
				t.Fatalf("line %q: %v", in.Text(), err)
			}
			acked[p] = nonce
			if lines == 300 { // lines on their way are still read
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || lines < 300 {
			t.Fatalf("child ended by itself after %d lines: %v", lines, err)
		}
	}
	j, rec := open4(t, Config{Dir: dir})
	if rec.Epoch != 4 || rec.Sealed {
		t.Errorf("%+v", rec)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	err := Read(dir, func(r RecordInfo, rec Record) error {
		s, ok := rec.(Share)
		if !ok {
			return nil
		}
		p := place{r.Epoch, r.Seq}
		if nonce, ok := acked[p]; ok && nonce != s.Nonce {
			return fmt.Errorf("epoch %d seq %d holds nonce %d, answered %d", p.epoch, p.seq, s.Nonce, nonce)
		}
		delete(acked, p)
		return nil
	})
	if err != nil || len(acked) != 0 {
		t.Errorf("%d answered shares are lost, %v", len(acked), err)
	}
}
