package stratum

import (
	"bufio"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// A client that is not Go's mines too, and may change its keys and have ours
// changed: an answer of TLS itself, in the middle of a read.
func TestOpenSSL(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl in PATH")
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		srv, _ := testServer(t, nil)
		addr, _ := listenTLS(t, srv, Door{})
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		cmd := exec.CommandContext(t.Context(), program, "s_client", version, "-connect", addr)
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		cmd.Stderr = cmd.Stdout // KEYUPDATE is said there
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		say := func(line, answer string) {
			t.Helper()
			if _, err := io.WriteString(in, line+"\n"); err != nil {
				t.Fatal(err)
			}
			for {
				l, err := lines.ReadString('\n')
				if err != nil {
					t.Fatalf("%s: waiting for %q: %v", version, answer, err)
				}
				if strings.Contains(l, answer) {
					return
				}
			}
		}
		say(strings.TrimSpace(saySubscribe), `"id":2,`)
		say(strings.TrimSpace(sayAuthorize), "mining.notify")
		if version == "-tls1_3" {
			say("K", "KEYUPDATE") // and one asked of us
		}
		say(`{"id":7,"method":"mining.ping"}`, "pong")
		srv.Publish(jobSet(testJob(t, 1, 2, 4096)))
		say(`{"id":8,"method":"mining.ping"}`, `"0000000200"`)
		_ = in.Close()
		_ = cmd.Wait() // its exit code is about the certificate
		closedAs(t, srv, CloseHangup)
	}
}
