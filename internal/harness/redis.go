package harness

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server of a test's own, on loopback and in a temporary
// directory, with an AOF that is synced before every answer.
type Redis struct {
	Addr string // host:port, the same after Kill and Start
	Dir  string // its working directory

	tb   testing.TB
	args []string
	cmd  *exec.Cmd
	done chan struct{}
	log  *bytes.Buffer // read only after done
}

// StartRedis starts the redis-server of PATH with further arguments, which
// override the settings above, and returns when it answers. Without one it
// skips the test, or fails it where CI=true.
func StartRedis(tb testing.TB, args ...string) *Redis {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatal("no redis-server on PATH: run make deps, or install redis-server")
		}
		tb.Skip("no redis-server on PATH: run make deps, or install redis-server")
	}
	for attempt := 0; ; attempt++ {
		r, port := newRedis(tb)
		r.args = append([]string{
			path, "--bind", "127.0.0.1", "--port", port, "--dir", r.Dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", "always", "--lua-time-limit", "1000",
		}, args...)
		err := r.start()
		if err == nil {
			tb.Cleanup(r.Kill)
			return r
		}
		// Somebody took the port between our look and the server's.
		if attempt == 3 || !strings.Contains(err.Error(), "already in use") {
			tb.Fatal(err)
		}
	}
}

func newRedis(tb testing.TB) (r *Redis, port string) {
	port = strconv.Itoa(freePort(tb))
	return &Redis{tb: tb, Dir: tb.TempDir(), Addr: net.JoinHostPort("127.0.0.1", port)}, port
}

// StartSentinel starts a sentinel that calls master by name, and rules alone. It
// waits a minute for a master before it names another: a busy machine is no fault
// of one. A test that wants a failover sets down-after-milliseconds first.
func StartSentinel(tb testing.TB, name string, master *Redis) *Redis {
	tb.Helper()
	r, port := newRedis(tb)
	_, masterPort, _ := net.SplitHostPort(master.Addr)
	conf := filepath.Join(r.Dir, "sentinel.conf")
	text := "bind 127.0.0.1\nport " + port + "\ndir " + r.Dir + "\nsentinel monitor " + name + " 127.0.0.1 " + masterPort +
		" 1\nsentinel down-after-milliseconds " + name + " 60000\nsentinel failover-timeout " + name + " 3000\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	r.args = []string{master.args[0], conf, "--sentinel"}
	r.Start()
	tb.Cleanup(r.Kill)
	return r
}

// Start starts the process, anew after Kill.
func (r *Redis) Start() {
	r.tb.Helper()
	if err := r.start(); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *Redis) start() error {
	r.log = &bytes.Buffer{}
	r.cmd = exec.Command(r.args[0], r.args[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	r.cmd.WaitDelay = time.Second
	if err := r.cmd.Start(); err != nil {
		return err
	}
	r.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(r.cmd, r.done)

	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		select {
		case <-r.done:
			return fmt.Errorf("redis-server ended at once:\n%s", r.log)
		case <-late.C:
			r.Kill()
			return fmt.Errorf("redis-server does not answer:\n%s", r.log)
		case <-tick.C:
		}
		// PONG, or a demand for a password: it has loaded its data.
		if answer := r.ask("PING\r\n"); strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH") {
			return nil
		}
	}
}

// ask sends one inline command and returns the start of its answer.
func (r *Redis) ask(command string) string {
	conn, err := net.DialTimeout("tcp", r.Addr, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte(command)); err != nil {
		return ""
	}
	answer := make([]byte, 64)
	n, _ := conn.Read(answer)
	return string(answer[:n])
}

// Pid is the process id of the running server.
func (r *Redis) Pid() int { return r.cmd.Process.Pid }

// Admin returns a client for what a store would never do.
func (r *Redis) Admin() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: r.Addr, Protocol: 2, MaxRetries: -1, DisableIdentity: true})
	r.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Kill ends the process at once, as kill -9 does.
func (r *Redis) Kill() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

// Copy keeps what the server has on disk, which is all that it has answered for,
// and returns what puts it back: the server is killed, and starts with the copy.
func (r *Redis) Copy() (restore func()) {
	r.tb.Helper()
	kept := r.tb.TempDir()
	if err := os.CopyFS(kept, os.DirFS(r.Dir)); err != nil {
		r.tb.Fatal(err)
	}
	return func() {
		r.tb.Helper()
		r.Kill()
		if err := errors.Join(os.RemoveAll(r.Dir), os.CopyFS(r.Dir, os.DirFS(kept))); err != nil {
			r.tb.Fatal(err)
		}
		r.Start()
	}
}

// TruncateAOF cuts n bytes off the end of the newest AOF file, as a crash of
// the machine may. The server must be dead.
func (r *Redis) TruncateAOF(n int64) {
	r.tb.Helper()
	files, err := filepath.Glob(filepath.Join(r.Dir, "appendonlydir", "*.incr.aof"))
	if err == nil && len(files) == 0 {
		files, err = filepath.Glob(filepath.Join(r.Dir, "*.aof")) // before Redis 7
	}
	if err != nil || len(files) == 0 {
		r.tb.Fatalf("no AOF in %s: %v", r.Dir, err)
	}
	file := files[len(files)-1]
	info, err := os.Stat(file)
	if err != nil {
		r.tb.Fatal(err)
	}
	if err := os.Truncate(file, max(0, info.Size()-n)); err != nil {
		r.tb.Fatal(err)
	}
}
