package stratum

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// worker opens a working rig on a twin with room bytes of socket buffer.
func openRig(t *testing.T, srv *Server, room int) (*session, *twin) {
	t.Helper()
	tw := newTwin(room)
	s := srv.enter(tw, Door{})
	if s == nil {
		t.Fatal("the rig was refused")
	}
	tw.send(saySubscribe + sayAuthorize)
	synctest.Wait()
	return s, tw
}

func drain(t testing.TB, srv *Server) {
	t.Helper()
	if err := srv.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// readAll empties tw until nothing comes any more.
func readAll(tw *twin) string {
	var all strings.Builder
	for {
		synctest.Wait()
		s, _ := tw.recv()
		if s == "" {
			return all.String()
		}
		all.WriteString(s)
	}
}

// A rig whose socket is full gets the newest job only, and clean if any of
// those it missed was.
func TestLatestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 2000)
		readAll(tw)
		tw.send(strings.Repeat(`{"id":7,"method":"mining.ping"}`+"\n", 60)) // fills the socket
		synctest.Wait()
		for i := uint32(2); i <= 9; i++ {
			set := jobSet(testJob(t, 1, i, 4096))
			set.Clean = i == 4
			srv.Publish(set)
			synctest.Wait()
		}
		if n := len(issuedTo(s)); n != 1 {
			t.Fatalf("%d jobs count as issued before a byte of them was written, want 1", n)
		}
		got := readAll(tw)
		if n := strings.Count(got, "mining.notify"); n != 1 {
			t.Fatalf("%d notifies, want the newest only:\n%s", n, got)
		}
		mustHave(t, got, `"0000000900"`)
		if !strings.HasSuffix(got, ",true]}\n") {
			t.Errorf("clean of a replaced job was lost: %s", got[len(got)-80:])
		}
		if n := strings.Count(got, `"pong"`); n != 60 {
			t.Errorf("%d answers of 60", n)
		}
		drain(t, srv)
	})
}

// Work of which not a byte could be written does not count as issued, and is
// replaced by newer work.
func TestUnwrittenIsNotIssued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		readAll(tw)
		const pong = `{"id":7,"result":"pong","error":null}` + "\n"
		tw.mu.Lock()
		tw.room = 10 * len(pong) // full to the last byte, and no answer waits
		tw.mu.Unlock()
		tw.send(strings.Repeat(`{"id":7,"method":"mining.ping"}`+"\n", 10))
		synctest.Wait()
		for i := uint32(2); i <= 4; i++ {
			set := jobSet(testJob(t, uint64(i), i, 4096))
			set.Clean = true
			srv.Publish(set)
			synctest.Wait()
			if n := len(issuedTo(s)); n != 1 {
				t.Fatalf("%d jobs count as issued", n)
			}
		}
		got := readAll(tw)
		if strings.Count(got, "mining.notify") != 1 {
			t.Error(got)
		}
		mustHave(t, got, `"0000000400"`)
		mustHave(t, got, ",true]}")
		drain(t, srv)
	})
}

// The memory of duplicates is of one tip: the next generation starts empty, at
// its first batch and never within one.
func TestSeenEndsWithItsTip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hub := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		send := func(i issue, nonce uint32) {
			sub := mine(t, s, target{issue: i}, aShare, i.work.Template.CurTime, 0, nonce)
			tw.send(submitLine("4", "alpha.north.r1", keyID(i.key), sub, 0))
			synctest.Wait()
		}
		send(issuedTo(s)[0], 0)
		hold := make(chan struct{})
		hub.mu.Lock()
		hub.hold = hold
		hub.mu.Unlock()
		send(issuedTo(s)[0], 10_000)
		srv.Publish(jobSet(testJob(t, 2, 2, 4096)))
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if n := s.seen.Len(); n != 2 {
			t.Errorf("%d hashes of the old tip, want 2", n)
		}
		send(*s.issued.last(), 0)
		if n := s.seen.Len(); n != 1 {
			t.Errorf("%d hashes on the new tip, want 1", n)
		}
		drain(t, srv)
	})
}

