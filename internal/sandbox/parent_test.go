package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test binary play the parent that dies: asked so by the
// environment it starts a node, tells its pid, and waits to be killed.
func TestMain(m *testing.M) {
	if binary := os.Getenv("SANDBOX_PARENT_OF"); binary != "" {
		n := startOnDyingThread(NodeOptions{Dir: os.Getenv("SANDBOX_DIR"), Binary: binary})
		if _, err := n.Call(context.Background(), "getblockcount"); err != nil {
			fmt.Println("the node died with a thread:", err)
			os.Exit(1)
		}
		fmt.Println("pid", n.Pid())
		select {}
	}
	os.Exit(m.Run())
}

// startOnDyingThread starts a node from a goroutine that takes its thread along
// when it returns, and with it whatever that thread itself had forked.
func startOnDyingThread(o NodeOptions) *Node {
	runtime.LockOSThread() // this goroutine keeps the main thread, which Go never ends
	var n *Node
	var err error
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		n, err = StartNode(context.Background(), o)
	})
	done.Wait()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {
	case <-n.Done():
		fmt.Println("the node died with a thread")
		os.Exit(1)
	case <-time.After(200 * time.Millisecond): // a thread needs a moment to end
	}
	return n
}

func TestChildDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no parent-death signal outside Linux")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "SANDBOX_PARENT_OF="+builtBtcd(t), "SANDBOX_DIR="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, bad := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "pid ")))
	if err != nil || bad != nil {
		_ = parent.Process.Kill()
		t.Fatalf("the parent says %q %v", line, err)
	}
	if !running(pid) {
		t.Fatalf("node %d does not run under its living parent", pid)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	if err := poll(within(t, time.Minute), func() error {
		if running(pid) {
			return fmt.Errorf("node %d lives on", pid)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// running reports whether pid is a process that is not a zombie. After its
// parent's death it is somebody else's to collect.
func running(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func TestParallelBuildersBuildOnce(t *testing.T) {
	out := t.TempDir()
	paths := make([]string, 4)
	var all sync.WaitGroup
	for i := range paths {
		all.Go(func() {
			var err error
			if paths[i], err = BuildBtcd(t.Context(), "../../tools/btcd", out); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, p := range paths {
		if p != paths[0] {
			t.Errorf("built %s and %s", p, paths[0])
		}
	}
	before, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	again := must[string](t)(BuildBtcd(t.Context(), "../../tools/btcd", out))
	after, err := os.Stat(again)
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("built again what was there: %v", err)
	}
	if _, err := BuildBtcd(t.Context(), t.TempDir(), out); err == nil || !strings.Contains(err.Error(), "tools/btcd") {
		t.Errorf("a directory without go.mod gives %v", err)
	}
}
