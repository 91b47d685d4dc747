package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoRedis says that there is no redis-server on PATH.
var ErrNoRedis = errors.New("no redis-server on PATH: run make deps, or install redis-server")

// Redis is a running redis-server that is fit to keep a ledger: every write is in
// its append-only file before it is answered, and nothing is ever evicted.
type Redis struct {
	Addr string // 127.0.0.1:port
	Dir  string // its working directory, with redis.log and appendonlydir

	running *process
}

// StartRedis starts the redis-server of PATH on a free port, with dir (created)
// as its working directory, and returns when it answers PING; what an earlier one
// kept in dir is there again. It is killed when ctx is done.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoRedis
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	for attempt := 0; ; attempt++ {
		r, err := launchRedis(ctx, binary, dir, log)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = r.Kill(); _ = log.Close() })
			return r, nil
		}
		// Somebody took the port between our look and the server's.
		if attempt == 3 || !portTaken(err) {
			_ = log.Close()
			return nil, fmt.Errorf("start redis: %w", err)
		}
	}
}

// launchRedis spawns a server on a port of its own and waits until it answers.
func launchRedis(ctx context.Context, binary, dir string, log io.Writer) (*Redis, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "--bind", host, "--port", port, "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
	p, err := spawn(cmd, log)
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, startTimeout, func(ctx context.Context) error { return ping(ctx, address) }); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return &Redis{Addr: address, Dir: dir, running: p}, nil
}

func ping(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, len("+PONG\r\n"))
	if _, err := conn.Read(answer); err != nil {
		return err
	}
	if string(answer) != "+PONG\r\n" {
		return fmt.Errorf("PING is answered %q", answer)
	}
	return nil
}

// Kill sends SIGKILL and returns when the server is gone.
func (r *Redis) Kill() error { return r.running.kill() }

// Stop asks the server to end and kills it when ctx is done first.
func (r *Redis) Stop(ctx context.Context) error { return r.running.stop(ctx) }
