package stratum

// A read that brought shares only needs nobody who waits for the disk: its desk goes
// to the pool, the reader waits for the rig, and whoever knows first that the shares
// are kept answers. To park and wake a goroutine once more for each share costs a
// tenth of it.
//
// While a desk is posted nobody but Ruled touches what is of the session's reader:
// the next read waits for it, and so does the end.

// post hands d to the pool where it may. False means that it did not, or that d is
// answered already.
func (s *session) post(d *desk) (later bool) {
	if s.end != CloseNone || len(d.left) > 0 || len(d.answers) == 0 || len(d.batch.Subs) != len(d.answers) || len(d.out) > 0 ||
		s.manners.pause(s.readAt, s.srv.cfg.Limits.Share) > 0 {
		return false
	}
	s.halfSince.Store(0)
	s.keepPartial(nil)
	s.posted, s.desk = d, nil
	if s.srv.cfg.Pool.Post(&d.batch, s) {
		return true
	}
	s.posted, s.desk = nil, d
	if len(d.batch.Verdicts) > 0 {
		s.answer(d)
	}
	return false
}

// Ruled implements Ruled for what was posted.
func (s *session) Ruled() {
	d := s.posted
	defer s.goOn(d.socket)
	defer func() {
		p := recover()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.posted = nil
		s.answered.Signal()
		if p == nil {
			s.srv.takeBack(d)
		} else {
			s.panicked(p)
			s.end = ClosePanic
		}
		if s.end != CloseNone {
			s.closeLocked(s.end)
		}
	}()
	s.answer(d)
	s.lastLine.Store(s.ruledAt)
	s.deliver(d)
}

// await returns when what was posted is answered.
func (s *session) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitLocked()
}

func (s *session) awaitLocked() {
	for s.posted != nil {
		s.answered.Wait()
	}
}
