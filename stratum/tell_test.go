package stratum

import (
	"strings"
	"testing"
	"testing/synctest"

	"cordee/pool"
)

// cgminer shows what the pool has to say; other firmware could take it for an
// answer, and is told nothing.
func TestTellsCgminerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for agent, told := range map[string]bool{"cgminer/4.11.1": true, "bitaxe/1": false, "": false} {
			srv, _ := testServer(t, func(c *Config) {
				c.Firmware = NewFirmware([]FirmwareRow{{Text: "cgminer", Class: pool.MediumClass}, {Text: "bitaxe", Class: pool.MediumClass}})
				c.StartDifficulty, c.MinDifficulty = 64, 64
			})
			srv.Publish(classSet(t, 1, 1, 1<<40, pool.Classes...))
			tw := newTwin(1 << 20)
			s := srv.enter(tw, Door{})
			hear := func() string {
				synctest.Wait()
				got, _ := tw.recv()
				return got
			}
			tw.send(subscribeAs(agent))
			if got := hear(); strings.Contains(got, "show_message") {
				t.Errorf("%q: %s", agent, got)
			}
			heard := ""
			for i := range uint32(maxMisses) {
				is := issuedTo(s)[0]
				sub := mine(t, s, target{issue: is}, weak, is.work.Template.CurTime, 0, i<<8)
				tw.send(submitLine("7", "alpha.north.r1", keyID(is.key), sub, 0))
				heard += hear()
			}
			done := make(chan error)
			go func() { done <- srv.Drain(t.Context()) }()
			heard += readAll(tw)
			if err := <-done; err != nil {
				t.Error(err)
			}
			want := 0
			if told {
				want = 2
				mustHave(t, heard, `{"id":null,"method":"client.show_message","params":["All shares miss: `)
				mustHave(t, heard, "or use a backup\"]}\n"+reconnectLine)
			}
			if got := strings.Count(heard, "show_message"); got != want {
				t.Errorf("%q is told %d times, want %d: %s", agent, got, want, heard)
			}
		}
	})
}
