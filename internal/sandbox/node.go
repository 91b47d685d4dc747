package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// NodeOptions says which node to start, and where. Only Dir is required.
type NodeOptions struct {
	Dir string // data directory, created; a node's whole state is in it

	// Binary is the path of bitcoind or btcd. "" chooses: the environment's
	// CORDEE_BITCOIND, then (AllowPath) bitcoind from PATH, then btcd built from
	// BtcdSource.
	Binary     string
	AllowPath  bool
	BtcdSource string // the repository's tools/btcd; "" finds it above the working directory

	Chain           string // "regtest" (also "") or "signet", which only Core can start
	SignetChallenge string // hex of the block script; "" is the public signet's

	ZMQ           bool      // publish hashblock on Node.ZMQ where the node can (Core)
	MiningAddress string    // where generated blocks pay; btcd's generate needs it from the start
	Log           io.Writer // the child's output; nil is node.log in Dir
	ExtraArgs     []string  // put last on the command line
	Connect       []string  // host:port of peers to stay connected to
}

// Kinds of node.
const (
	Btcd = "btcd"
	Core = "bitcoind"
)

// Node is a running full node. The fields do not change while it lives, and
// stay the same over a Restart; methods are safe for concurrent use.
type Node struct {
	Kind    string // Btcd or Core
	Version string // as the binary says it: "0.26.2-beta", "v31.0.0"
	Chain   string // regtest or signet
	Dir     string // data directory, absolute

	URL          string // of RPC: http://127.0.0.1:port
	Cookie       string // path of Core's cookie, "" for btcd
	User         string // btcd's RPC user, "" for Core
	PasswordFile string // path of btcd's RPC password (0600, no newline), "" for Core
	ZMQ          string // tcp://127.0.0.1:port of hashblock, "" if not asked for, and on btcd
	P2P          string // 127.0.0.1:port of the peer-to-peer port

	ctx     context.Context
	options NodeOptions
	binary  string
	args    []string
	log     io.Writer

	mu      sync.Mutex // guards running; never held across a call that waits
	running *process
}

// startTimeout bounds a start; a loaded machine needs seconds.
const startTimeout = 90 * time.Second

