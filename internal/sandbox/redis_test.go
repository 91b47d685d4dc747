package sandbox

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRedisKeeps: it answers, and what it answered OK for outlives kill -9.
func TestRedisKeeps(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	r, err := StartRedis(ctx, dir)
	if errors.Is(err, ErrNoRedis) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(t.Context(), r.Addr); err != nil {
		t.Error(err)
	}
	if got := redisSay(t, r.Addr, "SET shares 7"); got != "+OK" {
		t.Fatal(got)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if r, err = StartRedis(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if got := redisSay(t, r.Addr, "INCR shares"); got != ":8" {
		t.Errorf("after kill -9 it answers %q", got)
	}
	if err := r.Stop(within(t, time.Minute)); err != nil {
		t.Error(err)
	}
	if err := ping(t.Context(), r.Addr); err == nil {
		t.Error("a stopped server answers")
	}
}

// redisSay sends one command and returns the first line of the answer.
func redisSay(t *testing.T, addr, command string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\r\n")
}
