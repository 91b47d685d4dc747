package stratum

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"cordee/internal/harness"
)

// BenchmarkIdleRig measures what a rig costs that has work and says nothing:
// b.N is not used. The rigs are of another process.
func BenchmarkIdleRig(b *testing.B) {
	if addr := os.Getenv("CORDEE_TEST_IDLE"); addr != "" {
		idle(b, addr)
		return
	}
	const rigs = 2000
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%t", secure), func(b *testing.B) {
			srv, _ := testServer(b, nil)
			srv.Publish(jobSet(testJob(b, 1, 1, 4096)))
			door, scheme := Door{}, "tcp:"
			if secure {
				cert := harness.NewCertificate(b, "pool", time.Now().Add(time.Hour)).Pair
				door.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
				scheme = "tls:"
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = srv.ServeDoor(b.Context(), ln, door) }()
			before := resident(b)
			cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkIdleRig$", "-test.benchtime=1x")
			cmd.Env = append(os.Environ(), "CORDEE_TEST_IDLE="+scheme+ln.Addr().String()+"/"+strconv.Itoa(rigs))
			cmd.Stderr = os.Stderr
			hold, err := cmd.StdinPipe()
			if err := errors.Join(err, cmd.Start()); err != nil {
				b.Fatal(err)
			}
			for srv.Stats().Working < rigs {
				time.Sleep(10 * time.Millisecond)
			}
			for i := range uint32(5) { // they live a little
				srv.Publish(jobSet(testJob(b, 1, i+2, 4096)))
				time.Sleep(100 * time.Millisecond)
			}
			b.ReportMetric(float64(resident(b)-before)/rigs/1024, "KiB/rig")
			_ = hold.Close()
			_ = cmd.Wait()
			drain(b, srv)
		})
	}
}

// resident returns what heap and stacks hold, in bytes.
func resident(b *testing.B) int64 {
	b.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// idle connects rigs that read and say nothing more, until its input ends.
func idle(b *testing.B, where string) {
	b.Helper()
	addr, n, _ := strings.Cut(where[4:], "/")
	rigs, err := strconv.Atoi(n)
	if err != nil {
		b.Fatal(err)
	}
	for range rigs {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		if where[:4] == "tls:" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // nobody is deceived here
		}
		if _, err := io.WriteString(c, saySubscribe+sayAuthorize); err != nil {
			b.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, bufio.NewReaderSize(c, 512)) }()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