// StartNode starts a node and returns when its RPC answers. ctx is the node's
// life: when it is done the node is killed, so pass one that lasts longer than
// whoever mines on the node. Errors carry the tail of the child's log.
//
// The chain is as Dir holds it, only the genesis block in a fresh one; see the
// package comment for what getblocktemplate says then.
func StartNode(ctx context.Context, o NodeOptions) (*Node, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	binary, err := o.choose(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	kind, version, err := identify(ctx, binary, dir)
	if err != nil {
		return nil, err
	}
	if kind == Btcd && o.Chain == "signet" {
		return nil, fmt.Errorf("start node: signet needs Bitcoin Core, and %s is btcd: set CORDEE_BITCOIND", binary)
	}
	n := &Node{Kind: kind, Version: version, Chain: o.Chain, Dir: dir, ctx: ctx, options: o, binary: binary, log: o.Log}
	if n.Chain == "" {
		n.Chain = "regtest"
	}
	if n.log == nil {
		// Open as long as the node may be restarted: until ctx is done.
		f, err := os.OpenFile(filepath.Join(dir, "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("start node: %w", err)
		}
		n.log = f
	}
	for attempt := 0; ; attempt++ {
		if err := n.configure(); err != nil {
			return nil, fmt.Errorf("start node: %w", err)
		}
		err := n.launch(ctx)
		if err == nil {
			break
		}
		// Somebody took a port between our look and the child's.
		if attempt == 3 || !portTaken(err) {
			return nil, fmt.Errorf("start node: %w", err)
		}
	}
	context.AfterFunc(ctx, func() {
		_ = n.Kill()
		if own, ok := n.log.(*os.File); ok && o.Log == nil {
			_ = own.Close()
		}
	})
	return n, nil
}

func (o *NodeOptions) validate() error {
	switch {
	case o.Dir == "":
		return errors.New("start node: Dir is empty: name a data directory")
	case o.Chain != "" && o.Chain != "regtest" && o.Chain != "signet":
		return fmt.Errorf("start node: chain %q: use regtest or signet", o.Chain)
	case o.SignetChallenge != "" && o.Chain != "signet":
		return errors.New("start node: SignetChallenge is set and Chain is not signet")
	}
	return nil
}

// choose returns the path of the binary to run.
func (o *NodeOptions) choose(ctx context.Context) (string, error) {
	if o.Binary != "" {
		return o.Binary, nil
	}
	if named := os.Getenv("CORDEE_BITCOIND"); named != "" {
		if !isFile(named) {
			return "", fmt.Errorf("CORDEE_BITCOIND=%s is not a file: name a bitcoind, or unset it to use btcd", named)
		}
		return named, nil
	}
	if o.AllowPath {
		if found, err := exec.LookPath("bitcoind"); err == nil {
			return found, nil
		}
	}
	source := o.BtcdSource
	if source == "" {
		found, err := findBtcdSource()
		if err != nil {
			return "", err
		}
		source = found
	}
	return BuildBtcd(ctx, source, "")
}

// identify asks a binary what it is. Even for --version Core writes a file into
// the user's own data directory, and two that do so at once fail: it is told
// that home is dir.
func identify(ctx context.Context, binary, dir string) (kind, version string, err error) {
	cmd := exec.CommandContext(ctx, binary, "--version")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	said, err := cmd.Output()
	line, _, _ := strings.Cut(string(said), "\n")
	// "Bitcoin Core daemon version v31.0.0 bitcoind", "btcd version 0.26.2-beta"
	_, version, _ = strings.Cut(line, " version ")
	version, _, _ = strings.Cut(version, " ")
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%s --version: %w: name a bitcoind or a btcd", binary, err)
	case strings.HasPrefix(line, "Bitcoin Core"):
		return Core, version, nil
	case strings.HasPrefix(line, "btcd"):
		return Btcd, version, nil
	}
	return "", "", fmt.Errorf("%s --version says %q: it is neither bitcoind nor btcd", binary, line)
}

// portTaken recognises what btcd and bitcoind say when they cannot listen.
func portTaken(err error) bool {
	return slices.ContainsFunc([]string{"already in use", "Can't listen", "Unable to bind"}, func(s string) bool {
		return strings.Contains(err.Error(), s)
	})
}

// launch spawns the child and waits until RPC answers. Peers are told again,
// for neither kind remembers them.
func (n *Node) launch(ctx context.Context) error {
	cmd := exec.Command(n.binary, n.args...)
	cmd.Dir = n.Dir
	p, err := spawn(cmd, n.log)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.running = p
	n.mu.Unlock()
	err = p.await(ctx, startTimeout, func(ctx context.Context) error {
		_, err := n.Call(ctx, "getblockcount")
		return err
	})
	for _, peer := range n.options.Connect {
		if err == nil {
			_, err = n.Call(ctx, "addnode", peer, "add")
		}
	}
	if err != nil {
		_ = p.kill()
	}
	return err
}

func (n *Node) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running
}

// Pid returns the child's process id, that of the last one when it has ended.
func (n *Node) Pid() int { return n.process().cmd.Process.Pid }

// Done is closed when the present child has ended, for whatever reason. After
// a Restart ask again.
func (n *Node) Done() <-chan struct{} { return n.process().done }

// Tail returns the last lines of the child's log.
func (n *Node) Tail() string { return n.process().tail.String() }

// Kill sends SIGKILL and returns when the node is gone. A dead node is no error.
func (n *Node) Kill() error { return n.process().kill() }

// Stop asks the node to end (SIGTERM) and returns when it is gone. When ctx is
// done or 15 s are over it is killed, and the error says so.
func (n *Node) Stop(ctx context.Context) error { return n.process().stop(ctx) }

// Restart starts the node again on its data and its ports, after stopping it if
// it still runs, and returns when RPC answers.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.ctx.Err(); err != nil {
		return fmt.Errorf("restart node: its context has ended: %w", err)
	}
	if err := n.Stop(ctx); err != nil {
		return fmt.Errorf("restart node: %w", err)
	}
	if err := n.launch(ctx); err != nil {
		return fmt.Errorf("restart node: %w", err)
	}
	if n.ctx.Err() != nil {
		_ = n.Kill() // the end came while we were starting, unseen by AfterFunc
	}
	return nil
}
