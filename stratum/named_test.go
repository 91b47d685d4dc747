package stratum

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"cordee/pool"
)

// Every close has a name, a counter, a line of the log, and a place in the list
// of the last ones.
func TestEveryCloseIsNamed(t *testing.T) {
	inField(t, nil, func(f *field) {
		var names []string
		for r := CloseNone + 1; r < closeCount; r++ {
			name := r.String()
			if name == "" || name == CloseNone.String() || slices.Contains(names, name) {
				f.Errorf("reason %d is called %q", r, name)
			}
			names = append(names, name)
			c := f.rig()
			f.want("a share", c.say(c.share(5, target{issue: c.job()}, aShare, 0)).first(), "5=true")
			c.sess.close(r)
			c.closed(name, r)
			if st := f.srv.Stats(); st.Closed[name] != 1 || len(st.Closed) != int(closeCount)-1 {
				f.Errorf("%s: counted %d of %d kinds", name, st.Closed[name], len(st.Closed))
			}
			last := f.srv.Closes()[0]
			if last.Name != "alpha.north.r1" || last.Agent != "test/1" || last.Remote == "" || last.Shares != 1 || last.Time.IsZero() {
				f.Errorf("%s: %+v", name, last)
			}
			mustHave(f, f.log.String(), fmt.Sprintf(`"reason":%q,"remote":"192.0.2.1:4444","name":"alpha.north.r1"`, name))
		}
		for range 150 {
			f.rig().sess.close(CloseIdle)
		}
		f.publish(2, 2) // and all is done
		if n := len(f.srv.Closes()); n != 100 {
			f.Errorf("%d closes are kept", n)
		}
	})
}

// So has every refusal of a name and of a share, less the place in the list.
func TestEveryRefusalIsNamed(t *testing.T) {
	inField(t, func(c *Config) { c.Limits.Names = 1 }, func(f *field) {
		c := f.rig()
		f.want("names", c.say(request(1, "mining.authorize", "no\x00body"), request(2, "mining.authorize", "beta.a.b"), request(3, "mining.authorize", "alpha.a.b")), "1!24", "2!24", "3!24")
		st := f.srv.Stats()
		for why, name := range denialNames {
			if st.Denied[name] != 1 || name == "" {
				f.Errorf("denial %d, %q: counted %d", why, name, st.Denied[name])
			}
			mustHave(f, f.log.String(), fmt.Sprintf(`"event":"auth.deny","conn":%d`, c.sess.id))
			mustHave(f, f.log.String(), fmt.Sprintf(`"reason":%q,"text":"`, name))
		}
		var names []string
		for _, r := range pool.Rejects() {
			c := f.rig() // the first of a connection is logged
			c.sess.count(&desk{}, r)
			if n, known := f.srv.Stats().Shares[r.Name()]; !known || n != 1 || slices.Contains(names, r.Name()) {
				f.Errorf("%s: counted %d", r.Name(), n)
			}
			names = append(names, r.Name())
			mustHave(f, f.log.String(), fmt.Sprintf(`"event":"share.reject","conn":%d,"reason":%q`, c.sess.id, r.Name()))
		}
	})
}

// What said nothing takes one place of the list for each address and reason,
// and a name that was refused is told.
func TestSilentClosesAreOne(t *testing.T) {
	inField(t, func(c *Config) { c.Caps = Caps{PerAddress: 2} }, func(f *field) {
		come := func(addr, line string) {
			s, tw := enterFrom(f.srv, addr, Door{})
			if s != nil {
				tw.send(line)
				tw.hangUp()
			}
			synctest.Wait()
		}
		come("198.51.100.1:1", `{"id":1,"method":"mining.authorize","params":["no<b>\u001bbody"]}`+"\n")
		for i := range 300 {
			come(fmt.Sprintf("198.51.100.1:%d", i), "")
			come(fmt.Sprintf("198.51.100.2:%d", i), "")
		}
		enterFrom(f.srv, "198.51.100.3:1", Door{})
		enterFrom(f.srv, "198.51.100.3:2", Door{})
		for i := range 300 {
			come(fmt.Sprintf("198.51.100.3:%d", i), "")
		}
		come("198.51.100.2:1", " ")
		var got []string
		for _, c := range f.srv.Closes() {
			got = append(got, fmt.Sprintf("%s %s %q %d", c.Reason, c.Remote, c.Refused, c.Times))
		}
		want := []string{
			`hangup 198.51.100.2:1 "" 1`, `address_full 198.51.100.3:299 "" 300`, `hangup 198.51.100.2:299 "" 300`,
			`hangup 198.51.100.1:299 "" 300`, `hangup 198.51.100.1:1 "nobbody" 1`,
		}
		slices.Sort(got) // the clock stands still
		slices.Sort(want)
		if !slices.Equal(got, want) {
			f.Errorf("%q", got)
		}
	})
}
