package stratum

import "cordee/pool"

// desk is what a session borrows while there is something to do: the read
// buffer, the batch, and the answers.
type desk struct {
	buf     [deskSize]byte
	n       int     // bytes of the unfinished line in front
	left    []byte  // of the read at hand, what was not worked on
	whole   bool    // it had a complete line
	socket  *socket // whose turn this is, nil for a goroutine's
	msg     message // here, since it goes through the law's function values
	batch   pool.Batch
	tip     uint64 // generation the batch is judged against
	answers []answer
	out     []byte
}

// answer is one submit's place in the order of answers.
type answer struct {
	id     []byte
	entry  int // in the batch, -1 when it was refused before
	reject pool.Reject
}

// borrow implements reader.
func (s *session) borrow() []byte {
	d := s.srv.desks.Get().(*desk)
	d.n = copy(d.buf[:], s.partial)
	s.desk = d
	return d.buf[d.n:]
}

// giveBack implements reader.
func (s *session) giveBack() {
	d := s.desk
	s.desk = nil
	s.srv.takeBack(d)
}

// working implements reader. Only the session's goroutine sets started.
func (s *session) working() bool { return s.started }

// takeBack makes d ready for the next who borrows.
func (s *Server) takeBack(d *desk) {
	d.batch.Reset(nil)
	d.msg, d.left, d.socket = message{}, nil, nil
	clear(d.answers)
	d.answers, d.out = d.answers[:0], d.out[:0]
	s.desks.Put(d)
}
