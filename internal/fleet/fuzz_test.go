package fleet

import (
	"bytes"
	"encoding/json"
	"net"
	"testing"
	"time"
)

// sink is a connection that takes everything and says nothing.
type sink struct{ net.Conn }

func (sink) Write(b []byte) (int, error)      { return len(b), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// FuzzServerLines: no line of a server may panic a rig, whatever its state, and
// after any of them a good notify still gives work or the session has ended.
func FuzzServerLines(f *testing.F) {
	f.Add(true, []byte(`{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}`+"\n"+`{"id":2,"result":[[],"c0de",4],"error":null}`+"\n"+`{"id":3,"result":true,"error":null}`))
	f.Add(true, []byte(`{"id":1,"result":{"version-rolling":true}}`+"\n"+`{"id":2,"result":[1,2,3]}`))
	f.Add(false, []byte(`{"id":1,"result":[[["mining.notify","1"]],"",0]}`+"\n"+`{"id":2,"result":false,"error":[24,"no",null]}`))
	f.Add(false, []byte(`{"method":"client.reconnect"}`))
	f.Add(false, []byte(`{"id":4,"method":"client.get_version"}`+"\n"+`{"method":"mining.set_difficulty","params":[1e-320]}`))
	good := vectors(f)[4].NotifyParams
	f.Fuzz(func(t *testing.T, rolling bool, lines []byte) {
		fl, err := New(Config{Addr: "a:1", Rigs: []Rig{{User: "u", Hashrate: 100, VersionRolling: rolling, ConfigureFirst: true}}})
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(fl.rigs[0], sink{})
		if err := s.nextCall(); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(lines) {
			r := received{}
			r.bad = json.Unmarshal(line, &r.msg)
			if s.handle(r) != nil {
				return
			}
			s.miner.scan(2, time.Time{})
		}
		if !s.subscribed {
			return
		}
		if err := s.handle(received{msg: message{Method: "mining.notify", Params: good}}); err != nil || s.miner.work == nil {
			t.Fatalf("a good notify gave no work: %v", err)
		}
		if n, _ := s.miner.scan(2, time.Time{}); n == 0 {
			t.Fatal("no hashes on good work")
		}
		fl.Stats()
	})
}
