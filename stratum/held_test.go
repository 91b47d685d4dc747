package stratum

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// holding is a twin that counts what it cannot write yet, as TLS does: encrypted
// bytes cannot be taken back.
type holding struct {
	*twin
	kept []byte
}

func (h *holding) flush() error {
	n, err := h.twin.TryWrite([][]byte{h.kept})
	h.kept = h.kept[n:]
	return err
}

func (h *holding) TryWrite(bufs [][]byte) (int, error) {
	if len(h.kept) > 0 {
		if err := h.flush(); err != nil || len(h.kept) > 0 {
			return 0, err
		}
	}
	for _, b := range bufs {
		h.kept = append(h.kept, b...)
	}
	return len(h.kept), h.flush()
}

func (h *holding) WaitWrite() error {
	if err := h.twin.WaitWrite(); err != nil {
		return err
	}
	return h.flush()
}

func (h *holding) Held() bool { return len(h.kept) > 0 }

// What a connection holds goes out as the rig reads, though nothing else is ever
// said to it; and a rig that does not read is closed for that alone.
func TestHeldBytesGoOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		h := &holding{twin: newTwin(100)}
		srv.enter(h, Door{})
		h.send(saySubscribe + sayAuthorize)
		said := ""
		for range 100 {
			synctest.Wait()
			said += h.take(50)
		}
		if !strings.HasSuffix(said, "\n") || strings.Count(said, "\n") != 4 || !strings.Contains(said, "mining.notify") {
			t.Errorf("the rig read %q", said)
		}
		srv.Publish(jobSet(testJob(t, 1, 2, 4096)))
		synctest.Wait()
		for range 3 { // slow, but not deaf
			time.Sleep(9 * time.Second)
			h.take(10)
			synctest.Wait()
		}
		if h.isClosed() {
			t.Error("a slow rig was closed")
		}
		time.Sleep(12 * time.Second)
		if got := srv.Closes()[0].Reason; got != CloseSlowReader {
			t.Errorf("closed as %v", got)
		}
		drain(t, srv)
	})
}

// A full TLS socket takes nothing more, holds a record at most, and loses
// nothing of what it counted.
func TestTLSHoldsOneRecord(t *testing.T) {
	srv, _ := testServer(t, nil)
	addr, cfg := listenTLS(t, srv, Door{})
	r, _ := dial(t, addr).over(cfg)
	r.say(saySubscribe)
	r.until(`"id":2,`)
	c := srv.snapshot(nil)[0].conn.(*tlsConn) // to which nobody else writes
	line := []byte(strings.Repeat("x", 9999) + "\n")
	total, full := 0, 0
	for full < 10 { // full, and asked again
		n, err := c.TryWrite([][]byte{line[:100], line[100:]})
		if err != nil {
			t.Fatal(err)
		}
		total += n
		if n == 0 {
			full++
		}
		if h := c.held; h != nil && len(h.b)-h.off > recordSize+1024 {
			t.Fatalf("%d bytes are held", len(h.b)-h.off)
		}
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, r.r, int64(total))
		read <- err
	}()
	for c.Held() {
		if err := c.WaitWrite(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-read; err != nil {
		t.Errorf("%d bytes were counted: %v", total, err)
	}
}
