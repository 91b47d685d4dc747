package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// errProtocol ends a connection whose server broke the protocol in a way no
// rig can work with.
var errProtocol = errors.New("protocol")

// handle acts on one line. An error ends the connection; what is merely odd is
// counted and passed over, as firmware does.
func (s *session) handle(l received) error {
	switch {
	case l.end != nil:
		return l.end
	case l.bad != nil:
		s.odd(l.bad)
		return nil
	case l.msg.Method != "":
		return s.handleCall(&l.msg, l.at)
	default:
		return s.handleAnswer(&l.msg, l.at)
	}
}

func (s *session) odd(err error) {
	s.fleet.count.violations.Add(1)
	s.log.Debug().Err(err).Msg("rig_odd_line")
}

func (s *session) handleAnswer(m *message, at time.Time) error {
	id, ok := m.callID()
	if !ok {
		s.odd(fmt.Errorf("answer with id %s", clip(string(m.ID))))
		return nil
	}
	if s.waiting != "" && id == s.waitID {
		return s.handshakeAnswer(m, at)
	}
	if p, ok := s.pending[id]; ok {
		delete(s.pending, id)
		s.settle(p, m, at)
		return nil
	}
	if id == 0 || id > s.nextID {
		s.odd(fmt.Errorf("answer to id %d, which was never sent", id))
	}
	return nil // of suggest_difficulty, or a second answer
}

func (s *session) handshakeAnswer(m *message, at time.Time) error {
	switch s.waiting {
	case "mining.configure":
		s.configured(m)
	case "mining.subscribe":
		var result []json.RawMessage
		if err := json.Unmarshal(m.Result, &result); err != nil || len(result) < 3 || m.failure() != "" {
			_, text := m.reason()
			return fmt.Errorf("%w: subscribe was answered %q (%s)", errProtocol, clip(string(m.Result)), text)
		}
		if err := s.setExtranonce(result[1], result[2]); err != nil {
			return fmt.Errorf("%w: subscribe: %w", errProtocol, err)
		}
		s.subscribed = true
		s.emit(Event{Kind: Subscribed, At: at, Share: ShareKey{Extranonce1: fmt.Sprintf("%x", s.en1)}})
	case "mining.authorize":
		if !m.isTrue() {
			code, text := m.reason()
			return &refusedError{code, text}
		}
	}
	return s.nextCall()
}

// configured reads the answer to configure. A server without version rolling
// is fine: the rig then submits five parameters.
func (s *session) configured(m *message) {
	var result map[string]json.RawMessage
	if json.Unmarshal(m.Result, &result) != nil || string(result["version-rolling"]) != "true" {
		s.mask = 0
		return
	}
	if err := s.setMask(result["version-rolling.mask"]); err != nil {
		s.odd(err)
	}
}

func (s *session) handleCall(m *message, at time.Time) error {
	switch m.Method {
	case "mining.notify":
		return s.notify(m, at)
	case "mining.set_difficulty":
		s.setDifficulty(m, at)
	case "mining.set_extranonce":
		if len(m.Params) < 2 {
			s.odd(errors.New("mining.set_extranonce: needs 2 parameters"))
		} else if err := s.setExtranonce(m.Params[0], m.Params[1]); err != nil {
			s.odd(fmt.Errorf("mining.set_extranonce: %w", err))
		}
	case "mining.set_version_mask":
		// Only a rig that asked has hardware to roll with.
		if s.VersionRolling && len(m.Params) > 0 {
			if err := s.setMask(m.Params[0]); err != nil {
				s.odd(err)
			}
		}
	case "client.reconnect":
		// A host in the parameters is not followed: that is how hash rate was
		// stolen, and this fleet loads one server.
		return errReconnect
	case "client.get_version":
		return s.reply(m, s.Agent)
	case "mining.ping", "client.ping":
		return s.reply(m, "pong")
	}
	return nil
}

// reply answers a server's request; a notification gets none.
func (s *session) reply(m *message, result string) error {
	if len(m.ID) == 0 || string(m.ID) == "null" {
		return nil
	}
	line, err := json.Marshal(map[string]any{"id": m.ID, "result": result, "error": nil})
	if err != nil {
		return err
	}
	return s.write(append(line, '\n'))
}

func (s *session) setDifficulty(m *message, at time.Time) {
	var d float64
	if len(m.Params) == 0 || json.Unmarshal(m.Params[0], &d) != nil {
		s.odd(errors.New("mining.set_difficulty: needs a number"))
		return
	}
	target, err := targetOf(d)
	if err != nil {
		s.odd(err)
		return
	}
	s.announced, s.target = d, target
	s.difficulty.Store(math.Float64bits(d))
	s.emit(Event{Kind: Difficulty, At: at, Difficulty: d})
}

func (s *session) notify(m *message, at time.Time) error {
	if !s.subscribed {
		s.odd(errors.New("mining.notify before the subscribe reply"))
		return nil
	}
	j, err := parseNotify(m.Params)
	if err != nil {
		s.odd(err)
		return nil
	}
	w := &work{
		job: j, en1: s.en1, en2size: s.en2size, mask: s.mask, difficulty: s.announced, target: s.target, at: at,
	}
	if s.miner.work == nil {
		s.lastCredit = time.Now() // no pay for the time without work
	}
	s.miner.setWork(w)
	s.worked = true
	s.fleet.count.notifies.Add(1)
	if j.clean {
		s.fleet.count.cleanNotifies.Add(1)
	}
	s.emit(Event{
		Kind: Notify, At: at, JobID: j.id, Clean: j.clean, PrevHash: j.prevHashText(), Difficulty: s.announced,
	})
	return nil
}
