package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cordee/internal/fleet"
	"cordee/internal/sandbox"
	"cordee/internal/web"
)

// poolOptions is what a test wants of its pool.
type poolOptions struct {
	nodes          []*sandbox.Node // the first is called n0, then n1, ...
	network        string          // "" is regtest
	hashesPerBlock float64         // regtest_difficulty, as hashes; regtest only
	hashesPerShare float64         // start difficulty
	redis          string          // address of the store; "" is memory
	top            string          // more lines for the top of cordee.toml
	open           bool            // rigs are named by addresses
}

// testPool is one configured pool: start it, ask it, stop it, start it again.
type testPool struct {
	t       *testing.T
	dir     string   // holds cordee.toml, members.toml, cordee.log and pool/ (data_dir)
	config  string   // path of cordee.toml
	stratum string   // host:port
	web     string   // host:port
	flags   []string // more flags of serve
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the child has ended
	waitErr error         // of the child; read after exited
}

// newPool writes the files of a pool with the demo's members; nothing runs yet.
func newPool(t *testing.T, o poolOptions) *testPool {
	t.Helper()
	ports := freeAddrs(t, 2)
	dir, err := os.MkdirTemp("", "cordee") //nolint:usetesting // with the test's name in it the control socket's path passes the 104 bytes that some systems allow
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &testPool{t: t, dir: dir, stratum: ports[0], web: ports[1]}
	if o.hashesPerShare == 0 {
		o.hashesPerShare = max(o.hashesPerBlock/16, 1000)
	}
	first := o.nodes[0]
	p.config, err = demoSetup{
		dir: p.dir, url: first.URL, cookie: first.Cookie, user: first.User, password: first.PasswordFile, zmq: first.ZMQ,
		stratum: p.stratum, web: p.web, redis: o.redis,
		regtestDifficulty: o.hashesPerBlock / math.Exp2(32), startDifficulty: o.hashesPerShare / math.Exp2(32),
	}.write()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), `name = "demo"`, `name = "n0"`, 1)
	text = o.top + "\n" + text
	if o.open {
		text = strings.Replace(text, `members = "members.toml"`, `identity = "open"`, 1)
	}
	if o.network != "" {
		text = strings.Replace(text, `network = "regtest"`, "network = "+strconv.Quote(o.network), 1)
		text = strings.ReplaceAll(text, demoTreasury, testTreasury)
		text = strings.Replace(text, "\nmin_difficulty", "\n# min_difficulty", 1) // the network has its own
		members := filepath.Join(p.dir, "members.toml")
		b, err := os.ReadFile(members)
		if err != nil {
			t.Fatal(err)
		}
		anywhere := regexp.MustCompile(`(?m)^destinations = .*$`) // of that network
		to := fmt.Sprintf("destinations = [{ address = %q, bp = 10000 }]", testTreasury)
		if err := os.WriteFile(members, anywhere.ReplaceAll(b, []byte(to)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o.hashesPerBlock == 0 {
		text = strings.Replace(text, "regtest_difficulty", "# regtest_difficulty", 1)
	}
	for i, n := range o.nodes[1:] {
		text += fmt.Sprintf("\n[[node]]\nname = \"n%d\"\nurl = %q\n", i+1, n.URL)
		if n.Cookie != "" {
			text += fmt.Sprintf("cookie = %q\n", n.Cookie)
		} else {
			text += fmt.Sprintf("user = %q\npassword_file = %q\n", n.User, n.PasswordFile)
		}
		if n.ZMQ != "" {
			text += fmt.Sprintf("zmq = %q\n", n.ZMQ)
		}
	}
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// startPool is newPool, running.
func startPool(t *testing.T, o poolOptions) *testPool {
	t.Helper()
	p := newPool(t, o)
	p.start()
	return p
}

// start runs `cordee serve` as a child and waits for its first template. The
// child dies with the test.
func (p *testPool) start() {
	p.t.Helper()
	p.launch()
	eventually(p.t, patience, "first template of the pool", func() error {
		select {
		case <-p.exited:
			p.t.Fatalf("the pool stopped: %v; its log:\n%s", p.waitErr, p.log())
		default:
		}
		var s web.Status
		if err := p.ask("/status", &s); err != nil {
			return err
		}
		if s.Height == 0 {
			return errors.New("no template yet")
		}
		return nil
	})
}

// launch starts the child and waits for nothing.
func (p *testPool) launch() {
	p.t.Helper()
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), "cordee", append([]string{"serve", "--config", p.config, "--log", "json"}, p.flags...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		p.waitErr = cmd.Wait()
		close(exited)
	}()
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already after a stop
		<-exited
		if p.t.Failed() && cmd == p.cmd {
			p.t.Logf("end of the pool's log:\n%s", tail(p.logPath(), 4000))
		}
	})
}

