package stratum

import (
	"cordee/pool"
)

// onSubmit adds one submit to the batch of this read, or notes why it cannot
// be. Nothing is answered before rule.
func (s *session) onSubmit(d *desk, m *message) {
	a := answer{id: m.id, entry: -1}
	if a.reject = s.claim(d, m.params); a.reject == pool.Accepted {
		a.entry = len(d.batch.Subs) - 1
	}
	d.answers = append(d.answers, a)
}

// claim turns the parameters of a submit into a batch entry. It checks name,
// shape, job, version bits, in this order. A wrong name or wrong version bits do
// not keep a header from being tested for a block (decision 22): those enter the
// batch with a Fault.
func (s *session) claim(d *desk, params []byte) pool.Reject {
	e := elementsOf(params)
	user, job, en2, ntime, nonce, bits := e.next(), e.next(), e.next(), e.next(), e.next(), e.next()
	var c pool.Claim
	worker, known := s.worker(plain(user))
	if !known {
		c.Fault = pool.Unauthorized
		worker = &s.names[0].worker // the coinbase is this member's
	}
	if user == nil || user[0] != '"' {
		c.Fault = pool.Malformed
	}
	refuse := func(r pool.Reject) pool.Reject {
		if c.Fault != pool.Accepted {
			return c.Fault
		}
		return r
	}

	var sub pool.Submission
	sub.Extranonce1 = s.en1
	sub.Extranonce2Size = s.en2Size
	ok := hexBytes(sub.Extranonce2[:s.en2Size], trimHex(plain(en2)))
	t, tOK := wordOf(ntime)
	n, nOK := wordOf(nonce)
	var rolled uint32
	if bits != nil && bits[0] != 'n' {
		var vOK bool
		rolled, vOK = wordOf(bits)
		ok = ok && vOK
	}
	if !ok || !tOK || !nOK || job == nil || job[0] != '"' {
		return refuse(pool.Malformed)
	}
	sub.NTime, sub.Nonce = t, n

	key, ok := parseWireID(plain(job))
	if !ok {
		return refuse(pool.UnknownJob)
	}
	if len(d.batch.Subs) == 0 {
		s.openBatch(d)
	}
	is, ok := s.resolve(key, d, &c)
	if !ok {
		return refuse(pool.UnknownJob)
	}
	sub.Work = is.work
	if sub.Version, ok = pool.MergeVersion(is.work.Template.Version, rolled, is.mask); !ok && c.Fault == pool.Accepted {
		c.Fault = pool.BadVersion
	}
	c.Worker = worker
	d.batch.Add(sub, c)
	return pool.Accepted
}

// openBatch fixes the tip that the batch is judged against. On a new one the
// hashes of the old are forgotten: its jobs are stale for ever (ADR 0005).
func (s *session) openBatch(d *desk) {
	d.tip = s.srv.tip.Load()
	if d.tip != s.seenTip {
		s.seen.Reset()
		s.seenTip = d.tip
	}
	d.batch.Reset(&s.seen)
}

// resolve finds an issued job and fills in what c says of it.
func (s *session) resolve(key uint64, d *desk, c *pool.Claim) (issue, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, later, over := s.issued.find(key, s.readAt)
	if is == nil {
		return issue{}, false
	}
	c.Issued, c.Later, c.Stale = is.difficulty, later, over || is.tip != d.tip
	return *is, true
}

// worker returns who is behind an authorized name of this connection. Rigs
// repeat what they authorized with, so the first comparison nearly always hits.
func (s *session) worker(user []byte) (*pool.Worker, bool) {
	for i := range s.names {
		if string(user) == s.names[i].raw {
			return &s.names[i].worker, true
		}
	}
	for i := range s.names {
		n := &s.names[i]
		if foldEqual(user, n.raw) || foldEqual(user, n.worker.Name) ||
			len(user)+len(defaultRig) == len(n.worker.Name) && n.worker.Name[len(user):] == defaultRig &&
				foldEqual(user, n.worker.Name[:len(user)]) {
			return &n.worker, true
		}
	}
	return nil, false
}

const defaultRig = ".default" // what a name without a rig stands for (pool.ParseName)

// foldEqual compares without regard to ASCII case.
func foldEqual(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// rule has the batch judged, and appends the answers in the order of arrival.
// It blocks until what was accepted is durable; no lock is held.
func (s *session) rule(d *desk) {
	if len(d.answers) == 0 {
		return
	}
	if len(d.batch.Subs) > 0 {
		s.srv.cfg.Pool.Submit(&d.batch)
	}
	s.answer(d)
}

// answer appends the answers to what was ruled on.
func (s *session) answer(d *desk) {
	for i := range d.answers {
		a := &d.answers[i]
		if a.entry >= 0 {
			a.reject = d.batch.Verdicts[a.entry].Reject
		}
		switch {
		case a.id == nil:
		case a.reject == pool.Accepted:
			d.out = appendResult(d.out, a.id, "true")
		default:
			d.out = appendReject(d.out, a.id, a.reject)
		}
	}
	s.account(d)
	d.answers = d.answers[:0]
	d.batch.Reset(&s.seen)
}

// account counts the verdicts and lets vardiff see them.
func (s *session) account(d *desk) {
	now := s.srv.now()
	s.ruledAt = now
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.ladder(d, d.answers[len(d.answers)-1].reject, now) }()
	var accepted, zero uint64
	var work pool.Difficulty
	for i := range d.answers {
		a := &d.answers[i]
		if a.entry >= 0 && s.measure(d.batch.Subs[a.entry].Work.Job, a.reject) {
			d.out = s.tell(d.out, "All shares miss: from now on jobs are smaller")
		}
		s.manners.verdict(a.reject, now)
		if a.reject != pool.Accepted {
			s.countLocked(a.reject)
			continue
		}
		accepted++
		credit := d.batch.Verdicts[a.entry].Credit
		if credit == 0 {
			zero++
			continue
		}
		work += credit
		s.proven = max(s.proven, credit)
		before := s.vardiff.Current()
		if next := s.vardiff.Share(credit, now); next != before {
			s.retarget(next)
			if next > before { // the rate of shares says so, not the rig
				s.proven = max(s.proven, next)
			}
		}
	}
	if accepted == 0 {
		return
	}
	s.accepted += accepted
	s.lastShare = now
	s.meter.add(work, now)
	s.srv.count.shares[pool.Accepted].Add(accepted)
	s.srv.count.zeroCredit.Add(zero)
	s.srv.count.work.Add(uint64(work))
}

// count notes a submit that was refused for the state of the connection.
func (s *session) count(d *desk, r pool.Reject) {
	now := s.srv.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countLocked(r)
	s.manners.verdict(r, now)
	s.ladder(d, r, now)
}

func (s *session) countLocked(r pool.Reject) {
	s.srv.count.shares[r].Add(1)
	if int(r) < len(s.rejects) {
		s.rejects[r]++
	}
	if s.rejected%rejectLogInterval == 0 {
		s.srv.say(evReject).Uint64("conn", s.id).
			Str("reason", r.Name()).Uint32("before", s.rejected).Msg("a share was refused; not every one is logged")
	}
	s.rejected++
}
