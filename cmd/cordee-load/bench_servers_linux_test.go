package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cordee/internal/config"
	"cordee/internal/sandbox"
)

const peerName = "peer" // the server that PEER_URL names

// rival is a server that is measured.
type rival struct {
	name, url, user string
	pid             int
	news            string // a command for the shell after which it has a new job; "" has no way
	status          func() (firstNotify float64, err error)
	stop            func()
}

// benchHouse is what the rivals of a bench live in.
type benchHouse struct {
	t    *testing.T
	dir  string // on a disk: the journal is in it
	bin  string // holds cordee and cordee-load
	node *sandbox.Node
	runs int
}

// newBenchHouse builds the programs and starts a node on regtest. Whenever this
// process gets SIGUSR2, the node makes a block.
func newBenchHouse(t *testing.T) *benchHouse {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, ".cache"), 0o750); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(filepath.Join(root, ".cache"), "bench-") //nolint:usetesting // a disk is wanted, and the temporary directory may be memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &benchHouse{t: t, dir: dir, bin: filepath.Join(dir, "bin")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", h.bin+"/", "./cmd/cordee", "./cmd/cordee-load")
	build.Dir = root
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	h.node, err = sandbox.StartNode(t.Context(), sandbox.NodeOptions{
		Dir: filepath.Join(dir, "node"), AllowPath: true, ZMQ: true, MiningAddress: config.DemoTreasury,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.block()
	return h
}

func (h *benchHouse) block() {
	if _, err := h.node.Generate(h.t.Context(), 1, config.DemoTreasury); err != nil && h.t.Context().Err() == nil {
		h.t.Errorf("a block: %v", err)
	}
}

// child starts a program that dies with the test, and returns what ends it.
func (h *benchHouse) child(name string, args ...string) (*exec.Cmd, func()) {
	h.t.Helper()
	log, err := os.OpenFile(filepath.Join(h.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(h.bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return cmd, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			h.t.Errorf("%s did not end in 20 s", name)
			_ = cmd.Process.Kill()
			<-done
		}
		log.Close()
	}
}

// await asks until it is answered.
func (h *benchHouse) await(what string, ask func() error) {
	h.t.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) || h.t.Context().Err() != nil {
			h.t.Fatalf("%s: %v", what, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (h *benchHouse) floor() *rival {
	h.t.Helper()
	addr := h.address()
	cmd, stop := h.child("cordee-load", "floor", "--listen", addr)
	h.await("the bare server", func() error {
		conn, err := (&net.Dialer{}).DialContext(h.t.Context(), "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return &rival{
		name: bareName, url: addr, user: "a.b.r%d", pid: cmd.Process.Pid,
		news: fmt.Sprintf("kill -USR1 %d", cmd.Process.Pid), stop: stop,
	}
}

func (h *benchHouse) address() string {
	h.t.Helper()
	a, err := sandbox.FreeAddress()
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// cordee starts a pool as one is run, journal and ledger on disk, whose shares
// take four hashes and whose blocks are rare. What bounds one rig or one place is
// lifted.
func (h *benchHouse) cordee() *rival {
	h.t.Helper()
	h.runs++
	dir := filepath.Join(h.dir, fmt.Sprint("pool", h.runs))
	addr := h.address()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	credentials := fmt.Sprintf("cookie = %q", h.node.Cookie)
	if h.node.Cookie == "" {
		credentials = fmt.Sprintf("user = %q\npassword_file = %q", h.node.User, h.node.PasswordFile)
	}
	if h.node.ZMQ != "" {
		credentials += fmt.Sprintf("\nzmq = %q", h.node.ZMQ)
	}
	const hashes4 = "0.000000000931322574615478515625" // 4/2^32
	conf := filepath.Join(dir, config.FileName)
	for name, text := range map[string]string{
		conf: fmt.Sprintf(`network = "regtest"
regtest_difficulty = 1
[edge]
id = 1
prefix = 1
[[node]]
url = %q
%s
[[listener]]
address = %q
start_difficulty = %s
min_difficulty = %[4]s
max_difficulty = %[4]s
[limits]
trusted = ["127.0.0.0/8"]
share_gap = "0s"
[web]
address = %[5]q
[payout]
treasury = %[6]q
`, h.node.URL, credentials, addr, hashes4, h.address(), config.DemoTreasury),
		filepath.Join(dir, "members.toml"): fmt.Sprintf(`[[member]]
id = "alpes"
index = 1
destinations = [{ address = %q, bp = 10000 }]
[[member.site]]
id = "annecy"
`, config.DemoTreasury),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := config.WriteSlotKey(filepath.Join(dir, config.SlotKeyFileName)); err != nil {
		h.t.Fatal(err)
	}
	cmd, stop := h.child("cordee", "serve", "-c", conf)
	status := func() (height int, first float64, err error) {
		said, err := exec.CommandContext(h.t.Context(), filepath.Join(h.bin, "cordee"), "status", "-c", conf, "--json").Output()
		var s struct {
			Height int `json:"height"`
			First  struct {
				Median float64 `json:"median"`
			} `json:"new_tip_to_first_notify_ms"`
		}
		if err == nil {
			err = json.Unmarshal(said, &s)
		}
		return s.Height, s.First.Median, err
	}
	h.await("the pool", func() error {
		height, _, err := status()
		if err == nil && height == 0 {
			err = fmt.Errorf("it has no work yet")
		}
		return err
	})
	return &rival{
		name: cordeeName, url: addr, user: "alpes.annecy.r%d", pid: cmd.Process.Pid,
		news: fmt.Sprintf("kill -USR2 %d", os.Getpid()),
		status: func() (float64, error) {
			_, first, err := status()
			return first, err
		},
		stop: func() {
			stop()
			_ = os.RemoveAll(dir)
		},
	}
}

// peer is another server, started by whoever runs the bench.
func peer() *rival {
	url := os.Getenv("PEER_URL")
	if url == "" {
		return nil
	}
	r := &rival{name: peerName, url: url, user: os.Getenv("PEER_USER"), news: os.Getenv("PEER_EXEC"), stop: func() {}}
	if r.user == "" {
		r.user = "peer.r%d"
	}
	_, _ = fmt.Sscan(os.Getenv("PEER_PID"), &r.pid) // without it its costs are not measured
	return r
}

// load runs a mode of cordee-load against a server and reads its report. What is
// wrong with it is an error of the test, and the figures of it are left out.
func (h *benchHouse) load(mode string, r *rival, into any, args ...string) bool {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 15*time.Minute)
	defer cancel()
	args = append([]string{mode, "--url", r.url, "--user", r.user, "--json"}, args...)
	if r.pid != 0 {
		args = append(args, "--pid", fmt.Sprint(r.pid))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(h.bin, "cordee-load"), args...)
	var said, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &complaint
	err := cmd.Run()
	if err == nil {
		err = json.Unmarshal([]byte(said.String()), into)
	}
	if err != nil {
		h.t.Errorf("%s: cordee-load %s: %v\n%s", r.name, strings.Join(args, " "), err, complaint.String())
	}
	return err == nil
}
