package redisstore_test

import (
	"errors"
	"io"
	"net"
	"reflect"
	"sync/atomic"
	"testing"

	"cordee/internal/harness"
	"cordee/internal/redisstore"
	"cordee/payout"
)

// TestLostReplies lets every write arrive and loses each answer: the same call
// again succeeds and changes nothing.
func TestLostReplies(t *testing.T) {
	r := harness.StartRedis(t)
	var deaf atomic.Bool
	addr := proxy(t, r.Addr, &deaf)
	s, config := fresh(t, addr)
	openStore(t, s, true)
	plain := config
	plain.Addrs = []string{r.Addr}
	direct := connect(t, plain)
	openStore(t, direct, false)
	ctx := t.Context()

	teacher, _ := fresh(t, r.Addr)
	openStore(t, teacher, true)
	for _, s := range []*redisstore.Store{direct, teacher} {
		apply(t, s, batch(1, 1), 1)
	}
	for _, c := range []struct {
		name  string
		write func(*redisstore.Store) error
	}{
		{"Apply", func(s *redisstore.Store) error {
			hwm, _, err := s.Apply(ctx, batch(2, 10))
			if err == nil && hwm != 10 {
				t.Errorf("the mark is %d", hwm)
			}
			return err
		}},
		{"PutSlot", func(s *redisstore.Store) error { return s.PutSlot(ctx, harness.StoreManifest(1, 1)) }},
		{"Append", func(s *redisstore.Store) error {
			_, err := s.Append(ctx, [32]byte{}, harness.StoreRecord(1), harness.StoreRecord(2))
			return err
		}},
	} {
		// The server knows the script, and a connection is there: only the write's own answer is lost.
		if err := c.write(teacher); err != nil {
			t.Fatal(err)
		}
		if _, err := s.HWM(ctx, 1, 1); err != nil {
			t.Fatal(err)
		}
		before := contents(t, direct)
		deaf.Store(true)
		if err := c.write(s); !errors.Is(err, payout.ErrUnavailable) {
			t.Errorf("%s without an answer: %v", c.name, err) // nil: the client repeated it by itself
		}
		after := contents(t, direct)
		if reflect.DeepEqual(before, after) {
			t.Errorf("%s did not arrive", c.name)
		}
		for range 2 {
			if err := c.write(s); err != nil {
				t.Errorf("%s again: %v", c.name, err)
			}
		}
		if again := contents(t, direct); !reflect.DeepEqual(after, again) {
			t.Errorf("%s again changed %v to %v", c.name, after, again)
		}
	}
}

// contents returns what there is, in short.
func contents(tb testing.TB, s payout.Store) []any {
	tb.Helper()
	ctx := tb.Context()
	sums, err1 := s.Run(ctx)
	marks, err2 := s.HWMs(ctx)
	slot, slotHead, err3 := s.LastSlot(ctx)
	head, count, err4 := s.Head(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		tb.Fatal(err)
	}
	return []any{sums, marks, slot, slotHead, head, count}
}

// proxy passes connections on to addr. Once deaf is set it closes one at the
// next answer, and hears again.
func proxy(tb testing.TB, addr string, deaf *atomic.Bool) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			}()
			go func() {
				defer client.Close()
				defer server.Close()
				answer := make([]byte, 64<<10)
				for {
					n, err := server.Read(answer)
					if err != nil || deaf.CompareAndSwap(true, false) {
						return
					}
					if _, err := client.Write(answer[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
