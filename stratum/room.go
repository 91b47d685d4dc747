package stratum

// maxLeaving bounds the connections above MaxConns: those that were closed for
// a newcomer, and whose goroutines have not ended yet.
const maxLeaving = 64

// makeRoom returns the session that a newcomer costs, nil for none, and whether
// there is room for it at all. Where connections are used up, the oldest that
// did not become a rig goes: strangers who hold all of them keep nobody out,
// and a rig is never closed for a newcomer. s.mu is held; the caller closes
// what it gets once it is not.
func (s *Server) makeRoom() (leaves *session, ok bool) {
	switch {
	case len(s.list) < s.cfg.MaxConns:
		return nil, true
	case len(s.list) >= s.cfg.MaxConns+maxLeaving:
		return nil, false
	}
	for e := s.young.Front(); e != nil; e = s.young.Front() {
		s.young.Remove(e)
		if sess, _ := e.Value.(*session); sess.isStranger() {
			return sess, true
		}
	}
	return nil, false
}

// isStranger reports a connection that is open and has no work yet.
func (s *session) isStranger() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.started && s.reason == CloseNone
}
