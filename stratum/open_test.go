package stratum

import (
	"fmt"
	"strings"
	"testing"

	"cordee/internal/register"
)

// Whoever the pool knew is given back once: when the connection refuses the name,
// or when it ends, with its last share ruled on.
func TestWorkersAreGivenBack(t *testing.T) {
	openMode(func(f *field, o *register.Open) {
		free := func(want bool) { // whether segwit's index, the first, is free
			w, why, ok := o.Resolve(taproot)
			if !ok || (w.Member == 1) != want {
				f.Errorf("the next address has index %d, %q", w.Member, why)
			}
			o.Leave(w.Member)
		}
		c := f.connect()
		f.want("sign in", c.say(request(1, "mining.authorize", segwit+".a"), request(2, "mining.authorize", segwit+".a"), request(3, "mining.authorize", segwit+".b")),
			"1=true", "2=true", "3=true")
		f.want("another's address", c.say(request(4, "mining.authorize", legacy)), "4!24")
		for i := range 200 {
			c.say(request(5, "mining.authorize", fmt.Sprintf("%s.%d", segwit, i)))
		}
		free(false)
		c.tw.Close()
		c.hear()
		free(true)

		c = f.connect()
		c.say(saySubscribe)
		c.say(request(3, "mining.authorize", segwit))
		is := c.job()
		sub := mine(f, c.sess, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		f.want("its share", c.say(submission(4, segwit, keyID(is.key), sub)), "4=true")
		c.tw.Close()
		c.hear()
		free(false)
		if got := o.Members(); len(got) != 1 || got[0].ID != segwit || got[0].Index != 1 {
			f.Errorf("kept: %+v", got)
		}
	})(t)
}

// Strangers' names reach no list as they are.
func TestLabelsAreShowable(t *testing.T) {
	openMode(func(f *field, _ *register.Open) {
		c := f.connect()
		f.want("sign in", c.say(request(1, "mining.authorize", segwit+".\x1b[2J<script>\"'\u202e&rig\n")), "1=true")
		c.tw.Close()
		c.hear()
		want := segwit + ".[2Jscriptrig"
		if got := f.srv.Closes()[0].Name; got != want {
			f.Errorf("listed as %q, want %q", got, want)
		}
		if text := f.log.String(); !strings.Contains(text, want) || strings.Contains(text, "<script>") {
			f.Errorf("logged: %s", text)
		}
	})(t)
}

// A flood of addresses leaves what is published as it was: renderings are by
// index, and indexes come back.
func TestAddressFlood(t *testing.T) {
	openMode(func(f *field, o *register.Open) {
		n := regtest(f)
		for i := range 2000 {
			script := append([]byte{0, 20}, make([]byte, 20)...)
			script[2], script[3] = byte(i), byte(i>>8)
			c := f.connect()
			f.want("first work", c.say(request(2, "mining.subscribe"), request(1, "mining.authorize", n.Address(script)+".w"))[1:],
				"1=true", "mining.set_difficulty", "mining.notify")
			c.tw.Close()
			c.hear()
		}
		if views := len(f.srv.set.Load().sheets[0].views); views > 1 || len(o.Members()) != 0 {
			f.Errorf("%d renderings for one rig at a time, kept %v", views, o.Members())
		}
	})(t)
}

var _ Pool = (*addressPool)(nil)