// Answers come in the order of requests, whatever they are.
func TestAnswersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		readAll(tw)
		is := issuedTo(s)[0]
		sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		share := submitLine("1", "alpha.north.r1", keyID(is.key), sub, 0)
		tw.send(share + `{"id":2,"method":"mining.ping"}` + "\n" + strings.Replace(share, `"id":1`, `"id":3`, 1))
		synctest.Wait()
		got, writes := tw.recv()
		want := `{"id":1,"result":true,"error":null}` + "\n" + `{"id":2,"result":"pong","error":null}` + "\n" +
			`{"id":3,"result":null,"error":[22,"Duplicate share",null]}` + "\n"
		if got != want || writes != 1 {
			t.Errorf("%d writes\n%s\nwant\n%s", writes, got, want)
		}
		drain(t, srv)
	})
}

// A rig that reads slowly gets every byte, in order.
func TestSlowButReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		_, tw := openRig(t, srv, 700)
		var got strings.Builder
		for i := uint32(2); i <= 6; i++ {
			srv.Publish(jobSet(testJob(t, 1, i, 4096)))
			for range 10 {
				got.WriteString(tw.take(97))
				synctest.Wait()
				time.Sleep(time.Second)
			}
		}
		got.WriteString(readAll(tw))
		law := &lawyer{t: t}
		law.heard(got.String())
		if last := law.ids[len(law.ids)-1]; last != `"0000000600"` {
			t.Errorf("last job %s", last)
		}
		drain(t, srv)
	})
}

// outboxFull: answers that nobody reads are bounded, and the rig is closed by name while
// others go on.
func outboxFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		bad, tw := openRig(t, srv, 4096)
		_, good := openRig(t, srv, 1<<20)
		readAll(good)
		for range 200 {
			tw.send(strings.Repeat(`{"id":"`+strings.Repeat("7", 60)+`","method":"mining.ping"}`+"\n", 100))
			time.Sleep(100 * requestMillis * time.Millisecond) // as fast as they are read
			synctest.Wait()
			if tw.isClosed() {
				break
			}
			bad.mu.Lock()
			n := len(bad.box.backlog)
			bad.mu.Unlock()
			if n > 64<<10 {
				t.Fatalf("%d bytes wait", n)
			}
		}
		if !tw.isClosed() || srv.Closes()[0].Reason != CloseOutboxFull {
			t.Fatal("not closed as outbox_full", srv.Closes())
		}
		srv.Publish(jobSet(testJob(t, 1, 2, 4096)))
		synctest.Wait()
		mustHave(t, readAll(good), `"0000000200"`)
		if st := srv.Stats(); st.SlowReaders != 1 || st.Closed["outbox_full"] != 1 {
			t.Error(st.Closed)
		}
		drain(t, srv)
	})
}

// writeStall: a full socket that takes nothing for 10 s is closed by name.
func writeStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		_, tw := openRig(t, srv, 300)
		time.Sleep(8 * time.Second)
		if tw.take(20) == "" || tw.isClosed() {
			t.Fatal("closed too early")
		}
		time.Sleep(9 * time.Second)
		if tw.isClosed() {
			t.Fatal("closed although it had moved")
		}
		time.Sleep(3 * time.Second)
		if !tw.isClosed() || srv.Closes()[0].Reason != CloseSlowReader {
			t.Fatal("not closed as slow_reader", srv.Closes())
		}
		drain(t, srv)
	})
}

// Half a line is not waited for longer than 10 s, however it trickles.
func TestHalfLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		_, tw := openRig(t, srv, 1<<20)
		for range 9 {
			tw.send("{")
			time.Sleep(time.Second)
		}
		if tw.isClosed() {
			t.Fatal("closed too early")
		}
		tw.send("{")
		time.Sleep(2 * time.Second)
		if !tw.isClosed() || srv.Closes()[0].Reason != CloseHalfLine {
			t.Fatal("not closed as half_line", srv.Closes())
		}
		drain(t, srv)
	})
}

