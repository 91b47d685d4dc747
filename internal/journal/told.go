package journal

import "runtime"

// Waiter is told what Ticket.Wait would return.
type Waiter interface {
	// Kept must not wait for the journal, nor long for anything: others are told
	// after it, by the same goroutine.
	Kept(err error)
}

// told is who waits without a goroutine of its own: to wake one for each share
// costs more than to answer its rig.
type told struct {
	waits []wait // in no order
	ready []wait // from next on: what they waited for came, or never will
	next  int
	free  int  // of those who tell, how many have nothing to do
	ended bool // the committer did: nobody will wait any more
}

type wait struct {
	pos uint64
	who Waiter
}

// tellers is how many goroutines tell, at most, and tellAtOnce how many Waiters one
// takes at a time.
const (
	tellers    = 4
	tellAtOnce = 64
)

// Then has w told by a goroutine of the journal's what Wait would return. False
// means that it is known already: Wait does not block, and w is not told.
func (t Ticket) Then(w Waiter) (later bool) {
	if t.j == nil {
		return false
	}
	j := t.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cfg.Ack == Written {
		if j.wrote >= t.pos || j.err != nil {
			return false
		}
		go func() { w.Kept(t.WaitWritten()) }() // it writes itself where nobody does
		return true
	}
	if j.safe >= t.pos || j.err != nil {
		return false
	}
	j.told.waits = append(j.told.waits, wait{t.pos, w})
	return true
}

// settle hands on who waits for no more than what is safe now, or everybody where
// the journal is poisoned. Called under mu.
func (j *Journal) settle() {
	t := &j.told
	if 2*t.next > len(t.ready) { // whoever is never done with all of them keeps no room for those who were told
		n := copy(t.ready, t.ready[t.next:])
		clear(t.ready[n:])
		t.ready, t.next = t.ready[:n], 0
	}
	rest := t.waits[:0]
	for _, w := range t.waits {
		if w.pos <= j.safe || j.err != nil {
			t.ready = append(t.ready, w)
		} else {
			rest = append(rest, w)
		}
	}
	clear(t.waits[len(rest):])
	t.waits = rest
	for range min(t.free, (len(t.ready)-t.next+tellAtOnce-1)/tellAtOnce) {
		j.news.Signal()
	}
}

// tell tells who is ready until the committer has ended.
func (j *Journal) tell() {
	var mine []wait
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		t := &j.told
		for t.next == len(t.ready) && !t.ended {
			t.free++
			j.news.Wait()
			t.free--
		}
		if t.next == len(t.ready) {
			return
		}
		mine = append(mine[:0], t.ready[t.next:min(t.next+tellAtOnce, len(t.ready))]...)
		if t.next += len(mine); t.next == len(t.ready) {
			clear(t.ready)
			t.ready, t.next = t.ready[:0], 0
		}
		safe, failed := j.safe, j.err
		j.mu.Unlock()
		for _, w := range mine {
			var err error
			if w.pos > safe {
				err = failed
			}
			w.who.Kept(err)
		}
		clear(mine)
		j.mu.Lock()
	}
}

// startTelling starts those who tell.
func (j *Journal) startTelling() {
	for range min(tellers, runtime.GOMAXPROCS(0)) {
		j.telling.Go(j.tell)
	}
}

// stopTelling returns when everybody was told. The committer has ended.
func (j *Journal) stopTelling() {
	j.mu.Lock()
	j.told.ended = true
	j.news.Broadcast()
	j.mu.Unlock()
	j.telling.Wait()
}
