package sandbox

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// configure chooses fresh ports and writes the command line for them.
func (n *Node) configure() error {
	ports, err := FreeAddresses(3)
	if err != nil {
		return err
	}
	rpc, p2p, zmq := ports[0], ports[1], ports[2]
	n.URL, n.P2P = "http://"+rpc, p2p
	if n.Kind == Btcd {
		return n.configureBtcd(rpc)
	}
	if n.options.ZMQ {
		n.ZMQ = "tcp://" + zmq
	}
	return n.configureCore(rpc)
}

// configureBtcd writes the credentials to files: a command line can be read by
// every user of the machine.
func (n *Node) configureBtcd(rpc string) error {
	n.User = "cordee"
	n.PasswordFile = filepath.Join(n.Dir, "rpcpassword")
	password := rand.Text()
	if err := os.WriteFile(n.PasswordFile, []byte(password), 0o600); err != nil {
		return err
	}
	file := filepath.Join(n.Dir, "btcd.conf")
	text := fmt.Sprintf("[Application Options]\nrpcuser=%s\nrpcpass=%s\n", n.User, password)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	n.args = []string{
		"--regtest",
		"--configfile=" + file,
		"--datadir=" + filepath.Join(n.Dir, "data"),
		"--logdir=" + filepath.Join(n.Dir, "logs"),
		"--notls", // allowed on loopback only
		"--rpclisten=" + rpc,
		"--listen=" + n.P2P,
		"--nodnsseed",
		// The default of 10 connections is fewer than a pool, its tests and this
		// package hold together; the eleventh is answered 503.
		"--rpcmaxclients=200",
		"--rpcmaxconcurrentreqs=200",
	}
	if n.options.MiningAddress != "" {
		n.args = append(n.args, "--miningaddr="+n.options.MiningAddress)
	}
	n.args = append(n.args, n.options.ExtraArgs...)
	return nil
}

func (n *Node) configureCore(rpc string) error {
	_, port, err := net.SplitHostPort(rpc)
	if err != nil {
		return err
	}
	n.Cookie = filepath.Join(n.Dir, "cookie")
	n.args = []string{
		"-" + n.Chain,
		"-datadir=" + n.Dir,
		"-rpccookiefile=" + n.Cookie, // the same place on every chain
		"-server",
		"-rpcbind=127.0.0.1",
		"-rpcallowip=127.0.0.1",
		"-rpcport=" + port,
		"-listen",
		"-bind=" + n.P2P, // and no onion port, which -bind alone would not switch off in every version
		"-listenonion=0",
		"-dnsseed=0",
		"-fixedseeds=0",
		"-discover=0",
		"-printtoconsole", // the log goes to us
		"-nodebuglogfile",
	}
	if n.options.SignetChallenge != "" {
		n.args = append(n.args, "-signetchallenge="+n.options.SignetChallenge)
	}
	if n.ZMQ != "" {
		n.args = append(n.args, "-zmqpubhashblock="+n.ZMQ)
	}
	n.args = append(n.args, n.options.ExtraArgs...)
	return nil
}