// A submit that waits for the journal blocks no broadcast, is answered before a
// drain ends, and a new tip meanwhile does not disturb it.
func TestDrainFinishesSubmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hub := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		_, idle := openRig(t, srv, 1<<20)
		half := newTwin(1 << 20) // between subscribe and authorize nothing is pushed
		srv.enter(half, Door{})
		half.send(saySubscribe)
		readAll(half)
		readAll(tw)
		is := issuedTo(s)[0]
		sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		hold := make(chan struct{})
		hub.mu.Lock()
		hub.hold = hold
		hub.mu.Unlock()
		tw.send(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0))
		synctest.Wait()
		srv.Publish(jobSet(testJob(t, 2, 2, 4096)))
		synctest.Wait()
		got, _ := tw.recv()
		mustHave(t, got, `"0000000200"`)

		done := make(chan error)
		go func() { done <- srv.Drain(t.Context()) }()
		time.Sleep(5 * time.Second)
		if !idle.isClosed() || tw.isClosed() {
			t.Fatal("after the grace idle rigs are closed, and busy ones are not")
		}
		mustHave(t, readAll(idle), "client.reconnect")
		if got := readAll(half); got != "" {
			t.Errorf("pushed before authorize: %s", got)
		}
		close(hold)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		mustHave(t, readAll(tw), `{"id":4,"result":true,"error":null}`)
		for _, c := range srv.Closes() {
			if c.Reason != CloseDraining {
				t.Error(c.Reason)
			}
		}
		if srv.enter(newTwin(1), Door{}) != nil {
			t.Error("a rig got in after the drain")
		}
	})
}

// All submits of one read are one batch, answered by one write, in order.
func TestOneBatchPerRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hub := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		readAll(tw)
		is := issuedTo(s)[0]
		var lines, want strings.Builder
		nonce := uint32(0)
		for i := range 20 {
			id := string(rune('a' + i))
			if i%5 == 4 {
				lines.WriteString(`{"id":"` + id + `","method":"mining.submit","params":["alpha.north.r1","ff","00","0","0"]}` + "\n")
				want.WriteString(`{"id":"` + id + `","result":null,"error":[20,"Malformed parameters",null]}` + "\n")
				continue
			}
			sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, nonce)
			nonce = sub.Nonce + 1
			lines.WriteString(submitLine(`"`+id+`"`, "alpha.north.r1", keyID(is.key), sub, 0))
			want.WriteString(`{"id":"` + id + `","result":true,"error":null}` + "\n")
		}
		tw.send(lines.String())
		synctest.Wait()
		got, writes := tw.recv()
		answers, _, _ := strings.Cut(got, `{"id":null`) // vardiff may have had its say
		if answers != want.String() {
			t.Errorf("got\n%s\nwant\n%s", answers, want.String())
		}
		if len(hub.batches) != 1 || hub.batches[0] != 16 || writes != 1 {
			t.Errorf("batches %v, writes %d", hub.batches, writes)
		}
		drain(t, srv)
	})
}

// A panic of the pool costs one connection.
func TestPanicContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hub := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 4096)))
		s, tw := openRig(t, srv, 1<<20)
		_, other := openRig(t, srv, 1<<20)
		is := issuedTo(s)[0]
		sub := mine(t, s, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		hub.mu.Lock()
		hub.boom = true
		hub.mu.Unlock()
		tw.send(submitLine("4", "alpha.north.r1", keyID(is.key), sub, 0))
		synctest.Wait()
		if !tw.isClosed() || other.isClosed() || srv.Stats().Panics != 1 || srv.Closes()[0].Reason != ClosePanic {
			t.Error("a panic must close its connection, count, and leave others alone", srv.Closes())
		}
		drain(t, srv)
	})
}
