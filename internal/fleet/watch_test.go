package fleet

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch: an event has its first and its last connection, counts every job of
// it, and costs what came before it nothing.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		w, err := NewWatch(t.Context(), linkTo(s), 3)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		looks := 0
		e, err := w.Next(t.Context(), func() error {
			go func() {
				for i := range 3 {
					<-time.After(10 * time.Millisecond)
					s.notify(s.client(t, i), true)
				}
				<-time.After(50 * time.Millisecond)
				s.notify(s.client(t, 0), false)
			}()
			return nil
		}, time.Minute, func() { looks++ })
		want := WatchEvent{First: 10 * time.Millisecond, Last: 30 * time.Millisecond, Settled: 80 * time.Millisecond, Reached: 3, Notifies: 4}
		if err != nil || e != want || looks != 1 {
			t.Errorf("%+v, %v, looked %d times; want %+v", e, err, looks, want)
		}

		// The server's own news: the clock starts with the first. One is left out.
		go func() {
			<-time.After(5 * time.Second)
			s.client(t, 2).out <- "" // hangs up
			for i := range 2 {
				<-time.After(7 * time.Millisecond)
				s.notify(s.client(t, i), true)
			}
		}()
		looks = 0
		e, err = w.Next(t.Context(), nil, time.Minute, func() { looks++ })
		want = WatchEvent{First: 0, Last: 7 * time.Millisecond, Settled: 7 * time.Millisecond, Reached: 2, Notifies: 2, Ended: 1}
		if err != nil || e != want || looks < 100 {
			t.Errorf("%+v, %v, looked %d times; want %+v", e, err, looks, want)
		}

		if _, err := w.Next(t.Context(), nil, time.Second, nothing); err == nil || !strings.Contains(err.Error(), "no new job in 1s") {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // without a pause
			for ctx.Err() == nil {
				s.notify(s.client(t, 0), false)
				<-time.After(quietAfter / 2)
			}
		}()
		<-time.After(quietAfter)
		if _, err := w.Next(t.Context(), nil, time.Second, nothing); err == nil || !strings.Contains(err.Error(), "without a pause of 250ms") {
			t.Error(err)
		}
		cancel()
		odd := errors.New("no such command")
		if _, err := w.Next(t.Context(), func() error { return odd }, time.Second, nothing); !errors.Is(err, odd) {
			t.Error(err)
		}
		if _, err := w.Next(ctx, nil, time.Second, nothing); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestStorm: all come at once, and those that come to nothing are named.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.override = func(s *server, c *client, in call) bool {
			if in.Method == "mining.configure" {
				<-time.After(time.Second)
			}
			return false
		}
		cfg := linkTo(s)
		var dials atomic.Int64
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1)%5 == 0 {
				return nil, errDial
			}
			return s.dial(ctx, network, addr)
		}
		held := 0
		got, err := Storm(t.Context(), cfg, 50, func(s StormSample) { held = s.Ready })
		if err != nil || got.Ready != 40 || got.Failed != 10 || held != 40 || got.Seconds != 1 || got.Latency.Max != time.Second {
			t.Errorf("%+v, %v", got, err)
		}
		if len(got.Failures) != 1 || got.Failures[0] != (RejectCount{Text: errDial.Error(), Count: 10}) {
			t.Errorf("%+v", got.Failures)
		}
	})
}

// TestChurn: rigs come back under their names, every share is real, and no
// connection counts as ended by the server.
func TestChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		c, err := Gather(t.Context(), CrowdConfig{LinkConfig: linkTo(s), Rigs: 4, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Churn(t.Context(), 20, 2, 10*time.Second)
		if err != nil || got.Accepted < 180 || got.Sent != got.Accepted || got.Ended != 0 || got.Rejoined < 15 || got.Rejoined > 20 {
			t.Errorf("%+v, %v", got, err)
		}
		if len(s.clients) != 4+int(got.Rejoined) {
			t.Errorf("%d connections, %d came back", len(s.clients), got.Rejoined)
		}
		s.override = refuse("mining.authorize")
		if _, err := c.Churn(t.Context(), 20, 2, 10*time.Second); err == nil || !strings.Contains(err.Error(), "did not come back") {
			t.Error(err)
		}
		c.Close()
	})
}