// signal sends sig to the child.
func (p *testPool) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// wait returns the child's exit code (-1: killed by a signal).
func (p *testPool) wait(limit time.Duration) int {
	p.t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		p.t.Fatalf("the pool did not stop within %s", limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the pool with SIGTERM: it must say that all went well.
func (p *testPool) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(patience); code != 0 {
		p.t.Fatalf("exit code %d after SIGTERM; the end of its log:\n%s", code, tail(p.logPath(), 4000))
	}
}

// kill ends the pool with SIGKILL.
func (p *testPool) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait(patience)
}

func (p *testPool) dataDir() string { return filepath.Join(p.dir, "pool") }
func (p *testPool) logPath() string { return filepath.Join(p.dir, "cordee.log") }

// log returns all that the pool's runs have logged.
func (p *testPool) log() string {
	b, err := os.ReadFile(p.logPath())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// ask gets path from the control socket.
func (p *testPool) ask(path string, into any) error {
	// Not the test's context: a cleanup may ask too.
	return ask(context.Background(), filepath.Join(p.dataDir(), socketName), path, into)
}

// status is one look at the running pool.
func (p *testPool) status() web.Status {
	p.t.Helper()
	var s web.Status
	if err := p.ask("/status", &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// awaitConnections waits until the pool has so many. Rigs that were stopped may
// have left shares in the socket, which count until the pool sees their end.
func (p *testPool) awaitConnections(n int) {
	p.t.Helper()
	eventually(p.t, patience, fmt.Sprintf("%d connections", n), func() error {
		if got := p.status().Connections; got != n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

// blocks is what `cordee blocks --json` prints: newest first.
func (p *testPool) blocks() []web.Block {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "blocks", "--json", "-c", p.config)
	var b web.Blocks
	if err := json.Unmarshal([]byte(out), &b); err != nil || code != 0 {
		p.t.Fatalf("cordee blocks: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	return b.Blocks
}

// block returns the pool's block with hash, if it knows it.
func (p *testPool) block(hash string) (web.Block, bool) {
	p.t.Helper()
	for _, b := range p.blocks() {
		if b.Hash == hash {
			return b, true
		}
	}
	return web.Block{}, false
}

// get fetches a public page of the pool.
func (p *testPool) get(path string) (int, string, error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.web+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Accept-Encoding", "identity") // a compressor is 800 KiB: what held measures would go by when it is at work
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String(), err
}

// verify runs `cordee journal verify` on the pool's journal: it must be clean.
func (p *testPool) verify() journalReport {
	p.t.Helper()
	out, errOut, code := cordee(p.t, "journal", "verify", "--json", "-c", p.config)
	var r journalReport
	if err := json.Unmarshal([]byte(lastLine(out)), &r); err != nil || code != 0 || !r.OK {
		p.t.Fatalf("journal verify: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	return r
}

// mine runs a fleet of rigs, each at rate hashes per second, on the pool until
// stop is called or the test ends. Rig i belongs to the demo's member i%3.
func (p *testPool) mine(rigs int, rate float64, onEvent func(fleet.Event)) (f *fleet.Fleet, stop func()) {
	p.t.Helper()
	names := []string{"alpes.annecy", "jura.dole", "vosges.gerardmer"}
	var users []string
	for i := range rigs {
		users = append(users, fmt.Sprintf("%s.rig-%d", names[i%len(names)], i))
	}
	return p.fleet(users, rate, onEvent)
}

// fleet is mine for rigs of these names.
func (p *testPool) fleet(users []string, rate float64, onEvent func(fleet.Event)) (f *fleet.Fleet, stop func()) {
	p.t.Helper()
	c := fleet.Config{Addr: p.stratum, Seed: rand.Uint64(), Log: zerolog.Nop(), OnEvent: onEvent}
	for i, user := range users {
		c.Rigs = append(c.Rigs, fleet.Rig{User: user, Hashrate: rate, VersionRolling: i%2 == 0})
	}
	f, err := fleet.New(c)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("fleet: %v", err)
		}
	}
	p.t.Cleanup(stop)
	return f, stop
}
